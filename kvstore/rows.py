"""Conversations as rows of bytes, for snapshots and the digest.

One row per conversation, turn and response: so a change re-encodes only what it touched, however long the
conversation is, and no row is much larger than one text. Keys sort in loading order:

    0 (8 bytes)                                  -> Quotas, once there are any
    index (8 bytes)                              -> [context, created, at, temporary, title, system, deleted, auto]
    index (8 bytes) turn (4 bytes)               -> [kind, text, chosen, cancelled, retries, poll, at, key, polled,
                                                     regenerating, synthesis]
    index (8 bytes) turn (4 bytes) node (4 bytes) -> Response; node 0 is the synthesis

Rows of a later release may have more fields. They are not loaded without them: that node would lose what others keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final, TypeAlias

import msgspec

from kvstore.conversation import (
    NO_RESPONSES,
    NO_RETRIES,
    SYNTHESIS,
    Conversation,
    Kind,
    Poll,
    Response,
    State,
    Synthesis,
    Turn,
)
from kvstore.quotas import MAX_QUOTA, Quotas
from kvstore.rules import (
    FEWEST_SOURCES,
    MAX_AT,
    MAX_NODE,
    MAX_POSITION,
    MAX_TOKENS,
    MAX_TURN,
    check_context,
    check_system,
    check_title,
    is_synthesis,
)

RowKey: TypeAlias = tuple[int, ...]
"""(index), (index, turn) or (index, turn, node): the subject of a row."""
QUOTAS: Final[RowKey] = (0,)
"""Conversations count from 1."""


class _ConversationRow(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    context: str
    created: int
    at: int = 0
    temporary: bool = False
    title: str = ""
    system: str = ""
    deleted: int = 0
    auto: bool = False


class _TurnRow(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    kind: Kind
    text: str
    chosen: int | None
    cancelled: bool
    retries: dict[int, int] = {}
    poll: Poll | None = None
    at: int = 0
    key: str = ""
    polled: int = 0
    regenerating: bool = False
    synthesis: Synthesis | None = None


_encoder = msgspec.msgpack.Encoder()
_conversations = msgspec.msgpack.Decoder(_ConversationRow)
_turns = msgspec.msgpack.Decoder(_TurnRow)
_responses = msgspec.msgpack.Decoder(Response)
_quotas = msgspec.msgpack.Decoder(Quotas)

_PLAIN_FIELDS = 7
"""Of a response and of a turn, in release 0.1.0."""
_PLAIN_CONVERSATION = 3
_OF_NODES = 12
"""Fields of a response that is no synthesis."""

_KEYS = (Struct(">Q"), Struct(">QI"), Struct(">QII"))
_SIZES = {struct.size: struct for struct in _KEYS}


def key(row_key: RowKey) -> bytes:
    """The key of a row; keys sort like row_keys."""
    return _KEYS[len(row_key) - 1].pack(*row_key)


_QUOTAS_KEY: Final = key(QUOTAS)


def value(row_key: RowKey, conversation: Conversation) -> bytes | None:
    """The content of a row of this conversation; None if there is none any more: a node that is asked again loses its
    response, and the index of a conversation that is not kept any more may be another one's now.

    As in release 0.1.0 wherever possible: its nodes read these rows, and digests must agree."""
    if len(row_key) == 1:
        row = (
            conversation.context, conversation.created, conversation.at, conversation.temporary, conversation.title,
            conversation.system, conversation.deleted, conversation.auto,
        )
        plain = not any(row[_PLAIN_CONVERSATION:])
        return _encoder.encode(row[:_PLAIN_CONVERSATION] if plain else row if conversation.auto else row[:-1])
    if row_key[1] > len(conversation.turns):
        return None
    turn = conversation.turns[row_key[1] - 1]
    if len(row_key) == 2:
        fields = turn.kind, turn.text, turn.chosen, turn.cancelled, turn.retries, turn.poll, turn.at, turn.key
        if turn.synthesis is not None:
            return _encoder.encode((*fields, turn.polled, turn.regenerating, turn.synthesis))
        if turn.regenerating:
            return _encoder.encode((*fields, turn.polled, True))
        if turn.polled:
            return _encoder.encode((*fields, turn.polled))
        return _encoder.encode(fields if turn.key else fields[:_PLAIN_FIELDS])
    response = turn.candidates.get(row_key[2])
    if response is None:
        return None
    if response.by:
        return _encoder.encode(response)
    return _encoder.encode(msgspec.structs.astuple(response)[: _PLAIN_FIELDS if response.is_plain else _OF_NODES])


def quotas_value(quotas: Quotas) -> bytes:
    """The content of the row `QUOTAS`."""
    return _encoder.encode(quotas)


def row_keys(conversation: Conversation) -> Iterable[RowKey]:
    """All rows of a conversation."""
    index = conversation.index
    yield (index,)
    for number, turn in enumerate(conversation.turns, 1):
        yield (index, number)
        for node in turn.candidates:
            yield (index, number, node)


def load(rows: Iterable[tuple[bytes, bytes]]) -> tuple[list[Conversation], Quotas | None]:
    """The conversations in these rows, also those that are deleted and kept, in order of creation; and the quotas.
    An iterator is read row by row, and has them sorted by key. Raises ValueError if they are invalid."""
    loading = _Loading()
    try:
        for row_key, content in rows if isinstance(rows, Iterator) else sorted(rows):
            loading.add(row_key, content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise ValueError("these rows are not a snapshot of conversations") from error
    conversations = loading.conversations
    contexts = [conversation.context for conversation in conversations if not conversation.deleted]
    if len({*contexts}) < len(contexts) or not all(map(_is_sound, conversations)):
        raise ValueError("these rows are not a snapshot of conversations: no operations lead to what they say")
    for conversation in conversations:
        conversation.bytes = conversation.measured
    return conversations, loading.quotas


class _Loading:
    """What the rows so far hold."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []
        self.quotas: Quotas | None = None
        self._last = b""
        """The key of the last row."""
        self._candidates: dict[int, Response] = {}
        """Of the last turn."""

    def add(self, row_key: bytes, content: bytes) -> None:
        """Raises IndexError, ValueError, what msgspec raises."""
        if row_key <= self._last or len(row_key) not in _SIZES:
            raise IndexError("no key, or out of order")
        self._last = row_key
        index, *rest = _SIZES[len(row_key)].unpack(row_key)
        if row_key == _QUOTAS_KEY:
            self._add_quotas(_quotas.decode(content))
            return
        if not rest:
            self._add_conversation(index, _conversations.decode(content))
            return
        conversation = self.conversations[-1]
        if len(rest) == 1:
            self._add_turn(conversation, _turns.decode(content))
        elif not self._candidates:
            self._candidates = {rest[1]: _responses.decode(content)}
            conversation.turns[-1].candidates = self._candidates
        else:
            self._candidates[rest[1]] = _responses.decode(content)
        if conversation.index != index or rest[0] != len(conversation.turns):
            raise IndexError("a row is missing")

    def _add_quotas(self, quotas: Quotas) -> None:
        if not all(1 <= each <= MAX_QUOTA for each in msgspec.structs.astuple(quotas)):
            raise ValueError("these rows are not a snapshot of conversations: a quota is out of bounds")
        self.quotas = quotas

    def _add_conversation(self, index: int, row: _ConversationRow) -> None:
        self._candidates = {}
        self.conversations.append(Conversation(
            row.context, index, row.created, at=row.at, temporary=row.temporary, title=row.title,
            system=row.system, deleted=row.deleted, auto=row.auto,
        ))

    def _add_turn(self, conversation: Conversation, row: _TurnRow) -> None:
        self._candidates = {}
        conversation.turns.append(Turn(
            row.kind, row.text, NO_RESPONSES, row.chosen, row.cancelled, row.retries or NO_RETRIES, row.poll, row.at,
            row.key, row.polled, row.regenerating, row.synthesis,
        ))
        if row.key:
            conversation.keys[row.key] = len(conversation.turns)


