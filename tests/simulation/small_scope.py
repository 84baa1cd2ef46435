"""One real node in a small scope: its steps, what it knows, and what must hold of it. See exhaustive.py."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any, TypeAlias

import msgspec

from paxos.ballot import Ballot, Leadership
from paxos.limits import Limits, Timing
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Decide,
    Entry,
    Operation,
    Prepare,
    Promise,
)
from paxos.output import Output, Persist, VoterStatus
from paxos.replica import Replica
from storage.memory import MemoryDatabase

NODES = (1, 2, 3)
QUORUM = 2
LIMITS = Limits(batch_operations=1, pipeline=4)
Carried: TypeAlias = Prepare | Promise | Accept | Accepted | Decide
"""What the network carries here."""
NOW = 0.0


class NoDice(Random):
    """A random source that is never different, and small when a node is put away."""

    def random(self) -> float:
        return 0.0

    def __reduce__(self) -> tuple[type[NoDice], tuple[()]]:
        return NoDice, ()


class Violation(AssertionError):
    """A state in which an invariant does not hold; says how to get there."""


# ---- One node

Sent = tuple[int, int, Carried]
"""(from, to, what)"""


class NodeState(msgspec.Struct):
    """One node between two steps."""

    replica: Replica
    disk: MemoryDatabase
    mortal: bool = False
    """It may die yet, so that it matters what is on its disk when."""
    pending: list[tuple[Persist, list[tuple[int, Carried]]]] = []
    """Writes on their way to the disk, with the messages that leave when they are there. (A message that waits for
    nothing of its own waits with the last of them, once: in the network it would stay anyway.)"""


def first_state(pid: int, mortal: bool) -> NodeState:
    """A voter with an empty log, that knows everybody."""
    disk = MemoryDatabase(pid)
    disk.write([Persist(voter_status=VoterStatus.VOTER, roster={node: node for node in NODES})])
    return NodeState(_start(pid, disk), disk, mortal)


def _start(pid: int, disk: MemoryDatabase) -> Replica:
    durable = disk.reopen(1)
    durable.incarnation = 1  # Its own lives play no part here, and would only tell equal states apart.
    return Replica(pid, NODES, durable, Timing(), LIMITS, NoDice(), NOW)


def _turn(state: NodeState) -> list[Sent]:
    """Takes what a step put out: what may leave at once leaves, the rest waits for the disk."""
    replica = state.replica
    sent: list[Sent] = []
    out: Output = replica.take_output(NOW)
    sent += [(replica.pid, to, message) for to, message in out.send_now if isinstance(message, Carried)]
    vouched = [(to, message) for to, message in out.send_after_persist if isinstance(message, Carried)]
    if out.persist is not None and state.mortal:
        state.pending.append((out.persist, vouched))
        return sent
    if out.persist is not None:
        state.disk.write([out.persist])
    if state.pending:
        waiting = state.pending[-1][1]
        waiting += [item for item in vouched if item not in waiting]
    else:
        sent += [(replica.pid, to, message) for to, message in vouched]
    return sent


def deliver(state: NodeState, sender: int, message: AnyMessage) -> list[Sent]:
    state.replica.receive(sender, message, NOW)
    return _turn(state)


def stand(state: NodeState, leadership: Leadership) -> list[Sent]:
    state.replica._campaign(leadership, NOW)  # What Election.due says is the scope's part.
    return _turn(state)


def write(state: NodeState) -> list[Sent]:
    """The oldest pending write reaches the disk, and what waited for it alone leaves."""
    pid = state.replica.pid
    persist, vouched = state.pending.pop(0)
    state.disk.write([persist])
    return [(pid, to, message) for to, message in vouched]


def crash(state: NodeState) -> list[Sent]:
    state.mortal = False
    state.pending = []
    state.replica = _start(state.replica.pid, state.disk)
    return _turn(state)


# ---- Telling states apart

CONSTANT = {
    "_from_itself", "_from_peers", "timing", "limits", "_limits", "_random", "_timing", "net", "election", "registry",
    "_version", "reads", "queue", "_follows", "catch_up", "snapshot_source",
    "_acceptor", "_catch_up", "_effects", "_learner", "_log", "_net", "_proposer", "_registry", "_router",
}
"""Attributes that are equal in all states here, or cannot matter while the clock stands still: the elections and who is
heard (nobody is), fetching (nobody is known to be ahead), reads and own users (there are none), versions of what a node
says of itself (no heartbeat arrives anywhere). The last line: a role's references to others, which are looked at where
they belong to. Whatever else the roles of paxos/ come to know tells states apart."""


def canonical(thing: Any) -> Any:
    """`thing` as nested tuples, equal for equal content however it was built up."""
    if thing is None or isinstance(thing, int | float | str | bytes):
        return thing
    if isinstance(thing, dict):
        return ("d", *sorted((canonical(key), canonical(value)) for key, value in thing.items()))
    if isinstance(thing, set | frozenset):
        return ("s", *sorted(canonical(item) for item in thing))
    if isinstance(thing, list | tuple | deque):
        return tuple(canonical(item) for item in thing)
    if isinstance(thing, msgspec.Struct):
        return (type(thing).__name__, *(canonical(getattr(thing, name)) for name in thing.__struct_fields__))
    names = _attributes(thing)
    return (type(thing).__name__, *(canonical(getattr(thing, name)) for name in names if name not in CONSTANT))


def _attributes(thing: object) -> tuple[str, ...]:
    slots = getattr(type(thing), "__slots__", None)
    return tuple(slots) if slots is not None else tuple(sorted(vars(thing)))


# ---- What must hold


class Facts(msgspec.Struct, frozen=True):
    """What the invariants look at in one state of one node."""

    decided: tuple[tuple[int, Operation], ...]
    """Position and operation, of everything that it knows as decided."""
    promised: Leadership
    """In memory."""
    stored_promise: Leadership
    stored: dict[int, Entry]
    """On disk, by position."""
    stored_decided: int
    surely_decided: int
    """Never to be forgotten: on disk, or in the memory of a node that won't die."""
    candidate: Ballot | None


