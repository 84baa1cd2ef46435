"""Conversations and operations as records ready for JSON: what events, results and exports are made of."""

from __future__ import annotations

from typing import Any

from engine.interface import EngineStatus
from kvstore.conversation import Conversation, Poll, Response, Turn, Vote
from kvstore.operations import Answer, Candidate, Ranking
from server.applied_log import Decided


def status_record(status: EngineStatus) -> dict[str, Any]:
    return {
        "node": status.node, "role": status.role, "leader": status.leader, "ballot": list(status.ballot),
        "decided": status.decided, "applied": status.applied, "queued": status.queued,
        "standing": status.voter_status, "links": list(status.links),
    }


def conversation_record(conversation: Conversation) -> dict[str, Any]:
    return {"context": conversation.context, "turns": [turn_record(turn) for turn in conversation.turns]}


def turn_record(turn: Turn) -> dict[str, Any]:
    record = {
        "query": turn.text,
        "kind": turn.kind.value,
        "candidates": {str(node): response_record(response) for node, response in turn.candidates.items()},
        "chosen": turn.chosen,
        "cancelled": turn.cancelled,
    }
    return record if turn.poll is None else {**record, "poll": poll_record(turn.poll)}


def poll_record(poll: Poll) -> dict[str, Any]:
    """`points` by the node whose answer gets them, `votes` by the node that ranks, its best one first."""
    return {
        "number": poll.number,
        "open": not poll.closed,
        "points": {str(node): points for node, points in poll.points.items()},
        "votes": {str(node): vote_record(vote) for node, vote in poll.votes.items()},
    }


def vote_record(vote: Vote | Ranking) -> dict[str, Any]:
    said = {"order": vote.order} if vote.error is None else {"error": vote.error}
    return {**said, "model": vote.model}


def response_record(response: Response | Candidate | Answer) -> dict[str, Any]:
    """`seen` of `before` earlier turns fitted, unless all did."""
    said = {"text": response.text} if response.error is None else {"error": response.error}
    saw = {"seen": response.seen, "before": response.before} if response.seen < response.before else {}
    return {**said, "model": response.model, "seconds": round(response.seconds, 3), **saw}


def decided_record(decided: Decided) -> dict[str, Any]:
    """`ballot` is null if the operation was learned; `origin`, `incarnation` and `number` name the operation; `at` is
    in seconds since 1970."""
    origin, incarnation, number = decided.operation
    return {
        "position": decided.position,
        "ballot": None if decided.ballot is None else list(decided.ballot),
        "origin": origin, "incarnation": incarnation, "number": number, "at": decided.at,
        "command": decided.command, "context": decided.context, "turn": decided.turn, "node": decided.node,
        "text": decided.text, "error": decided.error,
    }
