"""The programs of a release, started and spoken to from outside: for the sessions that are recorded and played again.

This knows only what users and their scripts know (the entry points, config.json, the control socket, the data
directory) and imports nothing of the product, so that the same file drives any release, however it is built inside.
Nothing here waits for time to pass: every wait names a condition and a bound.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tests.free_ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
"""Bound of a wait on a loaded machine; a healthy cluster takes milliseconds."""
FOLDER = "/FOLDER"
"""Stands for a session's own directory, in what is typed and in what is recorded."""
NOT_INHERITED = (
    "CONFIG", "CONSENSUS_LAUNCHER", "GEMINI_API_KEY", "GOOGLE_API_KEY", "NO_COLOR", "OPENAI_API_KEY", "TMUX",
    "TMUX_PANE",
)
"""Variables of the developer's that would change what the programs do."""

Event = dict[str, Any]
T = TypeVar("T")


def environment(**more: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in NOT_INHERITED}, **more}


def until(condition: Callable[[], T | None], what: str) -> T:
    """The first true value of `condition`, for what no program tells by an event."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.02)
    return value


class Talk:
    """A conversation with a program: a command a line in, JSON lines out, and all of it kept in `said`."""

    def __init__(self, name: str, write: Callable[[bytes], None], lines: Iterable[bytes]) -> None:
        self.name = name
        self.said: list[str] = []
        """What was typed (after "> ") and printed, in the order in which it happened."""
        self._write = write
        self._typed = 0
        self._events: list[Event] = []
        self._since = 0
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def _read(self, lines: Iterable[bytes]) -> None:
        with contextlib.suppress(ConnectionError):
            for line in lines:
                self._arrive(json.loads(line), line.decode().rstrip("\n"))
        self._arrive({"event": "end of output"})

    def _arrive(self, event: Event, *said: str) -> None:
        with self._arrived:
            self.said += said
            self._events.append(event)
            self._arrived.notify_all()

    def type(self, command: str) -> int:
        """Types a line; returns its number. `wait` looks at what happens from now on."""
        with self._arrived:
            self.said.append(f"> {command}")
            self._since = len(self._events)
        self._typed += 1
        self._write(command.encode() + b"\n")
        return self._typed

    def do(self, command: str) -> Event:
        """Types a command and returns its result."""
        return self.result(self.type(command))

    def do_all(self, *commands: str) -> None:
        """One command after the other, each when the one before it has its result."""
        for command in commands:
            self.do(command)

    def result(self, line: int) -> Event:
        wanted = {"event": "result", "line": line}
        return self._find(lambda event: wanted.items() <= event.items(), str(wanted), 0)

    def mark(self) -> None:
        """What is waited for is about to happen elsewhere."""
        with self._arrived:
            self._since = len(self._events)

    def wait(self, kind: str, **values: Any) -> Event:
        """The first event of this kind, with these values, since something was typed here last."""
        wanted = {"event": kind, **values}
        return self._find(lambda event: wanted.items() <= event.items(), str(wanted), self._since)

    def ended(self) -> None:
        """Waits for the end of the output."""
        self._find(lambda event: event["event"] == "end of output", "the end", 0)
        self._reader.join()

    def _find(self, condition: Callable[[Event], bool], what: str, since: int) -> Event:
        deadline = time.monotonic() + PATIENCE_S
        with self._arrived:
            while True:
                for event in self._events[since:]:
                    if condition(event):
                        return event
                since = len(self._events)
                left = deadline - time.monotonic()
                gone = since > 0 and self._events[-1]["event"] == "end of output"
                assert left > 0 and not gone, f"{self.name}: {what} was not seen; last:\n{self._last()}"
                self._arrived.wait(left)


    def _last(self) -> str:
        return "\n".join(self.said[-9:])


class Program(Talk):
    """An entry point, of the sources at `root`, with `--json`. What it says on stderr goes to `log`."""

    def __init__(self, words: list[str], config: Path, log: Path, root: Path = ROOT) -> None:
        self._log = log
        with log.open("ab") as errors:
            self.popen = popen = subprocess.Popen(
                [sys.executable, *words, "--config", str(config), "--json"], cwd=root, env=environment(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )
        assert popen.stdin is not None and popen.stdout is not None
        self._stdin = popen.stdin
        self._stdout = popen.stdout
        super().__init__(" ".join(words), self._send, popen.stdout)

    def _send(self, line: bytes) -> None:
        self._stdin.write(line)
        self._stdin.flush()

    def _last(self) -> str:
        return f"{super()._last()}\n{self._log.read_text()[-2000:]}"

    def check(self) -> None:
        """Fails if it has left."""
        assert self.popen.poll() is None, f"{self.name} has left with exit code {self.popen.poll()}:\n{self._last()}"

    def exit(self) -> int:
        """The code with which it leaves after the command `exit`."""
        self.do("exit")
        return self.popen.wait(PATIENCE_S)

    def end_of_input(self) -> int:
        self._stdin.close()
        return self.popen.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE_S)

    def kill(self) -> None:
        """As by `kill -9`."""
        self.signal(signal.SIGKILL)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.kill()
        with contextlib.suppress(BrokenPipeError):  # it died with something unread
            self._stdin.close()
        self._reader.join(PATIENCE_S)
        self._stdout.close()


class Client(Talk):
    """Somebody at a running node's control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        super().__init__(path.name, self._socket.sendall, self._socket.makefile("rb"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(PATIENCE_S)
        self._socket.close()


