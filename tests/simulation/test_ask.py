"""`ask`: the leader is killed between any two steps; one answer is chosen, and no LLM is asked once one is decided."""

from __future__ import annotations

from functools import partial

import pytest

from kvstore.conversation import SYNTHESIS
from kvstore.operations import Ask, Create, Delete, Query, Regenerate, SetAuto, Synthesize
from tests.simulation.asking import PIDS, World
from tests.simulation.virtual_loop import run


async def asked_by(world: World) -> int:
    """Creates a conversation and asks a question at a follower. Returns the leader."""
    for pid in PIDS:
        world.start(pid)
    await world.until(lambda: world.leader() is not None)
    leader = world.leader()
    assert leader is not None
    asker = world.nodes[leader % 5 + 1]
    asker.submit(Create("c"))
    await world.until(lambda: all("c" in node.store.conversations for node in world.up()))
    asker.submit(Ask("c", "why?"))
    return leader


def answered(world: World) -> bool:
    """All running nodes have the answer."""
    turns = [node.store.conversations["c"].turns for node in world.up() if "c" in node.store.conversations]
    return len(turns) == len(world.up()) and all(turn and turn[0].chosen is not None for turn in turns)


async def undisturbed() -> int:
    """The number of steps until the answer is at all nodes."""
    world = World()
    leader = await asked_by(world)
    count = await world.until(lambda: answered(world))
    assert world.asked == [leader]
    await close(world)
    return count


async def killed_after(count: int) -> World:
    world = World()
    leader = await asked_by(world)
    for _ in range(count):
        await world.step()
    await world.nodes[leader].kill()
    await world.until(lambda: answered(world))
    before = list(world.asked)
    world.start(leader)
    await world.until(lambda: answered(world) and world.leader() is not None)
    for _ in range(200):
        await world.step()
    assert world.asked == before, f"killed after {count} steps: an LLM was asked for what everybody knew"
    assert world.too_late == [], f"killed after {count} steps: node {world.too_late} asked when it was decided"
    assert len(world.asked) <= 2
    answers = {(turn.chosen, turn.answer.text) for node in world.up() for turn in node.store.conversations["c"].turns
               if turn.answer is not None}
    assert len(answers) == 1 and len({node.store.digest() for node in world.up()}) == 1
    await close(world)
    return world


async def close(world: World) -> None:
    for node in world.up():
        await node.kill()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_wherever_the_leader_is_killed_one_answer_stands(part: int) -> None:
    count = run(undisturbed)
    assert count > 30
    asked = [len(run(partial(killed_after, step)).asked) for step in range(part, count + 10, 4)]
    assert {1, 2} == set(asked), "some deaths cost an answer, some come too late for that"


def test_a_late_answer_counts_in_no_namesake() -> None:
    """A node's LLM answers when the leader is just about to replace the conversation by another one of its name."""

    async def story() -> None:
        world = World()
        leader = await asked_by(world)
        await world.until(lambda: answered(world))
        at_leader = world.nodes[leader]
        at_leader.submit(Create("d"))
        at_leader.submit(Query("d", "older?"))
        await world.until(lambda: len(world.thinking) == len(PIDS))
        node, answer = next((node, answer) for node, answer in world.thinking if node is not at_leader)
        for operation in (Delete("d"), Create("d"), Query("d", "newer?")):
            at_leader.submit(operation)
        answer()
        await world.settle()

        def all_have_all() -> bool:
            turns = [one.store.conversations["d"].turns for one in world.up()]
            return all(turn and turn[0].text == "newer?" and len(turn[0].candidates) == len(PIDS) for turn in turns)

        await world.until(all_have_all)
        said = node.store.conversations["d"].turns[0].candidates
        assert all((each.text or "").endswith(" to newer?") for each in said.values()), said
        assert node.refused == ["'d' is another conversation now: the one that was meant was deleted"]
        assert len({one.store.digest() for one in world.up()}) == 1
        await close(world)

    run(story)


