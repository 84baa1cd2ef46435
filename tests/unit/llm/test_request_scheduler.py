"""The request scheduler: background, bounds, retries, and that nothing a provider does gets out of hand."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from config.llm_settings import LlmSettings
from llm import rate_limiter
from llm.provider import Message, Progress, Prompt, Provider, ProviderError, Reply
from llm.request_scheduler import MAX_ANSWER_BYTES, Metering, RequestScheduler
from llm.requests import Fate, Request
from tests.unit.llm.llm_tools import until

Outcome = Reply | ProviderError
Script = Callable[[Prompt], Awaitable[str]]


class Scripted:
    """Answers as the function says."""

    name = "scripted"
    model = "m1"
    parallel = 3

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Prompt] = []
        self.closed = False

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        assert prompt.time_s is not None and 0 < prompt.time_s <= 3600
        self.asked.append(msgspec.structs.replace(prompt, time_s=None))
        if on_progress is not None:
            on_progress(len(self.asked))
        return Reply(await self.script(prompt), self.model, 0.5, tokens_in=3, tokens_out=2)

    async def close(self) -> None:
        self.closed = True


class SchedulerProbe:
    """A scheduler and the outcomes that it reported."""

    def __init__(self, provider: Provider | Exception, **settings: object) -> None:
        def build() -> Provider:
            if isinstance(provider, Exception):
                raise provider
            return provider

        self.outcomes: list[tuple[Request, Outcome]] = []
        self.came = asyncio.Event()
        self.scheduler = RequestScheduler(LlmSettings(**settings), build, self._done)  # type: ignore[arg-type]

    def _done(self, request: Request, outcome: Outcome) -> None:
        self.outcomes.append((request, outcome))
        self.came.set()

    async def next(self) -> Outcome:
        await asyncio.wait_for(self.came.wait(), 30)
        self.came.clear()
        return self.outcomes[-1][1]

    async def reason(self) -> str:
        outcome = await self.next()
        assert isinstance(outcome, ProviderError)
        return outcome.reason


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.request_scheduler.FIRST_PAUSE_S", 0.001)


def request(context: str = "c", turn: int = 1) -> Request:
    return Request(context, turn, "candidate", lambda: [Message("user", f"question of {context}")])


def failing(*errors: Exception, then: str = "fine") -> Script:
    remaining = list(errors)

    async def script(_: Prompt) -> str:
        if remaining:
            raise remaining.pop(0)
        return then

    return script


async def forever(_: Prompt) -> str:
    await asyncio.Event().wait()
    return "never"


def test_an_answer_comes_back_stripped_and_is_metered() -> None:
    async def main() -> None:
        provider = Scripted(failing(then="  hello\n"))
        probe = SchedulerProbe(provider, system_prompt="be brief", temperature=0.1, seed=5, max_tokens=9)
        assert probe.scheduler.start(request())
        assert await probe.next() == Reply("hello", "m1", 0.5, 3, 2)
        assert provider.asked == [Prompt(request().messages, "be brief", 0.1, 5, 9)]
        meter = probe.scheduler.metering
        assert (meter.requests, meter.replies, meter.failures, meter.tokens_in, meter.tokens_out) == (1, 1, 0, 3, 2)
        assert (meter.in_flight, meter.waiting) == (0, 0)
        assert probe.scheduler.model == "m1"
        await probe.scheduler.close()
        assert provider.closed
        assert not probe.scheduler.start(request("other")), "closed"

    asyncio.run(main())


def test_a_request_is_done_once_until_its_turn_is_cancelled() -> None:
    async def main() -> None:
        provider = Scripted(failing())
        probe = SchedulerProbe(provider)
        assert [probe.scheduler.start(request()), probe.scheduler.start(request())] == [True, False]
        await probe.next()
        assert not probe.scheduler.start(request()), "done, though perhaps not applied yet"
        probe.scheduler.cancel("c", 1)
        assert probe.scheduler.start(request())
        await probe.next()
        assert len(provider.asked) == 2
        await probe.scheduler.close()

    asyncio.run(main())


def test_a_cancelled_request_is_given_up_without_an_outcome() -> None:
    async def main() -> None:
        provider = Scripted(forever)
        probe = SchedulerProbe(provider)
        probe.scheduler.start(request())
        probe.scheduler.start(request("other"))
        await until(lambda: probe.scheduler.metering.in_flight == 2)
        probe.scheduler.cancel("c", 1)
        probe.scheduler.cancel("unknown", 1)
        await until(lambda: probe.scheduler.metering.in_flight == 1)
        provider.script = failing()
        probe.scheduler.start(request("third"))
        await probe.next()
        assert [done.context for done, _ in probe.outcomes] == ["third"]
        await probe.scheduler.close()
        assert probe.scheduler.metering.in_flight == 0

    asyncio.run(main())


def test_what_is_not_wanted_any_more_is_not_put_to_the_llm() -> None:
    """What is at the LLM may finish if it may still count; what waits for a place, a minute or the next try may not."""

    async def main() -> None:
        gate = asyncio.Event()

        async def script(_: Prompt) -> str:
            await gate.wait()
            return "yes"

        provider = Scripted(script)
        probe = SchedulerProbe(provider, max_concurrent=3, max_per_minute=2)
        for number in range(10):
            probe.scheduler.start(request(f"c{number}"))
        await until(lambda: len(provider.asked) == 2)
        assert probe.scheduler.metering.in_flight == 2
        probe.scheduler.review(lambda _: Fate.KEEP)
        assert probe.scheduler.metering.waiting == 8
        probe.scheduler.review_turn("c0", 1, lambda _: Fate.DROP)
        probe.scheduler.review(lambda asked: Fate.KEEP if asked.context == "c9" else Fate.FINISH)
        await until(lambda: probe.scheduler.metering.waiting == 1)
        gate.set()
        await probe.next()
        assert [done.context for done, _ in probe.outcomes] == ["c1"]
        assert probe.scheduler.start(request("c5")), "it may be wanted again"
        assert not probe.scheduler.start(request("c1")), "done"
        probe.scheduler.retain(lambda context, turn: context == "c5")
        assert probe.scheduler.start(request("c1")), "forgotten"
        assert len(provider.asked) == 2
        await probe.scheduler.close()

    asyncio.run(main())


def test_a_provider_is_made_once_whatever_is_called_off_meanwhile() -> None:
    async def main() -> None:
        made, gate = 0, threading.Event()

        def build() -> Scripted:
            nonlocal made
            made += 1
            gate.wait(30)
            return provider

        provider = Scripted(failing())
        outcomes: asyncio.Queue[str] = asyncio.Queue()
        scheduler = RequestScheduler(LlmSettings(), build, lambda done, _: outcomes.put_nowait(done.context))
        for number in range(5):
            scheduler.start(request(f"c{number}"))
            await until(lambda: made == 1)
            await asyncio.sleep(0)
            scheduler.cancel(f"c{number}", 1)
        scheduler.start(request("c"))
        gate.set()
        assert await asyncio.wait_for(outcomes.get(), 30) == "c"
        assert (made, outcomes.empty(), len(provider.asked)) == (1, True, 1)
        await scheduler.close()

    asyncio.run(main())


def test_no_more_are_in_flight_than_make_sense() -> None:
    async def main(limit: int | None, expected: int) -> None:
        gate, most = asyncio.Event(), 0

        async def script(_: Prompt) -> str:
            nonlocal most
            most = max(most, probe.scheduler.metering.in_flight)
            await gate.wait()
            return "yes"

        probe = SchedulerProbe(Scripted(script), max_concurrent=limit)
        for number in range(10):
            probe.scheduler.start(request(f"c{number}"))
        await until(lambda: probe.scheduler.metering.in_flight == expected)
        assert probe.scheduler.metering.waiting == 10 - expected
        gate.set()
        while len(probe.outcomes) < 10:
            await probe.next()
        assert most == expected
        await probe.scheduler.close()

    asyncio.run(main(limit=None, expected=3))
    asyncio.run(main(limit=2, expected=2))


def test_what_may_pass_is_tried_again() -> None:
    async def main() -> None:
        busy = ProviderError("busy", retryable=True)
        probe = SchedulerProbe(Scripted(failing(busy, busy)))
        probe.scheduler.start(request())
        assert isinstance(await probe.next(), Reply)
        assert probe.scheduler.metering.retries == 2
        await probe.scheduler.close()

        probe = SchedulerProbe(Scripted(failing(busy, busy, busy)))
        probe.scheduler.start(request())
        assert await probe.reason() == "busy (tried 3 times)"
        await probe.scheduler.close()

    asyncio.run(main())


def test_what_lasts_is_not_tried_again() -> None:
    async def main() -> None:
        provider = Scripted(failing(ProviderError("bad key")))
        probe = SchedulerProbe(provider)
        probe.scheduler.start(request())
        outcome = await probe.next()
        assert isinstance(outcome, ProviderError)
        assert (outcome.reason, outcome.model, outcome.seconds > 0) == ("bad key", "m1", True)
        assert (len(provider.asked), probe.scheduler.metering.failures) == (1, 1)
        await probe.scheduler.close()

    asyncio.run(main())


@pytest.mark.parametrize(("said", "reason"), [(" ", "the LLM failed without a reason"), ("no \udc00", "no ?")])
def test_a_reason_can_always_be_proposed(said: str, reason: str) -> None:
    async def main() -> None:
        probe = SchedulerProbe(Scripted(failing(ProviderError(said))))
        probe.scheduler.start(request())
        assert await probe.reason() == reason
        await probe.scheduler.close()

    asyncio.run(main())


def test_a_requested_pause_is_kept_or_the_request_given_up_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        probe = SchedulerProbe(Scripted(failing(ProviderError("quota", retryable=True, retry_after_s=0.2))))
        began = loop.time()
        probe.scheduler.start(request())
        assert isinstance(await probe.next(), Reply)
        assert loop.time() - began >= 0.19
        await probe.scheduler.close()

        late = ProviderError("quota", retryable=True, retry_after_s=60)
        probe = SchedulerProbe(Scripted(failing(late)), timeout_s=30)
        probe.scheduler.start(request())
        assert await probe.reason() == "quota"
        assert probe.scheduler.metering.retries == 0
        await probe.scheduler.close()

    asyncio.run(main())


def test_the_time_is_bounded_whatever_the_provider_does() -> None:
    async def main() -> None:
        probe = SchedulerProbe(Scripted(forever), timeout_s=0.05)
        probe.scheduler.start(request())
        assert await probe.reason() == "m1 gave no answer within 0.05 s"
        await probe.scheduler.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "the LLM gave an empty answer (tried 3 times)"),
        ("\u200b", "the LLM gave an empty answer (tried 3 times)"),
        ("x" * (MAX_ANSWER_BYTES + 1), "the answer is too long: 65537 bytes, at most 65536 are allowed"),
    ],
)
def test_an_answer_that_cannot_be_proposed_is_a_failure(text: str, reason: str) -> None:
    async def main() -> None:
        probe = SchedulerProbe(Scripted(failing(then=text)))
        probe.scheduler.start(request())
        assert await probe.reason() == reason
        await probe.scheduler.close()

    asyncio.run(main())


def test_half_a_character_does_not_break_the_answer() -> None:
    async def main() -> None:
        probe = SchedulerProbe(Scripted(failing(then="yes \ud83d.")))
        probe.scheduler.start(request())
        outcome = await probe.next()
        assert isinstance(outcome, Reply)
        assert outcome.text == "yes ?."
        await probe.scheduler.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ProviderError("there is no key"), "there is no key"),
        (ImportError("No module named 'x'"), "the LLM provider cannot start: ImportError: No module named 'x'"),
        (RuntimeError("boom"), "the LLM provider cannot start: RuntimeError: boom"),
    ],
)
def test_a_provider_that_cannot_start_is_the_reason_for_each_request(error: Exception, reason: str) -> None:
    async def main() -> None:
        probe = SchedulerProbe(error, model="configured")
        for number in (1, 2):
            probe.scheduler.start(request(turn=number))
            assert await probe.reason() == reason
        assert probe.scheduler.model == "configured"
        assert probe.scheduler.metering.requests == 0
        assert probe.scheduler.metering.failures == 2
        await probe.scheduler.close()

    asyncio.run(main())


def test_bugs_of_others_stay_where_they_are(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        trouble: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
        probe = SchedulerProbe(Scripted(failing(KeyError("oops"))))
        probe.scheduler.start(request())
        assert await probe.reason() == "the provider scripted crashed: KeyError"
        await probe.scheduler.close()

        called = asyncio.Event()

        def done(_: Request, __: Outcome) -> None:
            called.set()
            raise RuntimeError("the host's bug")

        scheduler = RequestScheduler(LlmSettings(), lambda: Scripted(failing()), done)
        scheduler.start(request())
        await asyncio.wait_for(called.wait(), 30)
        await scheduler.close()
        assert trouble == []

    with caplog.at_level(logging.CRITICAL, logger="llm.request_scheduler"):
        asyncio.run(main())


def test_a_question_that_cannot_be_put_together_is_a_failed_answer(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> list[Message]:
        raise KeyError("oops")

    async def main() -> None:
        probe = SchedulerProbe(Scripted(failing()))
        probe.scheduler.start(msgspec.structs.replace(request(), build=build))
        assert await probe.reason() == "this node could not ask its LLM: KeyError"
        assert probe.scheduler.metering.failures == 1 and probe.scheduler.metering.in_flight == 0
        await probe.scheduler.close()

    with caplog.at_level(logging.CRITICAL, logger="llm.request_scheduler"):
        asyncio.run(main())


def test_progress_is_passed_on() -> None:
    async def main() -> None:
        seen: list[tuple[str, int]] = []
        came = asyncio.Event()
        scheduler = RequestScheduler(
            LlmSettings(), lambda: Scripted(failing()), lambda _, __: came.set(),
            on_progress=lambda of, pieces, _: seen.append((of.context, pieces)),
        )
        scheduler.start(request())
        await asyncio.wait_for(came.wait(), 30)
        assert seen == [("c", 0), ("c", 1)]
        await scheduler.close()

    asyncio.run(main())


def test_another_round_replaces_the_one_before() -> None:
    async def main() -> None:
        provider = Scripted(forever)
        probe = SchedulerProbe(provider, seed=5)
        probe.scheduler.start(request())
        await until(lambda: probe.scheduler.metering.in_flight == 1)
        provider.script = failing()
        again = msgspec.structs.replace(request(), round=1)
        assert [probe.scheduler.start(each) for each in (again, again, request())] == [True, False, False]
        assert isinstance(await probe.next(), Reply)
        assert len(probe.outcomes) == 1 and probe.scheduler.metering.in_flight == 0
        first, second = provider.asked
        assert first.seed_or(None) == 5 != second.seed_or(None), "it would only say the same again"
        await probe.scheduler.close()

    asyncio.run(main())


def test_no_more_requests_a_minute_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "MINUTE_S", 0.5)
    times: list[float] = []
    acquire = rate_limiter.RateLimiter.acquire

    async def acquired(limiter: rate_limiter.RateLimiter) -> None:
        await acquire(limiter)
        times.append(limiter._started[-1])

    monkeypatch.setattr(rate_limiter.RateLimiter, "acquire", acquired)

    async def main() -> None:
        asked = 0

        async def script(_: Prompt) -> str:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise ProviderError("busy", retryable=True)
            return "yes"

        probe = SchedulerProbe(Scripted(script), max_per_minute=2)
        for number in range(4):
            probe.scheduler.start(request(f"c{number}"))
        await until(lambda: len(probe.outcomes) == 4)
        assert len(times) == asked == 5, "a repetition counts too"
        assert all(later - earlier >= 0.49 for earlier, later in zip(times, times[2:], strict=False))
        await probe.scheduler.close()

    asyncio.run(main())


def test_a_long_conversation_is_cut_to_whole_turns_and_the_reply_says_so() -> None:
    talk = [Message(role, f"{role} {number} " + "x" * 60) for number in range(9) for role in ("user", "assistant")]
    asked = Request("c", 10, "candidate", lambda: [*talk, Message("user", "and?")])

    async def main() -> None:
        provider = Scripted(failing())
        probe = SchedulerProbe(provider, context_tokens=300, max_tokens=100)
        probe.scheduler.start(asked)
        reply = await probe.next()
        assert isinstance(reply, Reply)
        (prompt,) = provider.asked
        assert (reply.seen, reply.before) == (2, 9)
        assert prompt.messages == asked.messages[-5:] and prompt.messages[0].role == "user"
        await probe.scheduler.close()

    asyncio.run(main())


@pytest.mark.parametrize("cut_s", [0.0, 30.0])
@pytest.mark.parametrize(
    ("text", "outcome"),
    [("One. Two. Thr", "One. Two."), ("All of it.", "All of it."), ("no end", "the answer was cut off")],
)
def test_an_answer_that_was_cut_off_ends_with_a_whole_sentence(text: str, outcome: str, cut_s: float) -> None:
    class Cut(Scripted):
        async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
            return msgspec.structs.replace(await super().ask(prompt), complete=False, cut_s=cut_s)

    async def main() -> None:
        probe = SchedulerProbe(Cut(failing(then=text)))
        probe.scheduler.start(msgspec.structs.replace(request(), kind="answer"))
        said = await probe.next()
        if isinstance(said, Reply):
            assert said.text == outcome and said.complete is not bool(cut_s), "what ran out of time stays marked"
        else:
            assert said.reason.startswith(outcome) and said.reason.endswith("timeout_s" if cut_s else "max_tokens")
        probe.scheduler.start(msgspec.structs.replace(request(), kind="ranking", turn=2))
        ranked = await probe.next()
        assert isinstance(ranked, ProviderError) is bool(cut_s), "half a ranking is none"
        probe.scheduler.start(request())
        said = await probe.next()
        assert isinstance(said, Reply) and said.text == text, "a candidate is judged by who chooses"
        await probe.scheduler.close()

    asyncio.run(main())


def test_a_crash_is_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    secret = "key-of-mine-1234"

    async def main() -> None:
        crash = KeyError(f"Bearer {secret}")
        for provider in (Scripted(failing(crash, crash, crash)), crash):
            probe = SchedulerProbe(provider, api_key=secret)
            probe.scheduler.start(request())
            assert secret not in await probe.reason()
            await probe.scheduler.close()

    asyncio.run(main())
    assert "KeyError" in caplog.text and secret not in caplog.text


def test_metering_knows_the_mean() -> None:
    meter = Metering()
    assert meter.mean_s is None
    assert Metering(requests=3, in_flight=1, seconds=5.0).mean_s == 2.5
