"""How far answers agree with each other, by the words that they share.

Wrong answers are wrong in many ways, right ones alike; so what most say is more often right than any one of them. No
LLM is asked. Everything is whole numbers: every node comes to the same result.

A synthesis is no witness: it is made out of the others. How far it agrees with them is counted, and not how far they
agree with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from kvstore.conversation import AGREEMENT, SYNTHESIS, Poll, Response, Turn, Vote

FULL: Final = 1000
"""The agreement of answers with the same words."""
_READ: Final = 2000
"""Characters of an answer that count."""
_WORDS: Final = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
"""ASCII alone is the same in every version of Python: no more is told apart, or taken for the same."""


_FEWEST: Final = 3
"""Of two answers, each agrees with the other as much as that one with it."""


def weigh(turn: Turn, poll: Poll) -> None:
    """Gives the agreement of the answers its vote, if any LLM has ranked them."""
    if sum(node != SYNTHESIS for node in poll.ballot) >= _FEWEST and any(vote.order for vote in poll.votes.values()):
        shares = agreement({node: turn.candidates[node] for node in poll.ballot})
        order = sorted(poll.ballot, key=lambda node: (-shares[node], node == SYNTHESIS, node))
        poll.votes = {AGREEMENT: Vote(order, None, ""), **poll.votes}


def agreement(answers: Mapping[int, Response]) -> dict[int, int]:
    """By node, from 0 to FULL: how much of its words each answer shares with the others, on average.

    A model that several nodes ask counts once, with the average of its answers: copies of one mind are no witnesses
    for each other against the others.
    """
    words = {node: _words(answer.text or "") for node, answer in answers.items()}
    return {node: _with_others(node, words, answers) for node in answers}


def _words(text: str) -> frozenset[str]:
    return frozenset(text[:_READ].translate(_WORDS).split(" ")) - {""}


def _with_others(node: int, words: Mapping[int, frozenset[str]], answers: Mapping[int, Response]) -> int:
    total: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for other, answer in answers.items():
        if other not in (node, SYNTHESIS):
            total[answer.model] += _shared(words[node], words[other])
            count[answer.model] += 1
    return sum(total[model] // count[model] for model in count) // len(count) if count else 0


def _shared(one: frozenset[str], other: frozenset[str]) -> int:
    either = len(one | other)
    return FULL * len(one & other) // either if either else FULL
