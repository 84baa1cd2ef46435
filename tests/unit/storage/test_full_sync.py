"""What is synced is synced as far as the system can."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from storage.database import Database
from storage.full_sync import full_sync
from storage.inspection import sync_folder

F_FULLFSYNC = 51
"""Its number on macOS."""


def test_sqlite_is_told_to(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "node-1.db", "demo", 1, 1)
    for name in ("fullfsync", "checkpoint_fullfsync"):
        assert database._connection.execute(f"PRAGMA {name}").fetchone() == (1,)
    database.close()


def test_folders_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", F_FULLFSYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda file, command: asked.append(command))
    sync_folder(tmp_path)
    assert asked == [F_FULLFSYNC]


def test_a_file_system_that_can_do_no_more_and_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", F_FULLFSYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="not supported"):
        full_sync(0)
