"""What happens in the cluster, reported to one user: as events, with the level that decides how much of it is shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET

from api.base import Event
from api.node_events import (
    AnswerEvent,
    AskEvent,
    AutoEvent,
    CancelledEvent,
    CandidateEvent,
    ChosenEvent,
    CreatedEvent,
    DeletedEvent,
    ExplainEvent,
    ExplainingEvent,
    ForkedEvent,
    LeaderEvent,
    NoChoiceEvent,
    OperationRefusedEvent,
    PollEvent,
    ProgressEvent,
    QueryEvent,
    RankingEvent,
    RegeneratedEvent,
    RenamedEvent,
    RestoredEvent,
    RetriedEvent,
    SynthesisEvent,
    SynthEvent,
    SystemEvent,
    TitledEvent,
    UndeletedEvent,
)
from engine.interface import AppliedOperation
from kvstore.conversation import SYNTHESIS, Turn
from kvstore.operations import (
    ASKING,
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
    Import,
    ImportInFull,
    Query,
    Ranking,
    Regenerate,
    Rename,
    Retry,
    SetAuto,
    SetSystem,
    SetTitle,
    StartPoll,
    StoreOperation,
    Synthesize,
    Synthesized,
    Undelete,
)
from kvstore.operations import name as operation_name
from kvstore.store import Store
from server.explain_text import Sentence
from server.progress_hints import Hint
from server.records import poll_record, response_fields, vote_fields

REPORT_EVERY_S = 2.0
"""Between two reports of how far the LLMs are: who reads them also types."""


class Level(StrEnum):
    """How much activity on other nodes is shown."""

    QUIET = "quiet"
    """Only answers to this user's own questions, as text and as events."""
    CALM = "calm"
    """Also the leader: for a node without an interactive user."""
    NORMAL = "normal"
    VERBOSE = "verbose"
    """Also every single answer and refused operation (the latter is an event at this level only)."""

    def __init__(self, value: str) -> None:
        self.reserved = value in ("quiet", "calm")
        """Only what concerns this user is reported. Looked at for each operation and session."""


class SessionEvent(msgspec.Struct, frozen=True):
    """An event as it is reported to one user."""

    event: Event
    nodes: int
    """How many there are."""
    level: Level
    mine: bool = False
    """This user wanted it: the command's result says it, too."""
    asked_here: bool = False
    """It is about a question of this user."""
    turn: Turn | None = None
    """The turn that an answer, or a choice of the nodes, is about; as it is now."""
    progress: Mapping[int, int] | None = None
    """If a report is due: how many pieces of an answer each node's LLM has written that has begun, as far as known; and
    of the synthesis."""
    at_work: bool = False
    """LLMs are known to be writing more answers to this question of this user."""


class AtWork(msgspec.Struct, frozen=True):
    """A question of this user that LLMs are known to be writing answers to."""

    context: str
    turn: Turn
    pieces: Mapping[int, int]
    """As in `SessionEvent.progress`, of those that are not done."""


Tell: TypeAlias = Callable[[SessionEvent], None]


class _Question(msgspec.Struct):
    """An open turn that this user asked about."""

    turn: int
    reported_at: float
    """When people were last told how far the LLMs are, or when it was asked; infinite: they are not told."""
    progress: dict[int, int] = {}

    def known(self, turn: Turn) -> dict[int, int]:
        """Without what a synthesis had that was called off."""
        return {
            number: pieces for number, pieces in self.progress.items()
            if number != SYNTHESIS or turn.open_synthesis is not None
        }

    def unfinished(self, turn: Turn, up: Collection[int]) -> dict[int, int]:
        """What is known of the LLMs of these nodes that have no answer yet, and of the synthesis that is awaited."""
        return {
            node: self.progress[node] for node in sorted(self.progress)
            if (turn.open_synthesis is not None if node == SYNTHESIS else node in up and node not in turn.candidates)
        }


