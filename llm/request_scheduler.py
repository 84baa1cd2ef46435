"""Puts requests to the LLM: in the background, bounded, with the one retry loop."""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import msgspec

from config.llm_settings import LlmSettings
from kvstore.rules import check_text
from llm import ranking
from llm.budget import LearnedLimit, Trimmed, prompt_tokens, trim
from llm.provider import ContextExceeded, Prompt, Provider, ProviderError, Reply, not_begun, within
from llm.rate_limiter import RateLimiter
from llm.requests import Fate, Request, RequestKey, RequestKind
from llm.synthesis import fitting
from llm.thoughts import separate
from llm.unfinished import unfinished
from llm.wording import is_whole, masked, plain, up_to_sentence_end, valid
from llm.workers import Workers

MAX_ANSWER_BYTES = 65_536
MAX_THOUGHTS = 16_384
"""Characters of thoughts that are kept."""
MAX_TRIES = 3
FIRST_PAUSE_S = 0.5
"""The pause before the second try; doubled before the third. The actual pause is 50 to 100 % of it."""

_KINDS: tuple[RequestKind, ...] = ("candidate", "answer", "ranking", "synthesis")

OnProgress: TypeAlias = Callable[[Request, int, Callable[[], str]], None]

_log = logging.getLogger(__name__)


class Metering(msgspec.Struct):
    """Since the start. Tokens as far as providers report them."""

    requests: int = 0
    """Requests that were put to the LLM."""
    replies: int = 0
    failures: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    """From putting a request to the LLM until its outcome, in total."""
    in_flight: int = 0
    waiting: int = 0
    """Requests that wait for others to finish, or for the next minute."""

    @property
    def mean_s(self) -> float | None:
        """Seconds from putting a request to the LLM until its outcome; None if there has been none."""
        finished = self.requests - self.in_flight
        return self.seconds / finished if finished > 0 else None


class _Attempt(NamedTuple):
    """What is put to the LLM: `prompt` has the last `seen` of `before` earlier turns. `limit` is what it was made for:
    tokens of a conversation, or characters of each answer to rank."""

    prompt: Prompt
    seen: int
    before: int
    limit: int | None


