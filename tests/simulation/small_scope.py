"""One real node in a small scope: its steps, what it knows, and what must hold of it. See exhaustive.py."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Any, TypeAlias, cast

import msgspec

from engine.driver import ReplicaDriver
from kvstore.store import Outcome
from paxos.ballot import NOBODY, Ballot, Leadership
from paxos.configuration import following
from paxos.limits import Limits, Timing
from paxos.messages import (
    Accept,
    Accepted,
    AnyMessage,
    Configuration,
    Decide,
    Entry,
    Fetch,
    Learn,
    Operation,
    Prepare,
    Promise,
    Snapshot,
    Stamp,
)
from paxos.output import Applied, Divergence, Persist
from paxos.replica import Replica, Status
from storage.errors import StorageError
from storage.memory import MemoryDatabase
from storage.records import Record
from tests.simulation.founding import CLUSTER, founded

NODES = (1, 2, 3)
LIMITS = Limits(batch_operations=1, pipeline=4)
Carried: TypeAlias = Prepare | Promise | Accept | Accepted | Decide | Fetch | Learn
"""What the network carries here; a Fetch only from a node that has lost its disk, a Learn only to one."""
NEW_DISK = 99
"""The identity of the disk in the place of a lost one."""
NOW = 0.0


class NoDice(Random):
    """A constant random source that is small when a node is stored."""

    def random(self) -> float:
        return 0.0

    def __reduce__(self) -> str:
        return "NO_DICE"


NO_DICE = NoDice()


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

    def _vouched(
        self, messages: Sequence[tuple[int, AnyMessage]], stamp: Stamp | None
    ) -> Sequence[tuple[int, AnyMessage]]:
        """Nobody tells of it here."""
        return messages

    def receive_own(self, message: AnyMessage) -> None:
        super()._loop_back(message)
        self._wake()


class NodeState:
    """One node between two steps: its driver, and all that surrounds it."""

    full = False

    row_count = 0
    """Of the state, which nobody looks at here."""

    def __init__(self, pid: int, mortal: bool, losable: int | None = None, members: tuple[int, ...] = NODES) -> None:
        """With an empty log; it knows everybody. `mortal`: it may die yet, so that it matters what is on its disk when.
        Node `losable` may lose its disk yet."""
        self.pid = pid
        self.mortal = mortal
        self.members = members
        self.losable = losable == pid
        newcomers = {losable} if losable is not None else set(NODES).difference(members)
        self.teaches = newcomers - {pid}
        """To these nodes it tells all that it knows to be decided."""
        self.disk = self._blank(pid)
        self._writing: list[tuple[Record, list[Callable[[], None]]]] = []
        self._due: list[Callable[[], None]] = []
        self._sent: list[Sent] = []
        self.start()

    def _blank(self, identity: int) -> MemoryDatabase:
        disk = MemoryDatabase(identity)
        disk.write([founded({node: node for node in self.members})])
        return disk

    def lose_disk(self) -> None:
        """It dies, and starts with an empty disk; then it asks for what is decided."""
        self.losable = False
        self.disk = self._blank(NEW_DISK)
        self._writing, self._due = [], []
        self.start()
        self._sent += [(self.pid, node, Fetch(1, 0, 0)) for node in NODES if node != self.pid]

    def teach(self) -> None:
        log = self.replica.log
        if self.teaches and log.decided_upto:
            operations = log.decided_from(1, log.decided_upto, LIMITS.piece_bytes)
            self._sent += [(self.pid, node, Learn(1, operations, log.decided_upto)) for node in self.teaches]

    def start(self) -> None:
        durable = self.disk.reopen(1)
        # Its own lives play no part here, and would only tell equal states apart; its disk is never an old one.
        durable.incarnation, durable.reopened = 1, False
        self.driver = ScopeDriver(
            self.pid, NODES, durable, timing=Timing(), limits=LIMITS, random=NO_DICE, clock=_still, transport=self,
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
        """Lets the driver finish what it has begun; returns what leaves. What is decided is told to all at once: what
        leaves with a tick is no more than a slow message."""
        known = self.replica.log.decided_upto
        self._finish()
        self.replica.proposer.announce()
        self.driver._wake()
        self._finish()
        if self.replica.log.decided_upto > known:
            self.teach()
        sent, self._sent = self._sent, []
        return sent

    def _finish(self) -> None:
        while self._due:
            self._due.pop(0)()

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
        if isinstance(record, Persist):
            record.stamp = None  # No disk is an old one here, and stamps would only tell equal states apart.
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

    def understands(self, payload: bytes) -> bool:
        return True

    def readable(self, rows: Sequence[tuple[bytes, bytes]]) -> bool:
        return True

    def digest(self) -> str:
        return "00"

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

    def on_odd(self, node: int, why: str) -> None:
        raise Violation(f"{node} is honest, and was told to be odd: {why}")

    def on_diverged(self, divergence: Divergence) -> None:
        raise Violation("all have the same state here")

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


def stop(state: NodeState, following: Configuration) -> list[Sent]:
    """A leader is to propose this, if it may propose a change at all."""
    replica = state.replica
    leader, reconfiguration = replica.leader, replica._reconfiguration
    if leader is None or not leader.settled or replica.registry.number + 1 != following.number:
        return state.turn()
    reconfiguration._next = lambda current: following.members  # type: ignore[method-assign]
    state.driver._wake()
    try:
        return state.turn()
    finally:
        del reconfiguration._next


def deliver(
    state: NodeState, sender: int, message: AnyMessage, following: Configuration | None = None
) -> list[Sent]:
    """`following` is what a leader proposes when it hears of the new disk."""
    if isinstance(message, Fetch):
        return stop(state, following) if following is not None else []
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


def lose_disk(state: NodeState) -> list[Sent]:
    state.lose_disk()
    return state.turn()


def crash(state: NodeState) -> list[Sent]:
    state.crash()
    return state.turn()


# ---- Distinguishing states

CONSTANT = {
    "_from_itself", "_from_peers", "timing", "limits", "_limits", "_random", "_timing", "net", "election", "registry",
    "_version", "_writes", "_stored", "reads", "queue", "_follows", "catch_up", "snapshot_source",
    "progress", "_paces", "_understands", "_ceilings", "_heartbeats", "_commit_time",
    "_acceptor", "_catch_up", "_effects", "_learner", "_log", "_net", "_proposer", "_registry", "_router",
}
"""Attributes that are equal in all states here, or cannot matter while the clock stands still: the elections and who
is heard (nobody is), fetching (nobody is known to be ahead), what is in flight (operations are empty, so no window is
ever full, and every batch leaves at once; nothing is overdue) and how fast it goes (a batch is one operation), reads
and own users (there are none), what a node says of itself and when (no heartbeat arrives anywhere), how long its
commits take (they take no time), and ceilings (no number comes near them). The last line: a role's references to
others, which are looked at where they belong to. Whatever else the roles of paxos/ come to know tells states apart."""


PLAIN = frozenset((type(None), bool, int, float, str, bytes))
"""Nine in ten things that are looked at are of these types: they are told apart before anything is called."""


def canonical(thing: Any) -> Any:
    """`thing` as nested tuples, equal for equal content however it was built up."""
    kind = type(thing)
    return thing if kind in PLAIN else _FORMS.get(kind, _of_attributes)(thing)


def _of_dict(thing: dict[Any, Any]) -> Any:
    return ("d", *sorted([
        (key if type(key) in PLAIN else canonical(key), value if type(value) in PLAIN else canonical(value))
        for key, value in thing.items()
    ]))


def _of_set(thing: set[Any] | frozenset[Any]) -> Any:
    return ("s", *sorted([item if type(item) in PLAIN else canonical(item) for item in thing]))


def _of_sequence(thing: Iterable[Any]) -> Any:
    return tuple([item if type(item) in PLAIN else canonical(item) for item in thing])


def _of_attributes(thing: Any) -> Any:
    if isinstance(thing, int | str):  # a member of an enumeration
        return thing
    kind = type(thing)
    form: list[Any] = [kind.__name__]
    for name in _attributes(kind, thing):
        value = getattr(thing, name)
        form.append(value if type(value) in PLAIN else canonical(value))
    return tuple(form)


_FORMS: dict[type, Callable[[Any], Any]] = {
    dict: _of_dict, set: _of_set, frozenset: _of_set, list: _of_sequence, tuple: _of_sequence, deque: _of_sequence,
}
_NAMES: dict[object, tuple[str, ...]] = {}
"""The attributes that count, by type, and without slots also by what the object has."""


def _attributes(kind: type, thing: object) -> tuple[str, ...]:
    fields: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    if fields is not None:
        return fields
    slots: tuple[str, ...] | None = getattr(kind, "__slots__", None)
    key = kind if slots is not None else (kind, *vars(thing))
    names = _NAMES.get(key)
    if names is None:
        found = slots if slots is not None else sorted(vars(thing))
        names = _NAMES[key] = tuple(name for name in found if name not in CONSTANT)
    return names


# ---- Keeping states

_GLOBALS: dict[tuple[str, str], Any] = {}


class _Loader(pickle.Unpickler):
    """Looks each class up once: the search loads states ten thousands of times."""

    def find_class(self, module: str, name: str) -> Any:
        found = _GLOBALS.get((module, name))
        if found is None:
            found = _GLOBALS[module, name] = super().find_class(module, name)
        return found


def load(stored: bytes) -> NodeState:
    state: NodeState = _Loader(io.BytesIO(stored)).load()
    return state


# ---- What must hold


class Facts(msgspec.Struct, frozen=True):
    """What the invariants look at in one state of one node, and what its next steps depend on."""

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
    identity: int
    sure_promise: Leadership
    """On disk, and never to be forgotten."""
    votes: bool
    leads: bool
    stopping: bool
    losable: bool
    mortal: bool
    pending: bool
    """Something waits to be written."""
    held: tuple[Operation, ...]
    """By the candidate."""


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
    candidate, leader = state.replica.candidate, state.replica.leader
    surely = durable.decided if state.mortal else log.decided_upto
    promised = durable.promised.leadership
    return Facts(
        tuple(decided), state.replica.acceptor.promised.leadership, promised, stored, durable.decided,
        0 if state.losable else surely, candidate.ballot if candidate else None, durable.identity,
        NOBODY if state.losable else promised, state.replica.registry.votes, leader is not None,
        leader is not None and leader.stopping, state.losable, state.mortal, bool(state.pending),
        tuple(candidate.held) if candidate else (),
    )


def check_step(before: Facts, after: Facts, died: bool) -> None:
    """Promises are monotone: on disk always, in memory as long as the process runs, and never below the disk's."""
    if after.identity != before.identity:
        return  # The disk was lost. What was promised on it must not matter any more.
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
        if message.identity != now.identity:
            continue  # It was a disk that is lost.
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


