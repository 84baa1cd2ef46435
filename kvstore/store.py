"""The replicated state machine: decided payloads in, conversations out; the same on every node, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from kvstore import rows
from kvstore.agreement import weigh
from kvstore.changed_rows import ChangedRows
from kvstore.conversation import (
    MAX_BALLOT,
    MAX_VOTES_BYTES,
    PART_BYTES,
    SYNTHESIS,
    Conversation,
    Cut,
    Kind,
    Poll,
    Response,
    State,
    Synthesis,
    Turn,
    Vote,
    utf8_bytes,
)
from kvstore.deleted import Deleted, cannot_come_back
from kvstore.forks import forked_turns
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
    ChooseAuto,
    Create,
    Delete,
    Elect,
    ElectWeighed,
    Fork,
    IfCreatedAt,
    Import,
    ImportInFull,
    InFull,
    Query,
    Ranking,
    Regenerate,
    Rename,
    Responding,
    Retry,
    SetAuto,
    SetQuotas,
    SetSystem,
    SetTitle,
    StartPoll,
    Synthesize,
    Synthesized,
    Unconditional,
    Undelete,
    unconditional,
)
from kvstore.packed_turns import Restored, RestoredInFull, RestoredTurn, unpack
from kvstore.payloads import UnknownOperation, decode, is_known
from kvstore.quotas import Quotas, Size, refuse_conversation, refuse_size, refuse_total
from kvstore.refusals import (
    Refused,
    accept,
    choosing_from,
    closed,
    last_answered,
    moved_on,
    named_turn,
    open_turn,
    still_open,
    who_has,
    whose,
)
from kvstore.rules import FEWEST_SOURCES, check

_LATER: Final = frozenset((SetTitle, SetSystem, SetAuto, Undelete))
"""Kinds that change a conversation, and no turn."""
_NOT_OF_A_TURN: Final = RESPONDING | {Fork}
"""Kinds that do not date the turn that they name: those date the response, and a fork has turns as old as they were."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The outcome of an operation. Refused operations (`ok` false) changed nothing; `error` says why.

    `operation` is None if the payload held none. `turn` is the turn that was added or changed.
    """

    operation: Unconditional | None
    ok: bool
    error: str | None = None
    context: str | None = None
    turn: int | None = None
    repeated: bool = False
    """It was there already, and has changed nothing."""


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
        """In ascending order; also those that are deleted and kept."""
        self._deleted = Deleted()
        self._rows = ChangedRows(self._value)
        self._quotas: Quotas | None = None
        self._size = 0
        self._read: tuple[Iterable[tuple[bytes, bytes]], tuple[list[Conversation], Quotas | None]] | None = None
        """What `readable` has read last, and of which rows: a large snapshot is not read twice."""
        self._position = 0
        """The position of the operation being applied."""
        self._changes: dict[type, Callable[[Any], int | None]] = {
            Create: self._created, Query: self._asked, Ask: self._asked, Candidate: self._candidate,
            Answer: self._answer, CandidateInFull: self._candidate, AnswerInFull: self._answer, Choose: self._choose,
            Cancel: self._cancel, Import: self._import, Retry: self._retry, StartPoll: self._poll,
            Ranking: self._ranking, Elect: self._elect, ElectWeighed: self._elect, SetQuotas: self._set_quotas,
            AskOnce: self._ask_once, Delete: self._delete, SetTitle: self._set_title, Rename: self._rename,
            Fork: self._fork, SetSystem: self._set_system, ImportInFull: self._import, Undelete: self._undelete,
            SetAuto: self._set_auto, ChooseAuto: self._choose_auto,
            Regenerate: self._regenerate, Synthesize: self._synthesize, Synthesized: self._synthesized,
        }
        """What each operation does: returns the number of the turn that it added or changed; raises Refused, or
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
    def row_count(self) -> int:
        """About how many: some of those that have changed lately are left out."""
        return self._rows.count

    @property
    def size(self) -> int:
        """Of all conversations, as quotas count them."""
        return self._size

    def can_undelete(self, context: str) -> bool:
        """The operation that was applied last deleted a conversation of this name, and that one is kept: not only an
        earlier one that had the name, too."""
        found = self._deleted.last(context, self._position + 1)
        return found is not None and found.deleted == self._position

    def apply(self, position: int, payload: bytes) -> Outcome:
        """Carries out one decided operation, whatever the payload is. Only what is of a later release raises
        UnknownOperation, and changes nothing; bytes that are no operation of any release are refused."""
        self._position = position
        try:
            decided = decode(payload)
        except UnknownOperation as unknown:
            raise UnknownOperation(
                f"this node's release does not know what was decided at position {position} ({unknown}): upgrade this "
                "node; its data is as it was before"
            ) from unknown
        except ValueError:
            return Outcome(None, False, "not a command that this version knows")
        error, operation = check(decided), unconditional(decided)
        if error is not None:
            return Outcome(operation, False, error, operation.context)
        try:
            if type(decided) is IfCreatedAt:
                self._find(decided.context, decided.created)
            turn = self._changes[type(operation)](operation)
        except Refused as refused:
            return Outcome(operation, False, str(refused), operation.context)
        except _Repeated as repeated:
            return Outcome(operation, True, None, operation.context, repeated.turn, True)
        self._date(operation, turn)
        return Outcome(operation, True, None, operation.context, turn)

    def understands(self, payload: bytes) -> bool:
        """False for an operation of a later release: `apply` raises UnknownOperation."""
        return is_known(payload)

    def readable(self, snapshot: Iterable[tuple[bytes, bytes]]) -> bool:
        """True if `load` takes these rows. What was read is kept for it."""
        self._read = None
        try:
            self._read = snapshot, rows.load(snapshot)
        except ValueError:
            return False
        return True

    def digest(self) -> str:
        """64 hex digits that are equal on two nodes if and only if their conversations are.

        The sum of the SHA-256 hashes of all rows: only rows that changed since the last call need hashing.
        """
        return self._rows.digest()

    def changed(self) -> list[tuple[bytes, bytes | None]]:
        """The rows that changed since the last call (or `load`), sorted by key; None stands for a deleted one.

        Accumulated from the start, they are the input of `load`. They are hashed here too, so that the work of `digest`
        stays small, however rarely that is called.
        """
        return self._rows.take()

    def snapshot(self) -> list[tuple[bytes, bytes]]:
        """Everything, sorted by key, as `load` takes it."""
        found = ((rows.key(row_key), self._value(row_key)) for row_key in self._row_keys())
        return [(key, content) for key, content in found if content is not None]

    def load(self, snapshot: Iterable[tuple[bytes, bytes]]) -> None:
        """Replaces everything with a snapshot's rows, which then count as saved. An iterator has them sorted by key.

        Raises ValueError, and changes nothing, if the rows are invalid.
        """
        read, self._read = self._read, None
        loaded, self._quotas = read[1] if read is not None and read[0] is snapshot else rows.load(snapshot)
        self._by_index = {conversation.index: conversation for conversation in loaded}
        self._deleted = Deleted(conversation for conversation in loaded if conversation.deleted)
        self._list()
        self._size = sum(conversation.bytes for conversation in self._conversations.values())
        self._rows.replace(self._row_keys())

    def _row_keys(self) -> Iterator[rows.RowKey]:
        """Of all rows, in the order of their keys."""
        if self._quotas is not None:
            yield rows.QUOTAS
        for conversation in self._by_index.values():
            yield from rows.row_keys(conversation)

    def _value(self, row_key: rows.RowKey) -> bytes | None:
        if row_key == rows.QUOTAS:
            return None if self._quotas is None else rows.quotas_value(self._quotas)
        conversation = self._by_index.get(row_key[0])
        return None if conversation is None else rows.value(row_key, conversation)

    def _asked(self, operation: Query | Ask) -> int:
        kind = Kind.QUERY if isinstance(operation, Query) else Kind.ASK
        return self._add_turn(operation.context, Turn(kind, operation.text))

    def _date(self, operation: Unconditional, turn: int | None) -> None:
        """Records the time of a change, in a row that changed anyway."""
        conversation = None if operation.context is None else self._conversations.get(operation.context)
        if conversation is None:
            return  # it is about none, or has deleted it
        if turn is None and type(operation) not in _LATER:  # it tells when the conversation was created
            conversation.at = operation.at
        elif turn is not None and type(operation) not in _NOT_OF_A_TURN:
            conversation.turns[turn - 1].at = operation.at

    def _find(self, context: str, created: int | None = None) -> Conversation:
        """The one that was `created` at that position, if that is said."""
        conversation = self._conversations.get(context)
        if conversation is None:
            raise Refused(f"no conversation '{context}': use create {context}")
        if created not in (None, conversation.created):
            raise Refused(f"'{context}' is another conversation now: the one that was meant was deleted")
        return conversation

    def _created(self, operation: Create) -> None:
        self._create(operation.context)

    def _create(self, context: str) -> Conversation:
        self._require_free(context)
        accept(refuse_conversation(self._quotas, len(self._conversations)))
        self._forget_deleted()
        index = next(reversed(self._by_index), 0) + 1  # the same whether this node saw what was deleted or not
        conversation = Conversation(context, index, self._position, [])
        self._conversations[context] = conversation
        self._by_index[index] = conversation
        self._rows.touch(conversation.index)
        return conversation

    def _require_free(self, context: str) -> None:
        if context in self._conversations:
            raise Refused(f"conversation '{context}' already exists")

    def _add_turn(self, context: str, turn: Turn) -> int:
        conversation = self._find(context)
        accept(still_open(conversation))
        number, more = len(conversation.turns) + 1, turn.bytes
        self._require_room(context, Size(number, conversation.bytes + more), more)
        self._end_regeneration(conversation)
        conversation.turns.append(turn)
        self._grow(conversation, more)
        self._rows.touch(conversation.index, number)
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
                raise Refused(f"turn {number} of '{context}' has this key, and asks something else")
            raise _Repeated(number)
        number = self._add_turn(context, Turn(Kind(operation.kind), operation.text, key=operation.key))
        conversation.keys[operation.key] = number
        return number

    def _begin(self, operation: AskOnce) -> Conversation:
        """The conversation that a question makes, up to that question."""
        context = operation.context
        if operation.history is None:
            self._find(context)
        turns = unpack(operation.history) if operation.history else []
        before = sum(map(_bytes, turns))
        size = Size(len(turns) + 1, before + PART_BYTES + utf8_bytes(operation.text))
        self._require_room(context, size, size.bytes)
        conversation = self._create(context)
        conversation.at, conversation.temporary = operation.at, operation.temporary
        self._grow(conversation, before)
        self._restore(conversation, turns, operation.at)
        return conversation

    def _delete(self, operation: Delete) -> None:
        conversation = self._find(operation.context, operation.created)
        del self._conversations[operation.context]
        self._size -= conversation.bytes
        conversation.deleted = self._position
        self._rows.touch(conversation.index)
        if conversation.temporary:
            self._drop(conversation)
        else:
            self._deleted.add(conversation)
        self._forget_deleted()

    def _undelete(self, operation: Undelete) -> None:
        context = operation.context
        conversation = self._deleted.last(context, self._position)
        if conversation is None:
            raise Refused(cannot_come_back(context))
        if context in self._conversations:
            raise Refused(f"there is another '{context}' now: rename {context} NEW first, then undelete {context}")
        more = conversation.bytes
        accept(
            refuse_conversation(self._quotas, len(self._conversations))
            or refuse_total(self._quotas, self._size + more)
        )
        self._deleted.take(conversation)
        conversation.deleted = 0
        self._size += more
        self._list()
        self._rows.touch(conversation.index)

    def _forget_deleted(self) -> None:
        """Together with what makes room for another conversation, so that it takes no operation of its own."""
        for conversation in self._deleted.over(self._position):
            self._drop(conversation)

    def _drop(self, conversation: Conversation) -> None:
        """A deleted conversation is not kept any more."""
        self._touch_all(conversation)
        del self._by_index[conversation.index]

    def _list(self) -> None:
        """Those that are there, in order of creation."""
        there = (found for found in self._by_index.values() if not found.deleted)
        self._conversations = {found.context: found for found in there}

    def _set_title(self, operation: SetTitle) -> None:
        conversation = self._find(operation.context)
        conversation.title = operation.title
        self._rows.touch(conversation.index)

    def _set_system(self, operation: SetSystem) -> None:
        conversation = self._find(operation.context)
        more = utf8_bytes(operation.text) - utf8_bytes(conversation.system)
        if more > 0:
            size = Size(len(conversation.turns), conversation.bytes + more)
            self._require_room(operation.context, size, more)
        conversation.system = operation.text
        self._grow(conversation, more)
        self._rows.touch(conversation.index)

    def _set_auto(self, operation: SetAuto) -> None:
        conversation = self._find(operation.context)
        conversation.auto = operation.on
        self._rows.touch(conversation.index)

    def _rename(self, operation: Rename) -> None:
        context, name = operation.context, operation.name
        conversation = self._find(context)
        accept(still_open(conversation))
        self._require_free(name)
        self._end_regeneration(conversation)
        conversation.context = name
        self._list()
        self._rows.touch(conversation.index)

    def _fork(self, operation: Fork) -> int | None:
        context, source = operation.context, self._find(operation.source)
        turns = forked_turns(source, operation.turn)
        self._require_free(context)
        size = Size(len(turns), utf8_bytes(source.system) + sum(turn.bytes for turn in turns))
        self._require_room(context, size, size.bytes)
        conversation = self._create(context)
        conversation.turns, conversation.system, conversation.at = turns, source.system, operation.at
        conversation.auto = source.auto
        self._grow(conversation, size.bytes)
        self._touch_all(conversation)
        return len(turns) or None

    def _require_room(self, context: str, size: Size, more: int) -> None:
        """Refuses to let a conversation become so large, which takes `more` bytes."""
        accept(refuse_size(self._quotas, context, size) or refuse_total(self._quotas, self._size + more))

    def _grow(self, conversation: Conversation, more: int) -> None:
        """Its text has so many bytes more."""
        conversation.bytes += more
        self._size += more

    def _touch_all(self, conversation: Conversation) -> None:
        for row_key in rows.row_keys(conversation):
            self._rows.touch(*row_key)

    def _candidate(self, operation: Candidate | CandidateInFull) -> int:
        conversation, turn = self._turn_for(operation, Kind.QUERY)
        if operation.node in turn.candidates:
            turn_words = f"turn {operation.turn} of '{operation.context}'"
            raise Refused(f"node {operation.node} has already responded to {turn_words}")
        self._record(conversation, operation.turn, operation.node, _said(operation))
        return operation.turn

    def _answer(self, operation: Answer | AnswerInFull) -> int:
        conversation, turn = self._turn_for(operation, Kind.ASK)
        if turn.regenerating:
            self._end_regeneration(conversation)
            if operation.text is None:
                return operation.turn
            for node in [node for node in turn.candidates if node != operation.node]:
                self._drop_response(conversation, operation.turn, node)
        self._record(conversation, operation.turn, operation.node, _said(operation))
        if operation.text is not None:
            turn.chosen = operation.node
            self._rows.touch(conversation.index, operation.turn)
        return operation.turn

    def _synthesize(self, operation: Synthesize) -> int:
        conversation = self._find(operation.context)
        number = choosing_from(conversation, operation.turn)
        turn = conversation.turns[number - 1]
        awaited = turn.open_synthesis
        if awaited is not None:
            llm = "the leader's LLM" if awaited.node is None else f"node {awaited.node}'s LLM"
            raise Refused(f"{llm} is already asked for a synthesis in '{operation.context}': wait for it, or choose")
        if len(turn.answered) < FEWEST_SOURCES:
            raise Refused(f"a synthesis in '{operation.context}' needs at least two answers; {who_has(turn)}")
        earlier = 0 if turn.synthesis is None else turn.synthesis.number
        turn.synthesis = Synthesis(earlier + 1, operation.node, tuple(turn.answered[:MAX_BALLOT]))
        self._rows.touch(conversation.index, number)
        return number

    def _synthesized(self, operation: Synthesized) -> int:
        context, number = operation.context, operation.turn
        conversation = self._find(context)
        turn = conversation.turns[open_turn(conversation, number) - 1]
        synthesis = turn.open_synthesis
        if synthesis is None or synthesis.number != operation.round:
            raise Refused(f"synthesis {operation.round} in turn {number} of '{context}' is over")
        if synthesis.node not in (None, operation.node):
            raise Refused(f"node {synthesis.node} is asked for a synthesis in '{context}', not node {operation.node}")
        synthesis.closed = True
        self._rows.touch(conversation.index, number)
        if operation.text is not None:
            said = msgspec.structs.replace(_said(operation), by=operation.node, out_of=synthesis.out_of)
            self._record(conversation, number, SYNTHESIS, said)
        return number

    def _end_synthesis(self, conversation: Conversation, number: int) -> None:
        """If one is awaited: whatever comes now is too late."""
        synthesis = conversation.turns[number - 1].open_synthesis
        if synthesis is not None:
            synthesis.closed = True
            self._rows.touch(conversation.index, number)

    def _turn_for(self, operation: Responding, kind: Kind) -> tuple[Conversation, Turn]:
        """The open turn of an LLM's response."""
        conversation = self._find(operation.context)
        if operation.turn > len(conversation.turns):
            raise Refused(f"'{operation.context}' has no turn {operation.turn}")
        turn = conversation.turns[operation.turn - 1]
        if turn.kind is not kind:
            raise Refused(f"turn {operation.turn} of '{operation.context}' is not of the kind '{kind}'")
        if turn.state is not State.OPEN and not turn.regenerating:
            raise Refused(closed(operation.context, operation.turn, turn))
        if operation.round != turn.round(operation.node):
            raise Refused(f"node {operation.node} has been asked again since, in turn {operation.turn}")
        return conversation, turn

    def _record(self, conversation: Conversation, number: int, candidate: int, response: Response) -> None:
        turn = conversation.turns[number - 1]
        replaced = turn.candidates.get(candidate)
        self._grow(conversation, response.bytes - (0 if replaced is None else replaced.bytes))
        turn.candidates = dict(sorted({**turn.candidates, candidate: response}.items()))
        self._rows.touch(conversation.index, number, candidate)

    def _choose(self, operation: Choose) -> int:
        context, node = operation.context, operation.node
        conversation = self._find(context)
        number = named_turn(conversation, operation.turn)
        if number is None:
            raise Refused(f"nothing to choose from in '{context}' yet")
        turn = conversation.turns[number - 1]
        if turn.state is not State.OPEN:
            raise Refused(moved_on(conversation, number) or closed(context, number, turn))
        if not turn.candidates:
            raise Refused(f"nothing to choose from in '{context}' yet")
        response = turn.candidates.get(node)
        if response is None:
            nobody = "there is no synthesis" if node == SYNTHESIS else f"node {node} has no answer"
            raise Refused(f"{nobody} in turn {number} of '{context}'; {who_has(turn)}")
        if response.text is None:
            raise Refused(f"{whose(node)} in turn {number} of '{context}' failed; {who_has(turn)}")
        turn.chosen = node
        self._rows.touch(conversation.index, number)
        return number

    def _cancel(self, operation: Cancel) -> int:
        context = operation.context
        conversation = self._find(context)
        number = open_turn(conversation, operation.turn)
        conversation.turns[number - 1].cancelled = True
        self._rows.touch(conversation.index, number)
        return number

    def _retry(self, operation: Retry) -> int:
        conversation = self._find(operation.context)
        number = open_turn(conversation, operation.turn)
        turn = conversation.turns[number - 1]
        nodes = list(turn.candidates) if operation.node is None else [operation.node]
        if turn.kind is Kind.ASK and operation.node is not None and operation.node not in turn.candidates:
            raise Refused(f"node {operation.node} has not failed: `retry {operation.context}` asks all over again")
        for node in nodes:
            self._drop_response(conversation, number, node)
        self._drop_synthesis(conversation, number)
        whom = operation.node or 0
        _ask_again(turn, whom)
        if turn.poll is not None:
            turn.poll.closed = True  # its answers are gone
        self._rows.touch(conversation.index, number)
        return number

    def _drop_synthesis(self, conversation: Conversation, number: int) -> None:
        """If what it is made out of, or is to be made out of, is not there any more."""
        turn = conversation.turns[number - 1]
        made, awaited = turn.candidates.get(SYNTHESIS), turn.open_synthesis
        if made is not None and not turn.candidates.keys() >= {*made.out_of}:
            self._drop_response(conversation, number, SYNTHESIS)
        if awaited is not None and not turn.candidates.keys() >= {*awaited.out_of}:
            self._end_synthesis(conversation, number)

    def _drop_response(self, conversation: Conversation, number: int, node: int) -> None:
        """If there is one."""
        turn = conversation.turns[number - 1]
        dropped = turn.candidates.get(node)
        if dropped is not None:
            turn.candidates = {other: said for other, said in turn.candidates.items() if other != node}
            self._grow(conversation, -dropped.bytes)
            self._rows.touch(conversation.index, number, node)

    def _regenerate(self, operation: Regenerate) -> int:
        conversation = self._find(operation.context)
        number = last_answered(conversation, operation.turn)
        turn = conversation.turns[number - 1]
        turn.regenerating = True
        _ask_again(turn, 0)
        self._rows.touch(conversation.index, number)
        return number

    def _end_regeneration(self, conversation: Conversation) -> None:
        """Of the last turn, if another answer to it is asked for: whatever comes now is too late."""
        if conversation.turns and conversation.turns[-1].regenerating:
            conversation.turns[-1].regenerating = False
            self._rows.touch(conversation.index, len(conversation.turns))

    def _poll(self, operation: StartPoll) -> int:
        context = operation.context
        conversation = self._find(context)
        number = choosing_from(conversation, operation.turn)
        turn = conversation.turns[number - 1]
        if len(turn.choices) < 2:
            raise Refused(f"a choice in '{context}' needs at least two answers; {who_has(turn)}")
        self._begin_poll(conversation, number)
        return number

    def _begin_poll(self, conversation: Conversation, number: int) -> None:
        self._end_synthesis(conversation, number)
        turn = conversation.turns[number - 1]
        turn.poll = Poll(1 if turn.poll is None else turn.poll.number + 1, turn.choices[:MAX_BALLOT], {})
        if conversation.auto:
            turn.polled = turn.rounds
        self._rows.touch(conversation.index, number)

    def _choose_auto(self, operation: ChooseAuto) -> int:
        context, number = operation.context, operation.turn
        conversation = self._find(context)
        open_turn(conversation, number)
        turn = conversation.turns[number - 1]
        if conversation.choosing != number or turn.rounds != operation.round:
            raise Refused(f"the nodes do not choose by themselves in turn {number} of '{context}' now")
        if len(turn.choices) > 1:
            self._begin_poll(conversation, number)
        else:
            turn.chosen, turn.polled = turn.choices[0], turn.rounds
            self._rows.touch(conversation.index, number)
        return number

    def _ranking(self, operation: Ranking) -> int:
        conversation, poll = self._open_poll(operation)
        if operation.node in poll.votes:
            raise Refused(f"node {operation.node} has already voted in '{operation.context}'")
        if operation.error is None and sorted(operation.order) != poll.ballot:
            raise Refused(f"node {operation.node}'s ranking does not name the answers of '{operation.context}'")
        votes = {**poll.votes, operation.node: Vote(operation.order, operation.error, operation.model)}
        # Release 0.1.0 does not refuse it; but no honest node's reasons are nearly as long.
        if sum(vote.bytes for vote in votes.values()) > MAX_VOTES_BYTES:
            raise Refused(f"the votes in '{operation.context}' are too large together")
        poll.votes = dict(sorted(votes.items()))
        self._rows.touch(conversation.index, operation.turn)
        return operation.turn

    def _elect(self, operation: Elect | ElectWeighed) -> int:
        conversation, poll = self._open_poll(operation)
        turn = conversation.turns[operation.turn - 1]
        if isinstance(operation, ElectWeighed):
            weigh(turn, poll)
        poll.closed = True
        turn.chosen = poll.winner
        self._rows.touch(conversation.index, operation.turn)
        return operation.turn

    def _open_poll(self, operation: Ranking | Elect | ElectWeighed) -> tuple[Conversation, Poll]:
        conversation = self._find(operation.context)
        if operation.turn > len(conversation.turns):
            raise Refused(f"'{operation.context}' has no turn {operation.turn}")
        poll = conversation.turns[operation.turn - 1].open_poll
        if poll is None or poll.number != operation.poll:
            raise Refused(f"poll {operation.poll} in turn {operation.turn} of '{operation.context}' is over")
        return conversation, poll

    def _import(self, operation: Import) -> int | None:
        turns = unpack(operation.turns, isinstance(operation, ImportInFull))
        title, system = (operation.title, operation.system) if isinstance(operation, ImportInFull) else ("", "")
        size = Size(len(turns), utf8_bytes(system) + sum(map(_bytes, turns)))
        if operation.context not in self._conversations:
            self._require_room(operation.context, size, size.bytes)
        conversation = self._create(operation.context)
        self._restore(conversation, turns, operation.at)
        conversation.at, conversation.title, conversation.system = operation.at, title, system
        self._grow(conversation, size.bytes)
        return len(conversation.turns) or None

    def _restore(self, conversation: Conversation, turns: Iterable[RestoredTurn], at: int) -> None:
        """The turns of a new conversation."""
        for restored in turns:
            responses = {
                said.node: _response(said)
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
            raise Refused("the cluster has quotas already")
        merged = known | {name: quota for name, quota in named.items() if quota is not None}
        if len(merged) < len(named):
            raise Refused("the cluster has no quotas yet: its leader proposes them when half of one is used")
        self._quotas = Quotas(**merged)
        self._rows.touch(*rows.QUOTAS)


def _ask_again(turn: Turn, node: int) -> None:
    """0: all nodes."""
    turn.retries = dict(sorted({**turn.retries, node: turn.retries.get(node, 0) + 1}.items()))


def _said(operation: Responding) -> Response:
    more: tuple[str, Cut | None, float, int, int] = ("", None, 0.0, 0, 0)
    if isinstance(operation, InFull):
        more = operation.thoughts, operation.cut, operation.cut_at, operation.tokens_in, operation.tokens_out
    return Response(
        operation.text, operation.error, operation.model, operation.seconds, operation.seen, operation.before,
        operation.at, *more,
    )


def _response(said: Restored) -> Response:
    response = Response(said.text, said.error, said.model, said.seconds)
    if not isinstance(said, RestoredInFull):
        return response
    return msgspec.structs.replace(
        response, cut=said.cut, cut_at=said.cut_at, tokens_in=said.tokens_in, tokens_out=said.tokens_out, by=said.by,
        out_of=said.out_of,
    )


def _bytes(turn: RestoredTurn) -> int:
    """As `Conversation.measured`."""
    said = sum(utf8_bytes(said.text or said.error or "") for said in turn.candidates)
    return utf8_bytes(turn.text) + said + PART_BYTES * turn.parts
