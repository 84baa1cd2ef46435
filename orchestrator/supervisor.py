"""Starts a node: in its own tmux pane, through the process that started the cluster, or in the background."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from orchestrator import panes
from orchestrator.errors import CommandError

LAUNCHER = "CONSENSUS_LAUNCHER"
"""An environment variable: the descriptor of a pipe to the launcher (launcher/foreground.py), which starts
the nodes whose numbers are written to it, one per line; with DOWN behind the number it leaves the node down."""
DOWN = " down"

LEAVE_S = 5.0
"""How long a background node may take to exit with the orchestrator."""

MAX_LOG = 1024 * 1024
"""Bytes; a larger log of a background node is truncated at its next start."""


class SupervisorError(CommandError):
    """A node could not be started; a sentence for the operator."""


def background_command(node: int, config: Path) -> list[str]:
    program, *arguments = panes.node_program(node)
    return [sys.executable, str(panes.ROOT / program), *arguments, "--config", str(config), "--background"]


class Supervisor:
    """Starts nodes, and tracks the processes that the orchestrator has started."""

    def __init__(
        self, config: Path, data_dir: Path, command: Callable[[int, Path], list[str]] = background_command
    ) -> None:
        self._config = config
        self._data_dir = data_dir
        self._command = command
        self._children: dict[int, asyncio.subprocess.Process] = {}

    def log_of(self, node: int) -> Path:
        return self._data_dir / f"node-{node}.log"

    def child(self, node: int) -> asyncio.subprocess.Process | None:
        """The node's background process, if one is running."""
        child = self._children.get(node)
        return child if child is not None and child.returncode is None else None

    async def start(self, node: int, *, new: bool = False) -> str:
        """Starts the node, one that is `new` in a pane of its own where others have one; returns where. Does not wait
        for it to connect. Raises CommandError."""
        pane = await panes.start(node, self._config, new=new)
        if pane is not None:
            self._children.pop(node, None)
            return f"in its pane {pane}"
        if launcher := os.environ.get(LAUNCHER):
            _tell_launcher(int(launcher), node)
            return "in the foreground"
        if self.child(node) is None:
            self._children[node] = await self._spawn(node)
        return f"in the background; output in {self.log_of(node)}"

    def leave_down(self, node: int) -> None:
        """The node is about to be crashed on purpose: its launcher, if it has one, does not start it again by itself.
        Raises CommandError."""
        if launcher := os.environ.get(LAUNCHER):
            _tell_launcher(int(launcher), node, DOWN)

    def failure(self, node: int) -> str | None:
        """Why the node's background process has ended, according to its log; None if it is running."""
        child = self._children.get(node)
        if child is None or child.returncode is None:
            return None
        return f"node {node} stopped with exit code {child.returncode}: {_last_line(self.log_of(node))}"

    async def ended(self, node: int) -> None:
        """Waits for the end of the node's background process; forever if there is none."""
        child = self._children.get(node)
        if child is None:
            await asyncio.Event().wait()
        else:
            await child.wait()

    async def kill(self, node: int) -> None:
        """Returns when the node's background process, if there is one, has ended."""
        child = self.child(node)
        if child is not None:
            with contextlib.suppress(ProcessLookupError):  # already dead, not reaped yet
                child.kill()
            await child.wait()

    async def close(self) -> None:
        """Tells all background nodes to exit, and waits briefly."""
        running = [child for child in self._children.values() if child.returncode is None]
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        if running:
            await asyncio.wait([asyncio.ensure_future(child.wait()) for child in running], timeout=LEAVE_S)

    async def _spawn(self, node: int) -> asyncio.subprocess.Process:
        try:
            with self._open_log(node) as log:
                return await asyncio.create_subprocess_exec(
                    *self._command(node, self._config), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise SupervisorError(f"node {node} cannot be started: {error}") from error

    def _open_log(self, node: int) -> BinaryIO:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        path = self.log_of(node)
        large = path.exists() and path.stat().st_size > MAX_LOG
        return path.open("wb" if large else "ab")


def _tell_launcher(launcher: int, node: int, what: str = "") -> None:
    try:
        os.write(launcher, f"{node}{what}\n".encode())
    except OSError as error:
        raise SupervisorError(f"the launcher of node {node} is gone ({error})") from error


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        lines = []
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{words[:300]} (see {path})" if words else f"see {path}"