class Stage:
    """A network and three nodes with the fake LLM, in a directory of their own. `settings` go into config.json."""

    PIDS = (1, 2, 3)

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.root = ROOT
        """Of the sources that are started from now on."""
        self.data = folder / "data"
        self.config = folder / "config.json"
        self.settings: dict[str, Any] = {
            "cluster": "contract", "orchestrator": {"port": free_port()}, "nodes": [{"id": pid} for pid in self.PIDS],
            "llm": {"provider": "fake"},
            # Longer than usual: what is compared must not hang on elections that a busy machine causes.
            "timing": {"heartbeat_ms": 50, "election_ms": 1500}, **settings,
        }
        self.config.write_text(json.dumps(self.settings))
        self.nodes: dict[int, Program] = {}
        self.network: Program
        self._started: list[Program] = []

    def __enter__(self) -> Stage:
        try:
            self.start_network()
            for pid in self.PIDS:
                self.start(pid)
            self.agreed()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.network.popen.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.network.signal(signal.SIGTERM)  # takes the nodes along that it has started
        for program in self._started:
            program.close()

    def start_network(self) -> None:
        self.network = self.program("network_server.py")
        self.network.wait("ready")

    def start(self, pid: int) -> None:
        self.nodes[pid] = self.program("node.py", str(pid))

    def program(self, *words: str, config: Path | None = None) -> Program:
        program = Program([*words], config or self.config, self.folder / f"{'-'.join(words)}.err", self.root)
        self._started.append(program)
        return program

    def client(self, pid: int) -> Client:
        return Client(self.data / f"node-{pid}.sock")

    def ask(self, pid: int, command: str) -> Event:
        """A command's result, asked for beside the sessions that are recorded."""
        client = self.client(pid)
        try:
            return client.do(command)
        finally:
            client.close()

    def agreed(self, pids: Iterable[int] = PIDS) -> Event:
        """Waits until these nodes hear each other, follow one leader and have applied the same; one's status."""
        pids = tuple(pids)

        def alike() -> Event | None:
            for pid in pids:
                self.nodes[pid].check()
            if not all((self.data / f"node-{pid}.sock").exists() for pid in pids):
                return None
            try:
                seen = [self.ask(pid, "status") for pid in pids]
            except (ConnectionRefusedError, FileNotFoundError):  # a dead node's socket, until it listens again
                return None
            linked = all({*pids} <= {status["node"], *status["links"]} for status in seen)
            views = {(status["leader"], status["applied"], status["decided"], status["digest"]) for status in seen}
            return seen[0] if linked and len(views) == 1 and seen[0]["leader"] in pids else None

        return until(alike, f"the nodes {pids} agree")

    def knock(self) -> None:
        """A stranger who speaks another protocol."""
        with socket.create_connection(("127.0.0.1", self.settings["orchestrator"]["port"]), PATIENCE_S) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while stranger.recv(4096):
                    pass
