"""The replicated state machine: decided payloads in, conversations out; the same on every node, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from kvstore import rows
from kvstore.conversation import MAX_BALLOT, Conversation, Cut, Kind, Poll, Response, State, Turn, Vote, utf8_bytes
from kvstore.operations import (
    RESPONDING,
    Answer,
    AnswerInFull,
    Ask,
    AskOnce,
    Cancel,
    Candidate,
    CandidateInFull,
    Choose,
    Create,
    Delete,
    Elect,
    Import,
    Query,
    Ranking,
    Responding,
    RestoredTurn,
    Retry,
    SetQuotas,
    SetTitle,
    StartPoll,
    StoreOperation,
    UnknownOperation,
    check,
    decode,
    is_known,
    unpack,
)
from kvstore.quotas import Quotas, Size, refuse_conversation, refuse_size, refuse_total

_DIGEST_MODULUS = 2**256


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an operation. Refused operations (`ok` false) changed nothing; `error` says why.

    `operation` is None if the payload held none. `turn` is the turn that was added or changed.
    """

    operation: StoreOperation | None
    ok: bool
    error: str | None = None
    context: str | None = None
    turn: int | None = None
    repeated: bool = False
    """It was there already, and has changed nothing."""


class _Refused(Exception):
    """Carries the sentence for the user."""


