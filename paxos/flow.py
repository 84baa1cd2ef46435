"""Flow control of one leadership: a Progress for each member, as in raft's leaders.

What is on its way to a member is bounded in bytes, by what its link was seen to carry; the rest waits here, where it
costs nothing. A batch is sent again only when it is surely lost: the member was silent for longer than all that is on
its way can take, or has answered what was sent later. A decided batch is not sent again: whoever lacks it asks for it
(see catchup.py), and hears until then, by heartbeats, from which position on it needs not ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from paxos.leader import Batch
from paxos.retry import Retry

SLOWEST = 64 * 1024.0
"""Bytes a second that a link is taken to carry while nothing was measured."""
FASTEST = 1e10
PATIENT_PACES = 3.0
"""Silence for this many times as long as all that is on its way should take means that it is lost."""
LEAST_WINDOW = 256 * 1024
MOST_WINDOW = 4 * 1024 * 1024
BATCH_S = 0.05
LEAST_BATCH = 64 * 1024
"""A batch takes about so long on the link, or is so small: nothing can overtake it while it is being sent."""
WINDOW_S = 0.25
"""As much may be on its way as the link carries in this time, and in two rounds of network and disk."""
LEAST_SAMPLE = 16 * 1024
"""What is smaller says nothing of a link's bandwidth."""
SMOOTHING = 0.25
MOST_UNSENT = 4 * 1024 * 1024
"""A member that far behind gets what is new, and asks for the rest."""
OVERHEAD = 32


class _Sent:
    __slots__ = ("at", "batch", "overtaken", "size")

    def __init__(self, batch: Batch, size: int, now: float) -> None:
        self.batch = batch
        self.size = size
        self.at = now
        self.overtaken = False


class Progress:
    """What is on its way to one member, and what waits for its turn."""

    def __init__(self, now: float) -> None:
        self.told_upto = 0
        """The watermark that the member was last told."""
        self.in_flight = 0
        """Bytes on their way."""
        self._flying: dict[int, _Sent] = {}
        self._unsent: deque[tuple[Batch, int]] = deque()
        self._unsent_size = 0
        self.pace = 1 / SLOWEST
        """Seconds that a byte takes; answers that come at once, after one that took long, make up for it."""
        self._answered = now
        self._retry = Retry(now)

    @property
    def first(self) -> int | None:
        """The first position that is on its way or will be; None if there is none."""
        first = next(iter(self._flying), None)
        waiting = self._unsent[0][0].first if self._unsent else None
        return waiting if first is None else first

    @property
    def waits(self) -> bool:
        """Something waits for its turn."""
        return bool(self._unsent)

    def queue(self, batch: Batch, size: int) -> None:
        self._unsent.append((batch, size))
        self._unsent_size += size
        while self._unsent_size > MOST_UNSENT and len(self._unsent) > 1:
            self._unsent_size -= self._unsent.popleft()[1]

    def has_room(self, round_s: float) -> bool:
        return not self._flying or (not self._unsent and self.in_flight < self._window(round_s))

    def _window(self, round_s: float) -> float:
        return min(max(LEAST_WINDOW, (WINDOW_S + 2 * round_s) / self.pace), MOST_WINDOW)

    def next(self, round_s: float, now: float) -> Batch | None:
        """What may be sent now."""
        if not self._unsent or (self._flying and self.in_flight >= self._window(round_s)):
            return None
        batch, size = self._unsent.popleft()
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
        if sent.size >= LEAST_SAMPLE:
            pace = (now - max(sent.at, self._answered)) / sent.size
            self.pace = max(self.pace + (pace - self.pace) * SMOOTHING, 1 / FASTEST)
        self._answered = now
        self._retry.reset(now)
        for earlier in self._flying.values():
            if earlier.at > sent.at or earlier.batch.first > first:
                break
            earlier.overtaken = True

    def overdue(self, patience_s: float, decided_upto: int, now: float) -> list[Batch]:
        """What is surely lost and must be sent again."""
        if not self._flying:
            return []
        silent = self._retry.due(now, patience_s + PATIENT_PACES * self.pace * self.in_flight)
        lost = [sent for sent in self._flying.values()
                if silent or (sent.overtaken and now - sent.at >= patience_s)]
        for sent in lost:
            sent.at, sent.overtaken = now, False
            if sent.batch.last <= decided_upto:
                del self._flying[sent.batch.first]
                self.in_flight -= sent.size
        return [sent.batch for sent in lost if sent.batch.last > decided_upto]


class Flow:
    """Of all members; the own acceptor is one of them."""

    def __init__(self, members: Iterable[int], quorum: int, now: float) -> None:
        self.progress = {member: Progress(now) for member in members}
        self._quorum = quorum

    def has_room(self, round_s: Callable[[int], float]) -> bool:
        """Whether a quorum takes more."""
        return sum(each.has_room(round_s(member)) for member, each in self.progress.items()) >= self._quorum

    def batch_bytes(self) -> float:
        """How large a batch should be at most, for the links of a quorum."""
        return max(LEAST_BATCH, BATCH_S / sorted(each.pace for each in self.progress.values())[self._quorum - 1])

    def queue(self, batch: Batch) -> None:
        """To all members, each in its turn."""
        size = sum([len(operation.payload) for operation in batch.operations]) + OVERHEAD * len(batch.operations)
        for progress in self.progress.values():
            progress.queue(batch, size)

    def due(self, round_s: Callable[[int], float], now: float) -> list[tuple[Batch, list[int]]]:
        """What may be sent now, in order, and to whom."""
        sends: dict[int, tuple[Batch, list[int]]] = {}
        for member, progress in self.progress.items():
            if progress.waits:
                takes_s = round_s(member)
                while (batch := progress.next(takes_s, now)) is not None:
                    sends.setdefault(batch.first, (batch, []))[1].append(member)
        return [sends[first] for first in sorted(sends)]

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
        """For each member the first position that it needs not ask for, and for how many seconds its link is busy."""
        return {
            member: (first, each.in_flight * each.pace) for member, each in self.progress.items()
            if (first := each.first) is not None
        }
