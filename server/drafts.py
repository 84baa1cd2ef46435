"""Answers as far as they are written, of all nodes' LLMs, for those who look at a conversation here.

Drafts are beside the log, and never state: what is decided replaces them. They are kept only for conversations that
somebody looks at, which other nodes are told once a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import msgspec

from kvstore.conversation import SYNTHESIS, Conversation, Turn
from kvstore.store import Outcome
from llm.requests import Request
from server.draft_messages import MAX_DRAFT_CHARS, Piece, Wanted, decode, encode
from server.own_drafts import Draft, Key, OwnDrafts

RENEW_S = 1.0
MAX_WATCHED = 256
"""Conversations that can be looked at, at a node."""
_MESSAGES_PER_S = 1000
"""From one node; others are dropped."""


class _Watched(msgspec.Struct):
    """A conversation that somebody here looks at."""

    turn: int = 0
    """The open one; 0: none."""
    drafts: dict[int, Draft] = {}
    """Of the other nodes, and of the synthesis that one of them writes."""
    synthesis: int = 0
    """Of which synthesis that is."""


class Drafts:
    """Of node `number`. `changed` tells that there is more to see of a conversation."""

    def __init__(
        self, number: int, send: Callable[[int, bytes], None], conversations: Callable[[], Mapping[str, Conversation]],
        members: Callable[[], Collection[int]], clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._send = send
        self._conversations = conversations
        self._members = members
        self._clock = clock
        self._own = OwnDrafts(send, lambda context: context in self._watched, self._tell, clock)
        self._watched: dict[str, _Watched] = {}
        self._watchers: Counter[str] = Counter()
        self._listeners: list[Callable[[str], None]] = []
        self._renewing: asyncio.TimerHandle | None = None
        self._messages: Counter[int] = Counter()
        """By node, in this second."""
        self._second = 0

    def listen(self, changed: Callable[[str], None]) -> None:
        """`changed` is called with a context id when there is more to see of it, as long as it is watched."""
        self._listeners.append(changed)

    # ---- For those who look

    def watch(self, context: str) -> None:
        """Somebody looks; `unwatch` is to be called once for it. What is one conversation too many has no drafts."""
        self._watchers[context] += 1
        if context not in self._watched and len(self._watched) < MAX_WATCHED:
            self._watched[context] = _Watched()
            self._review(context)

    def unwatch(self, context: str) -> None:
        self._watchers[context] -= 1
        if not self._watchers[context]:
            del self._watchers[context]
            self._watched.pop(context, None)

    def of(self, context: str, turn: int) -> dict[int, Draft]:
        """What is written of the open turn, by node, and of its synthesis."""
        watched = self._watched.get(context)
        if watched is None or watched.turn != turn:
            return {}
        own = {self._number: self._own.get((context, turn, False)), SYNTHESIS: self._own.get((context, turn, True))}
        return {**watched.drafts, **{number: draft for number, draft in own.items() if draft is not None}}

    # ---- Events from the node

    def on_progress(self, request: Request, pieces: int, text: Callable[[], str]) -> None:
        """Of this node's LLM. Another answer to what has one is shown when it is there."""
        if self._is_open((request.context, request.turn, request.kind == "synthesis")):
            self._own.on_progress(request, pieces, text)

    def on_applied(self, outcome: Outcome) -> None:
        context, turn = outcome.context, outcome.turn
        if context is None or not outcome.ok or not (context in self._watched or self._own.is_about(context)):
            return
        found = self._open_turn(context)
        if turn is None and context not in self._conversations():
            self._own.retain(lambda key: key[0] != context)
        elif turn is not None:
            self._end(context, turn, None if found is None or found[0] != turn else found[1])
        if context in self._watched:
            self._review(context)

    def _end(self, context: str, number: int, turn: Turn | None) -> None:
        """Of what this node's LLM writes, what is decided, or not wanted any more. None: the turn is not open."""
        said = None if turn is None else turn.candidates.get(self._number)
        if turn is None or said is not None:
            self._own.end((context, number, False), said.text if said is not None and said.thoughts else None)
        if turn is None or turn.open_synthesis is None:
            self._own.end((context, number, True), None)

    def on_installed(self) -> None:
        self._own.retain(self._is_open)
        for context in self._watched:
            self._review(context)

    def on_message(self, sender: int, payload: bytes) -> None:
        """From another node."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._messages.clear()
        self._messages[sender] += 1
        message = decode(payload) if self._messages[sender] <= _MESSAGES_PER_S else None
        if isinstance(message, Wanted):
            self._own.on_wanted(sender, message)
        elif message is not None:
            self._on_piece(sender, message)

    def close(self) -> None:
        self._own.close()
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    # ---- Other nodes' drafts

    def _on_piece(self, sender: int, piece: Piece) -> None:
        watched = self._watched.get(piece.context)
        number = SYNTHESIS if piece.synthesis else sender
        if watched is None or watched.turn != piece.turn or number not in self._missing(piece.context):
            return
        draft = watched.drafts.get(number)
        if draft is None or draft.id != piece.draft:
            if piece.offset:
                return  # the beginning is missing, and is sent again
            draft = watched.drafts[number] = Draft(piece.draft)
        elif not 0 <= len(draft.text) - piece.offset < len(piece.text):
            return
        draft.text = (draft.text[: piece.offset] + piece.text)[:MAX_DRAFT_CHARS]
        self._tell(piece.context)

    def _tell(self, context: str) -> None:
        if context in self._watched:
            for listener in self._listeners:
                listener(context)

    def _review(self, context: str) -> None:
        """After a change of the conversation: what is decided has no draft any more."""
        watched, found = self._watched[context], self._open_turn(context)
        turn = 0 if found is None else found[0]
        awaited = None if found is None else found[1].open_synthesis
        synthesis = 0 if awaited is None else awaited.number
        if turn != watched.turn:
            watched.turn, watched.drafts, watched.synthesis = turn, {}, synthesis
            if turn:
                self._own.look((context, turn, False))
                self._own.look((context, turn, True))
                self._ask(context)
        elif synthesis != watched.synthesis:
            watched.synthesis = synthesis
            watched.drafts.pop(SYNTHESIS, None)
            self._own.look((context, turn, True))
            self._ask(context)
        if watched.drafts:
            missing = self._missing(context)
            watched.drafts = {node: draft for node, draft in watched.drafts.items() if node in missing}
        if turn and self._renewing is None:
            self._renewing = asyncio.get_running_loop().call_later(RENEW_S, self._renew)

    def _renew(self) -> None:
        self._renewing = None
        wanted = [context for context in self._watched if self._ask(context)]
        if wanted:
            self._renewing = asyncio.get_running_loop().call_later(RENEW_S, self._renew)

    def _ask(self, context: str) -> bool:
        """The nodes without an answer so far, and for the synthesis all: who leads is not known here. Whether there is
        anything to ask for."""
        watched, missing = self._watched[context], self._missing(context)
        for number in missing - {self._number}:
            draft = watched.drafts.get(number) or Draft(0)
            wanted = Wanted(context, watched.turn, draft.id, len(draft.text), number == SYNTHESIS)
            for node in {*self._members()} - {self._number} if number == SYNTHESIS else (number,):
                self._send(node, encode(wanted))
        return bool(missing)

    def _missing(self, context: str) -> set[int]:
        """The nodes whose answer to the open turn is not decided; and SYNTHESIS while it is awaited."""
        found = self._open_turn(context)
        if found is None:
            return set()
        awaited = set() if found[1].open_synthesis is None else {SYNTHESIS}
        return ({*self._members(), self._number} - found[1].candidates.keys()) | awaited

    def _open_turn(self, context: str) -> tuple[int, Turn] | None:
        conversation = self._conversations().get(context)
        number = None if conversation is None else conversation.open_turn
        if conversation is None or number is None:
            return None
        return number, conversation.turns[number - 1]

    def _is_open(self, key: Key) -> bool:
        context, number, is_synthesis = key
        found = self._open_turn(context)
        if found is None or found[0] != number:
            return False
        return found[1].open_synthesis is not None if is_synthesis else self._number not in found[1].candidates
