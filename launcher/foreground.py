"""The whole cluster in one terminal, without tmux: `./run.sh --no-tmux`, for CI and containers.

Every line that a process says is shown with its name before it; a line typed here as `2: create c1` goes to node 2, and
`net: failNode 3` to the network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from config.config import Config, ConfigError
from console.lines import PipeInput
from launcher.arguments import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from launcher.tmux import LaunchError, configuration, port_is_free
from orchestrator.supervisor import LAUNCHER

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "net"
ALL = "all"
LEAVE_WITHIN_S = 8.0
MAX_LINE = 16 * 1024 * 1024
EXPECTED = "type  2: create c1  for node 2,  net: failNode 3  for the network,  all: status  for all nodes; exit leaves"

_ANSWERED = "(the-end-of-the-input)"
"""Said by the network when it has carried out all it was told; to nodes it is a command that they answer, as one that
they do not know, after all others."""
_REFUSED = re.compile(r"line \d+: error: ")
"""How a process begins the answer to a command that failed."""
_COLOURS = ("36", "32", "33", "34", "35", "31")


class Foreground:
    """Six processes and one terminal. Ends with the network, with `exit`, with a signal, or when lines were typed and
    the input has ended and everything is answered; with exit code 1 if a command was refused or failed. An input
    without any line, as in a container, says nothing."""

    def __init__(self, config: Config, colour: bool) -> None:
        self._config = config
        self._colour = colour
        self._names = [NETWORK, *(str(number) for number in config.node_ids)]
        self._width = max(len(name) for name in self._names)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._minding: dict[str, asyncio.Task[None]] = {}
        self._ready = asyncio.Event()
        self._answered = {name: asyncio.Event() for name in self._names}
        self._leaving = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Returns the exit code."""
        loop = asyncio.get_running_loop()
        for sign, code in ((signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, EXIT_INTERRUPTED)):
            loop.add_signal_handler(sign, self._leave, code)
        wanted, launcher = os.pipe()
        os.set_blocking(wanted, False)
        loop.add_reader(wanted, self._start_wanted, wanted)
        try:
            await self._start(NETWORK, launcher)
            os.close(launcher)
            typing = asyncio.ensure_future(self._converse())
            await self._leaving.wait()
            typing.cancel()
            await asyncio.wait([typing])
        finally:
            loop.remove_reader(wanted)
            os.close(wanted)
            await self._stop_all()
        return self._code

    def _leave(self, code: int = 0) -> None:
        self._code = self._code or code
        self._leaving.set()

    async def _converse(self) -> None:
        await self._ready.wait()
        for name in self._names[1:]:
            await self._start(name)
        source = PipeInput(0)
        typed = False
        async for line in source.lines():
            typed = True
            if line.error is None:
                await self._pass_on(line.number, line.text)
            else:
                self._mistake(line.number, line.error)
            if self._leaving.is_set():
                return
        if typed:
            await self._finish()
            self._leave()

    def _mistake(self, number: int, error: str) -> None:
        self._code = EXIT_FAILED
        self._show("", f"line {number}: error: {error}")

    async def _pass_on(self, number: int, text: str) -> None:
        """A typed line to whom it is for."""
        name, colon, command = (part.strip() for part in text.partition(":"))
        name = name.lower()
        if not text.strip() or text.lstrip().startswith("#"):
            return
        if text.strip() == "exit":
            self._leave()
        elif not colon or not command or (name not in self._names and name != ALL):
            self._mistake(number, EXPECTED)
        else:
            for each in self._names[1:] if name == ALL else [name]:
                await self._type(each, command)

    async def _type(self, name: str, command: str) -> None:
        process = self._processes.get(name)
        if process is None or process.stdin is None or process.returncode is not None:
            self._show(name, f"is not running (net: fixNode {name} starts it)")
            return
        with contextlib.suppress(ConnectionError):  # it died a moment ago, which is told elsewhere
            process.stdin.write(f"{command}\n".encode())
            await process.stdin.drain()

    async def _finish(self) -> None:
        """Nothing more will be typed: first the network answers what it has been told, then the nodes, then all go. (A
        node that left when it has answered might take the majority away that another one needs.)"""
        await self._type(NETWORK, f"say {_ANSWERED}")
        await self._until_answered(NETWORK)
        running = [name for name in self._names[1:] if self._processes[name].returncode is None]
        for name in running:
            with contextlib.suppress(ProcessLookupError):
                self._processes[name].send_signal(signal.SIGCONT)  # a paused one could not answer
            await self._type(name, _ANSWERED)
        await asyncio.gather(*(self._until_answered(name) for name in running))
        for name in self._names[1:]:
            self._end_input(name)
        await asyncio.wait([self._minding[name] for name in self._names[1:]])
        self._end_input(NETWORK)
        await asyncio.wait([self._minding[NETWORK]])

    async def _until_answered(self, name: str) -> None:
        """Or until the process has ended."""
        answered = asyncio.ensure_future(self._answered[name].wait())
        await asyncio.wait([answered, self._minding[name]], return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()

    def _end_input(self, name: str) -> None:
        stdin = self._processes[name].stdin
        if stdin is not None:
            stdin.close()

    # ---- Processes

    async def _start(self, name: str, launcher: int | None = None) -> None:
        program = ["network_server.py"] if name == NETWORK else ["node.py", name]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        if launcher is not None:
            environment[LAUNCHER] = str(launcher)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *program, "--config", str(self._config.path), cwd=ROOT, env=environment, limit=MAX_LINE,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True, pass_fds=() if launcher is None else (launcher,),
        )
        self._processes[name] = process
        self._minding[name] = asyncio.ensure_future(self._mind(name, process))

    def _start_wanted(self, pipe: int) -> None:
        """The network wants nodes to be started again, one number a line."""
        for name in os.read(pipe, 4096).decode().split():
            process = self._processes.get(name)
            if process is not None and not self._leaving.is_set():
                self._minding[name] = asyncio.ensure_future(self._restart(name, self._minding[name]))

    async def _restart(self, name: str, before: asyncio.Task[None]) -> None:
        await asyncio.wait([before])
        await self._start(name)

    async def _mind(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Shows what a process says, until it ends."""
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            if name == NETWORK:
                self._ready.set()
            if _ANSWERED in text:
                if text == _ANSWERED or _REFUSED.match(text):
                    self._answered[name].set()
                continue
            if _REFUSED.match(text) and not self._leaving.is_set():
                self._code = EXIT_FAILED
            self._show(name, text)
        code = await process.wait()
        if self._leaving.is_set():
            return
        if name == NETWORK:
            self._leave(EXIT_FAILED if code else 0)
        elif code < 0:
            self._show(name, f"has crashed (signal {-code}); net: fixNode {name} starts it again")
        elif code > 0:
            self._code = EXIT_FAILED
            self._show(name, f"has left with exit code {code}; net: fixNode {name} starts it again")

    async def _stop_all(self) -> None:
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)  # a paused one could not leave
                process.terminate()
        if not await _done(self._minding.values(), LEAVE_WITHIN_S):
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await _done(self._minding.values(), LEAVE_WITHIN_S)

    def _show(self, name: str, text: str) -> None:
        label = f"{name.ljust(self._width)} | "
        if self._colour and name in self._names:
            label = f"\x1b[{_COLOURS[self._names.index(name) % len(_COLOURS)]}m{label}\x1b[0m"
        try:
            print(f"{label}{text}", flush=True)
        except BrokenPipeError:  # nobody reads any more
            self._leave(EXIT_FAILED)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it is the standard output from now on


async def _done(tasks: Iterable[asyncio.Task[None]], within: float) -> bool:
    """Whether all have ended in time."""
    waiting = [task for task in tasks if not task.done()]
    return not waiting or not (await asyncio.wait(waiting, timeout=within))[1]


def main() -> int:
    try:
        config = configuration()
        if not port_is_free(config):
            raise LaunchError(
                f"port {config.orchestrator.port} is in use by another program: stop that, or set another "
                f'"orchestrator": {{"port": ...}} in {config.path}'
            )
    except (LaunchError, ConfigError) as error:
        print(f"run.sh: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    return asyncio.run(_serve(config, colour))


async def _serve(config: Config, colour: bool) -> int:
    return await Foreground(config, colour).run()


if __name__ == "__main__":
    sys.exit(main())
