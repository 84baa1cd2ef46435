"""Where the nodes choose by themselves, the leader says when: all answers of those that are there are in."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from engine.interface import Busy
from kvstore.operations import (
    Candidate,
    ChooseAuto,
    Create,
    Delete,
    Elect,
    IfCreatedAt,
    Query,
    Ranking,
    Retry,
    SetAuto,
    StoreOperation,
)
from kvstore.payloads import encode
from tests.unit.server.test_responder import ME, FakeNode, run

CHOICE = ChooseAuto("c", 1, 1)


def answers(*nodes: int) -> list[StoreOperation]:
    return [Candidate("c", 1, node, f"of {node}", None) for node in nodes]


def asked(*nodes: int) -> list[StoreOperation]:
    return [Create("c"), SetAuto("c", True), Query("c", "why?"), *answers(*nodes)]


def choices(node: FakeNode) -> list[ChooseAuto]:
    return [operation for operation in node.submitted if isinstance(operation, ChooseAuto)]


async def decide(node: FakeNode, *operations: StoreOperation) -> None:
    """Some of them may be refused."""
    for operation in operations:
        node.position += 1
        node.responder.on_applied(node.store.apply(node.position, encode(operation)))
    await asyncio.sleep(0)


def test_when_all_that_are_there_have_answered() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*asked(1, 2, 3, 4))
        assert not choices(node)
        await node.turn(*answers(5))
        node.responder.see(ME, [1, 3, 4])
        assert choices(node) == [CHOICE], "it is on its way"
        await node.turn(CHOICE, *(Ranking("c", 1, who, 1, [], "silent") for who in (1, 2, 3, 4)), Elect("c", 1, 1))
        assert choices(node) == [CHOICE], "nobody could rank the answers: that is for a user"
        assert {*node.conditions} == {1}, "another conversation of this name has turns, too"
        await node.turn(Retry("c"), *(Candidate("c", 1, who, "again", None, round=1) for who in (1, 2, 3, 4)))
        assert choices(node) == [CHOICE, ChooseAuto("c", 1, 2)]

    run(scenario, leader=ME)


@pytest.mark.parametrize("operations", [
    [*asked(1, 2, 3, 4, 5), SetAuto("c", False)],
    [Create("c"), Query("c", "why?"), *answers(1, 2, 3, 4, 5)],
    [*asked(), *(Candidate("c", 1, who, None, "no key") for who in (1, 2, 3, 4, 5))],
])
def test_not_where_a_user_chooses_or_nothing_can_be_chosen(operations: list[StoreOperation]) -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(*operations)
        await asyncio.sleep(0)
        assert not choices(node)

    run(scenario, leader=ME)


def test_a_node_that_dies_is_not_waited_for() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*asked(1, 2, 3, 4))
        node.responder.see(ME, [1, 3, 4])
        assert choices(node) == [CHOICE]

    run(scenario, leader=ME)


def test_a_new_leader_says_what_the_old_one_did_not() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*asked(1, 2, 3, 4, 5))
        assert not choices(node), "the leader says it"
        node.responder.see(ME, [1, 3, 4, 5])
        await node.caught_up()
        assert choices(node) == [CHOICE]

    run(scenario, leader=4)


def test_what_was_refused_and_is_due_again_is_said_again() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*asked(1, 2, 3, 4, 5))
        await decide(node, SetAuto("c", False), CHOICE, SetAuto("c", True))
        assert choices(node) == [CHOICE, CHOICE]
        again = asked(1, 2, 3, 4, 5)
        await decide(node, Delete("c"), *again, IfCreatedAt(1, CHOICE))
        assert choices(node) == [CHOICE] * 3 and node.conditions[-1] != 1, "it was about the one that was deleted"

    run(scenario, leader=ME)


def test_a_busy_engine_gets_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(node: FakeNode) -> None:
        refusals = deque([Busy("full")])
        submit = node.submit

        def busy_at_first(operation: StoreOperation) -> None:
            if refusals:
                raise refusals.popleft()
            submit(operation)

        await node.turn(*asked(1, 2, 3, 4))
        monkeypatch.setattr(node, "submit", busy_at_first)
        await node.turn(*answers(5))
        assert not choices(node)
        await node.turn(Create("d"))
        assert choices(node) == [CHOICE]

    run(scenario, leader=ME)


def test_after_a_snapshot_nothing_is_under_way() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*asked(1, 2, 3, 4, 5))
        node.responder.review()
        assert choices(node) == [CHOICE, CHOICE]

    run(scenario, leader=ME)