def _is_sound(conversation: Conversation) -> bool:
    """False for one that an operation, or a view, could not go on from."""
    return (
        check_context(conversation.context) is None and check_title(conversation.title) is None
        and check_system(conversation.system) is None and 0 <= conversation.at <= MAX_AT
        and 1 <= conversation.created <= MAX_POSITION and 0 <= conversation.deleted <= MAX_POSITION
        and all(map(_is_sound_turn, conversation.turns))
        and not any(turn.regenerating for turn in conversation.turns[:-1])
    )


def _is_sound_turn(turn: Turn) -> bool:
    chosen = None if turn.chosen is None else turn.candidates.get(turn.chosen)
    return (
        0 <= turn.at <= MAX_AT and turn.polled >= 0
        and not (turn.regenerating and (chosen is None or turn.kind is not Kind.ASK))
        and (turn.chosen is None or (chosen is not None and chosen.text is not None))
        and all(0 <= node <= MAX_NODE and 0 <= count <= MAX_TURN for node, count in turn.retries.items())
        and all(_is_sound_candidate(number, said, turn) for number, said in turn.candidates.items())
        and (turn.poll is None or _is_sound_poll(turn.poll, turn))
        and (turn.synthesis is None or _is_sound_synthesis(turn.synthesis, turn))
    )


