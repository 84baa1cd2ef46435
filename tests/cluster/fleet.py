"""The processes under test: five nodes, each with its own folder as its disk, and the network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from api.sockets import address, socket_path
from tests.cluster.harness import ROOT
from tests.cluster.talk import LONGEST_LINE, Talk
from tests.free_ports import free_port

START_S = 60.0
"""The timeout of a start on a loaded machine."""

_KEPT_EVENTS = ("ready", "failed", "connected", "disconnected", "refused", "learner", "leader", "node_up", "node_down")
_SESSION_S = 5.0


class Child:
    """A process that is restarted repeatedly. Unexpected events go to `problems`."""

    def __init__(self, name: str, arguments: list[str], folder: Path, problems: list[str]) -> None:
        self.name = name
        self.incarnation = 0
        self.up = asyncio.Event()
        """It has reported that it is ready, and has not exited since."""
        self.prompt: Talk | None = None
        self.code: int | None = None
        """The exit status of the last run."""
        self.last_words = ""
        """Why it stopped, if it reported a reason."""
        self.doomed = False
        """The test itself ends this run of the process."""
        self.leader: int | None = None
        """The leader, according to its prompt."""
        self._arguments = arguments
        self._out = folder / f"{name}.out"
        self._err = folder / f"{name}.err"
        self._problems = problems
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._watching is not None and not self._watching.done()

    async def start(self) -> bool:
        """Returns when it is ready (True) or has exited."""
        self.incarnation += 1
        self.doomed, self.last_words, self.code = False, "", None
        self._ready = asyncio.Event()
        with self._err.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=errors, limit=LONGEST_LINE,
                env={**os.environ, "GEMINI_API_KEY": "", "GOOGLE_API_KEY": ""},
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self.prompt = Talk(self._process.stdout, self._process.stdin, self._on_event)
        self._watching = asyncio.ensure_future(self._watch(self._process, self.prompt))
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait([ready, self._watching], timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ready.is_set() and self.running:
            self._problems.append(f"{self.name} was not ready within {START_S:g} s")
        return self._ready.is_set() and self.running

    async def gone(self, within: float) -> bool:
        """Whether it exits within this many seconds."""
        if self._watching is not None:
            await asyncio.wait([self._watching], timeout=within)
        return not self.running

    def kill(self) -> None:
        """As by `kill -9`."""
        self.doomed = True
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def close(self) -> None:
        if self.running:
            self.kill()
            await self.gone(START_S)

    async def _watch(self, process: asyncio.subprocess.Process, prompt: Talk) -> None:
        code = await process.wait()
        await prompt.ended()  # it may have reported why
        await prompt.close()
        self.up.clear()
        self.code = code
        if not self.doomed:
            which = f"{self.name} (run {self.incarnation})"
            self._problems.append(f"{which} exited by itself with code {code}; see {self._err}")

    def _on_event(self, line: bytes) -> None:
        event = msgspec.json.decode(line)
        kind = event["event"]
        if kind not in _KEPT_EVENTS:
            return
        with self._out.open("ab") as out:
            out.write(f"{time.monotonic():.3f} incarnation {self.incarnation} ".encode() + line)
        if kind == "ready":
            self.up.set()
            self._ready.set()
        elif kind == "failed":
            self.last_words = event["error"]
        elif kind == "leader":
            self.leader = event["leader"]


class Member(Child):
    """A node. `data` is its disk."""

    def __init__(self, pid: int, config: Path, data: Path, folder: Path, problems: list[str]) -> None:
        super().__init__(f"node-{pid}", ["node.py", str(pid), "--config", str(config), "--json"], folder, problems)
        self.pid = pid
        self.data = data

    async def session(self) -> Talk | None:
        """Another user at its control socket; None if it is not available."""
        deadline = time.monotonic() + _SESSION_S
        while self.up.is_set() and time.monotonic() < deadline:
            with contextlib.suppress(OSError), address(socket_path(self.data, self.pid)) as name:
                return Talk(*await asyncio.open_unix_connection(name, limit=LONGEST_LINE))
            await asyncio.sleep(0.05)  # it is ready slightly before its socket; a file's creation provides no event
        return None

    async def status(self, within: float = START_S) -> dict[str, Any] | None:
        """Its status; None if it does not answer."""
        if not self.up.is_set() or self.prompt is None:
            return None
        with contextlib.suppress(TimeoutError):
            answer = await asyncio.wait_for(self.prompt.say("status"), within)
            return None if answer is None else answer.said
        return None

    def lose_disk(self) -> None:
        for path in self.data.glob(f"node-{self.pid}.db*"):
            path.unlink()


class Fleet:
    """All of them. Files, logs and disks are in `folder`."""

    def __init__(self, folder: Path, size: int = 5) -> None:
        self.folder = folder
        self.problems: list[str] = []
        port = free_port()
        self.members = {pid: self._member(pid, size, port) for pid in range(1, size + 1)}
        config = self._config("network", size, port)
        arguments = ["network_server.py", "--config", str(config), "--json"]
        self.network = Child("network", arguments, folder, self.problems)

    def _member(self, pid: int, size: int, port: int) -> Member:
        data = self.folder / f"disk-{pid}"
        data.mkdir(parents=True)
        return Member(pid, self._config(data.name, size, port), data, self.folder, self.problems)

    def _config(self, data: str, size: int, port: int) -> Path:
        path = self.folder / f"config-{data}.json"
        path.write_text(json.dumps({
            "cluster": "torture", "data_dir": data, "orchestrator": {"port": port},
            # Each has a directory of its own, so that they could not share a drawn one where the system needs that.
            "secret": "of all that are tortured here",
            "nodes": [{"id": pid} for pid in range(1, size + 1)], "llm": {"provider": "fake", "delay_s": 0.02},
        }))  # fmt: skip
        return path

    @property
    def leader(self) -> int | None:
        """The leading node, according to most prompts."""
        told = [member.leader for member in self.members.values() if member.up.is_set() and member.leader is not None]
        return max(told, key=told.count, default=None)

    async def start(self) -> None:
        """Returns when all of them run, and every node votes."""
        await self.network.start()
        await asyncio.gather(*(member.start() for member in self.members.values()))
        await self.all_show(lambda seen: all(one["standing"] == "voter" and one["leader"] for one in seen), START_S)

    async def all_show(self, condition: Any, within: float) -> list[dict[str, Any]]:
        """Waits until the statuses of all nodes meet the condition. Raises TimeoutError."""
        deadline = time.monotonic() + within
        while True:
            asked = await asyncio.gather(*(member.status(within) for member in self.members.values()))
            seen = [status for status in asked if status is not None]
            if len(seen) == len(self.members) and condition(seen):
                return seen
            if time.monotonic() > deadline:
                shown = ("node", "role", "leader", "ballot", "decided", "applied", "queued", "digest", "links")
                brief = [{key: status.get(key) for key in shown} for status in seen]
                raise TimeoutError(f"{len(seen)} of {len(self.members)} nodes answer: {brief}")
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        for child in (*self.members.values(), self.network):
            await child.close()
