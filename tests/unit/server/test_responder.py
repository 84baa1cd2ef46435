"""What a node asks its LLM, and when: the leader answers, the next node after a failure, and polls end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from config.llm_settings import LlmSettings
from engine.interface import NotUnderstood
from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    Create,
    Delete,
    Elect,
    ElectWeighed,
    IfCreatedAt,
    Query,
    Ranking,
    Retry,
    StartPoll,
    StoreOperation,
    Unconditional,
    unconditional,
)
from kvstore.payloads import encode
from kvstore.store import Store
from llm.provider import Progress, Prompt, ProviderError, Reply
from llm.request_scheduler import RequestScheduler
from server.responder import Responder
from tests.unit.llm.llm_tools import until

LIMIT_S = 30.0
"""That only a mistake can reach."""

ME = 2


class Llm:
    name = "scripted"
    model = "m"
    parallel = 9

    def __init__(self) -> None:
        self.asked: list[Prompt] = []
        self.says: str | ProviderError = "fine"

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        self.asked.append(prompt)
        if isinstance(self.says, ProviderError):
            raise self.says
        return Reply(self.says, self.model, 0.1)

    async def close(self) -> None:
        pass


class FakeNode:
    """Node 2, which decides nothing unless the test tells it to."""

    def __init__(self, poll_s: float = 1000, by_agreement: bool = True) -> None:
        self.store = Store()
        self.submitted: list[Unconditional] = []
        self.conditions: list[int | None] = []
        """Of all that was submitted: the position that created the conversation."""
        self.reads: list[asyncio.Future[None]] = []
        self.position = 0
        self.llm = Llm()
        self.responder = Responder(
            ME, self, lambda done: RequestScheduler(LlmSettings(), lambda: self.llm, done), poll_s=poll_s,
            by_agreement=by_agreement,
        )

    def submit(self, command: StoreOperation) -> None:
        self.submitted.append(unconditional(command))
        self.conditions.append(command.created if isinstance(command, IfCreatedAt) else None)

    def read(self) -> asyncio.Future[None]:
        self.reads.append(asyncio.get_running_loop().create_future())
        return self.reads[-1]

    def apply(self, *commands: StoreOperation) -> None:
        for command in commands:
            self.position += 1
            outcome = self.store.apply(self.position, encode(command))
            assert outcome.ok, outcome.error
            self.responder.on_applied(outcome)

    async def turn(self, *commands: StoreOperation) -> None:
        """These are applied one after the other, each in a turn of its own, and looked at."""
        for command in commands:
            self.apply(command)
            await asyncio.sleep(0)

    async def caught_up(self) -> None:
        """Lets the read under way succeed."""
        await until(lambda: bool(self.reads) and not self.reads[-1].done())
        self.reads[-1].set_result(None)
        await until(lambda: self.responder._catching_up is None)

    async def next(self) -> Unconditional:
        await until(lambda: bool(self.submitted))
        return self.submitted.pop(0)


def run(
    scenario: Callable[[FakeNode], Awaitable[None]], leader: int | None = 4, poll_s: float = 1000,
    by_agreement: bool = True,
) -> None:
    async def main() -> None:
        node = FakeNode(poll_s, by_agreement)
        node.responder.see(leader, [1, 3, 4, 5])
        running = asyncio.create_task(node.responder.run())
        await node.caught_up()
        await running
        try:
            async with asyncio.timeout(LIMIT_S):
                await scenario(node)
        finally:
            await node.responder.close()

    asyncio.run(main())


def failed(node: int) -> Answer:
    return Answer("c", 1, node, None, "no key")


def test_a_follower_answers_only_when_the_better_ones_have_failed() -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(Create("c"), Ask("c", "why?"))
        await asyncio.sleep(0)
        node.apply(failed(4))
        await asyncio.sleep(0)
        assert node.llm.asked == []
        node.apply(failed(1))
        answer = await node.next()
        assert isinstance(answer, Answer) and (answer.node, answer.text) == (ME, "fine")

    run(scenario)


def test_an_answer_that_not_all_members_understand_holds_up_no_other() -> None:
    async def scenario(node: FakeNode) -> None:
        everywhere: list[bool] = []
        submit = node.submit

        def submit_if_understood(command: StoreOperation) -> None:
            if isinstance(unconditional(command), Answer) and not everywhere:
                raise NotUnderstood("node 5 runs 0.1.0")
            submit(command)

        node.submit = submit_if_understood  # type: ignore[method-assign]
        node.apply(Create("c"), Ask("c", "why?"))
        await until(lambda: len(node.responder._unsent) == 1)
        node.apply(Create("d"), Query("d", "why?"))
        assert isinstance(await node.next(), Candidate)
        everywhere.append(True)
        node.apply(Create("e"))
        assert isinstance(await node.next(), Answer)

    run(scenario, leader=ME)


def test_a_models_name_that_is_too_long_is_cut() -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm.model = "名" * 400
        node.apply(Create("c"), Ask("c", "why?"))
        answer = await node.next()
        assert isinstance(answer, Answer) and answer.model == "名" * 341
        node.apply(answer)

    run(scenario, leader=ME)


def test_a_better_one_that_is_gone_is_not_waited_for() -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(Create("c"), Ask("c", "why?"), failed(4))
        node.responder.see(4, [3, 4, 5])
        assert isinstance(await node.next(), Answer)

    run(scenario)


def test_a_new_leader_asks_nobody_before_it_knows_what_is_decided() -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(Create("c"), Ask("c", "why?"))
        node.responder.see(ME, [1, 3, 5])
        await until(lambda: len(node.reads) == 2)
        node.apply(Answer("c", 1, 4, "decided just before the old leader died", None))
        await node.caught_up()
        node.apply(Ask("c", "and?"))
        assert isinstance(await node.next(), Answer)
        assert [prompt.messages[-1].text for prompt in node.llm.asked] == ["and?"]

    run(scenario)


def test_a_new_leader_asks_what_the_old_one_left_open() -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(Create("c"), Ask("c", "why?"))
        node.responder.see(None, [1, 3, 5])
        node.responder.see(ME, [1, 3, 5])
        await node.caught_up()
        answer = await node.next()
        assert isinstance(answer, Answer) and answer.turn == 1

    run(scenario)


def test_asked_again_it_answers_for_that_round() -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm.says = ProviderError("no key")
        node.apply(Create("c"), Query("c", "why?"))
        first = await node.next()
        assert isinstance(first, Candidate) and (first.error, first.round) == ("no key", 0)
        node.apply(first)
        node.llm.says = "fine"
        node.apply(Retry("c", node=ME))
        second = await node.next()
        assert isinstance(second, Candidate) and (second.text, second.round) == ("fine", 1)
        node.apply(second)

    run(scenario)


class BusyLlm(Llm):
    """Takes one question at a time, and answers when the test says so."""

    parallel = 1

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        self.asked.append(prompt)
        await self.gate.wait()
        return Reply("fine", self.model, 0.1)


def put_to_a_busy_llm(node: FakeNode, question: Callable[[str, str], StoreOperation]) -> BusyLlm:
    node.llm = llm = BusyLlm()
    for number in range(100):
        node.apply(Create(f"c{number}"), question(f"c{number}", f"q{number}"))
    return llm


def test_what_a_snapshot_has_closed_is_not_asked() -> None:
    async def scenario(node: FakeNode) -> None:
        llm = put_to_a_busy_llm(node, Query)
        await until(lambda: len(llm.asked) == 1)
        elsewhere = Store()
        operations: list[StoreOperation] = [
            of for number in range(100) for of in (Create(f"c{number}"), Query(f"c{number}", f"q{number}"))
        ]
        operations += [Cancel(f"c{number}") for number in range(100) if number != 77]
        assert all(elsewhere.apply(position, encode(of)).ok for position, of in enumerate(operations, 1))
        node.store.load([(key, row) for key, row in elsewhere.changed() if row is not None])
        node.responder.review()
        llm.gate.set()
        assert isinstance(answered := await node.next(), Candidate) and answered.context == "c77"
        await until(lambda: node.responder.scheduler.metering.waiting == 0)
        assert [prompt.messages[-1].text for prompt in llm.asked] == ["q0", "q77"] and node.submitted == []

    run(scenario)


def test_a_leader_that_lost_office_asks_nothing_more() -> None:
    async def scenario(node: FakeNode) -> None:
        llm = put_to_a_busy_llm(node, Ask)
        await until(lambda: len(llm.asked) == 1)
        node.responder.see(4, [1, 3, 4, 5])
        llm.gate.set()
        assert isinstance(answered := await node.next(), Answer) and answered.context == "c0"
        assert node.responder.scheduler.metering.waiting == 0
        node.responder.see(ME, [1, 3, 4, 5])
        await node.caught_up()
        await until(lambda: len(llm.asked) == 100)
        assert len({prompt.messages[-1].text for prompt in llm.asked}) == 100, "back in office; the first is on its way"

    run(scenario, leader=ME)


def test_what_is_asked_again_or_over_is_called_off() -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm = llm = BusyLlm()
        await node.turn(Create("first"), Query("first", "keeps it busy"))
        await until(lambda: len(llm.asked) == 1)
        await node.turn(*with_answers(1, 3))  # both the candidate and the ranking wait now
        assert node.responder.scheduler.metering.waiting == 2
        await node.turn(Retry("c"))
        assert node.responder.scheduler.metering.waiting == 1, "the poll is over"
        await node.turn(Candidate("c", 1, ME, "of an earlier life", None, round=1))
        assert node.responder.scheduler.metering.waiting == 0
        await node.turn(Cancel("first"))
        await until(lambda: node.responder.scheduler.metering.in_flight == 0)

    run(scenario)


def with_answers(*nodes: int) -> list[StoreOperation]:
    answers = [Candidate("c", 1, node, f"of {node}", None) for node in nodes]
    return [Create("c"), Query("c", "why?"), *answers, StartPoll("c")]


def test_a_vote_is_read_or_the_node_abstains() -> None:
    async def scenario(node: FakeNode) -> None:
        node.llm.says = "B > A"
        node.apply(*with_answers(ME, 3))
        vote = await _vote(node)
        assert sorted(vote.order) == [2, 3] and vote.error is None
        node.llm.says = "both are nice"
        node.apply(Create("d"), Query("d", "why?"), Candidate("d", 1, ME, "x", None), Candidate("d", 1, 3, "y", None))
        node.apply(StartPoll("d"))
        vote = await _vote(node)
        assert (vote.order, vote.error) == ([], "its ranking cannot be parsed")

    run(scenario)


async def _vote(node: FakeNode) -> Ranking:
    while not isinstance(vote := await node.next(), Ranking):
        pass
    return vote


def votes(*nodes: int) -> list[StoreOperation]:
    return [Ranking("c", 1, node, 1, [2, 3], None) for node in nodes]


def test_the_leader_ends_a_poll_when_all_that_are_there_have_voted() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*with_answers(ME, 3), *votes(1, 2, 3, 4))
        assert ElectWeighed("c", 1, 1) not in node.submitted
        await node.turn(*votes(5))
        assert node.submitted.count(ElectWeighed("c", 1, 1)) == 1
        node.responder.see(ME, [1, 3, 4])
        assert node.submitted.count(ElectWeighed("c", 1, 1)) == 1, "it is on its way"
        assert node.conditions == [1] * len(node.submitted), "turns and polls of another conversation have numbers, too"

    run(scenario, leader=ME)


def test_a_poll_does_not_wait_for_a_node_that_dies() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.turn(*with_answers(ME, 3), *votes(1, 2, 3, 4))
        node.responder.see(ME, [1, 3, 4])
        assert ElectWeighed("c", 1, 1) in node.submitted

    run(scenario, leader=ME)


@pytest.mark.parametrize(("by_agreement", "end"), [(True, ElectWeighed("c", 1, 1)), (False, Elect("c", 1, 1))])
def test_a_poll_ends_in_bounded_time(by_agreement: bool, end: StoreOperation) -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(*with_answers(ME, 3), *votes(2))
        await until(lambda: end in node.submitted)

    run(scenario, leader=ME, poll_s=0.05, by_agreement=by_agreement)


def test_a_new_leader_ends_what_the_old_one_began() -> None:
    async def scenario(node: FakeNode) -> None:
        node.apply(*with_answers(ME, 3), *votes(1, 2, 3, 5))
        node.responder.see(ME, [1, 3, 5])
        await node.caught_up()
        assert ElectWeighed("c", 1, 1) in node.submitted

    run(scenario)


def test_links_that_come_and_go_cost_nothing_for_conversations_that_are_closed() -> None:
    async def scenario(node: FakeNode) -> None:
        for number in range(50):
            await node.turn(Create(f"c{number}"), Ask(f"c{number}", "why?"), Answer(f"c{number}", 1, 4, "so", None))
        await node.turn(Create("c"), Ask("c", "why?"), failed(4))
        assert list(node.responder._open) == ["c"]
        node.responder.see(4, [3, 4, 5])
        assert isinstance(await node.next(), Answer)
        node.store.load([])
        node.responder.review()
        assert node.responder._open == {}

    run(scenario)


def test_what_is_applied_in_one_turn_is_looked_at_once() -> None:
    """A question that is given up at once is not asked; nor is one whose conversation made room for another."""
    async def scenario(node: FakeNode) -> None:
        node.llm = llm = BusyLlm()
        await node.turn(Create("first"), Query("first", "keeps it busy"), Create("a"), Query("a", "of the first life"))
        node.apply(Delete("a"), Create("a"), Query("a", "of the second life"))
        node.apply(Create("b"), Query("b", "never mind"), Cancel("b"))
        await until(lambda: len(llm.asked) == 1)
        assert node.responder.scheduler.metering.waiting == 1
        await node.turn(Create("d"), Query("d", "given up, asked again and deleted"))
        node.apply(Cancel("d"), Query("d", "too late"), Delete("d"))
        assert node.responder.scheduler.metering.waiting == 1
        await node.turn(Cancel("first"))
        await until(lambda: len(llm.asked) == 2)
        assert llm.asked[1].messages[-1].text == "of the second life"
        node.apply(Cancel("a"), Query("a", "too late"))
        await node.responder.close()
        await asyncio.sleep(0)
        assert node.responder.scheduler.metering.waiting == 0

    run(scenario)
