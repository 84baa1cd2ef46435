"""Whatever the file of a configuration holds: it is a configuration, or one clear line, soon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import config.config
from config.config import ConfigError, parse
from config.json_text import MAX_BYTES, MAX_DEPTH, JsonTextError, decoded

PATH = Path("/somewhere/config.json")
PROVIDERS = ("fake", "local")
NODES = '"nodes":[{"id":1}]'
FITTING = MAX_BYTES - 100


def refusal(text: str) -> str | None:
    """What is said of it; None if it is a configuration. Anything but a ConfigError is a failure."""
    try:
        parse(text, PATH, PROVIDERS)
    except ConfigError as error:
        return str(error)
    return None


def is_one_clear_line(said: str) -> bool:
    return said.startswith(str(PATH)) and said.isprintable() and len(said) < 500


def fill(unit: Callable[[int], str], between: str = ",") -> str:
    """So many units as fit into a file."""
    parts: list[str] = []
    size = 0
    while size < FITTING - 200:
        parts.append(unit(len(parts)))
        size += len(parts[-1]) + len(between)
    return between.join(parts)


SLOW = {
    "keys": lambda: "{" + fill(lambda n: f'"k{n}":1') + "}",
    "the same key": lambda: "{" + fill(lambda n: '"k":1') + "}",
    "keys of a section": lambda: "{" + NODES + ',"llm":{' + fill(lambda n: f'"k{n}":1') + "}}",
    "nodes": lambda: '{"nodes":[' + fill(lambda n: f'{{"id":{n % 65535 + 1}}}') + "]}",
    "digits": lambda: "{" + NODES + ',"timing":{"election_ms":' + "9" * FITTING + "}}",
    "digits of a fraction": lambda: "{" + NODES + ',"llm":{"timeout_s":1.' + "1" * FITTING + "}}",
    "brackets": lambda: "[" * FITTING,
    "a string that does not end": lambda: '{"' + '\\"' * (FITTING // 2),
    "a long key": lambda: "{" + NODES + ',"' + "n" * FITTING + '":1}',
    "a long word": lambda: "{" + NODES + ',"orchestrator":{"host":"' + "n" * FITTING + '"}}',
    "a long path": lambda: "{" + NODES + ',"data_dir":"' + "n/" * (FITTING // 2) + '"}',
    "blanks": lambda: " " * FITTING,
    "too much": lambda: " " * (MAX_BYTES + 1),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_megabyte_of_anything_is_refused_in_linear_time(kind: str) -> None:
    text = SLOW[kind]()
    assert len(text) > FITTING // 2
    began = time.process_time()
    said = refusal(text)
    assert time.process_time() - began < 3
    assert said is None or is_one_clear_line(said), said
    assert (said is None) == (kind == "digits of a fraction")


WRONG = {
    f'{{{NODES},"data_dir":"~nobody-of-this-name/x"}}': 'there is no home directory "~nobody-of-this-name"',
    f'{{{NODES},"llm":{{"provider":"local","model":"~nobody-of-this-name/m"}}}}': "llm.model is",
    f'{{{NODES},"data_dir":"{"n" * 256}"}}': "which is too long for a path",
    f'{{{NODES},\n "timing": {{"election_ms": -Infinity}}}}': "-Infinity is not a JSON number, at line 2, column 28",
    f'{{{NODES},"llm":{{"timeout_s":1e999}}}}': "1e999 is too large a number",
    f'{{{NODES},"llm":{{"seed":{"9" * 31}}}}}': "is a number of 31 digits",
    "\n" + "[" * (MAX_DEPTH + 1): f"too deeply nested at line 2, column {MAX_DEPTH + 1}; {MAX_DEPTH} levels are",
    f'{{{NODES},"llm":{{"model":"\\udfff"}}}}': "\\udfff alone is half a character",
    f'{{{NODES},"a\\u001b":1,"a\\u001b":2}}': 'the key "a\\u001b" occurs twice in the same section',
    f'{{{NODES},"llm":{{"\\u001b[31m":{{"x":"\\u0000"}}}}}}': 'contains the control character "\\u0000"',
    f'{{{NODES}}}{{}}': "Extra data at line 1, column 21",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_odd_is_told_with_its_place_or_key(text: str) -> None:
    said = refusal(text)
    assert said is not None and WRONG[text] in said and is_one_clear_line(said), said


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2028", "\n"])
@pytest.mark.parametrize("where", ["orchestrator.host", "data_dir", "llm.base_url", "llm.model"])
def test_nothing_that_is_shown_controls_a_terminal(where: str, control: str) -> None:
    section, _, key = where.rpartition(".")
    value = f"a{control}[31m"
    given = {section: {key: value}} if section else {key: value}
    said = refusal(json.dumps({"nodes": [{"id": 1}], "secret": "correct horse", **given}))
    assert said is not None and said.startswith(f"{PATH}: {where} contains the control character")
    assert is_one_clear_line(said)


def test_texts_for_llms_have_lines_and_secrets_are_what_they_are() -> None:
    given = {"nodes": [{"id": 1}], "secret": "a\tb\x1bcdefgh", "llm": {"system_prompt": "one\n\ttwo\r\n"}}
    assert parse(json.dumps(given), PATH, PROVIDERS).llm.system_prompt == "one\n\ttwo\r\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}".encode("utf-16"), "UTF-16"), ("{}".encode("utf-16-be"), "UTF-16"), ("{}".encode("utf-32"), "UTF-32"),
        (b'{\n"\xff"}', "line 2 contains a wrong byte, 0xff"), (b'{"\xed\xa0\x80"}', "line 1 contains a wrong byte"),
    ],
)
def test_other_encodings_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not in UTF-8") as caught:
        config.config.load(path, PROVIDERS)
    assert words in str(caught.value)
    assert decoded(b"\xef\xbb\xbf{}") == "{}"
    with pytest.raises(JsonTextError):
        decoded(content)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe\x1b[2J")
    for name, words in (
        ("pipe\x1b[2J", "cannot be read: it is a pipe"), ("/dev/zero", "it is a device"), (".", "it is a directory"),
        ("n" * 300, "File name too long"), ("\0", "no file can have this name"), ("none\x1b[2J", "does not exist"),
    ):
        with pytest.raises(ConfigError) as caught:
            config.config.load(tmp_path / name, PROVIDERS)
        assert words in str(caught.value) and str(caught.value).isprintable()


keys = st.sampled_from([
    "nodes", "id", "cluster", "data_dir", "secret", "orchestrator", "host", "port", "llm", "timing", "heartbeat_ms",
    "election_ms", "limits", "bytes_per_minute", "provider", "model", "temperature", "timeout_s", "base_url", "api_key",
    "seed", "system_prompt", "fail",
])
odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), keys,
    st.sampled_from(["~", "~nobody-of-this-name", "local", "fake", "127.0.0.1", "\ud800", "\x1b", "a.gguf", 2**63]),
)
values = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration with some values replaced."""
    sections: dict[str, Any] = {
        "nodes": [{"id": 1, "llm": {}}, {"id": 2}], "cluster": "demo", "data_dir": "data", "secret": "correct horse",
        "orchestrator": {"host": "127.0.0.1", "port": 7400}, "timing": {"heartbeat_ms": 50, "election_ms": 400},
        "limits": {"bytes_per_minute": 2**21}, "llm": {"provider": "fake", "model": "m"},
    }
    places = [sections, sections["orchestrator"], sections["timing"], sections["llm"]]  # not what replaced one
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places))
        place[draw(keys)] = draw(values)
    return sections


@given(st.one_of(values, nearly_right()))
@settings(max_examples=120, deadline=None)
def test_any_values_are_a_configuration_or_one_clear_line(value: Any) -> None:
    said = refusal(json.dumps(value))
    assert said is None or (said.startswith(str(PATH)) and "\n" not in said and "\x1b" not in said)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_change_of_the_text_is_a_configuration_or_one_clear_line(data: st.DataObject) -> None:
    text = json.dumps(data.draw(nearly_right()))
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    said = refusal(text[:start] + data.draw(st.text(max_size=5)) + text[end:])
    assert said is None or "\n" not in said


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    try:
        refusal(decoded(content))
    except JsonTextError as error:
        assert "\n" not in str(error)
