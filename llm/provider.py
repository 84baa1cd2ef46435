"""The common interface to LLMs: a prompt goes in, a reply or a reason for failure comes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, Protocol

import msgspec

TEMPERATURE = 0.8
"""Where neither the settings nor the provider have one."""
_SEEDS = 2**32 - 1
_SEEDS_APART = 100_003
"""The distance between seeds of rounds, so that a retry does not repeat another node's earlier answer."""
_SPARE_S = 0.5
"""Before the time limit itself, so that what there is of an answer is taken in time."""
_LATE_S = 0.05
"""Behind the time limit: if the process was held up until then, the answer is still cut first."""


class Message(msgspec.Struct, frozen=True):
    """One message of a chat."""

    role: Literal["user", "assistant"]
    text: str


class RankingBallot(msgspec.Struct, frozen=True):
    """Answers to be ranked. The reply lists their letters, best first, like this: B > A > C."""

    question: str
    answers: list[str]
    """Labelled A, B, C and so on."""


class Prompt(msgspec.Struct, frozen=True):
    """A request to an LLM. `messages` alternate, user first and last; the last one is the question.

    None leaves the choice to the provider. Not every provider supports a `seed`. `round`: how often this has been asked
    again; another round has another seed.
    """

    messages: list[Message]
    system: str | None = None
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    round: int = 0
    time_s: float | None = None
    """How long the answer may take, if not as long as the settings say: an earlier try may have taken some of that."""
    ballot: RankingBallot | None = None
    """The ballot in `messages`, if they ask for a ranking: for providers with a better method than a text prompt."""

    def temperature_or(self, own: float) -> float:
        """The temperature to ask with; `own` is the provider's."""
        return own if self.temperature is None else self.temperature

    def seed_or(self, own: int | None) -> int | None:
        """The seed for this round; `own` is that of a provider that has one."""
        seed = own if self.seed is None else self.seed
        return None if seed is None else (seed + self.round * _SEEDS_APART) % _SEEDS


class Reply(msgspec.Struct, frozen=True):
    """What an LLM answered. Token counts are None where the provider does not report them.

    `complete` is false if the answer was cut off: at `cut_s` seconds, if that is not 0, else at `cut_tokens` tokens, if
    that is known. The LLM saw the last `seen` of `before` earlier turns; both are 0 if it saw all.
    """

    text: str
    model: str
    seconds: float
    tokens_in: int | None = None
    tokens_out: int | None = None
    complete: bool = True
    seen: int = 0
    before: int = 0
    thoughts: str = ""
    """What the LLM thought before it answered, as far as it shows that."""
    cut_s: float = 0.0
    cut_tokens: int | None = None


class ProviderError(Exception):
    """Why there is no reply. `reason` is a sentence for users and never holds a key.

    `retryable`: the same prompt may succeed a little later, not before `retry_after_s` seconds if that is given.
    `model` and `seconds` say who was asked and for how long; the scheduler fills them in.
    """

    def __init__(self, reason: str, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.model = ""
        self.seconds = 0.0


class ContextExceeded(ProviderError):
    """The messages are too long for the LLM. `tokens`: how many its server takes, answer included; None if it does not
    say."""

    def __init__(self, reason: str, tokens: int | None) -> None:
        super().__init__(reason)
        self.tokens = tokens


class Progress(Protocol):
    """Called with the number of pieces (about a token each) that have arrived so far; `text` makes the text that they
    are, without secrets. It is called only if somebody wants to see it, perhaps later, when there is more."""

    def __call__(self, pieces: int, text: Callable[[], str] = str, /) -> None: ...


class Provider(Protocol):
    """An LLM. Its constructor is cheap enough to run in any thread and raises ProviderError for what is missing."""

    @property
    def name(self) -> str:
        """As in the settings."""

    @property
    def model(self) -> str:
        """The model's name, for users."""

    @property
    def parallel(self) -> int:
        """The useful number of concurrent prompts."""

    async def ask(self, prompt: Prompt, on_progress: Progress | None = None) -> Reply:
        """Raises only ProviderError. Can be cancelled at any time."""

    async def close(self) -> None:
        """Closes connections; nothing may be asked any more."""


def cut_at(began: float, seconds: float) -> float:
    """When an answer that has so many seconds from `began` is cut."""
    return began + seconds - min(_SPARE_S, seconds / 10)


def not_begun(who: str, seconds: float) -> ProviderError:
    """Of an answer that was cut by the time limit before there was any text of it."""
    return ProviderError(f"{who} had not begun its answer after {seconds:.3g} s; raise timeout_s")


@asynccontextmanager
async def within(seconds: float, who: str) -> AsyncIterator[None]:
    """Limits the body's time; raises ProviderError naming `who` when it runs out."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            ending = loop.call_later(seconds, lambda: limit.reschedule(loop.time() + _LATE_S))
            try:
                yield
            finally:
                ending.cancel()
    except TimeoutError:
        raise ProviderError(f"{who} gave no answer within {seconds:.3g} s", retryable=True) from None
