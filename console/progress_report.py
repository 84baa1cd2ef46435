"""How far the nodes are with the question that a user has asked: a line for each, or one that is redrawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.safe_text import one_line
from kvstore.conversation import Kind, Turn
from server.event_feed import AtWork


def progress_report(context: str, turn: Turn, pieces: Mapping[int, int]) -> str:
    """`pieces`: how many pieces of its answer each node's LLM has written, for those known to have begun."""
    nodes = sorted(pieces.keys() | turn.candidates.keys())
    lines = [f"    node {node}: {_state(node, turn, pieces)}" for node in nodes]
    return "\n".join([f"{context}: the LLMs are working", *lines])


def progress_line(works: Sequence[AtWork], nodes: int, width: int | None) -> str:
    """About the latest of these questions to `nodes` nodes; empty without one."""
    if not works:
        return ""
    work = works[-1]
    states = [f"node {node}: {_state(node, work.turn, work.pieces)}" for node, pieces in work.pieces.items() if pieces]
    thinking = [node for node, pieces in work.pieces.items() if not pieces]
    if thinking:
        states.append(f"node{'s' * (len(thinking) > 1)} {', '.join(map(str, thinking))}: thinking")
    done = f" {len(work.turn.candidates)} of {nodes} done;" if work.turn.kind is Kind.QUERY else ""
    others = f" (+{len(works) - 1})" if len(works) > 1 else ""
    return one_line(f"{work.context}{others}: LLMs at work:{done} {'; '.join(states)}", (width or 80) - 1)


def _state(node: int, turn: Turn, pieces: Mapping[int, int]) -> str:
    response = turn.candidates.get(node)
    if response is not None:
        return "done" if response.error is None else f"failed: {one_line(response.error, 80)}"
    if not pieces[node]:
        return "thinking"
    return "1 token" if pieces[node] == 1 else f"{pieces[node]} tokens"
