"""A session with an engine that decides when the test says so, and a prompt to type at."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from msgspec import structs

from api.base import Failure, Result
from api.base import encode as encode_record
from api.errors import InvalidCommand
from console import Layout, TypedCommand, UsageError, expectation
from console.node.event_views import session_event_text
from console.node.executor import NodeExecutor
from console.node.table import NODE_TABLE
from engine.interface import (
    AppliedOperation,
    Busy,
    EngineListener,
    EngineStatus,
    MemberChange,
    Membership,
    NotUnderstood,
    OperationId,
)
from kvstore.operations import Candidate, StoreOperation
from kvstore.payloads import encode
from kvstore.store import Outcome, Store
from server.applied_log import AppliedLog
from server.event_feed import Level, SessionEvent
from server.explain_text import Sentence
from server.session import Session

ME = 2
MEMBERS = (1, 2, 3, 4, 5)
LAYOUT = Layout(60)


class AppliedListener(Protocol):
    def on_applied(self, applied: AppliedOperation) -> None: ...


class FakeEngine:
    """Of node 2 of 5, alone with the test."""

    def __init__(self, room: int = 1000) -> None:
        self.store = Store()
        self.room = room
        self.not_understood: type[StoreOperation] | None = None
        """Some member does not know these."""
        self.waiting: deque[tuple[StoreOperation, int]] = deque()
        """(operation, ticket)."""
        self.tickets = 0
        self.reads: list[asyncio.Future[None]] = []
        self.majority = True
        self.links: tuple[int, ...] = (1, 4, 5)
        self.lost: tuple[int, ...] = ()
        """Voters without disks; no quorum can form."""
        self.position = 0
        self.hints: list[tuple[int, bytes]] = []
        self.listener: AppliedListener | None = None

    def start(self, listener: EngineListener) -> None:
        self.listener = listener

    async def close(self) -> None:
        """Nothing is stored."""

    def send_hint(self, node: int, payload: bytes) -> None:
        self.hints.append((node, payload))

    def submit(self, operation: StoreOperation) -> int:
        if self.not_understood is not None and isinstance(operation, self.not_understood):
            raise NotUnderstood("node 3 runs an older release")
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

    def membership(self) -> Membership | None:
        return Membership("00c1", 3, dict.fromkeys(MEMBERS, True))

    def change_members(self, change: MemberChange, node: int) -> asyncio.Future[None]:
        changing = asyncio.get_running_loop().create_future()
        changing.set_result(None)
        return changing

    def status(self) -> EngineStatus:
        queued = len(self.waiting)
        return EngineStatus(ME, "follower", 4, (4, 4, 8), 7, 7, queued, "voter", self.links, (), self.lost, 5)

    def majority_reachable(self) -> bool:
        return self.majority

    def read_timeout_s(self) -> float:
        return 0.01

    def apply(self, operation: StoreOperation, origin: int, ticket: int = 0, live: bool = True) -> Outcome:
        """As if decided, from any node."""
        self.position += 1
        outcome = self.store.apply(self.position, encode(structs.replace(operation, at=1_700_000_000_000)))
        name, ballot = OperationId(origin, 1, self.position), (4, 4, self.position)
        assert self.listener is not None
        self.listener.on_applied(AppliedOperation(self.position, name, ballot, outcome, ticket, live))
        return outcome

    def decide(self) -> None:
        """The oldest submission."""
        operation, ticket = self.waiting.popleft()
        self.apply(operation, ME, ticket)


class Answered(dict[str, Any]):
    """A result's values; `shown` is what people see of it."""

    def __init__(self, result: Result, typed: TypedCommand) -> None:
        super().__init__(json.loads(encode_record(result)))
        self.result = result
        self.shown = typed.view(result, LAYOUT)


class Prompt:
    """A session, its output, and a way to type."""

    listening: Callable[[Sequence[Sentence]], None] | None = None
    to_be_said: Sequence[Sentence] = ()

    def listen(self, listener: Callable[[Sequence[Sentence]], None]) -> None:
        self.listening = listener

    def flush(self) -> None:
        """Tells what the test has put here."""
        if self.listening is not None and self.to_be_said:
            said, self.to_be_said = self.to_be_said, []
            self.listening(said)

    def leave(self, listener: Callable[[Sequence[Sentence]], None]) -> None:
        if self.listening == listener:
            self.listening = None

    def __init__(self, room: int = 1000) -> None:
        self.engine = FakeEngine(room)
        self.applied_log = AppliedLog()
        self.engine.listener = self
        self.events: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.open()

    def open(self, on_screen: bool = True, **options: Any) -> None:
        self.session = Session(
            self.engine, self.applied_log, MEMBERS, self.tell, explanations=self, on_screen=on_screen, **options
        )
        self.executor = NodeExecutor(self.session)
        self._last: asyncio.Future[Answered] | None = None

    def on_applied(self, applied: AppliedOperation) -> None:
        self.applied_log.add(applied)
        self.session.on_applied(applied)

    def tell(self, told: SessionEvent) -> None:
        self.events.append(json.loads(encode_record(told.event)))
        text = session_event_text(told)
        if text is not None:
            self.shown.append(text if isinstance(text, str) else text(LAYOUT))

    def type(self, text: str) -> asyncio.Future[Answered]:
        """As the console does it. Raises UsageError for a line that is no command of any kind."""
        last = self._last

        async def earlier() -> None:
            if last is not None:
                await asyncio.wait([last])

        try:
            typed = NODE_TABLE.parse(1, text, self.executor.fill)
        except UsageError as wrong:
            if wrong.name is None:
                raise
            typed = TypedCommand(1, wrong.name)
            started: Awaitable[Result] = _ready(Failure(error=str(wrong), kind="usage"))
        else:
            started = _started(typed, self.executor, earlier)
        self._last = asyncio.ensure_future(_answered(typed, started))
        return self._last

    async def do(self, text: str) -> Answered:
        """Types a command, decides what it submits, and returns the result."""
        result = self.type(text)
        while self.engine.waiting:
            self.engine.decide()
        while not result.done():
            await self.step()
        return await result

    async def step(self) -> None:
        """Lets tasks run, and decides submitted operations, if any."""
        await asyncio.sleep(0.001)  # files are read in a thread
        if self.engine.waiting:
            self.engine.decide()

    def candidates(self, context: str, turn: int, *nodes: int) -> None:
        for node in nodes:
            self.engine.apply(Candidate(context, turn, node, f"answer of {node}", None, f"model-{node}", 1.25), node)

    @property
    def level(self) -> Level:
        return self.session.level


def shown(text: str, answered: Answered) -> str:
    """What people would see of this result if they had typed `text`."""
    return NODE_TABLE.parse(1, text).view(answered.result, LAYOUT)


def _started(typed: TypedCommand, executor: NodeExecutor, earlier: Callable[[], Awaitable[None]]) -> Awaitable[Result]:
    try:
        return typed.run(executor, earlier)
    except InvalidCommand as mistake:
        assert typed.entry is not None
        return _ready(Failure(error=f"{mistake}; {expectation(typed.entry.usage)}", kind="usage"))


async def _ready(result: Result) -> Result:
    return result


async def _answered(typed: TypedCommand, started: Awaitable[Result]) -> Answered:
    return Answered(await started, typed)


def at_a_prompt(scenario: Callable[[Prompt], Awaitable[None]], room: int = 1000) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await scenario(Prompt(room))

    asyncio.run(run())
