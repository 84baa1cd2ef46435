"""One process per file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import Database
from storage.errors import StorageLocked

ROOT = Path(__file__).resolve().parents[3]

HOLDER = """
import sys, time
from pathlib import Path
from storage.database import Database
Database.open(Path(sys.argv[1]), "demo", 1, 1, background=True)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_open_is_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    database = Database.open(path, "demo", 1, 1)
    with pytest.raises(StorageLocked) as refused:
        Database.open(path, "demo", 1, 1)
    assert (refused.value.os_pid, refused.value.background) == (os.getpid(), False)
    assert f"{path} is in use by process {os.getpid()}" in str(refused.value)
    database.close()
    Database.open(path, "demo", 1, 1).close()


def test_a_holder_in_the_background_says_so_and_its_death_frees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None and holder.stdin is not None
    with holder:
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StorageLocked) as refused:
            Database.open(path, "demo", 1, 1)
        assert (refused.value.os_pid, refused.value.background) == (holder.pid, True)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Database.open(path, "demo", 1, 1).close()


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"os_pid": 4194304999, "background": true}'])
def test_a_holder_that_has_not_signed_yet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.db"
    database = Database.open(path, "demo", 1, 1)
    (tmp_path / "node.db.lock").write_bytes(content)
    with pytest.raises(StorageLocked) as refused:
        Database.open(path, "demo", 1, 1)
    assert (refused.value.os_pid, refused.value.background) == (None, False)
    database.close()
