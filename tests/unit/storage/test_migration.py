"""Files of release 0.1.0 open, with all that is in them, and have checksums from then on."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import Database
from storage.errors import StorageDamaged
from storage.inspection import VERSION
from tests.unit.storage.disks import make_old

ROOT = Path(__file__).resolve().parents[3]


def test_everything_is_found(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    durable, snapshot = make_old(path)
    for incarnation in (6, 7):
        database = Database.open(path, "demo", 1, 0)
        durable.incarnation = incarnation
        assert (database.durable, database.load_snapshot()) == (durable, snapshot)
        database.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


def test_damage_is_found_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    make_old(path)
    Database.open(path, "demo", 1, 0).close()
    path.write_bytes(path.read_bytes().replace(b"texttext", b"texttexT"))
    with pytest.raises(StorageDamaged, match="its table snapshot: row 'b'"):
        Database.open(path, "demo", 1, 0)


CRASHING = """
import os, sys
from pathlib import Path
from storage import migration
from storage.database import Database
from storage.tables import write_state
def crash(*what):
    write_state(*what)
    os.kill(os.getpid(), 9)
migration.write_state = crash
Database.open(Path(sys.argv[1]), "demo", 1, 0)
"""


def test_a_crash_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    durable, snapshot = make_old(path)
    crashed = subprocess.run([sys.executable, "-c", CRASHING, str(path)], cwd=ROOT, check=False)
    assert crashed.returncode == -signal.SIGKILL
    database = Database.open(path, "demo", 1, 0)
    assert (database.durable, database.load_snapshot()) == (durable, snapshot)
    database.close()
