"""Where duties are carried out: in the background, bounded, with the one retry loop."""

from __future__ import annotations

import asyncio
import logging
import random as random_module
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from kvstore.operations import check_text
from llm import ranking
from llm.budget import cut, room
from llm.pace import Pace
from llm.provider import Prompt, Provider, ProviderError, Reply, within
from llm.requests import Request, RequestKey, RequestKind
from llm.settings import LlmSettings
from llm.wording import is_whole, plain, up_to_sentence_end
from llm.workers import Workers

MAX_ANSWER_BYTES = 65_536
MAX_TRIES = 3
FIRST_PAUSE_S = 0.5
"""Before the second try; doubled before the third. The actual pause is between half of it and all of it."""

_KINDS: tuple[RequestKind, ...] = ("candidate", "answer", "ranking")

_log = logging.getLogger(__name__)


class Metering(msgspec.Struct):
    """Since the start. Tokens as far as providers tell them."""

    requests: int = 0
    """Duties that were put to the LLM."""
    replies: int = 0
    failures: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    """From putting a duty to the LLM until its outcome, in total."""
    in_flight: int = 0
    waiting: int = 0
    """Duties that wait for others to finish, or for the next minute."""

    @property
    def mean_s(self) -> float | None:
        """Seconds from putting a duty to the LLM until its outcome; None if there has been none."""
        finished = self.requests - self.in_flight
        return self.seconds / finished if finished > 0 else None


