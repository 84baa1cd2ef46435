"""A node's service on an engine that decides at once: what one operation costs between the engine and a user.

The LLM has a question that it never answers, as in bench/ours.py: what is asked from then on waits, as data.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from api.base import Result, encode, result_line
from config.llm_settings import LlmSettings
from console.command_pipeline import CommandPipeline
from console.command_table import TypedCommand
from console.lines import Line
from console.node.executor import NodeExecutor
from console.node.table import NODE_TABLE
from engine.interface import AppliedOperation, Busy, EngineListener, EngineStatus, MemberChange, Membership, OperationId
from kvstore.operations import Create, Query, StoreOperation
from kvstore.payloads import encode as encode_operation
from kvstore.store import Store
from llm.provider import Progress, Prompt, Reply
from llm.request_scheduler import OnProgress, RequestScheduler
from server.event_feed import Level
from server.node import NodeService
from server.responder import Done
from server.session import Session

NUMBER, OTHER = 1, 2
MEMBERS = (1, 2, 3, 4, 5)
NEVER_S = 3000.0


class ImmediateEngine:
    """Of node 1: what was submitted is decided by the next `decide`."""

    def __init__(self) -> None:
        self.store = Store()
        self._listener: EngineListener
        self._submitted: deque[bytes] = deque()
        self._tickets = 0
        self._position = 0

    def start(self, listener: EngineListener) -> None:
        self._listener = listener

    def submit(self, operation: StoreOperation) -> int:
        self._submitted.append(encode_operation(operation))
        self._tickets += 1
        return self._tickets

    def decide(self) -> None:
        first = self._tickets - len(self._submitted) + 1
        for ticket in range(first, self._tickets + 1):
            self.apply(self._submitted.popleft(), NUMBER, ticket)

    def apply(self, payload: bytes, origin: int = OTHER, ticket: int = 0) -> None:
        self._position = at = self._position + 1
        outcome = self.store.apply(at, payload)
        self._listener.on_applied(
            AppliedOperation(at, OperationId(origin, 1, at), (1, 1, at), outcome, ticket, live=True)
        )

    def read(self) -> asyncio.Future[None]:
        reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reading.set_result(None)
        return reading

    def status(self) -> EngineStatus:
        at, queued = self._position, len(self._submitted)
        return EngineStatus(NUMBER, "leader", NUMBER, (1, 1, at + 1), at, at, queued, "voter", MEMBERS[1:])

    def membership(self) -> Membership | None:
        return None

    def change_members(self, change: MemberChange, node: int) -> asyncio.Future[None]:
        raise Busy("the members of this engine never change")

    def majority_reachable(self) -> bool:
        return True

    def read_timeout_s(self) -> float:
        return 1.0

    def send_hint(self, node: int, payload: bytes) -> None:
        """There are no other nodes."""

    async def close(self) -> None:
        """Nothing is stored."""


class _SilentProvider:
    """An LLM that answers one question at a time, and none ever."""

    name = model = "silent"
    parallel = 1

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        self.asked.set()
        never: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """It holds nothing."""


class _Lines:
    """Writes answers as the control socket does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    async def answer(self, typed: TypedCommand, result: Result) -> None:
        self.written.append(result_line(result.replies_to or typed.name, typed.line, encode(result)))

    def waiting(self, typed: TypedCommand, reason: str) -> None:
        """Nothing waits here for long."""


@asynccontextmanager
async def _running(contexts: Sequence[str]) -> AsyncIterator[tuple[ImmediateEngine, Session]]:
    """With these conversations, and one session that is quiet."""
    engine, provider, settings = ImmediateEngine(), _SilentProvider(), LlmSettings(timeout_s=NEVER_S)

    def make_scheduler(done: Done, on_progress: OnProgress) -> RequestScheduler:
        return RequestScheduler(settings, lambda: provider, done, on_progress=on_progress)

    service = NodeService(NUMBER, MEMBERS, engine, make_scheduler, emit=lambda event: None, poll_timeout_s=NEVER_S)
    session = service.open_session(lambda told: None, Level.QUIET)
    service.start()
    try:
        for context in ("busy", *dict.fromkeys(contexts)):
            engine.apply(encode_operation(Create(context)))
        engine.apply(encode_operation(Query("busy", "What is Paxos?")))
        await provider.asked.wait()
        yield engine, session
    finally:
        await service.close()


async def applied(contexts: Sequence[str], payloads: Sequence[bytes]) -> float:
    """Microseconds for each operation of another node, its application to the store included."""
    async with _running(contexts) as (engine, _):
        begun = time.process_time()
        for payload in payloads:
            engine.apply(payload)
        return (time.process_time() - begun) / len(payloads) * 1e6


async def answered(contexts: Sequence[str], lines: Sequence[str], size: int) -> float:
    """Microseconds for each line, from its text to its result as a line of JSON; `size` lines are under way at once."""
    async with _running(contexts) as (engine, session):
        writer = _Lines()
        pipeline = CommandPipeline(NODE_TABLE, NodeExecutor(session), writer, NEVER_S)
        begun = time.process_time()
        for start in range(0, len(lines), size):
            for number, text in enumerate(lines[start : start + size], start + 1):
                await pipeline.take(Line(number, text))
            engine.decide()
            await pipeline.finish(None)
        used = time.process_time() - begun
        await pipeline.close()
    refused = next((line for line in writer.written if b'"ok":true' not in line), None)
    if refused is not None or len(writer.written) != len(lines):
        raise RuntimeError(f"{len(writer.written)} of {len(lines)} lines answered; one was refused: {refused!r}")
    return used / len(lines) * 1e6
