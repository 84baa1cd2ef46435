"""A cluster is for its own user: another user of the machine can neither read, join, kill, lock nor replace anything of
it, whatever the umask is, whatever earlier releases left, with a secret or without. intruder.py tells what is tried."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from net.control_messages import Challenge, Crash, FromNode, FromOrchestrator, Hello, Welcome, control_frame
from tests.cluster.harness import PATIENCE_S, Cluster, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

NOBODY = 65534
INTRUDER = Path(__file__).with_name("intruder.py").read_text()


class Intruder:
    """Another user. `got` is what it reported."""

    def __init__(self, what: str, **task: Any) -> None:
        python = shutil.which("python3", path="/usr/bin:/bin") or "python3"
        self._process = subprocess.Popen(
            [python, "-c", INTRUDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, **task}) + "\n")
        self._process.stdin.flush()
        self.lines = self._process.stdout

    def got(self) -> tuple[list[str], int]:
        """What it achieved, and how many attempts it made besides."""
        said, _ = self._process.communicate(timeout=PATIENCE_S)
        assert self._process.returncode == 0
        *achieved, last = said.splitlines()
        return achieved, int(last.removeprefix("tried "))


@pytest.fixture
def folder() -> Iterator[Path]:
    """That other users can look into, and an umask that forbids nothing."""
    before = os.umask(0)
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
    os.umask(before)


def attempts(data: Path) -> list[str]:
    """What another user achieves with a cluster's files."""
    names = [str(path.relative_to(data)) for path in data.rglob("*") if not path.is_dir()]
    achieved, tried = Intruder("files", folder=str(data), names=names).got()
    assert tried > 60
    return achieved


def open_to_others(data: Path) -> list[str]:
    modes = {data: data.lstat().st_mode}
    for path in data.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a draft that has been renamed meanwhile
            modes[path] = path.lstat().st_mode
    return [f"{path.name} {mode:o}" for path, mode in modes.items() if mode & 0o077 and not stat.S_ISLNK(mode)]


def test_another_user_can_neither_read_nor_lock_nor_join(folder: Path) -> None:
    with Cluster(folder) as cluster:
        cluster.leader()
        cluster.nodes[1].ok("create c1")
        cluster.nodes[1].ok("query c1 What is secret?")
        cluster.network.ok("failNode 2")
        cluster.network.ok("fixNode 2")  # in the background, with a log
        founded = cluster.nodes[1].ok("members")["cluster"]
        until(lambda: cluster.owner().get("cluster_id") == founded)
        assert open_to_others(folder / "data") == []
        assert attempts(folder / "data") == []
        (folder / "data").chmod(0o755)
        assert attempts(folder / "data") == ["could list ."], "each file is private by itself"
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
        cluster.nodes[1].read("view c1")
        assert open_to_others(data) == []


def test_a_directory_with_other_things_in_it_keeps_its_mode(folder: Path) -> None:
    (folder / "notes.txt").touch(mode=0o644)
    with Cluster(folder, size=1, data_dir=".") as cluster:
        cluster.nodes[1].ok("create c1")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        assert stat.S_IMODE((folder / "notes.txt").stat().st_mode) == 0o644
        assert not [path for path in folder.glob("node-1.db*") if path.stat().st_mode & 0o077]


@pytest.mark.parametrize("secret", [None, secrets.token_urlsafe(24)], ids=["no-secret", "secret"])
def test_another_user_can_neither_join_nor_kill_nor_pose_as_the_orchestrator(folder: Path, secret: str | None) -> None:
    with Cluster(folder, size=4, secret=secret) as cluster:
        cluster.nodes[1].ok("create c1")
        until(lambda: all(status["standing"] == "voter" for status in cluster.statuses().values()))
        cluster.nodes.pop(4).kill()
        port = cluster.settings["orchestrator"]["port"]
        pids = [process.popen.pid for process in (cluster.network, *cluster.nodes.values())]
        hellos = {
            "a member": hello(2), "one that is down": hello(4), "a newcomer": hello(5),
            "one with a proof": hello(2, b"x" * 32), "a member's process": hello(2, process=cluster.nodes[2].popen.pid),
        }
        assert Intruder("joining", port=port, hellos=hellos).got() == ([f"{name} was refused" for name in hellos], 0)
        assert Intruder("processes", pids=pids).got() == ([], 5 * len(pids))
        cluster.nodes[1].ok("create c2")

        cluster.network.kill()
        intruder = Intruder("posing", port=port, says=orders(), callers=12)
        assert intruder.lines.readline() == "listens\n"
        heard, _ = intruder.got()
        # A proof tells nothing of a secret that was drawn; without one, nothing at all is told.
        assert set(heard) == (set() if secret is None else {"heard a Hello"})
        assert cluster.up() == [1, 2, 3]
        cluster.start_network()
        cluster.nodes[1].ok("create c3")


def hello(node: int, proof: bytes = b"", process: int = 1) -> str:
    return frame(node, 0, Hello("test", node, process, 1, b"n" * 32, proof, hints=True, urgent=True))


def orders() -> list[str]:
    """All that makes a node obey."""
    messages = (Challenge(b"n" * 32, "test", True), Welcome(b"", [1, 2, 3]), Crash())
    return [frame(0, 1, message) for message in messages]


def frame(src: int, dst: int, message: FromNode | FromOrchestrator) -> str:
    return control_frame(src, dst, message).hex()
