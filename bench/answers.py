"""`python -m bench.answers [CONFIG]`: how often five nodes' LLMs are right, each alone and together.

Every node of the configuration is asked every question, as nodes are asked for candidates; then every node ranks the
answers, as `choose auto` asks it to. Compared are one node alone, the ballots, the agreement between answers, both as
`choose auto` weighs them, the questions that at least two nodes answered rightly, and those that at least one did. No
choice does better than the last; one that only compares answers cannot tell a right one that stands alone from a wrong
one, and does better than the last but one by chance alone.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import questions
from bench.questions import Question
from config.config import load
from config.llm_settings import LlmSettings
from kvstore.agreement import agreement, weigh
from kvstore.conversation import Conversation, Kind, Poll, Response, Turn, Vote
from llm import registry
from llm.provider import Message, Prompt, Provider, ProviderError, Reply
from llm.ranking import ranking_ballot, ranking_prompt, read_ranking
from llm.settings import build

_WAYS = ("a node alone", "rankings", "agreement", "both", "right at two", "best possible")
_WITNESSES = 2
"""Right answers that can agree with each other."""
EXAMPLE = Path(__file__).parent.parent / "config.json.example"


class Asked(NamedTuple):
    question: Question
    turn: Turn
    tokens: list[int]
    seconds: float
    """Until all answers were there."""


async def _ask(providers: dict[int, Provider], minds: dict[int, LlmSettings], question: Question, seed: int) -> Asked:
    began = time.monotonic()
    replies = await asyncio.gather(*(
        _reply(providers[node], Prompt(
            [Message("user", question.text)], own.system_prompt, own.temperature, own.seed, own.max_tokens, seed
        ))
        for node, own in minds.items()
    ))
    seconds = time.monotonic() - began
    candidates = {
        node: Response(None, reply.reason, "", 0.0) if isinstance(reply, ProviderError)
        else Response(reply.text.strip(), None, reply.model, reply.seconds)
        for node, reply in zip(minds, replies, strict=True)
    }
    turn = Turn(Kind.QUERY, question.text, candidates)
    turn.poll = Poll(1, turn.choices, {})
    conversation = Conversation(f"{question.text} {seed}", 1, 1, [turn])
    votes = await asyncio.gather(*(_vote(providers[node], own, conversation, node) for node, own in minds.items()))
    turn.poll.votes = dict(zip(minds, votes, strict=True))
    tokens = [reply.tokens_out or 0 for reply in replies if isinstance(reply, Reply)]
    return Asked(question, turn, tokens, seconds)


async def _reply(provider: Provider, prompt: Prompt) -> Reply | ProviderError:
    try:
        return await provider.ask(prompt)
    except ProviderError as error:
        return error


async def _vote(provider: Provider, own: LlmSettings, conversation: Conversation, node: int) -> Vote:
    poll = conversation.turns[0].poll
    assert poll is not None
    nodes, ballot = ranking_ballot(conversation, 1, poll, node)
    reply = await _reply(provider, Prompt(ranking_prompt(ballot), None, 0.0, own.seed, ballot=ballot))
    if isinstance(reply, ProviderError):
        return Vote([], reply.reason, provider.model)
    order = read_ranking(reply.text, nodes)
    return Vote(order or [], None if order else "no ranking", reply.model)


def _right(asked: Asked, node: int | None) -> bool:
    text = None if node is None else asked.turn.candidates[node].text
    return text is not None and asked.question.is_right(text)


def _by_agreement(turn: Turn) -> int | None:
    shares = agreement({node: turn.candidates[node] for node in turn.choices})
    return max(shares, key=lambda node: (shares[node], -node), default=None)


def _by_both(turn: Turn) -> int | None:
    assert turn.poll is not None
    poll = msgspec.structs.replace(turn.poll)
    weigh(turn, poll)
    return poll.winner


def report(all_asked: list[Asked]) -> str:
    ways: dict[str, list[float]] = {name: [] for name in _WAYS}
    for asked in all_asked:
        right = {node: _right(asked, node) for node in asked.turn.candidates}
        assert asked.turn.poll is not None
        chosen = asked.turn.poll.winner, _by_agreement(asked.turn), _by_both(asked.turn)
        count = sum(right.values())
        results = (count / len(right), *(_right(asked, node) for node in chosen), count >= _WITNESSES, count >= 1)
        for way, result in zip(ways, results, strict=True):
            ways[way].append(result)
    lines = [f"{name:<14} {100 * statistics.mean(values):5.1f} %" for name, values in ways.items()]
    tokens = [count for asked in all_asked for count in asked.tokens]
    lines.append(f"{len(all_asked)} questions, {statistics.mean(tokens):.0f} tokens an answer")
    lines.append(f"seconds to all answers: median {statistics.median(asked.seconds for asked in all_asked):.2f}")
    kinds = dict.fromkeys(asked.question.kind for asked in all_asked)
    lines.append("a node alone by kind: " + ", ".join(f"{kind} {_alone(all_asked, kind):.0f} %" for kind in kinds))
    nodes = all_asked[0].turn.candidates
    shares = {node: 100 * statistics.mean(_right(asked, node) for asked in all_asked) for node in nodes}
    lines.append("each node alone: " + ", ".join(f"{node}: {share:.0f} %" for node, share in shares.items()))
    different = statistics.mean(len({said.text for said in asked.turn.candidates.values()}) for asked in all_asked)
    lines.append(f"different answers to a question: {different:.1f}")
    return "\n".join(lines)


def _alone(all_asked: list[Asked], kind: str) -> float:
    of_kind = [asked for asked in all_asked if asked.question.kind == kind]
    return 100 * statistics.mean(_right(asked, node) for asked in of_kind for node in asked.turn.candidates)


async def run(config: Path, chosen: list[Question], repeats: int, out: Path | None = None) -> list[Asked]:
    loaded = load(config, registry.registrations())
    minds = {node.id: node.llm for node in loaded.nodes}
    asked: list[Asked] = []
    with tempfile.TemporaryDirectory() as folder:
        providers = {node: build(own, node, Path(folder)) for node, own in minds.items()}
        try:
            for seed in range(repeats):
                for question in chosen:
                    asked.append(await _ask(providers, minds, question, seed))
        finally:
            for provider in providers.values():
                await provider.close()
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("config", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--tuning", action="store_true", help="ask the questions that are for tuning")
    parser.add_argument("--first", type=int, help="only so many questions")
    parser.add_argument("--repeats", type=int, default=1, help="with other seeds")
    parser.add_argument("--show", action="store_true", help="print every answer")
    arguments = parser.parse_args()
    chosen = questions.for_tuning() if arguments.tuning else questions.for_measuring()
    asked = asyncio.run(run(arguments.config, chosen[: arguments.first], arguments.repeats))
    if arguments.show:
        for one in asked:
            print(one.question.text)
            for node, response in one.turn.candidates.items():
                print(f"  [{node}] {'+' if _right(one, node) else '-'} {response.text or response.error}")
    print(report(asked))


if __name__ == "__main__":
    main()
