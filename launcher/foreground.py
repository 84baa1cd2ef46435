"""The whole cluster in one terminal, without tmux: `./run.sh --no-tmux`, for CI and containers.

Every line that a process prints is shown with its name before it; a line typed here as `2: create c1` goes to node 2,
and `net: failNode 3` to the network. On etcd there is none. What crashes is started again, unless `failNode` did it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import sys

from config.config import Config
from console.lines import PipeInput
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED
from launcher.configuration import nodes_to_start
from launcher.processes import NETWORK, Processes
from launcher.restarts import Restarts

ALL = "all"
EXPECTED = "type  2: create c1  for node 2,  net: failNode 3  for the network,  all: status  for all nodes; exit leaves"
WITHOUT_NETWORK = "type  2: create c1  for node 2,  all: status  for all nodes; exit leaves"

_MARK = "(the-end-of-the-input)"
"""Typed after everything else. The network repeats it when it has run all its commands; to nodes it is an unknown
command, which they answer after all others."""
_FAILURE = re.compile(r"line \d+: error: ")
"""How the answer to a failed command begins."""
_COLOURS = ("36", "32", "33", "34", "35", "31")


class Foreground:
    """All processes in one terminal. Ends when the network leaves, with `exit`, with a signal, or when lines were typed
    and the input has ended and everything is answered; with exit code 1 if a command was refused or failed. An input
    without any line, as in a container, ends nothing."""

    def __init__(self, config: Config, colour: bool) -> None:
        self._colour = colour
        self._nodes = [str(number) for number in nodes_to_start(config)]
        self._has_network = not config.engine.is_etcd
        self._names = [NETWORK, *self._nodes] if self._has_network else list(self._nodes)
        self._width = max(len(name) for name in self._names)
        self._processes = Processes(config.path, self)
        self._restarts = Restarts(asyncio.get_running_loop().time)
        self._network_ready = asyncio.Event()
        self._finished = {name: asyncio.Event() for name in self._names}
        """The process has answered everything, or has ended."""
        self._leaving = asyncio.Event()
        self._finishing = False
        """The input has ended: nothing is started any more."""
        self._code = 0

    async def run(self) -> int:
        """Returns the exit code."""
        loop = asyncio.get_running_loop()
        for sign, code in ((signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, EXIT_INTERRUPTED)):
            loop.add_signal_handler(sign, self._leave, code)
        try:
            if self._has_network:
                await self._processes.start(NETWORK)
            else:
                self._network_ready.set()
            typing = asyncio.ensure_future(self._read_input())
            await self._leaving.wait()
            typing.cancel()
            await asyncio.wait([typing])
        finally:
            await self._processes.stop()
        return self._code

    def on_new(self, name: str) -> None:
        if name not in self._names:
            self._nodes.append(name)
            self._names.append(name)
            self._finished[name] = asyncio.Event()

    def on_line(self, name: str, text: str) -> None:
        if name == NETWORK:
            self._network_ready.set()
        failed = _FAILURE.match(text) is not None
        if _MARK in text:
            if text == _MARK or failed:
                self._finished[name].set()
            return
        if failed and not self._leaving.is_set():
            self._code = EXIT_FAILED
        self._show(name, text)

    def on_start(self, name: str, wanted: bool) -> None:
        self._restarts.started(name, wanted=wanted)
        self._finished[name].clear()

    def on_exit(self, name: str, code: int) -> None:
        self._finished[name].set()
        if self._leaving.is_set():
            return
        if code > 0 or (code and name == NETWORK):
            self._code = EXIT_FAILED
        pause = None if self._finishing or self._processes.is_to_stay_down(name) else self._restarts.pause(name, code)
        ended = f"has crashed (signal {-code})" if code < 0 else f"has exited with code {code}"
        if pause is not None:
            self._show(name, f"{ended}; it is started again in {pause:g} s")
            self._processes.start_later(name, pause)
        elif name == NETWORK:
            self._leave()
        elif code:
            self._show(name, f"{ended}; {self._how_to_start(name)} starts it again")
        if name == NETWORK:
            for node in self._nodes:
                self._processes.resume(node)  # what an operator has paused has no operator any more

    def _how_to_start(self, name: str) -> str:
        return f"net: fixNode {name}" if self._has_network else f"`python node.py {name}`"

    def _leave(self, code: int = 0) -> None:
        self._code = self._code or code
        self._leaving.set()

    async def _read_input(self) -> None:
        await self._network_ready.wait()
        for name in list(self._nodes):
            await self._processes.start(name)
        typed = False
        async for line in PipeInput(0).lines():
            typed = True
            if line.error is None:
                await self._pass_on(line.number, line.text.strip())
            else:
                self._mistake(line.number, line.error)
            if self._leaving.is_set():
                return
        if typed:
            await self._finish()
            self._leave()

    async def _pass_on(self, number: int, text: str) -> None:
        """Sends a typed line to its process."""
        if not text or text.startswith("#"):
            return
        if text == "exit":
            self._leave()
            return
        name, _, command = (part.strip() for part in text.partition(":"))
        name = name.lower()
        if not command or name not in (*self._names, ALL):
            self._mistake(number, EXPECTED if self._has_network else WITHOUT_NETWORK)
            return
        for each in self._nodes if name == ALL else [name]:
            await self._type(each, command)

    def _mistake(self, number: int, error: str) -> None:
        self._code = EXIT_FAILED
        self._show("", f"line {number}: error: {error}")

    async def _type(self, name: str, command: str) -> None:
        if not await self._processes.write_line(name, command):
            soon = self._processes.is_to_start(name)
            self._show(name, "is not running " + ("yet" if soon else f"({self._how_to_start(name)} starts it)"))

    async def _finish(self) -> None:
        """End of input: first the network answers its commands, then the nodes answer theirs, then all exit.
        (A node that exited early might break the majority that another one needs.)"""
        self._finishing = True
        self._processes.start_nothing_more()
        if self._has_network:
            await self._type(NETWORK, f"say {_MARK}")
            await self._finished[NETWORK].wait()
        running = [name for name in self._nodes if self._processes.is_running(name)]
        for name in running:
            self._processes.resume(name)  # a paused process could not answer
            await self._type(name, _MARK)
        await asyncio.gather(*(self._finished[name].wait() for name in running))
        for names in (self._nodes, [NETWORK] if self._has_network else []):
            for name in names:
                self._processes.end_input(name)
            if names:
                await self._processes.wait(names)

    def _show(self, name: str, text: str) -> None:
        label = f"{name.ljust(self._width)} | "
        if self._colour and name in self._names:
            label = f"\x1b[{_COLOURS[self._names.index(name) % len(_COLOURS)]}m{label}\x1b[0m"
        try:
            print(f"{label}{text}", flush=True)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                return  # a full disk: what is kept in the buffer comes later, and the processes go on
            self._leave(EXIT_FAILED)  # nobody reads the output any more
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it stays open as the standard output


def run(config: Config) -> int:
    """Returns the exit code."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"

    async def main() -> int:
        return await Foreground(config, colour).run()

    return asyncio.run(main())
