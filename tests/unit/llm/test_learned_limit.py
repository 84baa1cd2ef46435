"""A context that is smaller than assumed: the LLM gets less of the conversation, and that is said and remembered."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from llm.provider import ContextExceeded, Message, Progress, Prompt, ProviderError, RankingBallot, Reply
from llm.ranking import EXCERPT, ranking_prompt
from llm.requests import Request
from tests.unit.llm.test_request_scheduler import SchedulerProbe, Scripted


def size(prompt: Prompt) -> int:
    """Tokens, as a server counts them."""
    return sum(len(message.text) for message in prompt.messages) // 4


def server(context: int, says: int | None) -> Scripted:
    async def script(prompt: Prompt) -> str:
        if size(prompt) > context:
            raise ContextExceeded("too long", says)
        return "A > B" if prompt.ballot is not None else "fine"

    return Scripted(script)


class Counting(Scripted):
    """Says how many tokens of a conversation it saw."""

    def __init__(self, tokens: int | None) -> None:
        async def script(prompt: Prompt) -> str:
            return "fine"

        super().__init__(script)
        self._tokens = tokens

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        return msgspec.structs.replace(await super().ask(prompt, on_progress), tokens_in=self._tokens)


def talk(turns: int, length: int = 1200, turn: int = 1) -> Request:
    messages = [Message("assistant" if number % 2 else "user", "x" * length) for number in range(2 * turns)]
    return Request("c", turn, "candidate", lambda: [*messages, Message("user", "question")])


@pytest.mark.parametrize("says", [1000, None])
def test_fewer_turns_are_sent_and_that_is_remembered(says: int | None, caplog: pytest.LogCaptureFixture) -> None:
    llm = server(1000, says)

    async def main() -> None:
        probe = SchedulerProbe(llm, context_tokens=32_000)
        probe.scheduler.start(talk(9))
        reply = await probe.next()
        assert isinstance(reply, Reply) and 0 < reply.seen < 9 and reply.before == 9
        assert len(llm.asked[-1].messages) == 2 * reply.seen + 1, "whole turns, the newest ones"
        asked = len(llm.asked)
        probe.scheduler.start(talk(9, turn=2))
        again = await probe.next()
        assert isinstance(again, Reply) and again.seen == reply.seen and len(llm.asked) == asked + 1
        await probe.scheduler.close()

    asyncio.run(main())
    assert len(caplog.messages) == 1 and "context_tokens" in caplog.messages[0]


@pytest.mark.parametrize(("counted", "is_silent"), [(2000, True), (13_000, False), (20, False), (None, False)])
def test_a_server_that_leaves_turns_out_without_a_word_is_noticed(counted: int | None, is_silent: bool) -> None:
    """By what it counts: natural language has four bytes a token, and none has twelve."""
    llm = Counting(counted)

    async def main() -> None:
        probe = SchedulerProbe(llm, context_tokens=100_000)
        probe.scheduler.start(talk(20, length=2600))
        reply = await probe.next()
        assert isinstance(reply, Reply) and reply.before == (20 if is_silent else 0) and reply.seen <= 2
        probe.scheduler.start(talk(20, length=2600, turn=2))
        await probe.next()
        assert (len(llm.asked[1].messages) < 5) is is_silent, "what it saw is what it gets from then on"
        await probe.scheduler.close()

    asyncio.run(main())


@pytest.mark.parametrize("says", [100, None])
def test_a_question_that_is_too_long_by_itself_costs_others_nothing(says: int | None) -> None:
    llm = server(100, says)

    async def main() -> None:
        probe = SchedulerProbe(llm, context_tokens=32_000)
        probe.scheduler.start(Request("c", 1, "candidate", lambda: [Message("user", "x" * 1200)]))
        assert "context_tokens" in await probe.reason()
        assert len(llm.asked) == 1
        probe.scheduler.start(talk(1, length=20, turn=2))
        reply = await probe.next()
        assert isinstance(reply, Reply) and reply.before == 0, "it saw all"
        await probe.scheduler.close()

    asyncio.run(main())


def test_answers_to_rank_are_shortened() -> None:
    llm = server(700, None)
    ballot = RankingBallot("Which?", ["x" * 2 * EXCERPT, "y" * 2 * EXCERPT])

    async def main() -> None:
        probe = SchedulerProbe(llm, context_tokens=32_000, max_tokens=60)
        probe.scheduler.start(Request("c", 1, "ranking", lambda: ranking_prompt(ballot), 1, [1, 2], ballot))
        reply = await probe.next()
        assert isinstance(reply, Reply) and reply.text == "A > B"
        assert [prompt.max_tokens for prompt in llm.asked] == [4096] * 2, "models that think need room for it"
        tiny = SchedulerProbe(server(10, None), context_tokens=32_000)
        tiny.scheduler.start(Request("c", 1, "ranking", lambda: ranking_prompt(ballot), 1, [1, 2], ballot))
        outcome = await tiny.next()
        assert isinstance(outcome, ProviderError) and "context_tokens" in outcome.reason
        for one in (probe, tiny):
            await one.scheduler.close()

    asyncio.run(main())


def test_a_ranking_has_no_bound_of_its_own() -> None:
    llm = server(1000, None)
    ballot = RankingBallot("Which?", ["x", "y"])

    async def main() -> None:
        probe = SchedulerProbe(llm, context_tokens=32_000)
        probe.scheduler.start(Request("c", 1, "ranking", lambda: ranking_prompt(ballot), 1, [1, 2], ballot))
        await probe.next()
        await probe.scheduler.close()

    asyncio.run(main())
    assert [prompt.max_tokens for prompt in llm.asked] == [None]
