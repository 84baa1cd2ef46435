"""An orchestrator and an operator who types, without a console; nodes that only connect."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

from api.base import Event, Failure, Record, encode
from config.config import Config
from config.config import parse as parse_config
from console.layout import Layout
from console.operator.prompt import OperatorPrompt
from console.operator.table import OPERATOR_TABLE, parse_line
from console.usage import UsageError
from orchestrator.service import Orchestrator
from orchestrator.supervisor import Supervisor
from tests.unit.net.net_tools import HOST, until

ROOT = Path(__file__).resolve().parents[3]

NODE_PROGRAM = """
    import asyncio, os, signal, sys
    sys.path.insert(0, {root!r})
    from net.link import NodeLink

    class Events:
        def on_up(self): print("up", flush=True)
        def on_down(self, reason): ...
        def on_message(self, src, payload): ...
        def on_peer_up(self, node): ...
        def on_peer_down(self, node): ...
        def on_refused(self, reason): ...

    async def main():
        link = NodeLink(host={host!r}, port={port}, cluster="demo", node=int(sys.argv[1]), secret=None,
                        incarnation=os.getpid(), events=Events())
        link.start()
        leave = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
        await leave.wait()
        print("told to leave", flush=True)

    asyncio.run(main())
"""


def configuration(folder: Path) -> Config:
    return parse_config(json.dumps({"nodes": [{"id": n} for n in (1, 2, 3, 4, 5)]}), folder / "config.json", ("fake",))


def seen(record: Record) -> dict[str, Any]:
    """As it looks to who reads its JSON."""
    found: dict[str, Any] = json.loads(encode(record))
    return found


class Operator:
    """Types commands at an orchestrator; background nodes run `program` instead of the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[dict[str, Any]] = []
        """As a program sees them."""
        self.config = configuration(folder)
        self.supervisor = Supervisor(self.config.path, self.config.data_dir, self._command)
        self.orchestrator = Orchestrator(
            self.config, self._on_event, parse_line, random=Random(1), supervisor=self.supervisor
        )
        self.prompt = OperatorPrompt(self.orchestrator)
        self.relay = self.orchestrator.relay
        self.port = 0
        self.program = folder / "node.py"

    def _on_event(self, event: Event) -> None:
        self.events.append(seen(event))

    def _command(self, node: int, config: Path) -> list[str]:
        return [sys.executable, str(self.program), str(node), "--config", str(config)]

    def write(self, text: str = NODE_PROGRAM, name: str = "node.py") -> None:
        self.program = self.folder / name
        self.program.write_text(textwrap.dedent(text).format(root=str(ROOT), host=HOST, port=self.port))

    async def type(self, line: str) -> dict[str, Any]:
        """Its result, as a program sees it."""
        try:
            typed = OPERATOR_TABLE.parse(1, line)
        except UsageError as wrong:
            return seen(Failure(error=str(wrong)))
        assert typed.entry is not None
        return seen(await typed.entry.run(self.prompt, typed.command, _nothing))

    async def ok(self, line: str) -> dict[str, Any]:
        result = await self.type(line)
        assert result["ok"], result
        return result

    async def error(self, line: str) -> str:
        result = await self.type(line)
        assert not result["ok"], result
        return str(result["error"])

    def status_line(self, width: int | None = None) -> str:
        return self.prompt.status_line(Layout(width))

    def complete(self, *words: str) -> list[str]:
        return list(OPERATOR_TABLE.complete(self.prompt, words))

    async def links(self) -> list[list[int]]:
        found: list[list[int]] = (await self.ok("status"))["links"]
        return found

    async def process(self, node: int) -> asyncio.subprocess.Process:
        """A node's process that the orchestrator has not started."""
        started = await asyncio.create_subprocess_exec(*self._command(node, self.config.path))
        await until(lambda: self.relay.is_up(node))
        return started


async def _nothing() -> None:
    """There are no earlier commands."""


@contextlib.asynccontextmanager
async def operator_of(folder: Path) -> AsyncIterator[Operator]:
    made = Operator(folder)
    made.port = await made.orchestrator.start(0)
    made.write()
    try:
        yield made
    finally:
        await made.orchestrator.close()
