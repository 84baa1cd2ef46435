"""A node's process on this machine, for the orchestrator: pause it, make sure that it is dead."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

PROGRAM = "node.py"


class LocalProcess:
    """Holds the process itself, not its process id: an id may come to mean another process at any time.

    Needs Linux (pidfd, /proc); elsewhere `find` finds nothing.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @staticmethod
    def find(process_id: int, node: int) -> LocalProcess | None:
        """The process of this id, if it is a node.py run as `node`; close it after use."""
        if not hasattr(os, "pidfd_open"):
            return None
        try:
            handle = os.pidfd_open(process_id)
        except OSError:
            return None
        process = LocalProcess(handle)
        if not _runs(process_id, node):
            process.close()
            return None
        return process

    def send(self, sign: signal.Signals) -> None:
        """SIGKILL works on a stopped process too."""
        try:
            signal.pidfd_send_signal(self._handle, sign)
        except ProcessLookupError:
            return

    async def gone(self, timeout_s: float) -> bool:
        """False if it still exists. Otherwise its resources (locks, sockets) have been released."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._handle, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._handle)
        return True

    def close(self) -> None:
        os.close(self._handle)


def _runs(process_id: int, node: int) -> bool:
    """Whether the process is `node.py NODE`, with any other arguments."""
    try:
        words = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    names = [os.path.basename(word) for word in words]
    return PROGRAM.encode() in names and str(node).encode() in words[names.index(PROGRAM.encode()) + 1 :]