class _Repeated(Exception):
    """What was to be added is there already: in this turn."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self.turn = turn


class Store:
    """All conversations. Changed only by `apply`, in the order of log positions, or replaced by `load`."""

    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = {}
        self._by_index: dict[int, Conversation] = {}
        """In ascending order."""
        self._unhashed: set[rows.RowKey] = set()
        self._unsaved: set[rows.RowKey] = set()
        self._hashes: dict[rows.RowKey, int] = {}
        self._hash = 0
        self._quotas: Quotas | None = None
        self._text_bytes = 0
        self._position = 0
        """The position of the operation being applied."""
        self._changes: dict[type, Callable[[Any], int | None]] = {
            Create: self._created, Query: self._asked, Ask: self._asked, Candidate: self._candidate,
            Answer: self._answer, CandidateInFull: self._candidate, AnswerInFull: self._answer, Choose: self._choose,
            Cancel: self._cancel, Import: self._import, Retry: self._retry, StartPoll: self._poll,
            Ranking: self._ranking, Elect: self._elect, SetQuotas: self._set_quotas, AskOnce: self._ask_once,
            Delete: self._delete, SetTitle: self._set_title,
        }
        """What each operation does: returns the number of the turn that it added or changed; raises _Refused, or
        _Repeated."""

    @property
    def conversations(self) -> Mapping[str, Conversation]:
        """By context id, in order of creation."""
        return self._conversations

    @property
    def quotas(self) -> Quotas | None:
        """Those in force; None until some have been decided."""
        return self._quotas

    @property
    def text_bytes(self) -> int:
        """Of all questions and answers."""
        return self._text_bytes

    def apply(self, position: int, payload: bytes) -> Outcome:
        """Carries out one decided operation, whatever the payload is. Only what is of a later release raises
        UnknownOperation, and changes nothing; bytes that are no operation of any release are refused."""
        self._position = position
        try:
            operation = decode(payload)
        except UnknownOperation as unknown:
            raise UnknownOperation(
                f"this node's release does not know what was decided at position {position} ({unknown}): upgrade this "
                "node; its data is as it was before"
            ) from unknown
        except ValueError:
            return Outcome(None, False, "not a command that this version knows")
        error = check(operation)
        if error is not None:
            return Outcome(operation, False, error, operation.context)
        try:
            turn = self._changes[type(operation)](operation)
        except _Refused as refused:
            return Outcome(operation, False, str(refused), operation.context)
        except _Repeated as repeated:
            return Outcome(operation, True, None, operation.context, repeated.turn, True)
        self._date(operation, turn)
        return Outcome(operation, True, None, operation.context, turn)

    def understands(self, payload: bytes) -> bool:
        """False for an operation of a later release: `apply` raises UnknownOperation."""
        return is_known(payload)

    def readable(self, snapshot: Iterable[tuple[bytes, bytes]]) -> bool:
        """True if `load` takes these rows."""
        try:
            rows.load(snapshot)
        except ValueError:
            return False
        return True

    def digest(self) -> str:
        """64 hex digits that are equal on two nodes if and only if their conversations are.

        The sum of the SHA-256 hashes of all rows: only rows that changed since the last call need hashing.
        """
        for row_key in self._unhashed:
            self._hash_row(row_key, rows.key(row_key), self._value(row_key))
        self._unhashed.clear()
        return f"{self._hash:064x}"

    def changed(self) -> list[tuple[bytes, bytes | None]]:
        """The rows that changed since the last call (or `load`), sorted by key; None stands for a deleted one.

        Accumulated from the start, they are the input of `load`. They are hashed here too, so that the work of `digest`
        stays small, however rarely that is called.
        """
        changed: list[tuple[bytes, bytes | None]] = []
        for row_key in sorted(self._unsaved):
            key, content = rows.key(row_key), self._value(row_key)
            changed.append((key, content))
            if row_key in self._unhashed:
                self._unhashed.remove(row_key)
                self._hash_row(row_key, key, content)
        self._unsaved.clear()
        return changed

    def snapshot(self) -> list[tuple[bytes, bytes]]:
        """Everything, sorted by key, as `load` takes it."""
        keys = [] if self._quotas is None else [rows.QUOTAS]
        keys += [row_key for conversation in self._by_index.values() for row_key in rows.row_keys(conversation)]
        found = ((rows.key(row_key), self._value(row_key)) for row_key in keys)
        return [(key, content) for key, content in found if content is not None]

    def _hash_row(self, row_key: rows.RowKey, key: bytes, content: bytes | None) -> None:
        new = 0
        if content is not None:
            row = bytes((len(row_key),)) + key + content  # tells where the key ends
            new = int.from_bytes(hashlib.sha256(row).digest(), "big")
        self._hash = (self._hash + new - self._hashes.pop(row_key, 0)) % _DIGEST_MODULUS
        if content is not None:
            self._hashes[row_key] = new

    def load(self, snapshot: Iterable[tuple[bytes, bytes]]) -> None:
        """Replaces everything with a snapshot's rows, which then count as saved.

        Raises ValueError, and changes nothing, if the rows are invalid.
        """
        loaded, self._quotas = rows.load(snapshot)
        self._conversations = {conversation.context: conversation for conversation in loaded}
        self._by_index = {conversation.index: conversation for conversation in loaded}
        self._text_bytes = sum(conversation.bytes for conversation in loaded)
        self._unsaved = set()
        self._unhashed = {row_key for conversation in loaded for row_key in rows.row_keys(conversation)}
        self._unhashed |= {rows.QUOTAS} if self._quotas is not None else set()
        self._hashes = {}
        self._hash = 0

    def _value(self, row_key: rows.RowKey) -> bytes | None:
        if row_key == rows.QUOTAS:
            return None if self._quotas is None else rows.quotas_value(self._quotas)
        conversation = self._by_index.get(row_key[0])
        return None if conversation is None else rows.value(row_key, conversation)

    def _touch(self, *row_key: int) -> None:
        self._unhashed.add(row_key)
        self._unsaved.add(row_key)

    def _asked(self, operation: Query | Ask) -> int:
        kind = Kind.QUERY if isinstance(operation, Query) else Kind.ASK
        return self._add_turn(operation.context, Turn(kind, operation.text, {}))

    def _date(self, operation: StoreOperation, turn: int | None) -> None:
        """Records the time of a change, in a row that changed anyway."""
        conversation = None if operation.context is None else self._conversations.get(operation.context)
        if conversation is None:
            return  # it is about none, or has deleted it
        if turn is None and type(operation) is not SetTitle:  # it tells when the conversation was created
            conversation.at = operation.at
        elif turn is not None and type(operation) not in RESPONDING:  # those date the response
            conversation.turns[turn - 1].at = operation.at

    def _find(self, context: str) -> Conversation:
        conversation = self._conversations.get(context)
        if conversation is None:
            raise _Refused(f"no conversation '{context}': use create {context}")
        return conversation

    def _created(self, operation: Create) -> None:
        self._create(operation.context)

    def _create(self, context: str) -> Conversation:
        if context in self._conversations:
            raise _Refused(f"conversation '{context}' already exists")
        _accept(refuse_conversation(self._quotas, len(self._by_index)))
        index = next(reversed(self._by_index), 0) + 1  # the same whether this node saw what was deleted or not
        conversation = Conversation(context, index, self._position, [])
        self._conversations[context] = conversation
        self._by_index[index] = conversation
        self._touch(conversation.index)
        return conversation

    def _add_turn(self, context: str, turn: Turn) -> int:
        conversation = self._find(context)
        if conversation.open_turn is not None:
            way_out = (
                f"choose one of its answers (choose {context} N)" if conversation.turns[-1].kind is Kind.QUERY
                else "wait for its answer"
            )
            raise _Refused(
                f"'{context}' has an open question: {way_out}, ask it again (retry {context}) or cancel it "
                f"(cancel {context})"
            )
        number, more = len(conversation.turns) + 1, utf8_bytes(turn.text)
        self._require_room(context, Size(number, conversation.bytes + more), more)
        conversation.turns.append(turn)
        self._grow(conversation, more)
        self._touch(conversation.index, number)
        return number

    def _ask_once(self, operation: AskOnce) -> int:
        context = operation.context
        conversation = self._conversations.get(context)
        if conversation is None:
            conversation = self._begin(operation)
        number = conversation.keys.get(operation.key)
        if number is not None:
            turn = conversation.turns[number - 1]
            if (turn.kind.value, turn.text) != (operation.kind, operation.text):
                raise _Refused(f"turn {number} of '{context}' has this key, and asks something else")
            raise _Repeated(number)
        number = self._add_turn(context, Turn(Kind(operation.kind), operation.text, {}, key=operation.key))
        conversation.keys[operation.key] = number
        return number

    def _begin(self, operation: AskOnce) -> Conversation:
        """The conversation that a question makes, up to that question."""
        context = operation.context
        if operation.history is None:
            self._find(context)
        turns = unpack(operation.history) if operation.history else []
        before = sum(map(_bytes, turns))
        size = Size(len(turns) + 1, before + utf8_bytes(operation.text))
        self._require_room(context, size, size.bytes)
        conversation = self._create(context)
        conversation.at, conversation.temporary = operation.at, operation.temporary
        self._grow(conversation, before)
        self._restore(conversation, turns, operation.at)
        return conversation

    def _delete(self, operation: Delete) -> None:
        conversation = self._find(operation.context)
        if operation.created is not None and operation.created != conversation.created:
            raise _Refused(f"'{operation.context}' is another conversation now")
        self._touch_all(conversation)
        self._grow(conversation, -conversation.bytes)
        del self._conversations[operation.context], self._by_index[conversation.index]

    def _set_title(self, operation: SetTitle) -> None:
        conversation = self._find(operation.context)
        conversation.title = operation.title
        self._touch(conversation.index)

    def _require_room(self, context: str, size: Size, more: int) -> None:
        """Refuses to let a conversation become so large, which takes `more` bytes."""
        _accept(refuse_size(self._quotas, context, size) or refuse_total(self._quotas, self._text_bytes + more))

    def _grow(self, conversation: Conversation, more: int) -> None:
        """Its text has so many bytes more."""
        conversation.bytes += more
        self._text_bytes += more

    def _touch_all(self, conversation: Conversation) -> None:
        for row_key in rows.row_keys(conversation):
            self._touch(*row_key)

    def _candidate(self, operation: Candidate | CandidateInFull) -> int:
        conversation, turn = self._turn_for(operation, Kind.QUERY)
        if operation.node in turn.candidates:
            turn_words = f"turn {operation.turn} of '{operation.context}'"
            raise _Refused(f"node {operation.node} has already responded to {turn_words}")
        self._record(conversation, turn, operation)
        return operation.turn

    def _answer(self, operation: Answer | AnswerInFull) -> int:
        conversation, turn = self._turn_for(operation, Kind.ASK)
        self._record(conversation, turn, operation)
        if operation.text is not None:
            turn.chosen = operation.node
            self._touch(conversation.index, operation.turn)
        return operation.turn

    def _turn_for(self, operation: Responding, kind: Kind) -> tuple[Conversation, Turn]:
        """The open turn of an LLM's response."""
        conversation = self._find(operation.context)
        if operation.turn > len(conversation.turns):
            raise _Refused(f"'{operation.context}' has no turn {operation.turn}")
        turn = conversation.turns[operation.turn - 1]
        if turn.kind is not kind:
            raise _Refused(f"turn {operation.turn} of '{operation.context}' is not of the kind '{kind}'")
        if turn.state is not State.OPEN:
            raise _Refused(_closed(operation.context, operation.turn, turn))
        if operation.round != turn.round(operation.node):
            raise _Refused(f"node {operation.node} has been asked again since, in turn {operation.turn}")
        return conversation, turn

    def _record(self, conversation: Conversation, turn: Turn, operation: Responding) -> None:
        more: tuple[str, Cut | None, float] = ("", None, 0.0)
        if isinstance(operation, CandidateInFull | AnswerInFull):
            more = operation.thoughts, operation.cut, operation.cut_at
        response = Response(
            operation.text, operation.error, operation.model, operation.seconds, operation.seen, operation.before,
            operation.at, *more,
        )
        replaced = turn.candidates.get(operation.node)
        self._grow(conversation, response.bytes - (0 if replaced is None else replaced.bytes))
        turn.candidates[operation.node] = response
        turn.candidates = dict(sorted(turn.candidates.items()))
        self._touch(conversation.index, operation.turn, operation.node)

    def _choose(self, operation: Choose) -> int:
        context, node = operation.context, operation.node
        conversation = self._find(context)
        number = _named_turn(conversation, operation.turn)
        if number is None:
            raise _Refused(f"nothing to choose from in '{context}' yet")
        turn = conversation.turns[number - 1]
        if turn.state is not State.OPEN:
            raise _Refused(_moved_on(conversation, number) or _closed(context, number, turn))
        if not turn.candidates:
            raise _Refused(f"nothing to choose from in '{context}' yet")
        response = turn.candidates.get(node)
        if response is None:
            raise _Refused(f"node {node} has no answer in turn {number} of '{context}'; {_who_has(turn)}")
        if response.text is None:
            raise _Refused(f"node {node}'s answer in turn {number} of '{context}' failed; {_who_has(turn)}")
        turn.chosen = node
        self._touch(conversation.index, number)
        return number

    def _cancel(self, operation: Cancel) -> int:
        context = operation.context
        conversation = self._find(context)
        number = _open_turn(conversation, operation.turn)
        conversation.turns[number - 1].cancelled = True
        self._touch(conversation.index, number)
        return number

    def _retry(self, operation: Retry) -> int:
        conversation = self._find(operation.context)
        number = _open_turn(conversation, operation.turn)
        turn = conversation.turns[number - 1]
        nodes = list(turn.candidates) if operation.node is None else [operation.node]
        if turn.kind is Kind.ASK and operation.node is not None and operation.node not in turn.candidates:
            raise _Refused(f"node {operation.node} has not failed: `retry {operation.context}` asks all over again")
        for node in nodes:
            dropped = turn.candidates.pop(node, None)
            if dropped is not None:
                self._grow(conversation, -dropped.bytes)
                self._touch(conversation.index, number, node)
        whom = operation.node or 0
        turn.retries = dict(sorted({**turn.retries, whom: turn.retries.get(whom, 0) + 1}.items()))
        if turn.poll is not None:
            turn.poll.closed = True  # its answers are gone
        self._touch(conversation.index, number)
        return number

    def _poll(self, operation: StartPoll) -> int:
        context = operation.context
        conversation = self._find(context)
        number = _open_turn(conversation, operation.turn)
        turn = conversation.turns[number - 1]
        if turn.kind is Kind.ASK:
            raise _Refused(f"there is nothing to choose in '{context}': the leader's answer is final")
        if turn.open_poll is not None:
            raise _Refused(f"the nodes are already choosing in '{context}'")
        if len(turn.choices) < 2:
            raise _Refused(f"a choice in '{context}' needs at least two answers; {_who_has(turn)}")
        turn.poll = Poll(1 if turn.poll is None else turn.poll.number + 1, turn.choices[:MAX_BALLOT], {})
        self._touch(conversation.index, number)
        return number

    def _ranking(self, operation: Ranking) -> int:
        conversation, poll = self._open_poll(operation)
        if operation.node in poll.votes:
            raise _Refused(f"node {operation.node} has already voted in '{operation.context}'")
        if operation.error is None and sorted(operation.order) != poll.ballot:
            raise _Refused(f"node {operation.node}'s ranking does not name the answers of '{operation.context}'")
        votes = {**poll.votes, operation.node: Vote(operation.order, operation.error, operation.model)}
        poll.votes = dict(sorted(votes.items()))
        self._touch(conversation.index, operation.turn)
        return operation.turn

    def _elect(self, operation: Elect) -> int:
        conversation, poll = self._open_poll(operation)
        poll.closed = True
        conversation.turns[operation.turn - 1].chosen = poll.winner
        self._touch(conversation.index, operation.turn)
        return operation.turn

    def _open_poll(self, operation: Ranking | Elect) -> tuple[Conversation, Poll]:
        conversation = self._find(operation.context)
        if operation.turn > len(conversation.turns):
            raise _Refused(f"'{operation.context}' has no turn {operation.turn}")
        poll = conversation.turns[operation.turn - 1].open_poll
        if poll is None or poll.number != operation.poll:
            raise _Refused(f"poll {operation.poll} in turn {operation.turn} of '{operation.context}' is over")
        return conversation, poll

    def _import(self, operation: Import) -> int | None:
        turns = unpack(operation.turns)
        size = Size(len(turns), sum(map(_bytes, turns)))
        if operation.context not in self._conversations:
            self._require_room(operation.context, size, size.bytes)
        conversation = self._create(operation.context)
        self._restore(conversation, turns, operation.at)
        conversation.at = operation.at
        self._grow(conversation, size.bytes)
        return len(conversation.turns) or None

    def _restore(self, conversation: Conversation, turns: Iterable[RestoredTurn], at: int) -> None:
        """The turns of a new conversation."""
        for restored in turns:
            responses = {
                said.node: Response(said.text, said.error, said.model, said.seconds)
                for said in sorted(restored.candidates, key=lambda said: said.node)
            }
            chosen = restored.chosen
            turn = Turn(Kind(restored.kind), restored.text, responses, chosen, chosen is None, at=at)
            conversation.turns.append(turn)
        self._touch_all(conversation)

    def _set_quotas(self, operation: SetQuotas) -> None:
        """Those that are not named stay."""
        named = {name: getattr(operation, name) for name in Quotas.__struct_fields__}
        known = {} if self._quotas is None else msgspec.structs.asdict(self._quotas)
        if operation.first and known:
            raise _Refused("the cluster has quotas already")
        merged = known | {name: quota for name, quota in named.items() if quota is not None}
        if len(merged) < len(named):
            raise _Refused("the cluster has no quotas yet: its leader proposes them when half of one is used")
        self._quotas = Quotas(**merged)
        self._touch(*rows.QUOTAS)


