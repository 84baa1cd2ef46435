"""Questions with keys and deletions, as a node's service and its users see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from msgspec import UNSET, UnsetType, structs

from api.base import encode
from api.node_commands import (
    AskCommand,
    CancelCommand,
    ChooseCommand,
    DeleteCommand,
    QueryCommand,
    RetryCommand,
    ViewCommand,
)
from engine.interface import Busy
from kvstore.operations import (
    AskOnce,
    Cancel,
    Choose,
    Create,
    Delete,
    IfCreatedAt,
    Query,
    Rename,
    Retry,
    StartPoll,
    StoreOperation,
)
from kvstore.payloads import encode as encode_operation
from llm.provider import Prompt, Reply
from server.conversations import delete
from server.event_feed import Level
from server.expiry import KEPT_S, Expiry
from server.session import AskedOnce
from tests.unit.llm.llm_tools import until
from tests.unit.server.session_tools import ME, FakeEngine, at_a_prompt
from tests.unit.server.session_tools import Prompt as UserPrompt
from tests.unit.server.test_node import Node
from tests.unit.server.test_node import run as run_node
from tests.unit.server.test_responder import FakeNode, run


def test_a_repeated_question_is_answered_and_told_to_nobody_else() -> None:
    async def scenario(at: UserPrompt) -> None:
        at.open(on_screen=False, level=Level.VERBOSE)
        at.engine.apply(Create("c"), 3)
        at.engine.apply(AskOnce("c", "why?", "k"), 3)
        at.events.clear()
        answer = at.session.query(QueryCommand("c", "why?", "k"))
        at.engine.decide()
        assert json.loads(encode(await answer)) == {"ok": True, "context": "c", "turn": 1, "created": 1}
        assert at.events == []
        at.candidates("c", 1, 4)
        assert [event["event"] for event in at.events] == ["candidate"]
        refused = at.session.ask(AskCommand("c", "why?", "k"))
        at.engine.decide()
        assert "asks something else" in json.loads(encode(await refused))["error"]

    at_a_prompt(scenario)


@pytest.mark.parametrize("key", [UNSET, "k"])
def test_a_question_tells_which_conversation_it_is_in(key: str | UnsetType) -> None:
    """Even when another one has the name as soon as it is decided."""
    async def scenario(at: UserPrompt) -> None:
        at.engine.apply(Create("other"), 3)
        at.engine.apply(Create("c"), 3)
        for position, command in ((2, AskCommand("c", "why?", key)), (6, QueryCommand("c", "why?", key))):
            answer = at.session.ask(command) if isinstance(command, AskCommand) else at.session.query(command)
            at.engine.decide()
            at.engine.apply(Cancel("c", 1), 3)
            at.engine.apply(Rename("c", f"from-{position}"), 3)
            at.engine.apply(Create("c"), 3)
            result = json.loads(encode(await answer))
            assert result == {"ok": True, "context": "c", "turn": 1, "created": position}
            renamed = ViewCommand(f"from-{position}")
            assert json.loads(encode(await at.session.view(renamed)))["created"] == position, "as `view` tells it"
        once = at.session.ask_once(AskOnce("c", "why?", "k"))
        at.engine.decide()
        asked = await once
        assert isinstance(asked, AskedOnce) and asked.created == asked.conversation.created == 10

    at_a_prompt(scenario)


def test_a_command_that_names_a_turn_means_no_other() -> None:
    async def scenario(at: UserPrompt) -> None:
        at.engine.apply(Create("c"), 3)
        at.engine.apply(Query("c", "why?"), 3)
        at.candidates("c", 1, 4)
        at.session.choose(ChooseCommand("c", 4, turn=1, created=1))
        at.session.choose(ChooseCommand("c", "auto", turn=7))
        at.session.cancel(CancelCommand("c", 1))
        at.session.retry(RetryCommand("c", created=9))
        at.session.choose(ChooseCommand("c", 4, turn=7))
        assert [operation for operation, _ in at.engine.waiting] == [
            IfCreatedAt(1, Choose("c", 4, 1)), StartPoll("c", 7), Cancel("c", 1), IfCreatedAt(9, Retry("c")),
            Choose("c", 4, 7),
        ]

    at_a_prompt(scenario)


def test_a_deletion_ends_what_the_llm_was_asked() -> None:
    async def scenario(node: FakeNode) -> None:
        async def think(prompt: Prompt, on_progress: object = None) -> Reply:
            node.llm.asked.append(prompt)
            await asyncio.Event().wait()
            raise AssertionError

        node.llm.ask = think  # type: ignore[method-assign]
        node.apply(Create("c"), Query("c", "why?"))
        await until(lambda: bool(node.llm.asked))
        node.apply(Delete("c"))
        await until(lambda: node.responder.scheduler.metering.in_flight == 0)
        node.apply(Create("c"))
        assert node.submitted == [] and len(node.llm.asked) == 1

    run(scenario)


@pytest.mark.parametrize("is_seen", [True, False])
def test_what_is_asked_after_a_deletion_is_no_repetition(is_seen: bool) -> None:
    """Turn numbers begin anew, and one of them was answered already."""

    async def scenario(node: FakeNode) -> None:
        node.apply(Create("c"), Query("c", "why?"))
        await node.next()
        later: tuple[StoreOperation, ...] = Delete("c"), Create("c"), Query("c", "who?")
        if is_seen:
            node.apply(*later)
        else:  # a snapshot brings all that at once
            for position, operation in enumerate(later, 3):
                assert node.store.apply(position, encode_operation(operation)).ok
            node.responder.review()
        await node.next()
        assert [prompt.messages[-1].text for prompt in node.llm.asked] == ["why?", "who?"]
        assert node.conditions == [1, 4]

    run(scenario)


def test_every_part_of_a_leading_node_takes_a_deletion() -> None:
    async def scenario(node: Node) -> None:
        node.listener.on_status(structs.replace(node.engine.status(), leader=ME))
        for operation in (Create("c"), Query("c", "why?"), StartPoll("c"), Delete("c"), Create("c"), Delete("c")):
            node.engine.apply(operation, 3)
        assert not node.engine.store.conversations and not node.service.failed.is_set()

    run_node(scenario)


def test_a_deletion_is_told() -> None:
    async def scenario(at: UserPrompt) -> None:
        at.engine.apply(Create("c"), 3)
        deleting = delete(at.session, DeleteCommand("c"))
        at.engine.apply(Delete("c"), 3)
        assert at.events[-1] == {"event": "deleted", "context": "c", "origin": 3}
        assert at.shown[-1] == "c: deleted at node 3"
        at.engine.decide()
        assert "no conversation 'c'" in json.loads(encode(await deleting))["error"]

    at_a_prompt(scenario)


@pytest.mark.parametrize("leader", [2, 4])
def test_the_leader_deletes_what_is_temporary_and_old(leader: int) -> None:
    now = [1_700_000_000.0 + KEPT_S - 1]
    engine = FakeEngine()
    engine.listener = _Nobody()
    engine.apply(AskOnce("kept", "why?", "k", history=b""), 3)
    engine.apply(AskOnce("gone", "why?", "k", history=b"", temporary=True), 3)
    expiry = Expiry(engine, leader, clock=lambda: now[0])
    expiry.sweep()
    assert not engine.waiting, "not old enough"
    now[0] += 2
    expiry.sweep()
    assert [operation for operation, _ in engine.waiting] == ([Delete("gone", 2)] if leader == 4 else [])
    engine.submit = _busy  # type: ignore[method-assign]
    expiry.sweep()


class _Nobody:
    on_applied: Callable[[object], None] = staticmethod(lambda applied: None)


def _busy(operation: StoreOperation) -> int:
    raise Busy
