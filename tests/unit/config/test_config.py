from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import config.config
from config.config import Config, ConfigError, Endpoint, TimingConfig, parse
from launcher import check_config

PATH = Path("/somewhere/config.json")
ROOT = Path(__file__).resolve().parents[3]


PROVIDERS = ("fake", "gemini", "local", "openai")
DRAWN = "hHq2Zr7vK0pXw9sTbY4nLcE1"


def read(text: str | dict[str, Any]) -> Config:
    return parse(text if isinstance(text, str) else json.dumps(text), PATH, PROVIDERS)


def load(path: Path | str) -> Config:
    return config.config.load(path, PROVIDERS)


def test_every_key_but_nodes_has_a_default() -> None:
    checked = read({"nodes": [{"id": 2}, {"id": 1}]})
    assert (checked.cluster, checked.secret) == ("demo", None)
    assert checked.data_dir == PATH.parent / "data"
    assert checked.orchestrator == Endpoint("127.0.0.1", 7400)
    assert checked.timing == TimingConfig(50, 400)
    assert checked.node_ids == [1, 2]
    assert checked.node(1).llm.provider is None


def test_the_example_is_valid_and_chooses_the_provider_by_itself() -> None:
    checked = load(ROOT / "config.json.example")
    assert checked.node_ids == [1, 2, 3, 4, 5]
    assert all(node.llm.provider is None for node in checked.nodes)
    minds = {(node.llm.temperature, node.llm.system_prompt) for node in checked.nodes}
    assert len(minds) == len(checked.nodes), "candidates differ for a reason"


def test_a_nodes_own_llm_settings_are_laid_over_the_common_ones() -> None:
    checked = read({
        "nodes": [{"id": 1}, {"id": 2, "llm": {"provider": "fake", "delay_s": 1}}],
        "llm": {"provider": "openai", "temperature": 0.1, "model": "m"},
    })
    one, two = checked.node(1).llm, checked.node(2).llm
    assert (one.provider, one.model, one.temperature) == ("openai", "m", 0.1)
    assert (two.provider, two.model, two.temperature, two.delay_s) == ("fake", None, 0.1, 1)


@pytest.mark.parametrize(
    ("data_dir", "expected"), [("data/x", "/somewhere/data/x"), ("/var/x", "/var/x"), (".", "/somewhere")]
)
def test_paths_are_relative_to_the_file(data_dir: str, expected: str) -> None:
    assert read({"nodes": [{"id": 1}], "data_dir": data_dir}).data_dir == Path(expected)


def test_a_local_models_path_is_relative_to_the_file_too() -> None:
    checked = read({"nodes": [{"id": 1, "llm": {"provider": "local", "model": "models/m.gguf"}}]})
    assert checked.node(1).llm.model == "/somewhere/models/m.gguf"


def test_load_makes_the_path_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here.json").write_text('\ufeff{"nodes": [{"id": 7}]}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    checked = load("here.json")
    assert checked.path == tmp_path / "here.json"
    assert checked.data_dir == tmp_path / "data"


def test_a_secret_and_certificates_open_other_hosts() -> None:
    open_host: dict[str, Any] = {"nodes": [{"id": 1}], "orchestrator": {"host": "0.0.0.0"}, "secret": DRAWN}
    with pytest.raises(ConfigError, match='there is no "tls" section'):
        read(open_host)
    checked = read({**open_host, "tls": {"cert": "/etc/n.crt"}, "http": {"host": "0.0.0.0"}})
    assert checked.secret == DRAWN and checked.tls is not None
    assert (checked.tls.ca, checked.tls.cert) == ("/somewhere/tls/ca.crt", "/etc/n.crt")
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert read({"nodes": [{"id": 1}], "orchestrator": {"host": host}}).secret is None