class RequestScheduler:
    """Carries out duties. Everything but `build` runs in the event loop that `start` is called in.

    `build` makes the provider when the first duty needs it, in a thread. If it raises, that is the duty's outcome, and
    the next duty tries again.
    `done` gets each duty with what came of it, once, unless it is cancelled before.
    How many duties are in flight is bounded by the settings, else by the provider.
    `on_progress` gets a duty and the number of pieces of its answer so far: 0 when it is put to the LLM.
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
        self._pace = Pace(settings.max_per_minute)
        self._on_progress = on_progress
        self._random = random or random_module.Random()
        self._workers = Workers("provider")
        self._building = asyncio.Lock()
        self._provider: Provider | None = None
        self._waiting: OrderedDict[RequestKey, Request] = OrderedDict()
        """In the order in which they will begin: no task, no timer, until there is room."""
        self._tasks: dict[RequestKey, asyncio.Task[None]] = {}
        self._rounds: dict[RequestKey, int] = {}
        """The round that each duty was last started for, until its turn is closed."""
        self._closed = False

    @property
    def model(self) -> str:
        """The provider's; before there is one, as configured, or empty."""
        return self._settings.model or "" if self._provider is None else self._provider.model

    @property
    def metering(self) -> Metering:
        metering = self._metering
        metering.waiting = len(self._waiting) + max(0, len(self._tasks) - metering.in_flight)
        return metering

    def start(self, duty: Request) -> bool:
        """Begins with a duty. False, and nothing done, if it was started before and not cancelled since. What is under
        way for an earlier round of it is given up."""
        key = duty.key
        if self._closed or self._rounds.get(key, -1) >= duty.round:
            return False
        self._give_up(key)
        self._rounds[key] = duty.round
        self._waiting[key] = duty
        self._begin()
        return True

    def cancel(self, context: str, turn: int) -> None:
        """The turn is closed: gives up what is under way for it, and forgets it."""
        for kind in _KINDS:
            key = context, turn, kind
            if self._rounds.pop(key, None) is not None:
                self._give_up(key)
        self._begin()

    def _give_up(self, key: RequestKey) -> None:
        self._waiting.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    def _begin(self) -> None:
        """With what has waited longest, as long as there is room. The first duty makes the provider, alone."""
        room = 1 if self._provider is None else self._settings.max_concurrent or self._provider.parallel
        while self._waiting and len(self._tasks) < room:
            key, duty = self._waiting.popitem(last=False)
            self._tasks[key] = asyncio.get_running_loop().create_task(self._carry_out(duty))

    async def close(self) -> None:
        """Gives up everything under way and closes the provider."""
        self._closed = True
        self._waiting.clear()
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._provider is not None:
            await self._provider.close()

    async def _carry_out(self, duty: Request) -> None:
        outcome: Reply | ProviderError
        try:
            outcome = await self._metered(duty)
        except ProviderError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - a bug here is a failed answer too: else its question stays open for ever
            _log.exception("%s was not done", duty.key)
            outcome = ProviderError(f"this node could not ask its LLM: {type(error).__name__}")
        if isinstance(outcome, ProviderError):
            self._metering.failures += 1
            outcome.reason = _valid(outcome.reason)
            if check_text(outcome.reason) is not None:
                outcome.reason = "the LLM failed without saying why"
        if self._tasks.get(duty.key) is not asyncio.current_task():
            return
        del self._tasks[duty.key]
        self._begin()
        try:
            self._done(duty, outcome)
        except Exception:  # noqa: BLE001 - the host's fault must not vanish in a task that nobody awaits
            _log.exception("the outcome of %s was not taken", duty.key)

    async def _metered(self, duty: Request) -> Reply:
        metering = self._metering
        provider = await self._get_provider()
        await self._pace.take()
        metering.requests += 1
        metering.in_flight += 1
        began = time.monotonic()
        if self._on_progress is not None:
            self._on_progress(duty, 0)
        try:
            reply = await self._ask(provider, duty)
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
                except Exception as error:  # an SDK may raise anything on import: a failed answer, not a dead node
                    _log.warning("the LLM provider cannot start", exc_info=True)
                    said = plain(f"{type(error).__name__}: {error}", self._settings.api_key)
                    raise ProviderError(f"the LLM provider cannot start: {said}") from error
                self._begin()
            return self._provider

    async def _ask(self, provider: Provider, duty: Request) -> Reply:
        """Tries up to MAX_TRIES times, `timeout_s` in all."""
        settings = self._settings
        prompt, seen, before = self._prompt(provider, duty)
        deadline = time.monotonic() + settings.timeout_s
        tries = 1
        async with within(settings.timeout_s, provider.model):
            while True:
                try:
                    reply = validated(await self._try(provider, duty, prompt), whole=duty.kind == "answer")
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
                await self._pace.take()

    def _prompt(self, provider: Provider, duty: Request) -> tuple[Prompt, int, int]:
        """With how many of how many earlier turns."""
        settings = self._settings
        if duty.kind == "ranking":
            tokens = min(settings.max_tokens or ranking.MAX_TOKENS, ranking.MAX_TOKENS)
            return Prompt(duty.messages, None, 0.0, settings.seed, tokens, ballot=duty.ranked), 0, 0
        # The local provider counts exactly, so it cuts by itself, unless it is told to.
        exact = provider.name == "local" and settings.context_tokens is None
        messages, seen, before = cut(duty.messages, settings.system_prompt, None if exact else room(settings))
        prompt = Prompt(
            messages, settings.system_prompt, settings.temperature, settings.seed, settings.max_tokens, duty.round
        )
        return prompt, seen, before

    async def _try(self, provider: Provider, duty: Request, prompt: Prompt) -> Reply:
        report = None if duty.kind == "ranking" else self._on_progress
        try:
            return await provider.ask(prompt, None if report is None else lambda pieces: report(duty, pieces))
        except ProviderError:
            raise
        except Exception as error:  # a provider's bug is a failed answer, not the end of the node
            _log.exception("the provider %s broke", provider.name)
            raise ProviderError(f"the provider {provider.name} broke: {type(error).__name__}") from error

    def _pause(self, error: ProviderError, tries: int) -> float:
        pause = FIRST_PAUSE_S * 2.0 ** (tries - 1) * self._random.uniform(0.5, 1)
        return max(pause, error.retry_after_s or 0)


def validated(reply: Reply, *, whole: bool = False) -> Reply:
    """The reply with its text as it may be proposed: stripped, valid Unicode, not blank, within MAX_ANSWER_BYTES; if
    it must be `whole`, without a sentence that was cut off.

    Raises ProviderError if it cannot be.
    """
    text = _valid(reply.text)
    if whole and not reply.complete:
        text = up_to_sentence_end(text)
        if not is_whole(text):
            raise ProviderError("the answer was cut off before its first sentence ended; allow more with max_tokens")
    size = len(text.encode())
    if size > MAX_ANSWER_BYTES:
        raise ProviderError(f"the answer is too long: {size} bytes, at most {MAX_ANSWER_BYTES} are possible")
    if check_text(text) is not None:
        raise ProviderError("the LLM gave an empty answer", retryable=True)
    return msgspec.structs.replace(reply, text=text)


def _valid(text: str) -> str:
    """Without half characters and white space around."""
    return text.encode(errors="replace").decode().strip()
