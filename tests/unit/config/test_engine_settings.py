"""The `engine` section: what may be there, and what is said of what may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.config import Config, ConfigError, parse
from config.engine_settings import EngineSettings

ETCD = {"type": "etcd", "endpoints": ["https://10.0.0.1:2379"]}


def config_of(engine: Any) -> Config:
    text = json.dumps({"cluster": "lab", "nodes": [{"id": 1}], "engine": engine})
    return parse(text, Path("/somewhere/config.json"), ["fake"])


def test_without_the_section_and_with_a_short_one() -> None:
    assert config_of({}).engine == config_of({"type": "paxos"}).engine == EngineSettings()
    engine = config_of(ETCD).engine
    assert engine.is_etcd and engine.prefix == "consensusllm/lab"


def test_prefix_and_files() -> None:
    engine = config_of(ETCD | {"prefix": "/a/b/", "tls": {"ca": "ca.crt", "cert": "/x/c", "key": "k"}}).engine
    assert engine.prefix == "a/b" and engine.tls is not None
    assert (engine.tls.ca, engine.tls.cert) == ("/somewhere/ca.crt", "/x/c")


@pytest.mark.parametrize(("engine", "words"), [
    ({"type": "raft"}, "engine.type"),
    ({"endpoints": ["https://a:1"]}, 'engine.endpoints is for "type": "etcd"'),
    ({"type": "etcd"}, "engine.endpoints is empty"),
    ({"type": "etcd", "endpoint": ["https://a:1"]}, 'did you mean "endpoints"'),
    ({"type": "etcd", "endpoints": "https://a:1"}, "engine.endpoints"),
    *(({"type": "etcd", "endpoints": ["https://a:1", wrong]}, r"engine.endpoints\[1\]") for wrong in (
        "a:2379", "ftp://a", "https://", "https://a:0", "https://a:99999", "https://a/v3", "https://u@a", "https://[x",
        "https://a?x",
    )),
    ({"type": "etcd", "endpoints": ["http://10.0.0.1:2379"]}, "https:// only"),
    (ETCD | {"prefix": "a b"}, "engine.prefix"),
    (ETCD | {"prefix": ""}, "engine.prefix"),
    (ETCD | {"tls": {"cert": "c"}}, "cert and key"),
    ({"type": "etcd", "endpoints": ["http://127.0.0.1:2379"], "tls": {}}, "no endpoint begins with"),
    (ETCD | {"user": "u"}, "user and password_env"),
    (ETCD | {"user": "u", "password_env": "my password"}, "must name an environment variable"),
    (ETCD | {"password": "x"}, "unknown key"),
])
def test_mistakes_are_named(engine: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of(engine)


def test_unencrypted_on_other_machines_if_that_is_accepted() -> None:
    assert config_of({"type": "etcd", "endpoints": ["http://10.0.0.1:2379"], "insecure": True}).engine.insecure
    assert config_of({"type": "etcd", "endpoints": ["http://localhost:2379", "http://[::1]:2379"]}).engine.is_etcd
