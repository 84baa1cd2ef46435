"""What a message is, in a few words for the operator: `Accept <2,1,15>`."""

from __future__ import annotations

from paxos.ballot import Ballot
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Behind,
    Confirm,
    Confirmed,
    Decide,
    Fetch,
    Forward,
    Heartbeat,
    Learn,
    Outranked,
    Prepare,
    Promise,
    Routed,
    SnapshotPiece,
)


def label_of(message: AnyMessage) -> str:
    """Empty for heartbeats, which nobody wants to step through."""
    name = type(message).__name__
    match message:
        case Heartbeat():
            return ""
        case Routed():
            return f"{label_of(message.message)} (passed on, from {message.origin} to {message.target})"
        case Prepare() | Promise() | Decide() | Confirm() | Confirmed() | Behind():
            return f"{name} {_words(message.ballot)}"
        case Accept():
            return f"{name} {_words(message.ballot)}{_times(len(message.operations))}"
        case Accepted():
            return f"{name} {_words(message.ballot)}{_times(message.count)}"
        case Outranked():
            return f"{name} {_words(message.ballot)} by {_words(message.promised)}"
        case Forward():
            return f"{name}{_times(len(message.operations))}"
        case Learn():
            return f"{name} from {message.start}{_times(len(message.operations))}"
        case Fetch():
            return f"{name} from {message.start}"
        case SnapshotPiece():
            return f"{name} {message.piece + 1} of {message.pieces}, at {message.position}"
    return name


def _words(ballot: Ballot) -> str:
    return f"<{ballot.seq_num},{ballot.pid},{ballot.op_num}>"


def _times(count: int) -> str:
    return f" x{count}" if count != 1 else ""
