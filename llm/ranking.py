"""The nodes' choice: how an LLM is asked to rank answers without knowing whose they are, and how its reply is read."""

from __future__ import annotations

import hashlib
import re
from string import ascii_uppercase

from kvstore.conversation import Conversation, Poll, Response
from llm.provider import Message, RankingBallot
from llm.thoughts import separate

MIN_TOKENS = 4096
"""The least bound on a ranking's tokens, where answers have one: models that think count their thoughts, too."""

EXCERPT = 1500
"""Characters of an answer in the prompt: small models have short contexts."""
MIN_EXCERPT = 200

_TASK = "Rank these answers to the question below from best to worst."
_READ = 4000
"""Characters at the end of a reply that are searched for a ranking."""
_FILLING = ("answer", "then", "and")
"""Words that may occur between the letters."""


def ranking_ballot(
    conversation: Conversation, number: int, poll: Poll, voter: int
) -> tuple[list[int], RankingBallot]:
    """The nodes, and their answers in the same order.

    The order differs for each voter, conversation and turn, so that no position is favoured.
    """
    turn = conversation.turns[number - 1]

    def shuffled(node: int) -> bytes:
        mixed = f"{conversation.context}\n{number} {poll.number} {voter} {node}"
        return hashlib.blake2s(mixed.encode()).digest()

    nodes = sorted((node for node in poll.ballot if node in turn.candidates), key=shuffled)
    return nodes, RankingBallot(turn.text, [shown(turn.candidates[node]) for node in nodes])


def answer_of(response: Response) -> str:
    """What a response says, as prompts and ballots have it: without thoughts, which releases up to 0.1.0 left in it."""
    return separate(response.text or "").answer or response.text or ""


def shown(response: Response) -> str:
    """An answer as other LLMs see it: that it was cut counts against it, and is not to be guessed."""
    return answer_of(response) + (f" (cut off: {response.cut.value} ran out)" if response.cut is not None else "")


def ranking_prompt(ballot: RankingBallot, excerpt: int = EXCERPT) -> list[Message]:
    """The messages that ask for a ranking, by the first `excerpt` characters of each answer."""
    labels = ascii_uppercase[: len(ballot.answers)]
    answers = [
        f"Answer {label}:\n{text[:excerpt]}{'...' if len(text) > excerpt else ''}"
        for label, text in zip(labels, ballot.answers, strict=False)
    ]
    text = (
        f"{_TASK}\n\nQuestion: {ballot.question[:excerpt]}\n\n"
        + "\n\n".join(answers)
        + f"\n\nReply with nothing but all the letters, best first, like this: {' > '.join(reversed(labels))}"
    )
    return [Message("user", text)]


def read_ranking(text: str, nodes: list[int]) -> list[int] | None:
    """The `nodes`, best first, by the last complete ranking in an LLM's text; None if there is none to be read."""
    words = [word for word in re.findall(r"[^\W_]+", text[-_READ:]) if not (word.isdigit() or word.lower() in _FILLING)]
    for start in range(len(words) - len(nodes), -1, -1):
        positions = [ascii_uppercase.find(word) if len(word) == 1 else -1 for word in words[start : start + len(nodes)]]
        if sorted(positions) == list(range(len(nodes))):
            return [nodes[position] for position in positions]
    return None
