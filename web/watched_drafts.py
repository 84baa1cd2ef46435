"""Answers while they are written, for the streams of clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from api.node_events import WritingEvent
from server.drafts import Drafts
from server.own_drafts import Draft
from web.waiters import Waiters


class WatchedDrafts:
    """Of all conversations that a client of this node looks at. `changed` is told of each change."""

    def __init__(self, drafts: Drafts, changed: Callable[[str], None]) -> None:
        self._drafts = drafts
        self._changed = changed
        self._waiters: dict[str, tuple[Waiters, int]] = {}
        """By context id, with the number of those who look."""
        drafts.listen(self._wake)

    @contextmanager
    def watching(self, contexts: Iterable[str]) -> Iterator[list[Waiters]]:
        """Within it, drafts of these conversations are known here. Gives what is woken when they change."""
        watched = list(contexts)
        try:
            for context in watched:
                waiters, count = self._waiters.get(context, (Waiters(), 0))
                self._waiters[context] = waiters, count + 1
                self._drafts.watch(context)
            yield [self._waiters[context][0] for context in watched]
        finally:
            for context in watched:
                self._drafts.unwatch(context)
                waiters, count = self._waiters.pop(context)
                if count > 1:
                    self._waiters[context] = waiters, count - 1
                else:
                    waiters.close()

    def of(self, context: str, turn: int) -> Mapping[int, Draft]:
        return self._drafts.of(context, turn)

    def close(self) -> None:
        for waiters, _ in self._waiters.values():
            waiters.close()

    def _wake(self, context: str) -> None:
        self._changed(context)
        if context in self._waiters:
            self._waiters[context][0].wake()


class DraftReader:
    """What one stream has of the drafts of one conversation."""

    def __init__(self, drafts: WatchedDrafts, context: str) -> None:
        self._drafts = drafts
        self._context = context
        self._turn = 0
        self._known: dict[int, tuple[int, int]] = {}
        """By node: which draft, and how many characters of it."""

    def take(self, turn: int) -> Iterator[WritingEvent]:
        """What has come to be known of the open turn since the last call."""
        if turn != self._turn:
            self._turn, self._known = turn, {}
        for node, draft in self._drafts.of(self._context, turn).items():
            which, offset = self._known.get(node, (0, 0))
            offset = offset if which == draft.id else 0
            if which != draft.id or len(draft.text) > offset:
                self._known[node] = draft.id, len(draft.text)
                yield WritingEvent(self._context, turn, node, offset, draft.text[offset:])