def _accept(refusal: str | None) -> None:
    """Raises _Refused if there is one."""
    if refusal is not None:
        raise _Refused(refusal)


def _bytes(turn: RestoredTurn) -> int:
    """As `Conversation.measured`."""
    return utf8_bytes(turn.text) + sum(utf8_bytes(said.text or said.error or "") for said in turn.candidates)


def _named_turn(conversation: Conversation, number: int | None) -> int | None:
    """The turn that an operation means: the one that it names, else the last one, since no other can be open. None if
    there is no turn yet."""
    if number is not None and number > len(conversation.turns):
        raise _Refused(f"'{conversation.context}' has no turn {number}")
    return number or len(conversation.turns) or None


def _open_turn(conversation: Conversation, number: int | None) -> int:
    """Like `_named_turn`, but the turn must be open; refused otherwise."""
    context = conversation.context
    number = _named_turn(conversation, number)
    if number is None:
        raise _Refused(f"'{context}' has no open question")
    turn = conversation.turns[number - 1]
    if turn.state is not State.OPEN:
        nothing_open = f"'{context}' has no open question: {_closed(context, number, turn)}"
        raise _Refused(_moved_on(conversation, number) or nothing_open)
    return number


def _moved_on(conversation: Conversation, closed: int) -> str | None:
    """What to say of a closed turn that an operation names while a later one is open."""
    open_turn = conversation.open_turn
    return None if open_turn is None else f"turn {closed} is closed; turn {open_turn} is open since"


def _closed(context: str, number: int, turn: Turn) -> str:
    """Why a turn is closed."""
    if turn.chosen is not None:
        return f"already chosen: node {turn.chosen}'s answer, turn {number}"
    return f"turn {number} of '{context}' was cancelled"


def _who_has(turn: Turn) -> str:
    choices = turn.choices
    if not choices:
        return "no node has one yet"
    return f"answered so far: node{'s' if len(choices) > 1 else ''} {', '.join(map(str, choices))}"