def facts(state: NodeState) -> Facts:
    log, durable = state.replica.log, state.disk.reopen(1)
    decided = []
    for position in range(1, log.decided_upto + 1):
        entry = log.get(position)
        if entry is None:
            raise Violation(f"node {state.replica.pid} knows {position} as decided, without the operation")
        decided.append((position, entry.operation))
    if state.replica.applied != log.decided_upto:
        raise Violation(f"node {state.replica.pid} applied {state.replica.applied} of {log.decided_upto} positions")
    stored = {entry.position: entry for entry in durable.entries}
    candidate = state.replica.candidate
    return Facts(
        tuple(decided), state.replica.acceptor.promised.leadership, durable.promised.leadership, stored,
        durable.decided, durable.decided if state.mortal else log.decided_upto, candidate.ballot if candidate else None,
    )


def check_step(before: Facts, after: Facts, died: bool) -> None:
    """Promises are monotone: on disk always, in memory as long as the node lives, and never below the disk's."""
    if after.stored_promise < before.stored_promise:
        raise Violation(f"the promise on disk fell from {before.stored_promise} to {after.stored_promise}")
    if after.promised < (after.stored_promise if died else before.promised):
        raise Violation(f"the promise fell to {after.promised}")
    if after.stored_decided < before.stored_decided or (not died and len(after.decided) < len(before.decided)):
        raise Violation("a decision was forgotten")


def check_vouched(now: Facts, vouched: list[Carried]) -> dict[int, Operation]:
    """What a node ever promised or accepted in a message is on its disk; or the very operation is that was chosen
    before, which is as good, since nothing else can be proposed at that position. These are returned."""
    only_if_chosen: dict[int, Operation] = {}
    for message in vouched:
        assert isinstance(message, Promise | Accepted)
        leadership = message.ballot.leadership
        if now.stored_promise < leadership:
            raise Violation(f"{message} was sent, but the promise on disk is {now.stored_promise}")
        if isinstance(message, Accepted):
            first = message.ballot.op_num
            for position in range(first, first + message.count):
                stored = now.stored.get(position)
                if stored is None:
                    raise Violation(f"{message} was sent, but position {position} is empty on disk")
                if stored.leadership < leadership and position > now.stored_decided:
                    only_if_chosen[position] = stored.operation
    return only_if_chosen


def chosen(messages: list[Sent]) -> dict[int, Operation]:
    """By position what a quorum accepted under one leadership; at most one operation each."""
    proposed: dict[tuple[Leadership, int], Operation] = {}
    voters: dict[tuple[Leadership, int], set[int]] = {}
    for _, _, message in messages:
        if isinstance(message, Accept):
            for position, operation in enumerate(message.operations, message.ballot.op_num):
                place = (message.ballot.leadership, position)
                if proposed.setdefault(place, operation) != operation:
                    raise Violation(f"two operations proposed at {place}")
    for sender, _, message in messages:
        if isinstance(message, Accepted):
            for position in range(message.ballot.op_num, message.ballot.op_num + message.count):
                voters.setdefault((message.ballot.leadership, position), set()).add(sender)
    result: dict[int, Operation] = {}
    for place, who in voters.items():
        if len(who) >= QUORUM and result.setdefault(place[1], proposed[place]) != proposed[place]:
            raise Violation(f"two operations chosen at position {place[1]}")
    return result


def check_decided(now: Facts, choice: dict[int, Operation]) -> None:
    """Known as decided only what a quorum accepted; with `chosen`, this is agreement."""
    for position, operation in now.decided:
        if choice.get(position) != operation:
            raise Violation(f"position {position}: decided is {operation}, chosen is {choice.get(position)}")
