"""The configuration file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from config.config import ConfigError, load
from tests.fuzz.target import Form, Target

_ROOT = Path(__file__).resolve().parents[3]
_PROVIDERS = ("fake", "local", "openai", "gemini", "google-genai")


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_bytes(data)
        try:
            config = load(path, _PROVIDERS)
        except ConfigError as error:
            assert str(path) in str(error) and "\x1b" not in str(error)
            assert len(str(error)) < 2000, f"a message of {len(str(error))} characters"
            return
        assert config.nodes and config.data_dir.is_absolute()
        for number in config.node_ids:
            assert config.node(number).llm.provider in (None, *_PROVIDERS)
        assert load(path, _PROVIDERS) == config


def seeds() -> list[bytes]:
    examples = [(_ROOT / name).read_bytes() for name in ("config.json.example", "config.mixed.json.example")]
    more = {
        "nodes": [{"id": 1}], "secret": "0123456789abcdef", "orchestrator": {"host": "::1", "port": 1},
        "llm": {"provider": "openai", "model": "m", "base_url": "https://u:p@h/v1?k=v", "api_key_env": "X",
                "max_tokens": 5, "seed": 1, "context_tokens": 4096, "max_concurrent": 1, "max_per_minute": 2},
    }
    return [*examples, json.dumps(more).encode(), b"\xef\xbb\xbf" + examples[0]]


TARGET = Target("config.json", check, seeds, Form.JSON, examples=250)
