"""What a cluster writes is for its own user, whatever the shell's umask is, and whatever earlier releases left."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = 65534
ATTEMPTS = """
import fcntl, os, pathlib, socket, sys
data = pathlib.Path(sys.argv[1])
names = sys.argv[2:]
def attempt(what, name, action):
    try:
        action(data / name)
    except PermissionError:
        return
    except FileNotFoundError:
        return
    print(what, name)
def lock(path):
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
attempt("list", ".", lambda path: os.listdir(path))
attempt("create", "node-6.db", lambda path: path.write_bytes(b""))
for name in names:
    attempt("read", name, lambda path: path.read_bytes())
    attempt("write", name, lambda path: path.open("ab").close())
    attempt("delete", name, lambda path: path.unlink())
    attempt("lock", name, lock)
    if name.endswith(".sock"):
        attempt("connect", name, connect)
print("tried", len(names))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """That other users can look into, and an umask that forbids nothing."""
    before = os.umask(0)
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
    os.umask(before)


def attempts(data: Path) -> list[str]:
    """What another user achieves."""
    names = [str(path.relative_to(data)) for path in data.rglob("*") if not path.is_dir()]
    done = subprocess.run(
        [shutil.which("python3", path="/usr/bin:/bin") or "python3", "-", str(data), *names], input=ATTEMPTS,
        capture_output=True, text=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
    )
    assert done.returncode == 0, done.stderr
    *achieved, last = done.stdout.splitlines()
    assert last == f"tried {len(names)}" and len(names) > 15
    return achieved


def open_to_others(data: Path) -> list[str]:
    modes = ((path, path.lstat().st_mode) for path in [data, *data.rglob("*")])
    return [f"{path.name} {mode:o}" for path, mode in modes if mode & 0o077 and not stat.S_ISLNK(mode)]


def test_another_user_can_neither_read_nor_lock_nor_join(folder: Path) -> None:
    with Cluster(folder) as cluster:
        cluster.leader()
        cluster.nodes[1].ok("create c1")
        cluster.nodes[1].ok("query c1 What is secret?")
        cluster.network.ok("failNode 2")
        cluster.network.ok("fixNode 2")  # in the background, with a log
        assert open_to_others(folder / "data") == []
        assert attempts(folder / "data") == []
        (folder / "data").chmod(0o755)
        assert attempts(folder / "data") == ["list ."], "each file is private by itself"
        cluster.nodes[1].ok(f"export c1 {folder}/c1.md")
        cluster.nodes[1].ok(f"backup {folder}/all.backup")
        assert open_to_others(folder / "c1.md") == open_to_others(folder / "all.backup") == []


def test_what_earlier_releases_left_open_is_closed(folder: Path) -> None:
    data = folder / "data"
    with Cluster(folder, size=1) as cluster:
        cluster.nodes[1].ok("create c1")
    (data / "owner.json").unlink()
    (data / "history-1").touch()
    for path in [data, *data.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    with Cluster(folder, size=1) as cluster:
        cluster.nodes[1].ok("view c1")
        assert open_to_others(data) == []


def test_a_directory_with_other_things_in_it_keeps_its_mode(folder: Path) -> None:
    (folder / "notes.txt").touch(mode=0o644)
    with Cluster(folder, size=1, data_dir=".") as cluster:
        cluster.nodes[1].ok("create c1")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        assert stat.S_IMODE((folder / "notes.txt").stat().st_mode) == 0o644
        assert not [path for path in folder.glob("node-1.db*") if path.stat().st_mode & 0o077]
