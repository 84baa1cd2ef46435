"""A node's events as text: as many of them as the user wants to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from msgspec import UNSET

from api.base import Event
from api.conversation import Response, candidate_words
from api.node_events import (
    AnswerEvent,
    AskEvent,
    AutoEvent,
    CancelledEvent,
    CandidateEvent,
    ChosenEvent,
    ConnectedEvent,
    CreatedEvent,
    DeletedEvent,
    DisconnectedEvent,
    DivergedEvent,
    ExplainEvent,
    ExplainingEvent,
    FailedEvent,
    ForkedEvent,
    LeaderEvent,
    LearnerEvent,
    MembersEvent,
    NoChoiceEvent,
    OperationRefusedEvent,
    PollEvent,
    ProgressEvent,
    QueryEvent,
    QuorumLostEvent,
    RankingEvent,
    RefusedEvent,
    RegeneratedEvent,
    RemovedEvent,
    RenamedEvent,
    RestoredEvent,
    RetriedEvent,
    StrangerEvent,
    SynthesisEvent,
    SynthEvent,
    SystemEvent,
    TitledEvent,
    UndeletedEvent,
)
from api.safe_text import one_line, visible
from console import chat
from console.layout import Layout
from console.node.screen import explaining
from console.node.words import questions
from console.progress_report import progress_report
from console.run import Text
from server.event_feed import Level, SessionEvent
from server.explain_text import Phase
from server.records import turn_record

_COLOURS: Mapping[str, Callable[[Layout, str], str]] = {
    Phase.PREPARE: Layout.yellow, Phase.PROMISE: Layout.magenta, Phase.ACCEPT: Layout.cyan, Phase.ACCEPTED: Layout.blue,
    Phase.DECIDE: Layout.green, Phase.REJECT: Layout.red, Phase.LEAD: Layout.bold,
}


def session_event_text(told: SessionEvent, *, drawn: bool = False) -> Text:
    """None for an event that its user need not see. `drawn`: they see how far the LLMs are all the time, in a line that
    is drawn again and again."""
    match told.event:
        case CandidateEvent() as event:
            return _candidate(event, told, drawn)
        case AnswerEvent() as event:
            return _answer(event, told)
        case SynthesisEvent() as event:
            return _synthesis(event, told)
        case ChosenEvent(poll=poll) as event if poll is not UNSET:
            return _elected(event, told)
        case NoChoiceEvent(context=context):
            words = f"{context}: no node could rank the answers: use choose {context} N"
            return None if _unasked(told) else words
        case RankingEvent() as event:
            return _ranking(event, told.level)
        case ProgressEvent(context=context):
            if drawn or told.progress is None or told.turn is None:
                return None
            return progress_report(context, told.turn, told.progress)
        case LeaderEvent(leader=leader):
            return None if told.level is Level.QUIET else f"leader: node {leader}" if leader else "leader: none"
        case ExplainEvent() as event:
            return partial(_explained, event)
        case ExplainingEvent(on=on):
            return explaining(on)
        case OperationRefusedEvent() as event:
            return f"{event.context}: {event.command} from node {event.origin} refused: {one_line(event.error)}"
        case event:
            return None if told.mine else _change(event)


def node_event_text(event: Event) -> str | None:
    """For events that concern the node as a whole."""
    match event:
        case ConnectedEvent(to=to):
            return f"connected to {'the network' if to is UNSET else to}"
        case DisconnectedEvent(reason=reason, to=to):
            return f"{'network' if to is UNSET else to} lost ({one_line(reason, 500)}); reconnecting"
        case RefusedEvent(reason=reason):
            return f"the orchestrator refuses this node: {one_line(reason, 500)}"
        case FailedEvent(error=error):
            return f"stopping: {error}"
        case LearnerEvent():
            return (
                "this node's disk is new but the others remember an older one: its earlier promises are lost, so it "
                "follows as a non-voting learner until it has caught up and the members have decided to count its new "
                "disk (it still answers and accepts commands)"
            )
        case RemovedEvent(node=node):
            return f"node {node} was removed from the cluster: it stops here, its data are left as they are"
        case MembersEvent(text=text):
            return text
        case StrangerEvent(reason=reason) | DivergedEvent(reason=reason) | QuorumLostEvent(reason=reason):
            return visible(reason)
    return None


def _change(event: Event) -> Text:
    """A change of a conversation, for users who did not type the command: its result tells the one who did."""
    match event:
        case CreatedEvent(context=context):
            return f"{context}: created"
        case DeletedEvent(context=context, origin=origin):
            return f"{context}: deleted at node {origin}"
        case SystemEvent(context=context, text=text, origin=origin):
            said = one_line(text) if text else "what each node tells its own"
            return lambda layout: layout.text(f"{context}: LLMs are told (node {origin}): {said}")
        case AutoEvent(context=context, on=on, origin=origin):
            who = "the nodes choose by themselves" if on else "a user chooses"
            return f"{context}: {who} from now on (node {origin})"
        case TitledEvent(context=context, title=title, origin=origin):
            return f"{context}: {f'titled {one_line(title)}' if title else 'without a title'} (node {origin})"
        case RenamedEvent(context=context, name=name, origin=origin):
            return f"{context}: called {name} from now on (renamed at node {origin})"
        case ForkedEvent(context=context, source=source, turn=turn, origin=origin):
            return f"{context}: forked from {source} at node {origin}, {questions(turn or 0)}"
        case UndeletedEvent(context=context, origin=origin):
            return f"{context}: brought back at node {origin}"
        case RestoredEvent(context=context, turn=turn, origin=origin):
            return f"{context}: imported at node {origin}, {questions(turn or 0)}"
        case QueryEvent(context=context, origin=origin, text=text):
            return lambda layout: layout.text(f"{context}: question from node {origin}: {one_line(text)}")
        case AskEvent(context=context, origin=origin, text=text):
            return lambda layout: layout.text(
                f"{context}: question for the leader from node {origin}: {one_line(text)}"
            )
        case ChosenEvent(context=context, node=node):
            return f"{context}: {candidate_words(node)} chosen"
        case CancelledEvent(context=context):
            return f"{context}: question cancelled"
        case RetriedEvent(context=context, origin=origin, node=node):
            return f"{context}: node {origin} asks {'every node' if node is None else f'node {node}'} again"
        case RegeneratedEvent(context=context, origin=origin):
            return f"{context}: node {origin} asks the leader for another answer"
        case SynthEvent(context=context, origin=origin, by=by):
            whom = "the leader" if by is None else f"node {by}"
            return f"{context}: node {origin} asks {whom} for one answer out of the others"
        case PollEvent(context=context):
            return f"{context}: the nodes rank the answers"
    return None


def _unasked(told: SessionEvent) -> bool:
    return told.level.reserved and not told.asked_here


def _candidate(event: CandidateEvent, told: SessionEvent, drawn: bool) -> Text:
    context, have, of = event.context, event.have, event.of
    if told.asked_here and have >= of and told.turn is not None:
        return partial(chat.choices, context, turn_record(told.turn))
    if told.level is Level.VERBOSE:
        said = one_line(event.text or f"no answer: {event.error}")
        return f"{context}: node {event.node} ({have} of {of}): {said}"
    if told.level.reserved:
        return None
    if have >= of:
        return f"{context}: {have} answers in: view {context}"
    if not told.asked_here or (drawn and told.at_work and event.error is UNSET):
        return None
    failed = "" if event.error is UNSET else f" (node {event.node} failed: {one_line(event.error)})"
    hint = f", view {context} shows them" if have > of // 2 else ""
    return f"{context}: {have} of {of} answers in{failed}{hint}"


def _answer(event: AnswerEvent, told: SessionEvent) -> Text:
    if _unasked(told) or told.turn is None:
        return None
    if event.error is UNSET:
        said = Response(
            text=event.text, model=event.model, seconds=event.seconds, seen=event.seen, before=event.before,
            cut=event.cut, cut_at=event.cut_at, tokens_in=event.tokens_in, tokens_out=event.tokens_out,
        )
        return partial(chat.answer, event.context, event.node, said)
    if told.turn.chosen is not None:
        return f"{event.context}: node {event.node} has no other answer: {one_line(event.error)}; the former one stays"
    asked_next = len(told.turn.candidates) < told.nodes
    then = "asking the next node" if asked_next else f"retry {event.context} asks them again"
    return f"{event.context}: node {event.node} has no answer: {one_line(event.error)}; {then}"


def _synthesis(event: SynthesisEvent, told: SessionEvent) -> Text:
    if _unasked(told):
        return None
    if event.error is not UNSET:
        return f"{event.context}: node {event.by} has no answer out of the others: {one_line(event.error)}"
    if not told.asked_here and told.level is not Level.VERBOSE:
        return f"{event.context}: one answer out of the others is in: view {event.context}"
    said = Response(
        text=event.text, model=event.model, seconds=event.seconds, seen=event.seen, before=event.before, cut=event.cut,
        cut_at=event.cut_at, tokens_in=event.tokens_in, tokens_out=event.tokens_out, by=event.by, out_of=event.out_of,
    )
    return partial(chat.synthesized, event.context, said)


def _elected(event: ChosenEvent, told: SessionEvent) -> Text:
    if _unasked(told) or told.turn is None:
        return None
    return partial(chat.elected, event.context, event.node, turn_record(told.turn))


def _ranking(event: RankingEvent, level: Level) -> Text:
    if event.error is not UNSET:
        return f"{event.context}: node {event.node} abstains: {one_line(event.error)}"
    if level is Level.VERBOSE and event.order is not UNSET:
        return f"{event.context}: node {event.node} ranks {' > '.join(map(str, event.order))}"
    return None


def _explained(event: ExplainEvent, layout: Layout) -> str:
    colour = _COLOURS.get(event.phase, Layout.dim)
    first, *rest = layout.text(event.text, 2).split("\n")
    return "\n".join(colour(layout, line) for line in ("· " + first.lstrip(), *rest))