class EventFeed:
    """For one user at one of `nodes` nodes, as many as there are now. `tell` gets the events."""

    def __init__(
        self, tell: Tell, store: Callable[[], Store], *, nodes: Callable[[], int], level: Level,
        clock: Callable[[], float] = time.monotonic, up: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """`up`: the nodes that are there, as far as known."""
        self._up = up
        self.level = level
        self._tell = tell
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._questions: dict[str, _Question] = {}
        """By context id."""
        self._leader: int | None = None

    def on_applied(self, applied: AppliedOperation, mine: bool) -> None:
        """An operation was applied; `mine` if this user submitted it."""
        outcome, origin = applied.outcome, applied.id.node
        operation = outcome.operation
        if operation is None:
            return
        context = operation.context
        if context is None:
            return
        if self.level.reserved and not mine and context not in self._questions:
            return
        if not outcome.ok:
            self._on_refused(operation, context, outcome.error or "", origin, mine)
        elif type(operation) is Create:
            self._tell_others(CreatedEvent(context, origin), mine)
        elif type(operation) is Delete:
            self._questions.pop(context, None)
            self._tell_others(DeletedEvent(context, origin), mine)
        elif type(operation) is Undelete:
            self._tell_others(UndeletedEvent(context, origin), mine)
        elif outcome.repeated:
            self._on_repeated(operation, outcome.turn or 0, mine)
        elif type(operation) is Import or type(operation) is ImportInFull:
            self._tell_others(RestoredEvent(context, outcome.turn, origin), mine)
        elif type(operation) is SetSystem:
            self._tell_others(SystemEvent(context, operation.text, origin), mine)
        elif type(operation) is SetAuto:
            self._tell_others(AutoEvent(context, operation.on, origin), mine)
        elif type(operation) is SetTitle:
            self._tell_others(TitledEvent(context, operation.title, origin), mine)
        elif type(operation) is Rename:
            self._questions.pop(context, None)  # another conversation may take the name
            self._tell_others(RenamedEvent(context, operation.name, origin), mine)
        elif type(operation) is Fork:
            self._tell_others(ForkedEvent(context, operation.source, outcome.turn, origin), mine)
        elif outcome.turn is not None:
            self._on_turn(operation, context, outcome.turn, origin, mine)
            if self._store().conversations[context].pending_turn != outcome.turn:
                self._questions.pop(context, None)

    def on_progress(self, node: int, hint: Hint) -> None:
        """How far the LLM of `node` is."""
        context, turn, pieces = hint.context, hint.turn, hint.pieces
        found = self._store().conversations.get(context)
        question = self._questions.get(context)
        if found is None or question is None or question.turn != turn or found.pending_turn != turn:
            return
        question.progress[SYNTHESIS if hint.synthesis else node] = pieces
        state: Literal["writing", "thinking"] = "writing" if pieces else "thinking"
        event = ProgressEvent(context, turn, node, state, pieces or UNSET, hint.synthesis or UNSET)
        due = not self.level.reserved and self._clock() - question.reported_at >= REPORT_EVERY_S
        if due:
            question.reported_at = self._clock()
        progress = question.known(found.turns[turn - 1]) if due else None
        self._tell(SessionEvent(event, self._nodes(), self.level, False, True, found.turns[turn - 1], progress))

    def at_work(self) -> list[AtWork]:
        """The latest question last."""
        conversations, up = self._store().conversations, self._up()
        works = []
        for context, question in self._questions.items():
            found = conversations.get(context)
            if found is None or found.pending_turn != question.turn or math.isinf(question.reported_at):
                continue
            turn = found.turns[question.turn - 1]
            if pieces := question.unfinished(turn, up):
                works.append(AtWork(context, turn, pieces))
        return works

    def on_leader(self, leader: int | None) -> None:
        """The node sees a new leader, or none; calls without a change are harmless."""
        if leader != self._leader:
            self._leader = leader
            self._tell(SessionEvent(LeaderEvent(leader), self._nodes(), self.level))

    def on_explaining(self, on: bool) -> None:
        """The network has had explanations begin or end here."""
        self._tell(SessionEvent(ExplainingEvent(on), self._nodes(), self.level))

    def on_explained(self, sentences: Sequence[Sentence]) -> None:
        """Sentences of the running commentary."""
        for said in sentences:
            ballot = None if said.ballot is None else (said.ballot.seq_num, said.ballot.pid, said.ballot.op_num)
            self._tell(SessionEvent(ExplainEvent(said.phase.value, ballot, said.text), self._nodes(), self.level))

    def _on_refused(self, operation: StoreOperation, context: str, error: str, origin: int, mine: bool) -> None:
        if self.level is Level.VERBOSE and not mine:
            event = OperationRefusedEvent(operation_name(operation), context, origin, error)
            self._tell(SessionEvent(event, self._nodes(), self.level))

    def _on_turn(self, operation: StoreOperation, context: str, turn: int, origin: int, mine: bool) -> None:
        """Something happened in a turn."""
        if mine and type(operation) in ASKING:
            self._questions[context] = _Question(turn, self._clock())
        match operation:
            case Query():
                self._tell_others(QueryEvent(context, turn, origin, operation.text), mine)
            case Ask():
                self._tell_others(AskEvent(context, turn, origin, operation.text), mine)
            case AskOnce(kind=kind, text=text):
                event = QueryEvent if kind == "query" else AskEvent
                self._tell_others(event(context, turn, origin, text), mine)
            case Candidate() | CandidateInFull():
                self._on_candidate(operation)
            case Answer() | AnswerInFull():
                fields = response_fields(operation)
                have = self._have(context, turn)
                answer = AnswerEvent(
                    context=context, turn=turn, node=operation.node, have=have, of=self._nodes(), **fields
                )
                self._tell_turn(answer, context, turn)
            case Choose():
                self._tell_others(ChosenEvent(context=context, turn=turn, origin=origin, node=operation.node), mine)
            case Cancel():
                self._tell_others(CancelledEvent(context, turn, origin), mine)
            case Retry():
                self._tell_others(RetriedEvent(context, turn, origin, operation.node), mine)
            case Regenerate():
                self._tell_others(RegeneratedEvent(context, turn, origin), mine)
            case Synthesize(node=by):
                self._tell_others(SynthEvent(context, turn, origin, by, self._out_of(context, turn)), mine)
            case Synthesized():
                self._on_synthesis(operation)
            case StartPoll():
                if mine:
                    self._questions.setdefault(context, _Question(turn, math.inf)).turn = turn
                self._tell_others(PollEvent(context, turn, origin), mine)
            case ChooseAuto():
                self._on_auto(context, turn, origin)
            case Ranking():
                fields = vote_fields(operation)
                self._tell_others(RankingEvent(context=context, turn=turn, node=operation.node, **fields), False)
            case Elect() | ElectWeighed():
                self._on_election(context, turn, origin)

    def _on_repeated(self, operation: StoreOperation, turn: int, mine: bool) -> None:
        """Somebody asked again for what was asked already: nobody else is told, and they hear of its answers."""
        context = operation.context
        if context is not None and mine and self._store().conversations[context].open_turn == turn:
            self._questions[context] = _Question(turn, self._clock())

    def _have(self, context: str, turn: int) -> int:
        """How many nodes have answered, or failed."""
        return sum(node != SYNTHESIS for node in self._store().conversations[context].turns[turn - 1].candidates)

    def _on_candidate(self, operation: Candidate | CandidateInFull) -> None:
        context, turn = operation.context, operation.turn
        have = self._have(context, turn)
        event = CandidateEvent(
            context=context, turn=turn, node=operation.node, have=have, of=self._nodes(), **response_fields(operation)
        )
        self._tell_turn(event, context, turn)

    def _on_synthesis(self, operation: Synthesized) -> None:
        context, turn = operation.context, operation.turn
        if context in self._questions:
            self._questions[context].progress.pop(SYNTHESIS, None)
        event = SynthesisEvent(
            context=context, turn=turn, by=operation.node, out_of=self._out_of(context, turn),
            **response_fields(operation),
        )
        self._tell_turn(event, context, turn)

    def _out_of(self, context: str, turn: int) -> list[int]:
        """Of the last synthesis that was asked for."""
        synthesis = self._store().conversations[context].turns[turn - 1].synthesis
        assert synthesis is not None
        return [*synthesis.out_of]

    def _on_election(self, context: str, turn: int, origin: int) -> None:
        found = self._store().conversations[context].turns[turn - 1]
        assert found.poll is not None
        poll = poll_record(found.poll)
        if found.chosen is None:
            event: Event = NoChoiceEvent(context, turn, origin, poll)
        else:
            event = ChosenEvent(context=context, turn=turn, origin=origin, poll=poll, node=found.chosen)
        self._tell_turn(event, context, turn)

    def _on_auto(self, context: str, turn: int, origin: int) -> None:
        """The nodes begin to choose; or there was one answer only, which stands."""
        chosen = self._store().conversations[context].turns[turn - 1].chosen
        if chosen is None:
            self._tell_others(PollEvent(context, turn, origin), False)
        else:
            self._tell_turn(ChosenEvent(context=context, turn=turn, origin=origin, node=chosen), context, turn)

    def _tell_others(self, event: Event, mine: bool) -> None:
        """Events only for users who want to see the activity on other nodes."""
        if not self.level.reserved:
            self._tell(SessionEvent(event, self._nodes(), self.level, mine))

    def _tell_turn(self, event: Event, context: str, turn: int) -> None:
        question = self._questions.get(context)
        asked_here = question is not None and question.turn == turn
        found = self._store().conversations[context].turns[turn - 1]
        at_work = question is not None and asked_here and bool(question.unfinished(found, self._up()))
        self._tell(SessionEvent(event, self._nodes(), self.level, False, asked_here, found, at_work=at_work))
