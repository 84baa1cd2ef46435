"""What is called weak can be guessed; what is drawn at random is not called so."""

from __future__ import annotations

import json
import secrets
import uuid
from pathlib import Path
from random import Random

import pytest

from config.config import ConfigError, parse
from config.secret_strength import HOW_TO_DRAW, is_weak

WEAK = (
    "12345678", "correct horse battery staple", "Correct-Horse-Battery-Staple-42!", "a" * 40, "ab" * 20, "hunter2" * 4,
    "abcdefghijklmnopqrstuvwxyz0123456789", "9876543210" * 4, "P@ssw0rd!P@ssw0rd!2024", "qwertyuiopasdfghjklzxcvbnm",
    "my cluster secret for production", "changeme-changeme-changeme", "deadbeef" * 4, "2024-01-01-2024-01-01",
    "Sommer2024!Sommer2024!", "0" * 31 + "1", "\u0130" * 30, "kD8#fq2", "\U0001f600" * 20,
)


@pytest.mark.parametrize("secret", WEAK)
def test_what_can_be_guessed_is_weak(secret: str) -> None:
    assert is_weak(secret)


def test_what_is_drawn_is_not_weak() -> None:
    random = Random(1)
    for _ in range(500):
        assert not is_weak(secrets.token_urlsafe(24))
        assert not is_weak(str(uuid.UUID(int=random.getrandbits(128), version=4)))
        assert not is_weak(random.randbytes(20).hex())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "machine.example"])
def test_a_weak_secret_is_refused_where_other_machines_can_try(host: str) -> None:
    def read(secret: str | None, where: str) -> str | None:
        settings = {"nodes": [{"id": 1}], "secret": secret, "orchestrator": {"host": where}, "tls": {}}
        return parse(json.dumps(settings), Path("/config.json"), {"fake"}).secret

    for secret in ("correct horse battery", None):
        with pytest.raises(ConfigError) as refused:
            read(secret, host)
        assert HOW_TO_DRAW in str(refused.value) and "horse" not in str(refused.value)
        assert read(secret, "127.0.0.1") == read(secret, "localhost") == read(secret, "::1") == secret
    drawn = secrets.token_urlsafe(24)
    assert read(drawn, host) == drawn
