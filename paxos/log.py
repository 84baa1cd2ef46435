"""The log: accepted operations by position, and how far they are known to be decided.

Two rules for this file. An entry at or below `decided_upto` holds the decided operation. An entry above it is only an
acceptance, and records under which leadership.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paxos.ballot import NOBODY, Leadership
from paxos.messages import Entry, Operation

OVERHEAD = 32
"""The approximate overhead in bytes of an entry besides its payload."""


class Log:
    def __init__(self, entries: Iterable[Entry] = (), decided_upto: int = 0) -> None:
        self._entries: dict[int, Entry] = {entry.position: entry for entry in entries}
        self.decided_upto = decided_upto
        self.compacted = decided_upto
        """Positions up to here are deleted: a snapshot covers them."""
        while self.compacted in self._entries:
            self.compacted -= 1
        self.last = max([decided_upto, *self._entries])
        """The highest position with an entry."""
        self.open_bytes = sum(_size(entry) for entry in self._entries.values() if entry.position > decided_upto)
        """What is held above `decided_upto`."""
        self.bytes = sum(_size(entry) for entry in self._entries.values())
        """What is held in all."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def blank(self) -> bool:
        """True until anything has been accepted or learned here."""
        return self.last == 0

    def get(self, position: int) -> Entry | None:
        return self._entries.get(position)

    def accept(self, leadership: Leadership, first: int, operations: Sequence[Operation]) -> list[Entry]:
        """Stores acceptances and returns those that are new. Decided positions are left unchanged: by the
        safety of Paxos the same operation is decided there already."""
        fresh: list[Entry] = []
        entries = self._entries
        for position, operation in enumerate(operations, first):
            if position <= self.decided_upto:
                continue
            held = entries.get(position)
            if held is not None and held.leadership == leadership:
                continue
            entry = Entry(position, leadership, operation)
            more = _size(entry) - (0 if held is None else _size(held))
            self.open_bytes += more
            self.bytes += more
            entries[position] = entry
            fresh.append(entry)
        self.last = max(self.last, first + len(operations) - 1)
        return fresh

    def decide(self, leadership: Leadership, upto: int) -> int:
        """The leader of `leadership` knows that everything up to `upto` is decided: so is each operation here that was
        accepted under that same leadership. An older acceptance proves nothing and stops the watermark.

        Returns how many positions became known to be decided.
        """
        before = self.decided_upto
        position = before + 1
        while position <= upto:
            entry = self._entries.get(position)
            if entry is None or entry.leadership != leadership:
                break
            self.open_bytes -= _size(entry)
            position += 1
        self.decided_upto = position - 1
        return self.decided_upto - before

    def learn(self, start: int, operations: Sequence[Operation]) -> list[Entry]:
        """Adds operations that another node knows to be decided; returns the entries that are new here.

        The entries must be stored together with the new watermark: they carry no leadership of their own, so
        without it a later Promise would rank them too low.
        """
        fresh: list[Entry] = []
        if start > self.decided_upto + 1:
            return fresh
        for position, operation in enumerate(operations, start):
            if position > self.decided_upto:
                held = self._entries.get(position)
                if held is not None:
                    self.open_bytes -= _size(held)
                    self.bytes -= _size(held)
                entry = Entry(position, NOBODY, operation)
                self.bytes += _size(entry)
                self._entries[position] = entry
                fresh.append(entry)
        self.decided_upto = max(self.decided_upto, start + len(operations) - 1)
        self.last = max(self.last, self.decided_upto)
        return fresh

    def entries_from(self, start: int) -> list[Entry]:
        """All entries from `start` on, by position."""
        return [entry for position in range(start, self.last + 1) if (entry := self._entries.get(position)) is not None]

    def decided_from(self, start: int, operations: int, size: int) -> list[Operation]:
        """Decided operations from `start` on: at most `operations`, and about `size` bytes (but at least one)."""
        chosen: list[Operation] = []
        for position in range(start, min(self.decided_upto, start + operations - 1) + 1):
            operation = self._entries[position].operation
            size -= len(operation.payload)
            chosen.append(operation)
            if size <= 0:
                break
        return chosen

    def decided_bytes(self, start: int) -> int:
        """The size of the decided operations from `start` on."""
        return sum(_size(self._entries[position]) for position in range(start, self.decided_upto + 1))

    def tail(self, position: int, operations: int, size: int) -> int:
        """The position up to which the log may be deleted: of what is at or below `position`, so many operations are
        kept, or fewer if they exceed `size` bytes."""
        upto = position
        while upto > max(self.compacted, position - operations):
            size -= _size(self._entries[upto])
            if size < 0:
                break
            upto -= 1
        return upto

    def release(self, upto: int) -> None:
        """Deletes everything up to `upto`, which a stored snapshot covers."""
        for position in range(self.compacted + 1, min(upto, self.last) + 1):
            entry = self._entries.pop(position, None)
            if entry is not None:
                self.bytes -= len(entry.operation.payload) + OVERHEAD
        self.compacted = max(self.compacted, upto)

    def jump(self, position: int) -> None:
        """A snapshot at `position` was installed: the log continues from there."""
        for open_position in range(self.decided_upto + 1, min(position, self.last) + 1):
            held = self._entries.get(open_position)
            if held is not None:
                self.open_bytes -= _size(held)
        self.release(position)
        self.decided_upto = max(self.decided_upto, position)
        self.last = max(self.last, position)


def _size(entry: Entry) -> int:
    return len(entry.operation.payload) + OVERHEAD
