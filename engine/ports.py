"""What a session needs of its node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kvstore.operations import StoreOperation
from kvstore.store import Outcome, Store
from server.applied_log import AppliedLog
from server.explain_text import Sentence

Answered = Callable[[Outcome | None], None]
"""Gets an operation's outcome when it is applied at the node where it was submitted, before anybody is told; None if it
cannot be known any more. Called in the midst of the node's work: must be quick and never raise."""


class Node(Protocol):
    """What a session needs of its node. All in one event loop."""

    @property
    def store(self) -> Store: ...

    @property
    def journal(self) -> AppliedLog: ...

    def submit(self, command: StoreOperation, answered: Answered) -> None:
        """Has a command decided, exactly once and after those submitted before. Raises Busy."""
        ...

    def read(self) -> asyncio.Future[None]:
        """Done when the store holds everything that was acknowledged anywhere before this call. Is cancelled by the
        session when it gives up waiting. Raises Busy."""
        ...

    def glance(self) -> Mapping[str, Any]:
        """`status` without what costs time."""
        ...

    def status(self) -> Mapping[str, Any]:
        """For users, ready for JSON: `node`, `role`, `leader`, `ballot`, `decided`, `applied`, `queued`, `digest`..."""
        ...

    def reachable(self) -> bool:
        """Whether there is, as far as this node sees, a leader with a majority."""
        ...

    def patience(self) -> float:
        """Seconds after which a read is given up."""
        ...


class Commentator(Protocol):
    """Who explains what the node does."""

    def listen(self, listener: Callable[[Sequence[Sentence]], None]) -> None: ...

    def leave(self, listener: Callable[[Sequence[Sentence]], None]) -> None: ...