NODES = '"nodes": [{"id": 1}]'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{\n  oops", "is not valid JSON: Expecting property name enclosed in double quotes at line 2, column 3"),
        ("[" * 100_000, "too deeply nested"),
        ('{"nodes": [{"id": ' + "1" * 5000 + "}]}", "cannot be used"),
        (f'{{{NODES}, "secret": "\\ud800aaaaaaaa"}}', "cannot be used"),
        (f'{{{NODES}, "orchestrator": {{"host": "[::1]"}}}}', 'orchestrator.host is "[::1]"; an IPv6 address'),
        (f'{{{NODES}, "http": {{"host": "[::1]"}}}}', 'http.host is "[::1]"; an IPv6 address is written without'),
        ("[]", 'the file is []; it must be an object with at least the key "nodes"'),
        ("{}", 'the file lacks the key "nodes"'),
        ('{"nodes": []}', "nodes is []; it must be a list of length >= 1"),
        ('{"nodes": 7}', "nodes is 7; it must be a list"),
        ('{"nodes": [{}]}', 'nodes[0] lacks the key "id"'),
        ('{"nodes": [{"id": 0}]}', "nodes[0].id is 0; it must be a whole number >= 1 and <= 65535"),
        ('{"nodes": [{"id": 65536}]}', "nodes[0].id is 65536; it must be a whole number >= 1 and <= 65535"),
        ('{"nodes": [{"id": "1"}]}', 'nodes[0].id is "1"; it must be a whole number'),
        ('{"nodes": [{"id": true}]}', "nodes[0].id is true; it must be a whole number >= 1"),
        ('{"nodes": [{"id": 1}, {"id": 2}, {"id": 1}]}', "nodes[2].id is 1, which another node has too"),
        (f'{{{NODES}, "nodez": 1}}', 'the file has the unknown key "nodez"; did you mean "nodes"?'),
        (f'{{{NODES}, "x": 1}}', "allowed keys: nodes, cluster, data_dir, secret, orchestrator, llm, timing, limits"),
        (f'{{{NODES}, "cluster": "a", "cluster": "b"}}', 'the key "cluster" occurs twice'),
        (f'{{{NODES}, "cluster": "a/b"}}', "it must be a string matching regex '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'"),
        (f'{{{NODES}, "cluster": "a/b"}}', 'cluster is "a/b"'),
        (f'{{{NODES}, "data_dir": ""}}', 'data_dir is ""; it must be a string of length >= 1'),
        (f'{{{NODES}, "orchestrator": {{"port": 0}}}}', "orchestrator.port is 0; it must be a whole number >= 1"),
        (f'{{{NODES}, "orchestrator": {{"prt": 1}}}}', 'orchestrator has the unknown key "prt"; did you mean "port"?'),
        (f'{{{NODES}, "orchestrator": {{"host": "0.0.0.0"}}}}', 'secret is null; with orchestrator.host "0.0.0.0"'),
        (f'{{{NODES}, "secret": "abc123"}}', "secret is 6 characters long; it must be a string of length >= 8"),
        (f'{{{NODES}, "timing": {{"heartbeat_ms": 400}}}}', "timing.heartbeat_ms is 400; it must be less than"),
        (f'{{{NODES}, "timing": {{"heartbeat_ms": NaN}}}}', "NaN is not a JSON number"),
        (f'{{{NODES}, "llm": {{"provider": "x"}}}}', 'llm.provider is "x"; it must be one of "fake", "gemini"'),
        (f'{{{NODES}, "llm": {{"api_key": ["sk-1"]}}}}', "llm.api_key is not a string; it must be a string or null"),
        (f'{{{NODES}, "llm": {{"seed": -1}}}}', "llm.seed is -1; it must be a whole number >= 0 and <= 4294967294"),
        (f'{{{NODES}, "llm": {{"seed": "x"}}}}', "it must be a whole number >= 0 and <= 4294967294 or null"),
        (f'{{{NODES}, "llm": {{"timeout_s": 0}}}}', "llm.timeout_s is 0; it must be a number > 0 and <= 3600"),
        ('{"nodes": [{"id": 1, "llm": {"provider": "oracle"}}]}', 'nodes[0].llm.provider is "oracle"; it must be'),
        (f'{{{NODES}, "llm": [{{"api_key": "sk-1"}}]}}', "llm is [...]; it must be an object"),
        ('{"nodes": [{"id": 1, "llm": {"temprature": 1}}]}', 'nodes[0].llm has the unknown key "temprature"; did you'),
        ('{"nodes": [{"id": 1, "llm": {"temperature": 3}}]}', "temperature is 3; it must be a number >= 0 and <= 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_key_value_and_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(PATH))
    assert "\n" not in message
    assert "abc123" not in message
    assert "sk-1" not in message


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"copy config\.json\.example there"):
        load(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_an_unknown_node_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there is no node 9 in /somewhere/config\.json: it has 1, 2"):
        read({"nodes": [{"id": 1}, {"id": 2}]}).require(9)


def test_a_node_that_is_not_listed_has_the_common_settings() -> None:
    config = read({"nodes": [{"id": 1, "llm": {"seed": 7}}], "llm": {"provider": "fake", "seed": 5}})
    assert config.node(1).llm.seed == 7
    assert config.node(6).id == 6 and config.node(6).llm.seed == 5


@pytest.mark.parametrize(
    ("mode", "sections", "warned"),
    [
        (0o644, {"nodes": [{"id": 1, "llm": {"api_key": "k"}}]}, True),
        (0o600, {"nodes": [{"id": 1, "llm": {"api_key": "k"}}]}, False),
        (0o644, {"nodes": [{"id": 1, "llm": {"api_key": None}}]}, False),
        (0o644, {"llm": {"api_key": "k", "model": "m"}, "nodes": [{"id": 1, "llm": {"provider": "fake"}}]}, True),
        (0o644, {"http": {"keys": ["k" * 16]}}, True),
        (0o644, {"http": {"keys": []}}, False),
        (0o644, {"llm": {"base_url": "http://me:kkkkkkkk@127.0.0.1/v1"}}, True),
        (0o644, {"llm": {"base_url": "http://127.0.0.1/v1?key=kkkkkkkk"}}, True),
        (0o644, {"llm": {"base_url": "http://127.0.0.1:8080/v1"}}, False),
        (0o644, {"secret": "k" * 16}, True),
    ],
)
def test_a_key_that_others_may_read_is_warned_of(
    tmp_path: Path, mode: int, sections: dict[str, Any], warned: bool
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"nodes": [{"id": 1}], **sections}))
    path.chmod(mode)
    said = check_config.exposed(load(path))
    assert bool(said) is warned and not any("k is" in sentence for sentence in said)
    assert not warned or "chmod 600 config.json" in said[0]


