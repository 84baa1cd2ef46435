"""How far the nodes are with the question that a user has asked: a line for each, or one that is redrawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.safe_text import one_line
from kvstore.conversation import SYNTHESIS, Kind, Turn
from server.event_feed import AtWork


def progress_report(context: str, turn: Turn, pieces: Mapping[int, int]) -> str:
    """`pieces`: how many pieces of its answer each node's LLM has written, for those known to have begun."""
    numbers = sorted(pieces.keys() | turn.candidates.keys() - {SYNTHESIS})
    lines = [f"    {_name(number)}: {_state(number, turn, pieces)}" for number in numbers]
    return "\n".join([f"{context}: the LLMs are working", *lines])


def progress_line(works: Sequence[AtWork], nodes: int, width: int | None) -> str:
    """About the latest of these questions to `nodes` nodes; empty without one."""
    if not works:
        return ""
    work = works[-1]
    states = [
        f"{_name(number)}: {_state(number, work.turn, work.pieces)}"
        for number, pieces in work.pieces.items() if pieces or number == SYNTHESIS
    ]
    thinking = [number for number, pieces in work.pieces.items() if not pieces and number != SYNTHESIS]
    if thinking:
        states.append(f"node{'s' * (len(thinking) > 1)} {', '.join(map(str, thinking))}: thinking")
    answers = sum(number != SYNTHESIS for number in work.turn.candidates)
    done = f" {answers} of {nodes} done;" if work.turn.kind is Kind.QUERY else ""
    others = f" (+{len(works) - 1})" if len(works) > 1 else ""
    return one_line(f"{work.context}{others}: LLMs at work:{done} {'; '.join(states)}", (width or 80) - 1)


def _name(number: int) -> str:
    return "synthesis" if number == SYNTHESIS else f"node {number}"


def _state(node: int, turn: Turn, pieces: Mapping[int, int]) -> str:
    response = turn.candidates.get(node)
    if response is not None and node != SYNTHESIS:  # an earlier one stands until the next is in
        return "done" if response.error is None else f"failed: {one_line(response.error, 80)}"
    if not pieces[node]:
        return "thinking"
    return "1 token" if pieces[node] == 1 else f"{pieces[node]} tokens"
