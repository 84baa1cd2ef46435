"""Flow control of one leadership: a Progress for each member, as in raft's leaders.

What is on its way to a member is bounded in bytes, by what its link was seen to carry; the rest waits here, where it
costs nothing. A batch is sent again only when it is surely lost: the member was silent for longer than all that is on
its way can take, or has answered what was sent later. A decided batch is not sent again: whoever lacks it asks for it
(see catchup.py), and learns from heartbeats what need not be asked for.

Members come and go with configurations: each begins with a Flow of its own, as a leadership does. What is known of the
links outlasts both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from paxos.leader import Batch
from paxos.pace import LEAST_WINDOW, Pace
from paxos.retry import Retry

PATIENT_PACES = 3.0
"""Silence for this many times as long as all that is on its way should take means that it is lost."""
MOST_UNSENT = 4 * 1024 * 1024
"""A member that is further behind gets what is new, and asks for the rest."""
OVERHEAD = 32
"""The approximate overhead in bytes of an operation besides its payload."""


class _Sent:
    __slots__ = ("at", "batch", "overtaken", "size")

    def __init__(self, batch: Batch, size: int, now: float) -> None:
        self.batch = batch
        self.size = size
        self.at = now
        self.overtaken = False


class Progress:
    """What is on its way to one member, and what waits for its turn."""

    def __init__(self, member: int, pace: Pace, round_s: Callable[[int], float], now: float) -> None:
        self._member = member
        self._round_s = round_s
        self.in_flight = 0
        """Bytes on their way."""
        self._pace = pace
        self._flying: dict[int, _Sent] = {}
        self.unsent: deque[tuple[Batch, int]] = deque()
        self._unsent_size = 0
        self._retry = Retry(now)

    @property
    def first(self) -> int | None:
        """The first position that is on its way or will be; None if there is none."""
        first = next(iter(self._flying), None)
        waiting = self.unsent[0][0].first if self.unsent else None
        return waiting if first is None else first

    @property
    def busy_s(self) -> float:
        """How long what is on its way keeps the link busy."""
        return self.in_flight * self._pace.seconds

    def queue(self, batch: Batch, size: int) -> None:
        self.unsent.append((batch, size))
        self._unsent_size += size
        while self._unsent_size > MOST_UNSENT and len(self.unsent) > 1:
            self._unsent_size -= self.unsent.popleft()[1]

    def has_room(self) -> bool:
        return not self._flying or (not self.unsent and self._window_is_open())

    def _window_is_open(self) -> bool:
        in_flight = self.in_flight
        return in_flight < LEAST_WINDOW or in_flight < self._pace.window(self._round_s(self._member))

    def next(self, now: float) -> Batch | None:
        """What may be sent now."""
        if not self.unsent or (self._flying and not self._window_is_open()):
            return None
        batch, size = self.unsent.popleft()
        self._unsent_size -= size
        if not self._flying:
            self._retry.reset(now)
        self._flying[batch.first] = _Sent(batch, size, now)
        self.in_flight += size
        return batch

    def answered(self, first: int, now: float) -> None:
        """The member has accepted the batch that begins at `first`."""
        sent = self._flying.pop(first, None)
        if sent is None:
            return
        self.in_flight -= sent.size
        self._pace.answered(sent.size, sent.at, now)
        self._retry.reset(now)
        for earlier in self._flying.values():
            if earlier.at > sent.at or earlier.batch.first > first:
                break
            earlier.overtaken = True

    def unheard(self, decided_upto: int) -> None:
        """Nothing comes from the member: what is decided is not sent to it any more, and need not be waited for."""
        while self.unsent and self.unsent[0][0].last <= decided_upto:
            self._unsent_size -= self.unsent.popleft()[1]
        for sent in [sent for sent in self._flying.values() if sent.batch.last <= decided_upto]:
            self._drop(sent)

    def restarted(self, decided_upto: int) -> None:
        """The member is another process now, or has another connection: what was on its way to it is lost."""
        self.unheard(decided_upto)
        for sent in reversed(self._flying.values()):
            self.unsent.appendleft((sent.batch, sent.size))
            self._unsent_size += sent.size
        self._flying.clear()
        self.in_flight = 0

    def _drop(self, sent: _Sent) -> None:
        del self._flying[sent.batch.first]
        self.in_flight -= sent.size

    def overdue(self, patience_s: float, decided_upto: int, now: float) -> list[Batch]:
        """What is surely lost and must be sent again."""
        if not self._flying:
            return []
        silent = self._retry.due(now, patience_s + PATIENT_PACES * self.busy_s)
        lost = [sent for sent in self._flying.values()
                if silent or (sent.overtaken and now - sent.at >= patience_s)]
        for sent in lost:
            sent.at, sent.overtaken = now, False
            if sent.batch.last <= decided_upto:
                self._drop(sent)
        return [sent.batch for sent in lost if sent.batch.last > decided_upto]


class Flow:
    """Of all members; the own acceptor is one of them. `paces` are those of all links known so far; `round_s` tells how
    long a message to a member and its answer take."""

    def __init__(
        self, members: Iterable[int], quorum: int, paces: dict[int, Pace], round_s: Callable[[int], float], now: float
    ) -> None:
        self._paces = {member: paces.setdefault(member, Pace()) for member in members}
        self.progress = {member: Progress(member, pace, round_s, now) for member, pace in self._paces.items()}
        self._told: dict[int, int] = {}
        """The watermark that each node was last told, by an Accept or a Decide."""
        self._quorum = quorum
        self._incarnations: dict[int, int] = {}

    def heard(self, incarnations: Mapping[int, int], decided_upto: int) -> None:
        """The incarnation of each member from which anything comes."""
        for member, progress in self.progress.items():
            if member not in incarnations:
                progress.unheard(decided_upto)
            elif self._incarnations.setdefault(member, incarnations[member]) != incarnations[member]:
                self._incarnations[member] = incarnations[member]
                progress.restarted(decided_upto)

    def linked(self, member: int, decided_upto: int) -> None:
        """It has another connection."""
        if member in self.progress:
            self.progress[member].restarted(decided_upto)

    @property
    def is_busy(self) -> bool:
        return any(each.first is not None for each in self.progress.values())

    def has_room(self) -> bool:
        """True if a quorum takes more."""
        return sum([each.has_room() for each in self.progress.values()]) >= self._quorum

    def batch_bytes(self) -> float:
        """How large a batch should be at most, for the links of a quorum."""
        return sorted([pace.piece() for pace in self._paces.values()], reverse=True)[self._quorum - 1]

    def queue(self, batch: Batch) -> None:
        """To all members, each in its turn."""
        size = sum([len(operation.payload) for operation in batch.operations]) + OVERHEAD * len(batch.operations)
        for progress in self.progress.values():
            progress.queue(batch, size)

    def due(self, decided_upto: int, now: float) -> list[tuple[Batch, list[int]]]:
        """What may be sent now, in order, and to whom; `decided_upto` goes with it."""
        sends: dict[int, tuple[Batch, list[int]]] = {}
        for member, progress in self.progress.items():
            while progress.unsent and (batch := progress.next(now)) is not None:
                sends.setdefault(batch.first, (batch, []))[1].append(member)
                self._told[member] = decided_upto
        return [sends[first] for first in sorted(sends)] if len(sends) > 1 else list(sends.values())

    def untold(self, nodes: Iterable[int], decided_upto: int) -> list[int]:
        """Those that are to be told now that everything up to here is decided."""
        untold = [node for node in nodes if self._told.get(node, 0) < decided_upto]
        for node in untold:
            self._told[node] = decided_upto
        return untold

    def answered(self, member: int, first: int, now: float) -> None:
        if member in self.progress:
            self.progress[member].answered(first, now)

    def overdue(
        self, patience_s: Callable[[int], float], decided_upto: int, now: float
    ) -> list[tuple[Batch, list[int]]]:
        """What is to be sent again, and to whom."""
        lost: dict[int, tuple[Batch, list[int]]] = {}
        for member, progress in self.progress.items():
            for batch in progress.overdue(patience_s(member), decided_upto, now):
                lost.setdefault(batch.first, (batch, []))[1].append(member)
        return list(lost.values())

    def underway(self) -> dict[int, tuple[int, float]]:
        """For each member the first position that it need not ask for, and for how many seconds its link is busy."""
        return {
            member: (first, each.busy_s) for member, each in self.progress.items() if (first := each.first) is not None
        }
