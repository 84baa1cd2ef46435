"""Who may take part in a cluster without a secret, on systems that tell whose a connection is, and on others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.config import Config
from config.secret_strength import HOW_TO_DRAW
from launcher import protection
from launcher.configuration import load


def configuration(folder: Path, secret: str | None) -> Config:
    path = folder / "config.json"
    path.write_text(json.dumps({"nodes": [{"id": 1}], "secret": secret, "data_dir": "data"}))
    return load(path)


@pytest.mark.parametrize("tells", [True, False])
def test_a_secret_is_shared_only_where_the_system_does_not_tell(
    tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "can_tell", lambda: tells)
    without = configuration(tmp_path, None)
    secret = protection.secret_of(without)
    assert (secret is None) == tells == (not (tmp_path / "data").exists())
    assert secret == protection.secret_of(without)
    assert len(protection.notices(without)) == 1 and HOW_TO_DRAW in protection.notices(without)[0]
    own = configuration(tmp_path, "chosen by the user")
    assert protection.secret_of(own) == "chosen by the user" and protection.notices(own) == []
