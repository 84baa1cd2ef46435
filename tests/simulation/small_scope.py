"""One real node in a small scope: its steps, what it knows, and what must hold of it. See exhaustive.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any, TypeAlias, cast

import msgspec

from engine.driver import ReplicaDriver
from kvstore.store import Outcome
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
    Snapshot,
)
from paxos.output import Applied
from paxos.replica import Replica, Status
from storage.errors import StorageError
from storage.memory import MemoryDatabase
from storage.records import Record
from tests.simulation.founding import CLUSTER, founded

NODES = (1, 2, 3)
QUORUM = 2
LIMITS = Limits(batch_operations=1, pipeline=4)
Carried: TypeAlias = Prepare | Promise | Accept | Accepted | Decide
"""What the network carries here."""
NOW = 0.0


class NoDice(Random):
    """A constant random source that is small when a node is stored."""

    def random(self) -> float:
        return 0.0

    def __reduce__(self) -> tuple[type[NoDice], tuple[()]]:
        return NoDice, ()


class Violation(AssertionError):
    """A state in which an invariant does not hold; says how to get there."""


# ---- One node

Sent = tuple[int, int, Carried]
"""(from, to, what)"""
NOTHING = Outcome(None, True)


class ScopeDriver(ReplicaDriver):
    """The driver as it is, but that a node's own votes go into the network like all others: so they may come late, as
    behind a slow disk, and however often."""

    def _loop_back(self, message: AnyMessage) -> None:
        self._transport.send(self.replica.pid, message)

    def _vouched(self, messages: list[tuple[int, AnyMessage]]) -> None:
        """Nobody tells of it here."""

    def receive_own(self, message: AnyMessage) -> None:
        super()._loop_back(message)
        self._wake()


class NodeState:
    """One node between two steps: its driver, and all that surrounds it."""

    full = False

    def __init__(self, pid: int, mortal: bool) -> None:
        """A voter with an empty log, that knows everybody. `mortal`: it may die yet, so that it matters what is on its
        disk when."""
        self.pid = pid
        self.mortal = mortal
        self.disk = MemoryDatabase(pid)
        self.disk.write([founded({node: node for node in NODES})])
        self._writing: list[tuple[Record, list[Callable[[], None]]]] = []
        self._due: list[Callable[[], None]] = []
        self._sent: list[Sent] = []
        self.start()

    def start(self) -> None:
        durable = self.disk.reopen(1)
        # Its own lives play no part here, and would only tell equal states apart; its disk is never an old one.
        durable.incarnation, durable.reopened = 1, False
        self.driver = ScopeDriver(
            self.pid, NODES, durable, timing=Timing(), limits=LIMITS, random=NoDice(), clock=_still, transport=self,
            disk=self, machine=self, listener=self, defer=self.defer,
        )
        self.driver.start()

    @property
    def replica(self) -> Replica:
        return self.driver.replica

    @property
    def pending(self) -> list[tuple[Record, list[tuple[int, Carried]]]]:
        """Writes on their way to the disk, with the messages that leave when they are there. (A message that waits for
        nothing of its own waits with the last of them, once: in the network it would stay anyway.)"""
        return [(record, _waiting(done)) for record, done in self._writing]

    def turn(self) -> list[Sent]:
        """Lets the driver finish what it has begun; returns what leaves."""
        while self._due:
            self._due.pop(0)()
        sent, self._sent = self._sent, []
        return sent

    def finish_write(self) -> None:
        """The oldest pending write reaches the disk."""
        record, done = self._writing.pop(0)
        self.disk.write([record])
        self._due += done

    def crash(self) -> None:
        self.mortal = False
        self._writing, self._due = [], []
        self.start()

    # What the driver asks for.

    def defer(self, action: Callable[[], None]) -> None:
        self._due.append(action)

    def send(self, to: int, message: AnyMessage) -> None:
        if isinstance(message, Carried):
            self._sent.append((self.pid, to, message))

    def flush(self) -> None:
        """There is no time that it could save."""

    def write(self, record: Record | None, done: Callable[[], None]) -> None:
        if record is not None and self.mortal:
            self._writing.append((record, [done]))
            return
        if record is not None:
            self.disk.write([record])
        (self._writing[-1][1] if self._writing else self._due).append(done)

    def load_snapshot(self, done: Callable[[Snapshot | StorageError], None]) -> None:
        raise Violation("no node is so far behind here")

    def apply(self, position: int, payload: bytes) -> Outcome:
        return NOTHING

    def load(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        raise Violation("nobody gets a snapshot here")

    def changed(self) -> list[tuple[bytes, bytes | None]]:
        return []

    # What the driver tells.

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        """See Facts.decided."""

    def on_outcome_unknown(self, ticket: int) -> None:
        """There are no users here."""

    def on_read_ready(self, ticket: int) -> None:
        """There are no users here."""

    def on_installed(self, snapshot: Snapshot) -> None:
        """See `load`."""

    def on_status(self, status: Status) -> None:
        """Nobody looks."""

    def on_stranger(self, node: int, cluster: int) -> None:
        raise Violation("there is one cluster here")

    def on_failed(self, error: Exception) -> None:
        raise error


def _still() -> float:
    """The clock."""
    return NOW


def _waiting(done: list[Callable[[], None]]) -> list[tuple[int, Carried]]:
    """The messages that leave when these are called: each is the driver's `_persisted` with its messages."""
    messages: list[tuple[int, Carried]] = []
    for call in done:
        for item in cast(partial[None], call).args[-1]:
            if isinstance(item[1], Carried) and item not in messages:
                messages.append(item)
    return messages


def first_state(pid: int, mortal: bool) -> NodeState:
    return NodeState(pid, mortal)


def deliver(state: NodeState, sender: int, message: AnyMessage) -> list[Sent]:
    if sender == state.pid:
        state.driver.receive_own(message)
    else:
        state.driver.receive(sender, message, CLUSTER)
    return state.turn()


def stand(state: NodeState, leadership: Leadership) -> list[Sent]:
    state.replica._campaign(leadership, NOW)  # What Election.due says is the scope's part.
    state.driver._wake()
    return state.turn()


def write(state: NodeState) -> list[Sent]:
    """The oldest pending write reaches the disk, and what waited for it alone leaves."""
    state.finish_write()
    return state.turn()


def crash(state: NodeState) -> list[Sent]:
    state.crash()
    return state.turn()


# ---- Distinguishing states

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
    """Promises are monotone: on disk always, in memory as long as the process runs, and never below the disk's."""
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
