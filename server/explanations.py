"""A node's explanations, for its listeners: `explain on` in any of its sessions.

Without listeners the engine is not observed, and there is no cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from engine.paxos import PaxosEngine
from server.explain_text import Sentence
from server.explainer import Explainer

GATHER_S = 0.1
"""Sentences within this time are delivered together."""

Listener: TypeAlias = Callable[[Sequence[Sentence]], None]


class PaxosExplanations:
    """Of the node that `engine` drives. `members` are the numbers of all nodes."""

    def __init__(self, engine: PaxosEngine, members: Sequence[int]) -> None:
        self._engine = engine
        self._members = members
        self._listeners: set[Listener] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._explainer: Explainer | None = None

    def listen(self, listener: Listener) -> None:
        """Adds `listener`."""
        if not self._listeners:
            status = self._engine.core_status()
            explainer = self._explainer = Explainer(status.node, self._members, status)
            self._engine.observe(explainer)
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._tell, explainer)
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Removes `listener`, if it was added."""
        self._listeners.discard(listener)
        if not self._listeners:
            self._engine.observe(None)
            self._explainer = None
            if self._timer is not None:
                self._timer.cancel()

    def flush(self) -> None:
        """Tells at once what is gathered: something that came of it is about to be told."""
        if self._timer is not None and self._explainer is not None:
            self._timer.cancel()
            self._tell(self._explainer)

    def _tell(self, explainer: Explainer) -> None:
        self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._tell, explainer)
        sentences = explainer.take()
        if sentences:
            for listener in list(self._listeners):
                listener(sentences)
