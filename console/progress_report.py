"""How far the nodes are with the question that a user has asked: a line for each."""

from __future__ import annotations

from collections.abc import Mapping

from api.safe_text import one_line
from kvstore.conversation import Turn


def progress_report(context: str, turn: Turn, pieces: Mapping[int, int]) -> str:
    """`pieces`: how many pieces of its answer each node's LLM has written, for those known to have begun."""
    nodes = sorted(pieces.keys() | turn.candidates.keys())
    lines = [f"    node {node}: {_state(node, turn, pieces)}" for node in nodes]
    return "\n".join([f"{context}: the LLMs are working", *lines])


def _state(node: int, turn: Turn, pieces: Mapping[int, int]) -> str:
    response = turn.candidates.get(node)
    if response is not None:
        return "done" if response.error is None else f"failed: {one_line(response.error, 80)}"
    return f"{pieces[node]} tokens" if pieces[node] else "thinking"
