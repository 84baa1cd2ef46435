"""Ranks answers with a very small model: not by a written ranking, which it cannot do, but by the probability of "yes"
when it is asked for each answer whether it is a good one.

When SmolLM2-135M is asked to rank, nothing that it writes is a ranking; its probabilities put the better one of two
answers first in six cases of seven (tests/unit/llm/test_local_ranking.py).
"""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from llm.local_model.server import SLOTS
from llm.provider import ProviderError, RankingBallot

if TYPE_CHECKING:
    from llm.chat_client import ChatClient

_EXCERPT = 600
"""Characters read of a question or an answer: five answers of that length take a few seconds."""
_ALTERNATIVES = 40
"""The number of words whose probabilities are requested."""
_LEAST = 0.05
"""If yes and no together are less probable than this, the model has no opinion."""


class _Word(msgspec.Struct):
    token: str
    logprob: float


class _Position(msgspec.Struct):
    top_logprobs: list[_Word]


class _Probabilities(msgspec.Struct):
    content: list[_Position]


class _Choice(msgspec.Struct):
    logprobs: _Probabilities


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage = _Usage()


class Ranked(NamedTuple):
    """`text` as `RankingBallot` wants it."""

    text: str
    tokens_in: int


async def rank(client: ChatClient, model: str, ballot: RankingBallot) -> Ranked:
    """Raises ProviderError if the model has no opinion on one of the answers."""
    scores: dict[str, float] = {}
    tokens = 0
    # In the same order for all nodes, and each answer in its own slot: a prompt is processed only once for all nodes.
    for number, answer in enumerate(sorted(set(ballot.answers))):
        said = await _ask(client, ballot.question, answer, number % SLOTS)
        tokens += said.usage.prompt_tokens
        scores[answer] = _approval(said, model)
    labels = zip(ascii_uppercase, ballot.answers, strict=False)
    best_first = sorted(labels, key=lambda labelled: -scores[labelled[1]])
    return Ranked(" > ".join(label for label, _ in best_first), tokens)


async def _ask(client: ChatClient, question: str, answer: str, slot: int) -> _Answer:
    text = (
        f"Question: {question[:_EXCERPT]}\n\nAnswer: {answer[:_EXCERPT]}\n\n"
        "Is this a good answer to the question? Reply with yes or no."
    )
    said = await client.post("chat/completions", {
        "messages": [{"role": "user", "content": text}], "max_tokens": 1, "temperature": 0, "id_slot": slot,
        "logprobs": True, "top_logprobs": _ALTERNATIVES,
    })
    try:
        return msgspec.json.decode(said, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderError("the local model's server does not report probabilities") from error


def _approval(said: _Answer, model: str) -> float:
    """The probability of yes against no."""
    first = [position for choice in said.choices[:1] for position in choice.logprobs.content[:1]]
    yes = no = 0.0
    for word in (word for position in first for word in position.top_logprobs):
        match word.token.strip().lower():
            case "yes":
                yes += math.exp(min(word.logprob, 0.0))
            case "no":
                no += math.exp(min(word.logprob, 0.0))
    if yes + no < _LEAST:
        raise ProviderError(f"{model} has no opinion: it says neither yes nor no")
    return yes / (yes + no)
