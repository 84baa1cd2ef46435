"""Conversations and operations as records of the schema: what events, results and exports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from api import conversation as api
from api.node_results import LogEntry
from kvstore.conversation import AGREEMENT, Conversation, Poll, Response, Turn, Vote
from kvstore.operations import Answer, Candidate, Ranking, Responding
from server.applied_log import LoggedOperation


def conversation_record(conversation: Conversation) -> api.Conversation:
    title, system = about(conversation)
    turns = turn_records(conversation)
    return api.Conversation(
        context=conversation.context, turns=turns, title=title, system=system, auto=conversation.auto or UNSET
    )


def about(conversation: Conversation) -> tuple[str | UnsetType, str | UnsetType]:
    """Its title and its system prompt."""
    return conversation.title or UNSET, conversation.system or UNSET


def page_of(
    all_of_them: Mapping[str, Conversation], after: str | None, limit: int | None
) -> tuple[list[Conversation], bool | UnsetType]:
    """Those behind `after` in the order of their ids, at most `limit`, and whether others follow; all if neither is
    given."""
    if after is None and limit is None:
        return list(all_of_them.values()), UNSET
    ids = sorted(context for context in all_of_them if after is None or context > after)
    shown = ids if limit is None else ids[:limit]
    return [all_of_them[context] for context in shown], len(shown) < len(ids)


def turn_records(conversation: Conversation, thoughts: bool = False) -> list[api.Turn]:
    return [turn_record(turn, thoughts) for turn in conversation.turns]


def turn_record(turn: Turn, thoughts: bool = False) -> api.Turn:
    return api.Turn(
        query=turn.text,
        kind=turn.kind.value,
        candidates={node: _response_record(said, thoughts) for node, said in turn.candidates.items()},
        chosen=turn.chosen,
        cancelled=turn.cancelled,
        poll=UNSET if turn.poll is None else poll_record(turn.poll),
        regenerating=turn.regenerating or UNSET,
        synthesis=_synthesis_record(turn),
    )


def _synthesis_record(turn: Turn) -> api.Synthesis | UnsetType:
    awaited = turn.open_synthesis
    return UNSET if awaited is None else api.Synthesis(by=awaited.node, out_of=[*awaited.out_of])


def _response_record(response: Response, thoughts: bool) -> api.Response:
    thought = response.thoughts if thoughts and response.thoughts else UNSET
    out_of = [*response.out_of] or UNSET
    return api.Response(**response_fields(response), thoughts=thought, by=response.by or UNSET, out_of=out_of)


def poll_record(poll: Poll) -> api.Poll:
    votes = {node: api.Vote(**vote_fields(vote)) for node, vote in poll.votes.items() if node != AGREEMENT}
    agreement = poll.votes[AGREEMENT].order if AGREEMENT in poll.votes else UNSET
    return api.Poll(number=poll.number, open=not poll.closed, points=poll.points, votes=votes, agreement=agreement)


def vote_fields(vote: Vote | Ranking) -> dict[str, Any]:
    """Of a vote, or of an event about one."""
    said = {"order": vote.order} if vote.error is None else {"error": vote.error}
    return {**said, "model": vote.model}


def response_fields(response: Response | Responding) -> dict[str, Any]:
    """Of a response, or of an event about one. `seen` of `before` earlier turns fitted, unless all did."""
    said = {"text": response.text} if response.error is None else {"error": response.error}
    saw = {"seen": response.seen, "before": response.before} if response.seen < response.before else {}
    return {
        **said, "model": response.model, "seconds": round(response.seconds, 3), **saw, **_cut(response),
        **_tokens(response),
    }


def _cut(response: Response | Responding) -> dict[str, Any]:
    if isinstance(response, Candidate | Answer) or response.cut is None:
        return {}
    limit = {"cut_at": response.cut_at} if response.cut_at else {}
    return {"cut": response.cut.value, **limit}


def _tokens(response: Response | Responding) -> dict[str, int]:
    if isinstance(response, Candidate | Answer):
        return {}
    counts = {"tokens_in": response.tokens_in, "tokens_out": response.tokens_out}
    return {name: count for name, count in counts.items() if count}


def log_entry(logged: LoggedOperation) -> LogEntry:
    return LogEntry(
        position=logged.position, ballot=logged.ballot, origin=logged.id.node, incarnation=logged.id.incarnation,
        number=logged.id.number, at=logged.at, command=logged.command, context=logged.context, turn=logged.turn,
        node=logged.node, text=logged.text, error=logged.error,
    )
