"""The processes of a cluster as children of this one: their input, their output, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Protocol

from launcher.paths import ROOT
from orchestrator.panes import node_program
from orchestrator.supervisor import DOWN, LAUNCHER

NETWORK = "net"
"""The network's name; a node's is its number."""

STOP_WITHIN_S = 8.0
REAPED_S = 1.0
"""Within this a killed process is seen to have ended; one that has not runs."""
MAX_LINE = 16 * 1024 * 1024


class ProcessEvents(Protocol):
    """What happens to the processes."""

    def on_new(self, name: str) -> None:
        """The network starts a node that was not started here before."""

    def on_line(self, name: str, text: str) -> None:
        """The process has printed a line."""

    def on_start(self, name: str, wanted: bool) -> None:
        """The process begins; `wanted` by a person, not started again because it has crashed."""

    def on_exit(self, name: str, code: int) -> None:
        """The process has ended, unless `stop` ended it; a negative code is a signal."""


class Processes:
    """Starts each process by name; again when the network asks for it through a pipe, or as `start_later` says."""

    def __init__(self, config: Path, events: ProcessEvents) -> None:
        self._config = config
        self._events = events
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        """Each reads a process's output until its end."""
        self._later: dict[str, asyncio.Task[None]] = {}
        """Processes that will be started."""
        self._starting: set[str] = set()
        self._down: set[str] = set()
        """Nodes that the network has crashed on purpose."""
        self._stopping = False
        self._asked, self._network_end = os.pipe()
        os.set_blocking(self._asked, False)
        asyncio.get_running_loop().add_reader(self._asked, self._on_asked)

    def is_running(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.returncode is None

    def is_to_stay_down(self, name: str) -> bool:
        """Asked when it has ended: what the network has said before it crashed the node may still be in the pipe."""
        self._on_asked()
        return name in self._down

    def is_to_start(self, name: str) -> bool:
        return name in self._later and not self._later[name].done()

    def start_later(self, name: str, pause_s: float) -> None:
        self._plan(name, self._start_again(name, pause_s))

    def start_nothing_more(self) -> None:
        for task in self._later.values():
            task.cancel()
        self._later.clear()

    async def start(self, name: str, *, wanted: bool = True) -> None:
        """If it does not run, or is being started."""
        if name in self._starting or self.is_running(name):
            return
        self._starting.add(name)
        try:
            await self._start(name, wanted)
        finally:
            self._starting.discard(name)

    async def _start(self, name: str, wanted: bool) -> None:
        program = ["network_server.py"] if name == NETWORK else node_program(int(name))
        # Whoever is inside tmux would have the orchestrator look for the nodes' panes.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        inherited: tuple[int, ...] = ()
        if name == NETWORK:
            environment[LAUNCHER] = str(self._network_end)
            inherited = (self._network_end,)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, "--config", str(self._config), cwd=ROOT, env=environment, limit=MAX_LINE,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True, pass_fds=inherited,
        )
        self._processes[name] = process
        self._events.on_start(name, wanted)
        self._readers[name] = asyncio.ensure_future(self._read(name, process))

    async def write_line(self, name: str, text: str) -> bool:
        """False if the process is not running."""
        process = self._processes.get(name)
        if process is None or process.stdin is None or process.returncode is not None:
            return False
        with contextlib.suppress(ConnectionError):  # it died a moment ago, which on_exit reports
            process.stdin.write(f"{text}\n".encode())
            await process.stdin.drain()
        return True

    def end_input(self, name: str) -> None:
        stdin = self._processes[name].stdin
        if stdin is not None:
            stdin.close()

    def resume(self, name: str) -> None:
        """If an operator has paused it."""
        if self.is_running(name):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # Not by way of asyncio, which asks the system first whether it has ended, and then loses its exit code.
                os.kill(self._processes[name].pid, signal.SIGCONT)

    async def wait(self, names: Iterable[str]) -> None:
        """Until all of these have ended."""
        await asyncio.wait([self._readers[name] for name in names])

    async def stop(self) -> None:
        """Terminates all, and kills what is left after STOP_WITHIN_S."""
        self._stopping = True
        self.start_nothing_more()
        asyncio.get_running_loop().remove_reader(self._asked)
        for end in (self._asked, self._network_end):
            os.close(end)
        running = [name for name in self._processes if self.is_running(name)]
        for name in running:
            self.resume(name)  # a paused process could not exit
            with contextlib.suppress(ProcessLookupError):
                self._processes[name].terminate()
        if not await self._all_read():
            for name in running:
                with contextlib.suppress(ProcessLookupError):
                    self._processes[name].kill()
            await self._all_read()

    async def _all_read(self) -> bool:
        """Whether all processes have ended in time."""
        waiting = [reader for reader in self._readers.values() if not reader.done()]
        return not waiting or not (await asyncio.wait(waiting, timeout=STOP_WITHIN_S))[1]

    def _on_asked(self) -> None:
        """What the network asks for: nodes to be started, or left down, one per line."""
        try:
            asked = os.read(self._asked, 4096).decode()
        except BlockingIOError:
            return
        for line in asked.splitlines():
            name = line.removesuffix(DOWN)
            if name != line:
                self._down.add(name)
                self._forget_plan(name)
                continue
            self._down.discard(name)
            if name not in self._processes:
                self._events.on_new(name)
            self._plan(name, self._start_wanted(name, self._readers.get(name)))

    def _plan(self, name: str, start: Coroutine[None, None, None]) -> None:
        self._forget_plan(name)
        self._later[name] = asyncio.ensure_future(start)

    def _forget_plan(self, name: str) -> None:
        if (task := self._later.pop(name, None)) is not None:
            task.cancel()

    async def _start_wanted(self, name: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before], timeout=REAPED_S)
        await self.start(name)

    async def _start_again(self, name: str, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        await self.start(name, wanted=False)

    async def _read(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._events.on_line(name, line.decode(errors="replace").rstrip("\n"))
        code = await process.wait()
        if not self._stopping:
            self._events.on_exit(name, code)
