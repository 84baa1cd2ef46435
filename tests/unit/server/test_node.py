"""The service of a node: what its engine tells reaches the right ones, and nothing calls back before the start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from api.base import Event, Failure
from api.node_commands import CreateCommand
from api.node_events import (
    ConnectedEvent,
    CreatedEvent,
    DisconnectedEvent,
    FailedEvent,
    LeaderEvent,
    LearnerEvent,
    ProgressEvent,
    RefusedEvent,
    RemovedEvent,
    StrangerEvent,
)
from api.node_results import CreateResult
from config.llm_settings import LlmSettings
from engine.interface import EngineListener
from kvstore.operations import Candidate, Create, IfCreatedAt, Query
from llm.request_scheduler import OnProgress, RequestScheduler
from server.event_feed import Level, SessionEvent
from server.node import NodeService
from server.responder import Done
from server.session import Session
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import ME, MEMBERS, FakeEngine
from tests.unit.server.test_responder import Llm


class Node:
    """A node whose engine decides when the test says so."""

    def __init__(self, room: int = 1000) -> None:
        self.engine = FakeEngine(room)
        self.events: list[Event] = []
        self.told: list[SessionEvent] = []
        self.llm = Llm()
        self.service = NodeService(
            ME, MEMBERS, self.engine, self._make_scheduler, emit=self.events.append, poll_timeout_s=1000
        )
        self.listener: EngineListener = self.service

    def _make_scheduler(self, done: Done, on_progress: OnProgress) -> RequestScheduler:
        return RequestScheduler(LlmSettings(), lambda: self.llm, done, on_progress=on_progress)

    def session(self, level: Level = Level.NORMAL) -> Session:
        return self.service.open_session(self.told.append, level)

    def told_of(self, kind: type[Event]) -> list[Event]:
        return [told.event for told in self.told if isinstance(told.event, kind)]


def run(scenario: Callable[[Node], Awaitable[None]], room: int = 1000) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            node = Node(room)
            assert node.engine.listener is None and not node.engine.reads, "nothing begins before the start"
            node.service.start()
            await scenario(node)
            await node.service.close()

    asyncio.run(main())


def test_an_operation_is_told_before_it_is_answered_and_only_to_its_user_as_theirs() -> None:
    async def scenario(node: Node) -> None:
        seen: list[tuple[str, bool, bool]] = []

        def note(name: str) -> Session:
            def tell(told: SessionEvent) -> None:
                if isinstance(told.event, CreatedEvent):
                    seen.append((name, told.mine, answer.done()))

            return node.service.open_session(tell)

        mine, _ = note("mine"), note("other")
        answer = mine.create(CreateCommand("c1"))
        node.engine.decide()
        assert ("mine", True, False) in seen and {(name, own) for name, own, _ in seen} == {
            ("mine", True), ("other", False)
        }
        assert await answer == CreateResult(context="c1")

    run(scenario)


def test_what_was_applied_before_a_restart_is_remembered_and_told_to_nobody() -> None:
    async def scenario(node: Node) -> None:
        session = node.session()
        node.engine.apply(Create("old"), 3, live=False)
        node.engine.apply(Create("new"), 3)
        assert [event.context for event in node.told_of(CreatedEvent) if isinstance(event, CreatedEvent)] == ["new"]
        assert [logged.context for logged in node.service._applied_log.last(9)] == ["old", "new"]
        assert list(session.conversations) == ["old", "new"]

    run(scenario)


def test_what_a_user_wanted_is_seen_through_after_they_have_gone() -> None:
    async def scenario(node: Node) -> None:
        session = node.session()
        for number in range(5):
            session.create(CreateCommand(f"c{number}"))
        assert len(node.engine.waiting) == 2, "there is no more room"
        told = len(node.told)
        node.service.close_session(session)
        while node.engine.waiting:
            node.engine.decide()
        assert list(node.engine.store.conversations) == [f"c{number}" for number in range(5)]
        assert len(node.told) == told, "nobody is there to be told"
        assert not node.service._sessions

    run(scenario, room=2)


def test_an_outcome_that_will_not_be_known_ends_the_waiting() -> None:
    async def scenario(node: Node) -> None:
        session = node.session()
        answer = session.create(CreateCommand("c1"))
        ((_, ticket),) = node.engine.waiting
        node.listener.on_outcome_unknown(ticket + 1)
        assert not answer.done()
        node.listener.on_outcome_unknown(ticket)
        result = await answer
        assert isinstance(result, Failure) and "may still take effect" in result.error
        assert session.idle

    run(scenario)


def test_the_node_asks_its_llm_and_submits_what_it_says() -> None:
    async def scenario(node: Node) -> None:
        await until(lambda: node.service._responder._caught_up)
        node.engine.apply(Create("c1"), 3)
        node.engine.apply(Query("c1", "why?"), 3)
        await until(lambda: bool(node.engine.waiting))
        ((operation, _),) = node.engine.waiting
        assert isinstance(operation, IfCreatedAt) and operation.created == 1
        assert isinstance(operation.operation, Candidate) and operation.operation.node == ME
        assert [to for to, _ in node.engine.hints] == [3], "where it was asked, its progress is told"

    run(scenario)


def test_hints_reach_the_sessions() -> None:
    async def scenario(node: Node) -> None:
        session = node.session()
        session.create(CreateCommand("c1"))
        node.engine.decide()
        node.engine.apply(Query("c1", "why?"), ME)
        node.listener.on_hint(4, b"nonsense")
        node.listener.on_hint(4, msgspec.msgpack.encode(["c1", 1, 7]))
        assert node.told_of(ProgressEvent) == [], "it was asked by somebody else"

    run(scenario)


def test_what_concerns_the_node_is_told_once() -> None:
    async def scenario(node: Node) -> None:
        node.session()
        status = node.engine.status()
        node.listener.on_connected()
        node.listener.on_disconnected("gone\n")
        node.listener.on_refused("another\ncluster")
        for voter_status, leader in (("voter", 4), ("learner", 5), ("learner", 5), ("voter", None)):
            node.listener.on_status(msgspec.structs.replace(status, voter_status=voter_status, leader=leader))
        assert node.events == [
            ConnectedEvent(), DisconnectedEvent("gone"), RefusedEvent("another cluster"), LearnerEvent(ME)
        ]
        assert node.told_of(LeaderEvent) == [LeaderEvent(4), LeaderEvent(5), LeaderEvent(None)]
        node.listener.on_stranger("a node of another cluster")
        node.listener.on_removed()
        assert node.events[-2:] == [StrangerEvent("a node of another cluster"), RemovedEvent(ME)]
        assert node.service.removed.is_set() and not node.service.failed.is_set()
        node.listener.on_failed("the disk is full")
        assert node.events[-1] == FailedEvent("the disk is full") and node.service.failed.is_set()

    run(scenario)