@pytest.mark.parametrize("step", range(0, 24, 4))
def test_wherever_the_leader_is_killed_the_nodes_choose_once(step: int) -> None:
    """Killed at about the time when all answers are in."""

    async def story() -> None:
        world = World()
        leader = await asked_by(world)
        await world.until(lambda: answered(world))
        asker = world.nodes[leader % 5 + 1]
        for operation in (Create("d"), SetAuto("d", True), Query("d", "why?")):
            asker.submit(operation)
        turns = asker.store.conversations
        await world.until(lambda: "d" in turns and bool(turns["d"].turns) and len(turns["d"].turns[0].candidates) == 4)
        for _ in range(step):
            await world.step()
        await world.nodes[leader].kill()

        def over() -> bool:
            polls = [node.store.conversations["d"].turns[0].poll for node in world.up()]
            return all(poll is not None and poll.closed for poll in polls)

        await world.until(over)
        for _ in range(100):
            await world.step()
        turn = asker.store.conversations["d"].turns[0]
        assert turn.poll is not None and (turn.poll.number, turn.polled) == (1, 1) and turn.chosen is not None
        assert len({node.store.digest() for node in world.up()}) == 1
        await close(world)

    run(story)


@pytest.mark.parametrize("step", range(0, 20, 4))
def test_wherever_the_leader_is_killed_another_answer_comes(step: int) -> None:
    async def story() -> None:
        world = World()
        leader = await asked_by(world)
        await world.until(lambda: answered(world))
        asker = world.nodes[leader % 5 + 1]
        asker.submit(Regenerate("c"))
        for _ in range(step):
            await world.step()
        await world.nodes[leader].kill()

        def is_over() -> bool:
            turns = [node.store.conversations["c"].turns[0] for node in world.up()]
            return all(turn.rounds == 2 and not turn.regenerating for turn in turns)

        await world.until(is_over)
        turn = asker.store.conversations["c"].turns[0]
        assert len(world.asked) in (2, 3) and list(turn.candidates) == [turn.chosen]
        assert turn.answer is not None and turn.answer.text != f"answer 1 of node {leader} to why?"
        assert len({node.store.digest() for node in world.up()}) == 1
        await close(world)

    run(story)


@pytest.mark.parametrize("step", range(0, 24, 4))
def test_wherever_the_leader_is_killed_a_synthesis_comes(step: int) -> None:
    async def story() -> None:
        world = World()
        leader = await asked_by(world)
        await world.until(lambda: answered(world))
        asker = world.nodes[leader % 5 + 1]
        for operation in (Create("d"), Query("d", "why?")):
            asker.submit(operation)
        turns = asker.store.conversations
        await world.until(lambda: "d" in turns and bool(turns["d"].turns) and len(turns["d"].turns[0].candidates) == 5)
        before = len(world.asked)
        asker.submit(Synthesize("d"))
        for _ in range(step):
            await world.step()
        await world.nodes[leader].kill()

        def is_over() -> bool:
            turns = [node.store.conversations["d"].turns[0] for node in world.up()]
            return all(SYNTHESIS in turn.candidates and turn.open_synthesis is None for turn in turns)

        await world.until(is_over)
        for _ in range(100):
            await world.step()
        said = turns["d"].turns[0].candidates[SYNTHESIS]
        assert len(world.asked) - before in (1, 2) and said.by in world.asked[before:]
        assert said.out_of == tuple(PIDS) and "out of these" in (said.text or "")
        assert len({node.store.digest() for node in world.up()}) == 1
        await close(world)

    run(story)


@pytest.mark.parametrize("step", range(0, 12, 4))
def test_a_synthesis_of_a_node_that_is_killed_is_given_up(step: int) -> None:
    async def story() -> None:
        world = World()
        leader = await asked_by(world)
        await world.until(lambda: answered(world))
        asker, writer = world.nodes[leader % 5 + 1], (leader + 1) % 5 + 1
        for operation in (Create("d"), Query("d", "why?")):
            asker.submit(operation)
        turns = asker.store.conversations
        await world.until(lambda: "d" in turns and bool(turns["d"].turns) and len(turns["d"].turns[0].candidates) == 5)
        asker.submit(Synthesize("d", node=writer))
        for _ in range(step):
            await world.step()
        await world.nodes[writer].kill()

        def is_over() -> bool:
            found = [node.store.conversations["d"].turns[0].synthesis for node in world.up()]
            return all(synthesis is not None and synthesis.closed for synthesis in found)

        await world.until(is_over)
        turn = turns["d"].turns[0]
        assert list(turn.candidates) == PIDS and turn.chosen is None, "the turn is as it was"
        world.start(writer)
        await world.until(lambda: writer in world.nodes[leader].replica.status().links)
        asker.submit(Synthesize("d", node=writer))
        await world.until(lambda: SYNTHESIS in turn.candidates)
        assert turn.candidates[SYNTHESIS].by == writer
        await close(world)

    run(story)