class RequestScheduler:
    """Runs requests. Everything but `build` runs in the event loop that `start` is called in.

    `build` makes the provider when the first request needs it, in a thread. If it raises, that is the request's
    outcome, and the next request tries again.
    `done` gets each request with its outcome, once, unless it is cancelled before.
    How many requests are in flight is bounded by the settings, else by the provider.
    `on_progress` gets a request, the number of pieces of its answer so far (0 when it is put to the LLM), and what
    makes the text that may be shown of it.
    """

    def __init__(
        self,
        settings: LlmSettings,
        build: Callable[[], Provider],
        done: Callable[[Request, Reply | ProviderError], None],
        *,
        on_progress: OnProgress | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        self._metering = Metering()
        self._settings = settings
        self._build = build
        self._done = done
        self._limit = LearnedLimit(settings)
        self._rate = RateLimiter(settings.max_per_minute)
        self._on_progress = on_progress
        self._random = random or random_module.Random()
        self._workers = Workers("provider")
        self._building: asyncio.Task[Provider] | None = None
        self._provider: Provider | None = None
        self._waiting: OrderedDict[RequestKey, Request] = OrderedDict()
        """In the order in which they will run: no task and no timer before it is their turn."""
        self._running: dict[RequestKey, Request] = {}
        self._tasks: dict[RequestKey, asyncio.Task[None]] = {}
        """Of the running requests."""
        self._at_llm: dict[RequestKey, Request] = {}
        """The running requests that the LLM works on now: they do not wait for a place, a minute or the next try."""
        self._started: dict[RequestKey, tuple[int, int]] = {}
        """The version of each request that was started last, until its turn is closed."""
        self._closed = False

    @property
    def model(self) -> str:
        """The provider's model; before the provider exists, as configured, or empty."""
        return self._settings.model or "" if self._provider is None else self._provider.model

    @property
    def metering(self) -> Metering:
        metering = self._metering
        metering.waiting = len(self._waiting) + max(0, len(self._tasks) - metering.in_flight)
        return metering

    def start(self, request: Request) -> bool:
        """Takes a request. False, and nothing done, if it was started before and not cancelled since. An earlier
        version of it that is still running is cancelled."""
        key = request.key
        started = self._started.get(key)
        if self._closed or (started is not None and started >= request.version):
            return False
        self._cancel(key)
        self._started[key] = request.version
        self._waiting[key] = request
        self._run_waiting()
        return True

    def cancel(self, context: str, turn: int) -> None:
        """The turn is closed: cancels its requests, and forgets them."""
        self._forget((context, turn, kind) for kind in _KINDS)

    def retain(self, is_open: Callable[[str, int], bool]) -> None:
        """As `cancel`, of every turn that is not open."""
        self._forget([key for key in self._started if not is_open(key[0], key[1])])

    def review(self, fate: Callable[[Request], Fate]) -> None:
        """What does not wait in vain stays, of all requests: see `Fate`. The others may be started again later."""
        self._review([*self._waiting, *self._running], fate)

    def review_turn(self, context: str, turn: int, fate: Callable[[Request], Fate]) -> None:
        """As `review`, of one turn."""
        self._review([(context, turn, kind) for kind in _KINDS], fate)

    def _review(self, keys: Iterable[RequestKey], fate: Callable[[Request], Fate]) -> None:
        def is_over(key: RequestKey) -> bool:
            request = self._waiting.get(key) or self._running.get(key)
            if request is None:
                return False
            decided = fate(request)
            return decided is Fate.DROP or (decided is Fate.FINISH and key not in self._at_llm)

        self._forget([key for key in keys if is_over(key)])

    def _forget(self, keys: Iterable[RequestKey]) -> None:
        for key in keys:
            if self._started.pop(key, None) is not None:
                self._cancel(key)
        self._run_waiting()

    async def close(self) -> None:
        """Cancels all requests and closes the provider."""
        self._closed = True
        self._waiting.clear()
        tasks: list[asyncio.Task[Any]] = list(self._tasks.values())
        if self._building is not None:
            tasks.append(self._building)
        self._tasks.clear()
        self._running.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._provider is not None:
            await self._provider.close()

    def _cancel(self, key: RequestKey) -> None:
        self._waiting.pop(key, None)
        self._running.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def _run_waiting(self) -> None:
        """What has waited longest, up to the bound. The first request makes the provider, alone."""
        limit = 1 if self._provider is None else self._settings.max_concurrent or self._provider.parallel
        while self._waiting and len(self._tasks) < limit:
            key, request = self._waiting.popitem(last=False)
            self._running[key] = request
            self._tasks[key] = asyncio.get_running_loop().create_task(self._run(request))

    async def _run(self, request: Request) -> None:
        outcome: Reply | ProviderError
        try:
            outcome = await self._metered(request)
        except ProviderError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - a bug here is a failed answer too: else its question stays open forever
            _log.error("the request %s failed\n%s", request.key, self._traceback(error))
            outcome = ProviderError(f"this node could not ask its LLM: {type(error).__name__}")
        if isinstance(outcome, ProviderError):
            self._metering.failures += 1
            outcome.reason = valid(outcome.reason)
            if check_text(outcome.reason) is not None:
                outcome.reason = "the LLM failed without a reason"
        if self._tasks.get(request.key) is not asyncio.current_task():
            return
        del self._tasks[request.key], self._running[request.key]
        self._run_waiting()
        try:
            self._done(request, outcome)
        except Exception:  # noqa: BLE001 - a bug of the caller must not vanish in a task that nothing awaits
            _log.exception("the outcome of %s was not handled", request.key)

    async def _metered(self, request: Request) -> Reply:
        metering = self._metering
        provider = await self._get_provider()
        await self._rate.acquire()
        metering.requests += 1
        metering.in_flight += 1
        began = time.monotonic()
        if self._on_progress is not None:
            self._on_progress(request, 0, str)
        try:
            reply = await self._ask(provider, request)
        except ProviderError as error:
            error.model, error.seconds = self.model, time.monotonic() - began
            raise
        finally:
            metering.in_flight -= 1
            metering.seconds += time.monotonic() - began
        metering.replies += 1
        metering.tokens_in += reply.tokens_in or 0
        metering.tokens_out += reply.tokens_out or 0
        return reply

    async def _get_provider(self) -> Provider:
        """A request that is called off meanwhile does not call off what the next one needs."""
        if self._provider is not None:
            return self._provider
        if self._building is None:
            self._building = asyncio.get_running_loop().create_task(self._make_provider())
            self._building.add_done_callback(self._built)
        provider = await asyncio.shield(self._building)
        self._run_waiting()
        return provider

    async def _make_provider(self) -> Provider:
        try:
            return await self._workers.run(self._build)
        except ProviderError:
            raise
        except Exception as error:  # an SDK may raise anything on import: a failed answer, not a dead node
            _log.warning("the LLM provider cannot start\n%s", self._traceback(error))
            said = plain(f"{type(error).__name__}: {error}", self._settings.api_key)
            raise ProviderError(f"the LLM provider cannot start: {said}") from error

    def _built(self, building: asyncio.Task[Provider]) -> None:
        self._building = None
        if not building.cancelled() and building.exception() is None:
            self._provider = building.result()

    async def _ask(self, provider: Provider, request: Request) -> Reply:
        """Tries up to MAX_TRIES times, within `timeout_s` in total. Not counted is what the LLM finds too long: it gets
        less of the conversation."""
        settings = self._settings
        attempt = self._first_attempt(request)
        deadline = time.monotonic() + settings.timeout_s
        tries = 1
        async with within(settings.timeout_s, provider.model):
            while True:
                try:
                    left = msgspec.structs.replace(attempt.prompt, time_s=deadline - time.monotonic())
                    reply = await self._try(provider, request, left)
                    return self._finished(attempt, validated(reply, whole=request.kind == "answer"))
                except ContextExceeded as error:
                    attempt = self._shorter(request, attempt, error)
                except ProviderError as error:
                    pause = self._pause(error, tries)
                    if not error.retryable or tries == MAX_TRIES or time.monotonic() + pause >= deadline:
                        if tries == 1:
                            raise
                        raise ProviderError(f"{error.reason} (tried {tries} times)") from error
                    tries += 1
                    await asyncio.sleep(pause)
                self._metering.retries += 1
                await self._rate.acquire()

    def _finished(self, attempt: _Attempt, reply: Reply) -> Reply:
        """The reply, with how many of the earlier turns the LLM saw; what it took of them is remembered."""
        before = attempt.before
        if attempt.seen != before:
            self._limit.succeeded(attempt.limit)
        if reply.before:  # the provider counts by itself
            seen = reply.seen
        else:
            sent = Trimmed(attempt.prompt.messages, attempt.seen, before)
            seen = self._limit.after_reply(reply.tokens_in, sent, attempt.prompt.system)
        return reply if seen == before else msgspec.structs.replace(reply, seen=seen, before=before)

    def _first_attempt(self, request: Request) -> _Attempt:
        settings = self._settings
        if request.kind == "ranking":
            tokens = None if settings.max_tokens is None else max(settings.max_tokens, ranking.MIN_TOKENS)
            prompt = Prompt(request.messages, None, 0.0, settings.seed, tokens, ballot=request.ballot)
            return _Attempt(prompt, 0, 0, ranking.EXCERPT)
        prompt = Prompt(
            request.messages, request.system or settings.system_prompt, settings.temperature, settings.seed,
            settings.max_tokens, request.round,
        )
        return self._fitting(request, prompt, self._limit.tokens)

    def _fitting(self, request: Request, prompt: Prompt, limit: int | None) -> _Attempt:
        messages = prompt.messages
        if request.sources is not None:
            messages = [*messages[:-1], fitting(request.sources, limit or prompt_tokens(self._settings))]
        trimmed = trim(messages, prompt.system, limit)
        return _Attempt(msgspec.structs.replace(prompt, messages=trimmed.messages), trimmed.seen, trimmed.before, limit)

    def _shorter(self, request: Request, attempt: _Attempt, error: ContextExceeded) -> _Attempt:
        """With less of the conversation, or of the answers that it is about. Raises ProviderError if there is nothing
        more to leave out."""
        prompt, limit = attempt.prompt, attempt.limit
        if prompt.ballot is not None and limit is not None and limit > ranking.MIN_EXCERPT:
            messages = ranking.ranking_prompt(prompt.ballot, limit // 2)
            return attempt._replace(prompt=msgspec.structs.replace(prompt, messages=messages), limit=limit // 2)
        sent = Trimmed(prompt.messages, attempt.seen, attempt.before)
        limit = self._limit.after_refusal(error.tokens, sent, prompt.system)
        less = self._fitting(request, prompt, limit)
        if prompt.ballot is not None or less.prompt.messages == prompt.messages:
            raise ProviderError(f"{error.reason} (nothing more can be left out; context_tokens is the model's context)")
        return less._replace(before=attempt.before)

    async def _try(self, provider: Provider, request: Request, prompt: Prompt) -> Reply:
        report = None if request.kind == "ranking" else self._on_progress
        key = request.key
        self._at_llm[key] = request
        try:
            reply = await provider.ask(prompt, None if report is None else partial(_report, report, request))
            if request.kind == "ranking" and reply.cut_s:
                raise ProviderError(f"{provider.model} had not finished its ranking after {reply.cut_s:.3g} s")
            return reply
        except ProviderError:
            raise
        except Exception as error:  # a provider's bug fails the answer, not the node
            _log.error("the provider %s crashed\n%s", provider.name, self._traceback(error))
            raise ProviderError(f"the provider {provider.name} crashed: {type(error).__name__}") from error
        finally:
            if self._at_llm.get(key) is request:
                del self._at_llm[key]

    def _traceback(self, error: Exception) -> str:
        """For the log: what failed may have put a key into its words."""
        return masked("".join(traceback.format_exception(error)), self._settings.api_key, self._settings.base_url)

    def _pause(self, error: ProviderError, tries: int) -> float:
        pause = FIRST_PAUSE_S * 2.0 ** (tries - 1) * self._random.uniform(0.5, 1)
        return max(pause, error.retry_after_s or 0)


def _report(report: OnProgress, request: Request, pieces: int, text: Callable[[], str] = str) -> None:
    report(request, pieces, lambda: unfinished(text()))


def validated(reply: Reply, *, whole: bool = False) -> Reply:
    """The reply with its text ready to be proposed: stripped, without thoughts, valid Unicode, not blank, within
    MAX_ANSWER_BYTES; if it must be `whole`, without an incomplete last sentence.

    Raises ProviderError if it cannot be.
    """
    text, within = separate(valid(reply.text))
    thoughts = valid(f"{reply.thoughts}\n\n{within}")[:MAX_THOUGHTS]
    if thoughts and check_text(text) is not None:
        if reply.complete:
            raise ProviderError("the LLM only thought, and gave no answer", retryable=True)
        if reply.cut_s:
            raise not_begun("the LLM", reply.cut_s)
        raise ProviderError("the LLM used up its tokens thinking before it wrote anything; raise max_tokens")
    if whole and not reply.complete:
        text = up_to_sentence_end(text)
        if not is_whole(text):
            bound = "timeout_s" if reply.cut_s else "max_tokens"
            raise ProviderError(f"the answer was cut off within its first sentence; raise {bound}")
        reply = msgspec.structs.replace(reply, complete=not reply.cut_s)
    size = len(text.encode())
    if size > MAX_ANSWER_BYTES:
        raise ProviderError(f"the answer is too long: {size} bytes, at most {MAX_ANSWER_BYTES} are allowed")
    if check_text(text) is not None:
        raise ProviderError("the LLM gave an empty answer", retryable=True)
    return msgspec.structs.replace(reply, text=text, thoughts=thoughts)
