"""A cluster of real processes for tests: each one's stdin takes commands, its stdout is read as JSON lines.

Nothing here sleeps for a fixed time: every wait has a condition and a timeout.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster.forked import start
from tests.free_ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0
"""The timeout of a wait on a loaded machine; a healthy cluster takes milliseconds."""

Event = dict[str, Any]


class Process:
    """One entry point with `--json`, its events so far, and waits for those to come."""

    def __init__(self, arguments: list[str], log: Path, prefix: Sequence[str] = ()) -> None:
        """`prefix`: a command that runs it, in a network of its own, say."""
        self.arguments = arguments
        self.lines = 0
        self.events: list[Event] = []
        self._arrived = threading.Condition()
        self.log = log
        with log.open("ab") as errors:
            self.popen = start(arguments, {**os.environ, "GEMINI_API_KEY": "", "GOOGLE_API_KEY": ""}, errors, prefix)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            event = json.loads(line)
            with self._arrived:
                self.events.append(event)
                self._arrived.notify_all()
        with self._arrived:
            self.events.append({"event": "end of output"})
            self._arrived.notify_all()

    def send(self, *commands: str) -> int:
        """Types commands; returns the number of the last line."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("".join(f"{command}\n" for command in commands).encode())
        self.popen.stdin.flush()
        self.lines += sum(command.count("\n") + 1 for command in commands)
        return self.lines

    def wait(self, condition: Callable[[Event], bool], within: float = PATIENCE_S, since: int = 0) -> Event:
        """The first event from index `since` on that meets the condition."""
        deadline = time.monotonic() + within
        index = since
        with self._arrived:
            while True:
                while index < len(self.events):
                    if condition(self.events[index]):
                        return self.events[index]
                    index += 1
                if not self._arrived.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise TimeoutError(f"{self.arguments}: not seen within {within} s; last: {self.events[-5:]}; "
                                       f"stderr: {self.log.read_text()[-2000:]}")

    def result(self, line: int, within: float = PATIENCE_S) -> Event:
        return self.wait(lambda event: event["event"] == "result" and event["line"] == line, within)

    def do(self, command: str, within: float = PATIENCE_S) -> Event:
        """Types a command and returns its result."""
        return self.result(self.send(command), within)

    def ok(self, command: str, within: float = PATIENCE_S) -> Event:
        result = self.do(command, within)
        assert result["ok"], result
        return result

    def read(self, command: str) -> Event:
        """Asks until the answer is not stale: a node that is kept from asking the others for a while tells what it
        has, and says so."""
        def current() -> Event | None:
            result = self.do(command)
            return result if result["ok"] and not result["stale"] else None

        found: Event = until(current)
        return found

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """As by `kill -9`."""
        self.popen.kill()
        self.popen.wait()

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def finish(self, within: float = PATIENCE_S) -> int:
        """Ends the input and waits for the process to exit by itself; returns its exit code."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()
        return self.popen.wait(within)

    def close(self) -> None:
        if self.alive:
            self.popen.kill()
        self.popen.wait()
        assert self.popen.stdin is not None and self.popen.stdout is not None
        try:
            self.popen.stdin.close()
        except BrokenPipeError:
            self.popen.stdin = None  # it died with unread input: there is nothing to flush to
        self._reader.join()
        self.popen.stdout.close()


CALM = {"heartbeat_ms": 50, "election_ms": 3000}
"""Of a cluster whose leader is to stay. (A node that dies is noticed as soon as ever: its connection closes.)"""


class Cluster:
    """The orchestrator and its nodes, in their own directory, on a free port. With an `engine` other than the embedded
    one there is no orchestrator."""

    def __init__(self, folder: Path, size: int = 5, llm: dict[str, Any] | None = None, **config: Any) -> None:
        self.folder = folder
        self.pids = list(range(1, size + 1))
        self.config = folder / "config.json"
        self.settings: dict[str, Any] = {
            "cluster": "test", "orchestrator": {"port": free_port()}, "nodes": [{"id": pid} for pid in self.pids],
            "llm": llm or {"provider": "fake"}, **config,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(json.dumps(self.settings))
        self.nodes: dict[int, Process] = {}
        self.network: Process
        self.started: list[Process] = []
        self._complete = False
        """All that were started first vote."""

    def __enter__(self) -> Cluster:
        if "engine" not in self.settings:
            self._begin()
        self.start(self.pids)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            process.close()
        for lock in self.folder.glob("data/*.lock"):
            self._end_background(json.loads(lock.read_text() or "{}"))

    def _end_background(self, holder: dict[str, Any]) -> None:
        """Nodes started by `fixNode` outlive a killed orchestrator, as intended, but must not outlive this test."""
        if holder.get("background"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder["os_pid"], signal.SIGKILL)

    def _begin(self) -> None:
        """Starts the network, at another port if somebody got this one since it was found free."""
        try:
            self.start_network()
        except AssertionError:
            if "in use" not in self.network.log.read_text():
                raise
            self.settings["orchestrator"]["port"] = free_port()
            self.config.write_text(json.dumps(self.settings))
            self.start_network()

    def start_network(self) -> Process:
        self.network = self._process(["network_server.py"], "network")
        first = self.network.wait(lambda event: event["event"] in ("ready", "end of output"))
        assert first["event"] == "ready", self.network.log.read_text()
        return self.network

    def start(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self.nodes[pid] = self._process(["node.py", str(pid)], f"node-{pid}")

    def _process(self, arguments: list[str], name: str) -> Process:
        process = Process([*arguments, "--config", str(self.config), "--json"], self.folder / f"{name}.err")
        self.started.append(process)
        return process

    def owner(self) -> Event:
        """Whose the data directory is, by the file in it."""
        said: Event = json.loads((self.folder / "data" / "owner.json").read_text())
        return said

    def up(self) -> list[int]:
        return [pid for pid, process in self.nodes.items() if process.alive]

    def status(self, pid: int) -> Event:
        return self.nodes[pid].do("status")

    def statuses(self) -> dict[int, Event]:
        return {pid: self.status(pid) for pid in self.up()}

    def leader(self, within: float = PATIENCE_S, among: Iterable[int] | None = None) -> int:
        """The node that leads, once those that run (or `among` them) agree on it."""
        pids = list(among) if among is not None else self.up()
        seen: dict[int, Event] = {}

        def agreed() -> int | None:
            seen.update((pid, self.status(pid)) for pid in pids)
            leaders = {status["leader"] for status in seen.values()}
            (leader, *others) = leaders
            leads = not others and leader in seen and seen[leader]["role"] == "leader"
            return leader if leads else None

        try:
            found: int = until(agreed, within)
        except TimeoutError as error:
            error.add_note(f"the nodes said: {seen}")
            raise
        if not self._complete:
            until(partial(self._all_vote, found))
            self._complete = True
        return found

    def _all_vote(self, leader: int) -> bool:
        """Those that start when others have just founded the cluster do a moment later, and are not relied on before.
        (On etcd no node votes.)"""
        if "engine" in self.settings:
            return True
        shown = self.nodes[leader].do("members")  # refused before the founding
        named = shown["ok"] and all(member["votes"] for member in shown["members"] if member["node"] in self.up())
        return named and all(status["standing"] == "voter" for status in self.statuses().values())  # and they know it

    def converged(self, within: float = PATIENCE_S, among: Iterable[int] | None = None) -> Event:
        """Waits until all (or those `among`) have applied the same and have equal digests; returns one's status."""
        pids = list(among) if among is not None else self.up()

        def equal() -> Event | None:
            seen = [self.status(pid) for pid in pids]
            same = len({(status["applied"], status["decided"], status["digest"]) for status in seen}) == 1
            return seen[0] if same else None

        found: Event = until(equal, within)
        return found


def until(condition: Callable[[], Any], within: float = PATIENCE_S, every: float = 0.02) -> Any:
    """The first true value of `condition`, which is polled; TimeoutError if there is none in time."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s: {condition}")
        time.sleep(every)
