"""`restore` makes disks only where there are none, and while no node can make one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.config import Config, parse
from kvstore.operations import Create
from kvstore.payloads import encode
from kvstore.store import Store
from launcher import backup, data_directory
from launcher.errors import LaunchError
from server.backup import Backup, write
from storage import founding
from storage.database import Database
from storage.errors import StorageLocked


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"nodes": [{"id": 1}, {"id": 2}, {"id": 3}]}))
    return parse(path.read_text(), path, ())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    store = Store()
    assert store.apply(1, encode(Create("c"))).ok
    write(tmp_path / "file", Backup(1, 1, store.snapshot()), False)
    return tmp_path / "file"


def disk(config: Config) -> Path:
    return config.data_dir / "node-1.db"


def test_a_node_that_is_started_meanwhile_waits(config: Config, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start_a_node_first(*arguments: Any) -> int:
        with pytest.raises(StorageLocked):
            Database.open(disk(config), "demo", 1, 1)
        started.append(True)
        return founding.found(*arguments)

    monkeypatch.setattr(backup, "found", start_a_node_first)
    backup.restore(config, file)
    assert started
    restored = Database.open(disk(config), "demo", 1, 1)
    assert [key for key, _ in restored.rows()]
    restored.close()


def test_a_disk_that_a_node_has_just_made_stays(config: Config, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_a_node_then(configured: Config) -> None:
        data_directory.claim(configured)
        Database.open(disk(configured), "demo", 1, 1).close()

    monkeypatch.setattr(backup, "claim", start_a_node_then)
    with pytest.raises(LaunchError, match="there are conversations already"):
        backup.restore(config, file)
    assert {path.name for path in config.data_dir.glob("*.db")} == {"node-1.db"}
