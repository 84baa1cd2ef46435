"""Measured processes: started, monitored through /proc, ended by their own id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """Named processes; a name's kind is what stands before its first "-". They run in `root`, a checkout; their output
    goes to `folder`."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.root = root
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: list[str], *, pipes: bool = False, typed: bytes | None = None
    ) -> subprocess.Popen[bytes]:
        """With `pipes`, input and output are the caller's; else output goes to a log, and `typed` is the beginning of
        an input that does not end."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = process = subprocess.Popen(
                command, cwd=self.root, stderr=log, stdout=subprocess.PIPE if pipes else log,
                stdin=subprocess.DEVNULL if typed is None and not pipes else subprocess.PIPE,
            )
        if typed is not None:
            assert process.stdin is not None
            process.stdin.write(typed)
            process.stdin.flush()
        return process

    def kill(self, name: str) -> None:
        """Like `kill -9`; waits until the process is gone."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def nodes(self) -> list[int]:
        """Numbers of the nodes that run, each by the name node-NUMBER."""
        return [int(name.removeprefix("node-")) for name in sorted(self.running) if name.startswith("node-")]

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far, by kind."""
        used: dict[str, float] = {}
        for name, process in self.running.items():
            kind = name.split("-")[0]
            used[kind] = used.get(kind, 0.0) + cpu_seconds(process.pid)
        return used


def cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def wakeups(pid: int) -> int:
    """How often the threads of a process have waited and gone on, so far."""
    counted = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            lines = status.read_text().splitlines()
            counted += next((int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt")), 0)
    return counted


def resident_mb(pid: int) -> float:
    """Resident memory in MB, including memory shared with other processes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0) * 1024 / 1e6


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def python(root: Path = ROOT) -> str:
    """The interpreter that the checkout at `root` runs with: its own if it has one, else this checkout's."""
    installed = (checkout / ".venv" / "bin" / "python" for checkout in (root, ROOT))
    return next((str(path) for path in installed if path.exists()), sys.executable)
