"""What happens in the cluster, told to one user: everything as events, and as much of it in words as they like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, TypeAlias

import msgspec

from api.safe_text import one_line
from console import Layout, Text, render
from console.progress_report import Progress
from kvstore.operations import (
    Answer,
    Ask,
    Cancel,
    Candidate,
    Choose,
    Create,
    Elect,
    Import,
    Query,
    Ranking,
    Retry,
    StartPoll,
)
from kvstore.operations import name as operation_name
from kvstore.store import Outcome, Store
from server.explain_text import Phase, Sentence
from server.records import poll_record, response_record, turn_record, vote_record

Emit: TypeAlias = Callable[[Mapping[str, Any], Text], None]
"""Where events go: the event, and what humans get to see of it."""

Stores: TypeAlias = Callable[[], Store]


class Level(StrEnum):
    """How much of what happens elsewhere is said."""

    QUIET = "quiet"
    """Answers to this user's own questions, as words and as events."""
    CALM = "calm"
    """And who leads: for a node at which nobody sits."""
    NORMAL = "normal"
    VERBOSE = "verbose"
    """Also every single answer, and what was refused (which is an event at this level only)."""


_COLOURS: Mapping[Phase, Callable[[Layout, str], str]] = {
    Phase.PREPARE: Layout.yellow, Phase.PROMISE: Layout.magenta, Phase.ACCEPT: Layout.cyan, Phase.ACCEPTED: Layout.blue,
    Phase.DECIDE: Layout.green, Phase.REJECT: Layout.red, Phase.LEAD: Layout.bold,
}


