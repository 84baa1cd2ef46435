"""What this node's LLM is writing, for those who look at it: sampled seldom, and sent to other nodes in small pieces.

Nobody looks: nothing is sampled and nothing is sent. A node that looks says so again and again, with how much it has;
that is what flow control and repetition rest on.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from llm.requests import Request
from server.draft_messages import MAX_DRAFT_CHARS, PIECE_CHARS, Piece, Wanted, encode

EVERY_S = 0.25
"""Between two looks at one draft, and two pieces of it to one node."""
LOOKS_FOR_S = 3.5
"""A node that has not said for so long that it looks does so no more."""
_ON_THE_WAY = 2 * PIECE_CHARS
"""Characters of one draft that one node was sent and does not have yet, as far as is known."""
_FIRST_PATIENCE_S, _LAST_PATIENCE_S = 0.9, 15.0
"""What does not arrive is sent again after so long: the link may be thin, and is not to be filled."""
_LOOKED_AT = 256
"""Drafts that one node can look at."""
_SHARE = 20
"""Looking at drafts takes at most one part in so many of the node's time."""

Key: TypeAlias = tuple[str, int, bool]
"""Context id, turn, and whether it is the synthesis."""


class Draft(msgspec.Struct):
    """An answer as far as it is written. A text that is not the former one and more has another id."""

    id: int
    text: str = ""


class _Own(msgspec.Struct):
    draft: Draft
    source: Callable[[], str]
    looked_at: float = 0.0


class _Looker(msgspec.Struct):
    """A node that looks at a draft of this one."""

    until: float
    draft: int = 0
    sent: int = -1
    """Characters; -1: it does not know that there is a draft."""
    has: int = -1
    """The same, as it said itself."""
    again_at: float = 0.0
    patience_s: float = _FIRST_PATIENCE_S


class OwnDrafts:
    """Of one node. `is_watched` tells whether somebody here looks at a conversation; `changed` is told of each one with
    more to see."""

    def __init__(
        self, send: Callable[[int, bytes], None], is_watched: Callable[[str], bool], changed: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._is_watched = is_watched
        self._tell = changed
        self._clock = clock
        self._own: dict[Key, _Own] = {}
        self._lookers: defaultdict[int, OrderedDict[Key, _Looker]] = defaultdict(OrderedDict)
        """By node; who has said so last comes last."""
        self._due: dict[Key, None] = {}
        """Drafts that may have more to show."""
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_misled = False
        """The LLM's server leaves thoughts in answers such that only whole answers tell them apart."""

    def get(self, key: Key) -> Draft | None:
        own = self._own.get(key)
        return None if own is None else own.draft

    def is_about(self, context: str) -> bool:
        """False if nothing that happens in this conversation ends a draft of this node."""
        for key in self._own:  # a loop, as each operation is asked about
            if key[0] == context:
                return True
        return any(self._lookers.values())

    def on_progress(self, request: Request, pieces: int, text: Callable[[], str]) -> None:
        """Of this node's LLM."""
        if request.kind == "ranking":
            return
        key = request.context, request.turn, request.kind == "synthesis"
        own = self._own.get(key)
        if own is None or not pieces:
            own = self._own[key] = _Own(_new_draft(), str)
        own.source = text
        self.look(key)

    def look(self, key: Key) -> None:
        """There may be more to see of this draft, or somebody more who looks."""
        if key in self._own and (self._is_watched(key[0]) or any(key in seen for seen in self._lookers.values())):
            self._due[key] = None
            self._schedule()

    def end(self, key: Key, text: str | None) -> None:
        """The answer is decided, with this text and thoughts apart if it has one; or is not wanted any more."""
        own = self._own.pop(key, None)
        self._due.pop(key, None)
        for lookers in self._lookers.values():
            lookers.pop(key, None)
        if own is not None and text is not None:
            draft = own.draft.text
            self._is_misled = self._is_misled or not (text.startswith(draft) or draft.startswith(text))

    def retain(self, is_open: Callable[[Key], bool]) -> None:
        for key in [key for key in self._own if not is_open(key)]:
            self.end(key, None)

    def on_wanted(self, sender: int, wanted: Wanted) -> None:
        key, now = (wanted.context, wanted.turn, wanted.synthesis), self._clock()
        lookers = self._lookers[sender]
        looker = lookers.setdefault(key, _Looker(now))
        looker.until = now + LOOKS_FOR_S
        lookers.move_to_end(key)
        if len(lookers) > _LOOKED_AT:
            lookers.popitem(last=False)
        own = self.get(key)
        if own is None:
            return
        has = min(wanted.have, len(own.text)) if wanted.draft == own.id else -1
        if has > looker.has or own.id != looker.draft:
            looker.patience_s, looker.again_at = _FIRST_PATIENCE_S, now + _FIRST_PATIENCE_S
        elif looker.sent > has and now >= looker.again_at:
            looker.sent = has
            looker.patience_s = min(2 * looker.patience_s, _LAST_PATIENCE_S)
            looker.again_at = now + looker.patience_s
        looker.has, looker.draft = has, own.id
        looker.sent = max(looker.sent, has)
        self.look(key)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()

    # ---- Looking

    def _schedule(self) -> None:
        if self._due and self._timer is None:
            first = min(self._own[key].looked_at for key in self._due) + EVERY_S
            pause = max(first, self._free_at) - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, pause), self._look)

    def _look(self) -> None:
        """At the draft that waits longest, unless all have been decided meanwhile."""
        self._timer = None
        if not self._due:
            return
        began, spent = self._clock(), time.thread_time()
        key = min(self._due, key=lambda key: self._own[key].looked_at)
        del self._due[key]
        own = self._own[key]
        own.looked_at = began
        if self._sampled(own):
            self._tell(key[0])
        if self._send_pieces(key, own.draft, began):
            self._due[key] = None
        self._free_at = began + _SHARE * (time.thread_time() - spent)
        self._schedule()

    def _sampled(self, own: _Own) -> bool:
        """Whether there is more to see."""
        text = "" if self._is_misled else own.source()[:MAX_DRAFT_CHARS]
        if text == own.draft.text:
            return False
        if not text.startswith(own.draft.text):
            own.draft = _new_draft()
        own.draft.text = text
        return True

    def _send_pieces(self, key: Key, draft: Draft, now: float) -> bool:
        """One to each node that looks; whether there is more for one that may be sent more."""
        more = False
        for node, lookers in self._lookers.items():
            looker = lookers.get(key)
            if looker is None:
                continue
            if looker.until < now:
                del lookers[key]
                continue
            if looker.draft != draft.id:
                looker.draft, looker.sent, looker.has = draft.id, -1, -1
            limit = min(len(draft.text), max(0, looker.has) + _ON_THE_WAY)
            if looker.sent < limit or looker.sent < 0:
                offset = max(0, looker.sent)
                piece = draft.text[offset : min(limit, offset + PIECE_CHARS)]
                context, turn, synthesis = key
                self._send(node, encode(Piece(context, turn, draft.id, offset, piece, synthesis)))
                looker.sent = offset + len(piece)
            more = more or looker.sent < limit
        return more


def _new_draft() -> Draft:
    return Draft(random.randrange(1, 2**48))
