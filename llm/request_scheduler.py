"""Puts requests to the LLM: in the background, bounded, with the one retry loop."""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from config.llm_settings import LlmSettings
from kvstore.operations import check_text
from llm import ranking
from llm.budget import trim, trim_limit
from llm.provider import Prompt, Provider, ProviderError, Reply, within
from llm.rate_limiter import RateLimiter
from llm.requests import Request, RequestKey, RequestKind
from llm.wording import is_whole, plain, up_to_sentence_end, valid
from llm.workers import Workers

MAX_ANSWER_BYTES = 65_536
MAX_TRIES = 3
FIRST_PAUSE_S = 0.5
"""The pause before the second try; doubled before the third. The actual pause is 50 to 100 % of it."""

_KINDS: tuple[RequestKind, ...] = ("candidate", "answer", "ranking")

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


class RequestScheduler:
    """Runs requests. Everything but `build` runs in the event loop that `start` is called in.

    `build` makes the provider when the first request needs it, in a thread. If it raises, that is the request's
    outcome, and the next request tries again.
    `done` gets each request with its outcome, once, unless it is cancelled before.
    How many requests are in flight is bounded by the settings, else by the provider.
    `on_progress` gets a request and the number of pieces of its answer so far: 0 when it is put to the LLM.
    """

    def __init__(
        self,
        settings: LlmSettings,
        build: Callable[[], Provider],
        done: Callable[[Request, Reply | ProviderError], None],
        *,
        on_progress: Callable[[Request, int], None] | None = None,
        random: random_module.Random | None = None,
    ) -> None:
        self._metering = Metering()
        self._settings = settings
        self._build = build
        self._done = done
        self._rate = RateLimiter(settings.max_per_minute)
        self._on_progress = on_progress
        self._random = random or random_module.Random()
        self._workers = Workers("provider")
        self._building = asyncio.Lock()
        self._provider: Provider | None = None
        self._waiting: OrderedDict[RequestKey, Request] = OrderedDict()
        """In the order in which they will run: no task and no timer before it is their turn."""
        self._tasks: dict[RequestKey, asyncio.Task[None]] = {}
        self._rounds: dict[RequestKey, int] = {}
        """The round that each request was last started for, until its turn is closed."""
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
        """Takes a request. False, and nothing done, if it was started before and not cancelled since. An earlier round
        of it that is still running is cancelled."""
        key = request.key
        if self._closed or self._rounds.get(key, -1) >= request.round:
            return False
        self._cancel(key)
        self._rounds[key] = request.round
        self._waiting[key] = request
        self._run_waiting()
        return True

    def cancel(self, context: str, turn: int) -> None:
        """The turn is closed: cancels its requests, and forgets them."""
        for kind in _KINDS:
            key = context, turn, kind
            if self._rounds.pop(key, None) is not None:
                self._cancel(key)
        self._run_waiting()

    async def close(self) -> None:
        """Cancels all requests and closes the provider."""
        self._closed = True
        self._waiting.clear()
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._provider is not None:
            await self._provider.close()

    def _cancel(self, key: RequestKey) -> None:
        self._waiting.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def _run_waiting(self) -> None:
        """What has waited longest, up to the bound. The first request makes the provider, alone."""
        limit = 1 if self._provider is None else self._settings.max_concurrent or self._provider.parallel
        while self._waiting and len(self._tasks) < limit:
            key, request = self._waiting.popitem(last=False)
            self._tasks[key] = asyncio.get_running_loop().create_task(self._run(request))

    async def _run(self, request: Request) -> None:
        outcome: Reply | ProviderError
        try:
            outcome = await self._metered(request)
        except ProviderError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - a bug here is a failed answer too: else its question stays open forever
            _log.exception("the request %s failed", request.key)
            outcome = ProviderError(f"this node could not ask its LLM: {type(error).__name__}")
        if isinstance(outcome, ProviderError):
            self._metering.failures += 1
            outcome.reason = valid(outcome.reason)
            if check_text(outcome.reason) is not None:
                outcome.reason = "the LLM failed without a reason"
        if self._tasks.get(request.key) is not asyncio.current_task():
            return
        del self._tasks[request.key]
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
            self._on_progress(request, 0)
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
        async with self._building:
            if self._provider is None:
                try:
                    self._provider = await self._workers.run(self._build)
                except ProviderError:
                    raise
                except Exception as error:  # an SDK may raise anything on import: this fails the answer, not the node
                    _log.warning("the LLM provider cannot start", exc_info=True)
                    said = plain(f"{type(error).__name__}: {error}", self._settings.api_key)
                    raise ProviderError(f"the LLM provider cannot start: {said}") from error
                self._run_waiting()
            return self._provider

    async def _ask(self, provider: Provider, request: Request) -> Reply:
        """Tries up to MAX_TRIES times, within `timeout_s` in total."""
        settings = self._settings
        prompt, seen, before = self._prompt(request)
        deadline = time.monotonic() + settings.timeout_s
        tries = 1
        async with within(settings.timeout_s, provider.model):
            while True:
                try:
                    reply = validated(await self._try(provider, request, prompt), whole=request.kind == "answer")
                    if seen < before:
                        reply = msgspec.structs.replace(reply, seen=reply.seen if reply.before else seen, before=before)
                    return reply
                except ProviderError as error:
                    pause = self._pause(error, tries)
                    if not error.retryable or tries == MAX_TRIES or time.monotonic() + pause >= deadline:
                        if tries == 1:
                            raise
                        raise ProviderError(f"{error.reason} (tried {tries} times)") from error
                self._metering.retries += 1
                tries += 1
                await asyncio.sleep(pause)
                await self._rate.acquire()

    def _prompt(self, request: Request) -> tuple[Prompt, int, int]:
        """The messages, with how many earlier turns fitted and how many there were."""
        settings = self._settings
        if request.kind == "ranking":
            tokens = min(settings.max_tokens or ranking.MAX_TOKENS, ranking.MAX_TOKENS)
            return Prompt(request.messages, None, 0.0, settings.seed, tokens, ballot=request.ballot), 0, 0
        messages, seen, before = trim(request.messages, settings.system_prompt, trim_limit(settings))
        prompt = Prompt(
            messages, settings.system_prompt, settings.temperature, settings.seed, settings.max_tokens, request.round
        )
        return prompt, seen, before

    async def _try(self, provider: Provider, request: Request, prompt: Prompt) -> Reply:
        report = None if request.kind == "ranking" else self._on_progress
        try:
            return await provider.ask(prompt, None if report is None else lambda pieces: report(request, pieces))
        except ProviderError:
            raise
        except Exception as error:  # a provider's bug fails the answer, not the node
            _log.exception("the provider %s crashed", provider.name)
            raise ProviderError(f"the provider {provider.name} crashed: {type(error).__name__}") from error

    def _pause(self, error: ProviderError, tries: int) -> float:
        pause = FIRST_PAUSE_S * 2.0 ** (tries - 1) * self._random.uniform(0.5, 1)
        return max(pause, error.retry_after_s or 0)


def validated(reply: Reply, *, whole: bool = False) -> Reply:
    """The reply with its text ready to be proposed: stripped, valid Unicode, not blank, within MAX_ANSWER_BYTES; if
    it must be `whole`, without an incomplete last sentence.

    Raises ProviderError if it cannot be.
    """
    text = valid(reply.text)
    if whole and not reply.complete:
        text = up_to_sentence_end(text)
        if not is_whole(text):
            raise ProviderError("the answer was cut off within its first sentence; raise max_tokens")
    size = len(text.encode())
    if size > MAX_ANSWER_BYTES:
        raise ProviderError(f"the answer is too long: {size} bytes, at most {MAX_ANSWER_BYTES} are allowed")
    if check_text(text) is not None:
        raise ProviderError("the LLM gave an empty answer", retryable=True)
    return msgspec.structs.replace(reply, text=text)