class EventFeed:
    """For one user at node `node_id` of `nodes`."""

    def __init__(self, emit: Emit, store: Stores, *, node_id: int, nodes: int, level: Level) -> None:
        self.level = level
        self._emit = emit
        self._store = store
        self._node_id = node_id
        self._nodes = nodes
        self._asked_here: dict[str, int] = {}
        """Context id -> its open turn, if this user asked."""
        self._progress = Progress()
        self._leader: int | None = None

    @property
    def _hushed(self) -> bool:
        return self.level is Level.QUIET or self.level is Level.CALM

    def on_applied(self, outcome: Outcome, origin: int, mine: bool) -> None:
        """An operation was applied that node `origin` submitted; `mine` if this user typed it."""
        command, turn = outcome.operation, outcome.turn
        if command is None:
            return
        context = command.context
        if self._hushed and not mine and context not in self._asked_here:
            return
        if not outcome.ok:
            self._on_refused(operation_name(command), context, outcome.error or "", origin, mine)
            return
        event = {"context": context, "turn": turn, "origin": origin}
        match command:
            case Create():
                self._tell("created", {"context": context, "origin": origin}, f"{context}: created", mine)
            case Query() | Ask():
                self._on_question(command, event, mine)
            case Candidate():
                self._on_candidate(command)
            case Choose():
                text = f"{context}: node {command.node}'s answer chosen"
                self._tell("chosen", {**event, "node": command.node}, text, mine)
            case Answer():
                self._on_answer(command)
            case Cancel():
                self._tell("cancelled", event, f"{context}: question given up", mine)
            case Import():
                count = "1 question" if turn == 1 else f"{turn or 0} questions"
                self._tell("restored", event, f"{context}: imported at node {origin}, {count}", mine)
            case Retry():
                self._on_retry(command, event, mine)
            case StartPoll():
                if mine and turn is not None:
                    self._asked_here[context] = turn
                self._tell("poll", event, f"{context}: the nodes rank the answers", mine)
            case Ranking():
                self._on_ranking(command)
            case Elect():
                self._on_election(context, event)
        if turn is not None and self._store().conversations[context].open_turn != turn:
            self._asked_here.pop(context, None)
            self._progress.end(context)

    def on_progress(self, node: int, context: str, turn: int, pieces: int) -> None:
        """The LLM of `node` has begun with an answer (0 pieces), or has so many pieces of it."""
        found = self._store().conversations.get(context)
        if found is None or self._asked_here.get(context) != turn or found.open_turn != turn:
            return
        state = {"state": "writing", "tokens": pieces} if pieces else {"state": "thinking"}
        self._progress.note(context, turn, node, pieces)
        words = None if self._hushed else self._progress.due(context, turn, found.turns[turn - 1])
        self._emit({"event": "progress", "context": context, "turn": turn, "node": node, **state}, words)

    def on_leader(self, leader: int | None) -> None:
        """The node sees another leader, or none; calls that change nothing are fine."""
        if leader != self._leader:
            self._leader = leader
            text = f"leader: node {leader}" if leader else "leader: none"
            self._emit({"event": "leader", "leader": leader}, None if self.level is Level.QUIET else text)

    def on_commentary(self, sentences: Sequence[Sentence]) -> None:
        """The node explains itself."""
        for sentence in sentences:
            ballot = None if sentence.ballot is None else list(msgspec.structs.astuple(sentence.ballot))
            event = {"event": "explain", "phase": sentence.phase.value, "ballot": ballot, "text": sentence.text}
            self._emit(event, partial(_explained, sentence))

    def _on_refused(self, name: str, context: str, error: str, origin: int, mine: bool) -> None:
        if self.level is Level.VERBOSE and not mine:
            self._emit(
                {"event": "operation_refused", "command": name, "context": context, "origin": origin, "error": error},
                f"{context}: {name} from node {origin} refused: {one_line(error)}",
            )

    def _on_question(self, command: Query | Ask, event: Mapping[str, Any], mine: bool) -> None:
        context, turn, origin = command.context, event["turn"], event["origin"]
        if mine:
            self._asked_here[context] = turn
            self._progress.begin(context, turn)
        kind, noun = ("query", "question") if isinstance(command, Query) else ("ask", "question for the leader")
        self._tell(
            kind, {**event, "text": command.text},
            lambda _: f"{context}: {noun} from node {origin}: {one_line(command.text)}", mine,
        )

    def _on_candidate(self, command: Candidate) -> None:
        context = command.context
        turn = self._store().conversations[context].turns[command.turn - 1]
        have, asked_here = len(turn.candidates), self._asked_here.get(context) == command.turn
        event = {
            "event": "candidate", "context": context, "turn": command.turn, "node": command.node,
            "have": have, "of": self._nodes, **response_record(command),
        }
        text: Text = None
        if asked_here and have >= self._nodes:
            text = partial(render.choices, context, turn_record(turn))
        elif self.level is Level.VERBOSE:
            said = one_line(command.text or f"no answer: {command.error}")
            text = f"{context}: node {command.node} ({have} of {self._nodes}): {said}"
        elif self._hushed:
            text = None
        elif have >= self._nodes:
            text = f"{context}: {have} answers in: view {context}"
        elif asked_here:
            failed = "" if command.error is None else f" (node {command.node} has none: {one_line(command.error)})"
            hint = f", view {context} shows them" if have > self._nodes // 2 else ""
            text = f"{context}: {have} of {self._nodes} answers in{failed}{hint}"
        self._emit(event, text)

    def _on_answer(self, command: Answer) -> None:
        context, node, response = command.context, command.node, response_record(command)
        event = {"event": "answer", "context": context, "turn": command.turn, "node": node, **response}
        if self._hushed and self._asked_here.get(context) != command.turn:
            self._emit(event, None)
        elif command.error is None:
            self._emit(event, partial(render.answer, context, node, response))
        else:
            turn = self._store().conversations[context].turns[command.turn - 1]
            then = "the next one is asked" if len(turn.candidates) < self._nodes else f"retry {context} asks them again"
            self._emit(event, f"{context}: node {node} has no answer: {one_line(command.error)}; {then}")

    def _on_retry(self, command: Retry, event: Mapping[str, Any], mine: bool) -> None:
        if mine:
            self._asked_here[command.context] = event["turn"]
            self._progress.begin(command.context, event["turn"])
        whom = "every node" if command.node is None else f"node {command.node}"
        words = f"{command.context}: node {event['origin']} asks {whom} again"
        self._tell("retried", {**event, "node": command.node}, words, mine)

    def _on_ranking(self, command: Ranking) -> None:
        event = {"context": command.context, "turn": command.turn, "node": command.node, **vote_record(command)}
        words = None
        if command.error is not None:
            words = f"{command.context}: node {command.node} abstains: {one_line(command.error)}"
        elif self.level is Level.VERBOSE:
            words = f"{command.context}: node {command.node} ranks {' > '.join(map(str, command.order))}"
        self._tell("ranking", event, words, mine=False)

    def _on_election(self, context: str, event: Mapping[str, Any]) -> None:
        turn = self._store().conversations[context].turns[event["turn"] - 1]
        assert turn.poll is not None
        result = {**event, "poll": poll_record(turn.poll)}
        unasked = self._hushed and self._asked_here.get(context) != event["turn"]
        if turn.chosen is None:
            words = f"{context}: no node could rank the answers: choose {context} N takes one"
            self._emit({"event": "no_choice", **result}, None if unasked else words)
            return
        text = partial(render.elected, context, turn.chosen, turn_record(turn))
        self._emit({"event": "chosen", **result, "node": turn.chosen}, None if unasked else text)

    def _tell(self, name: str, event: Mapping[str, Any], text: Text, mine: bool) -> None:
        """An event that humans need not read where it was typed: there the command's result says it."""
        if not self._hushed:
            self._emit({"event": name, **event}, None if mine else text)


def _explained(sentence: Sentence, paper: Layout) -> str:
    colour = _COLOURS.get(sentence.phase, Layout.dim)
    first, *rest = paper.text(sentence.text, 2).split("\n")
    return "\n".join(colour(paper, line) for line in ("· " + first.lstrip(), *rest))