def chosen(messages: list[Sent], first: Configuration) -> dict[int, Operation]:
    """By position what a quorum accepted under one leadership, a quorum of the configuration that governs the position;
    at most one operation each."""
    proposed: dict[tuple[Leadership, int], Operation] = {}
    voters: dict[int, dict[Leadership, set[tuple[int, int]]]] = {}
    for _, _, message in messages:
        if isinstance(message, Accept):
            for position, operation in enumerate(message.operations, message.ballot.op_num):
                place = (message.ballot.leadership, position)
                if proposed.setdefault(place, operation) != operation:
                    raise Violation(f"two operations proposed at {place}")
    for sender, _, message in messages:
        if isinstance(message, Accepted):
            for position in range(message.ballot.op_num, message.ballot.op_num + message.count):
                disks = voters.setdefault(position, {}).setdefault(message.ballot.leadership, set())
                disks.add((sender, message.identity))
    result: dict[int, Operation] = {}
    configuration: Configuration | None = first
    for position in sorted(voters):
        assert configuration is not None
        members = set(configuration.members.items())
        for leadership, disks in voters[position].items():
            operation = proposed[leadership, position]
            enough = len(disks & members) > len(members) // 2
            if enough and result.setdefault(position, operation) != operation:
                raise Violation(f"two operations chosen at position {position}")
        if position in result:
            configuration = following(configuration, result[position], position)
    return result


def check_decided(now: Facts, choice: dict[int, Operation]) -> None:
    """Known as decided only what a quorum accepted; with `chosen`, this is agreement."""
    for position, operation in now.decided:
        if choice.get(position) != operation:
            raise Violation(f"position {position}: decided is {operation}, chosen is {choice.get(position)}")
