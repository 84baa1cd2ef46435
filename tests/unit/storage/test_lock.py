"""One process per file."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import Database
from storage.errors import StorageError, StorageLocked
from storage.lock import Lock

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


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", *(b'{"os_pid": %d, "background": true}' % pid for pid in (4194304999, 0, -1))]
)
def test_a_holder_that_has_not_signed_yet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.db"
    database = Database.open(path, "demo", 1, 1)
    (tmp_path / "node.db.lock").write_bytes(content)
    with pytest.raises(StorageLocked) as refused:
        Database.open(path, "demo", 1, 1)
    assert (refused.value.os_pid, refused.value.background) == (None, False)
    database.close()


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_other_users_cannot_open_what_is_locked(tmp_path: Path, umask: int) -> None:
    (tmp_path / "old.db.lock").touch(mode=0o666)
    before = os.umask(umask)
    try:
        databases = [Database.open(tmp_path / "in" / name, "demo", 1, 1) for name in ("old.db", "new.db")]
        databases.append(Database.open(tmp_path / "old.db", "demo", 1, 1))
    finally:
        os.umask(before)
    for database in databases:
        files = list(database.path.parent.glob(f"{database.path.name}*"))
        assert len(files) > 2 and not [path for path in files if path.stat().st_mode & 0o077]
        database.close()
    assert (tmp_path / "in").stat().st_mode & 0o777 == 0o700


def test_a_lock_that_others_could_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Lock(tmp_path / "node.db", False).release()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StorageError, match=r"node\.db\.lock belongs to another user"):
        Lock(tmp_path / "node.db", False)


def test_a_lock_that_was_deleted_while_it_was_waited_for_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "node.db"
    really = fcntl.flock
    tries = 0

    def flock(file: int, kind: int) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            (tmp_path / "node.db.lock").unlink()
        really(file, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    held = Lock(path, False)
    assert tries == 2
    with pytest.raises(StorageLocked):
        Lock(path, False)
    held.release()