def _is_sound_candidate(number: int, said: Response, turn: Turn) -> bool:
    if number == SYNTHESIS:
        made = is_synthesis(said) and turn.kind is Kind.QUERY and _has(turn, said.out_of)
    else:
        made = 1 <= number <= MAX_NODE and not said.by and not said.out_of
    return made and _is_sound_response(said)


def _is_sound_synthesis(synthesis: Synthesis, turn: Turn) -> bool:
    """What an open one is to be made out of is there."""
    out_of = synthesis.out_of
    return (
        1 <= synthesis.number <= MAX_TURN and turn.kind is Kind.QUERY
        and (synthesis.node is None or 1 <= synthesis.node <= MAX_NODE)
        and len(out_of) >= FEWEST_SOURCES and [*out_of] == sorted({*out_of})
        and all(1 <= node <= MAX_NODE for node in out_of)
        and (turn.open_synthesis is None or (_has(turn, out_of) and turn.open_poll is None))
    )


def _has(turn: Turn, nodes: Iterable[int]) -> bool:
    """Their answers are in the turn; or it is closed, as after an import of the chosen answer alone."""
    return turn.state is not State.OPEN or set(turn.choices).issuperset(nodes)


def _is_sound_response(response: Response) -> bool:
    return (
        (response.text is None) != (response.error is None) and 0 <= response.at <= MAX_AT
        and 0 <= response.seen <= response.before <= MAX_TURN
        and math.isfinite(response.seconds) and math.isfinite(response.cut_at)
        and 0 <= response.tokens_in <= MAX_TOKENS and 0 <= response.tokens_out <= MAX_TOKENS
    )


def _is_sound_poll(poll: Poll, turn: Turn) -> bool:
    """Whoever is voted for is on the ballot, and whoever is on the ballot of an open poll can be chosen."""
    choices = set(turn.choices) if turn.open_poll is not None else {*poll.ballot}
    return (
        1 <= poll.number <= MAX_TURN and poll.ballot == sorted({*poll.ballot}) and choices.issuperset(poll.ballot)
        and all(node == SYNTHESIS or 1 <= node <= MAX_NODE for node in poll.ballot)
        and all(0 <= node <= MAX_NODE for node in poll.votes)
        and all(not vote.order or sorted(vote.order) == poll.ballot for vote in poll.votes.values())
    )

