"""How far the nodes are with the question that a user has asked: a line for each, now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from api.safe_text import one_line
from kvstore.conversation import Turn

EVERY_S = 2.0
"""Between two reports: who reads them also types."""


class Progress:
    """About the one question of this user in each conversation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pieces: dict[tuple[str, int], dict[int, int]] = {}
        self._shown: dict[tuple[str, int], float] = {}

    def note(self, context: str, turn: int, node: int, pieces: int) -> None:
        self._pieces.setdefault((context, turn), {})[node] = pieces

    def begin(self, context: str, turn: int) -> None:
        """A question is asked, perhaps again: nothing is known of it, and the first report is due after a while."""
        self._pieces.pop((context, turn), None)
        self._shown[context, turn] = self._clock()

    def end(self, context: str) -> None:
        """No report about this conversation is wanted any more."""
        for known in (self._pieces, self._shown):
            for key in [key for key in known if key[0] == context]:
                known.pop(key)

    def due(self, context: str, number: int, turn: Turn) -> str | None:
        """A report in words, if it is time for one."""
        key = context, number
        if self._clock() - self._shown.get(key, self._clock()) < EVERY_S:
            return None
        self._shown[key] = self._clock()
        pieces = self._pieces.get(key, {})
        nodes = sorted(pieces.keys() | turn.candidates.keys())
        lines = [f"node {node}: {self._state(node, pieces, turn)}" for node in nodes]
        return "\n".join([f"{context}: the LLMs are at work", *(f"    {line}" for line in lines)])

    def _state(self, node: int, pieces: dict[int, int], turn: Turn) -> str:
        response = turn.candidates.get(node)
        if response is not None:
            return "done" if response.error is None else f"failed: {one_line(response.error, 80)}"
        return f"{pieces[node]} tokens" if pieces[node] else "thinking"
