"""A session with a node that decides when the test says so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from console import Layout, Result
from console.run import Text
from console.usage import parse
from engine.interface import AppliedOperation, Busy, EngineListener, EngineStatus, OperationId
from kvstore.operations import Candidate, StoreOperation, encode
from kvstore.store import Outcome, Store
from server.applied_log import AppliedLog
from server.explain_text import Sentence
from server.session import COMMANDS, Session

ME = 2
PAPER = Layout(60)


class FakeNode:
    """Node 2 of 5, alone with the test."""

    def __init__(self, room: int = 1000) -> None:
        self.store = Store()
        self.journal = AppliedLog()
        self.room = room
        self.waiting: deque[tuple[StoreOperation, int]] = deque()
        self.tickets = 0
        self.reads: list[asyncio.Future[None]] = []
        self.majority = True
        self.position = 0
        self.session: Session | None = None

    def start(self, listener: EngineListener) -> None:
        raise NotImplementedError

    def send_hint(self, node: int, payload: bytes) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def submit(self, operation: StoreOperation) -> int:
        if len(self.waiting) >= self.room:
            raise Busy
        self.tickets += 1
        self.waiting.append((operation, self.tickets))
        return self.tickets

    def read(self) -> asyncio.Future[None]:
        if not self.room:
            raise Busy
        self.reads.append(asyncio.get_running_loop().create_future())
        if self.majority:
            self.reads[-1].set_result(None)
        return self.reads[-1]

    def status(self) -> EngineStatus:
        return EngineStatus(ME, "follower", 4, (4, 4, 8), 7, 7, len(self.waiting), "voter", (1, 4, 5))

    def majority_reachable(self) -> bool:
        return self.majority

    def read_timeout_s(self) -> float:
        return 0.01

    def apply(self, command: StoreOperation, origin: int, ticket: int = 0) -> Outcome:
        """As if decided, from any node."""
        self.position += 1
        outcome = self.store.apply(self.position, encode(structs.replace(command, at=1_700_000_000_000)))
        ballot = (4, 4, self.position)
        applied = AppliedOperation(
            self.position, OperationId(origin, 1, self.position), ballot, outcome, ticket, live=True
        )
        self.journal.note(applied)
        assert self.session is not None
        self.session.on_applied(applied)
        return outcome

    def decide(self) -> None:
        """The oldest submission."""
        command, ticket = self.waiting.popleft()
        self.apply(command, ME, ticket)


class Bench:
    """A session, what it said, and a way to type."""

    listening: Callable[[Sequence[Sentence]], None] | None = None

    def listen(self, listener: Callable[[Sequence[Sentence]], None]) -> None:
        self.listening = listener

    def leave(self, listener: Callable[[Sequence[Sentence]], None]) -> None:
        self.listening = None

    def __init__(self, room: int = 1000) -> None:
        self.node = FakeNode(room)
        self.events: list[Mapping[str, Any]] = []
        self.shown: list[str] = []
        self.session = Session(self.node, self.emit, journal=self.node.journal, node_id=ME, nodes=5, commentary=self)
        self.node.session = self.session
        self._last: asyncio.Future[Result] | None = None

    def emit(self, event: Mapping[str, Any], text: Text) -> None:
        self.events.append(event)
        if text is not None:
            self.shown.append(text if isinstance(text, str) else text(PAPER))

    def type(self, text: str) -> asyncio.Future[Result]:
        """As the console does it."""
        command, last = parse(1, text, COMMANDS, self.session.fill), self._last

        async def earlier() -> None:
            if last is not None:
                await asyncio.wait([last])

        self._last = asyncio.ensure_future(_awaited(self.session.submit(command, earlier)))
        return self._last

    async def do(self, text: str) -> Result:
        """Types, decides whatever that submits, and returns the result."""
        result = self.type(text)
        while self.node.waiting:
            self.node.decide()
        while not result.done():
            await self.step()
        return await result

    async def step(self) -> None:
        """Lets things go on, and decides what was submitted, if it was."""
        await asyncio.sleep(0.001)  # files are read in a thread
        if self.node.waiting:
            self.node.decide()

    def candidates(self, context: str, turn: int, *nodes: int) -> None:
        for node in nodes:
            self.node.apply(Candidate(context, turn, node, f"answer of {node}", None, f"model-{node}", 1.25), node)


async def _awaited(awaitable: Awaitable[Result]) -> Result:
    return await awaitable


def bench(scenario: Callable[[Bench], Awaitable[None]], room: int = 1000) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario(Bench(room))

    asyncio.run(run())