def test_the_mixed_example_is_valid() -> None:
    checked = load(ROOT / "config.mixed.json.example")
    assert {node.llm.provider for node in checked.nodes} == {"local", "openai", "gemini"}
    assert len({(node.llm.temperature, node.llm.seed, node.llm.system_prompt) for node in checked.nodes}) > 3


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ('{"host": "0.0.0.0"}', '"insecure": true'), ('{"keys": ["secretive"]}', "http.keys[0] is 9 characters long"),
        ('{"keys": "secretive-secretive"}', "http.keys is 19 characters long"),
        ('{"port": 65534}', "65535 is the last"), ('{"hots": 1}', 'did you mean "host"'),
        ('{"keys": [{"key": "secretive-secretive", "role": "x"}]}', 'http.keys[0].role is "x"; it must be "read"'),
        ('{"port": 7398}', "then node 2's API has the port of orchestrator.port"),
        ('{"keys": [{"kay": "secretive-secretive"}]}', 'did you mean "key"'), ("5", "http is 5"),
    ],
)
def test_mistakes_in_the_http_section_are_explained_without_keys(http: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f'{{"nodes": [{{"id": 1}}, {{"id": 2}}], "http": {http}}}')
    assert words in str(caught.value) and "secretive" not in str(caught.value)


def test_http_is_off_unless_wanted_and_open_only_with_a_word() -> None:
    assert read({"nodes": [{"id": 1}]}).http is None
    http = read({"nodes": [{"id": 1}], "http": {"host": "0.0.0.0", "insecure": True}}).http
    assert http is not None and http.port_of(1) == 7481 and not http.keys
