"""The hashes of all rows, and their sum.

A large store has more rows than anything else, so they are kept in few pieces: about 40 bytes a row, where a dict of
tuples and integers takes 230.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Final

from kvstore.rows import RowKey

MODULUS: Final = 2**256
_SIZE: Final = 32
_OF_A_TURN: Final = 2**17
"""More rows than a turn has: it, and one for each candidate, from 0 to 65,535."""


class RowHashes:
    def __init__(self) -> None:
        self._conversations: dict[int, _Hashes] = {}
        self.count = 0
        self.sum = 0
        """Modulo MODULUS."""

    def set(self, row_key: RowKey, new: bytes | None) -> None:
        """The hash of this row is `new`, of 32 bytes; None: there is no such row any more."""
        index = row_key[0]
        hashes = self._conversations.get(index)
        if hashes is None:
            if new is None:
                return
            hashes = self._conversations[index] = _Hashes()
        old = hashes.set(_number(row_key), new)
        self.count += (new is not None) - (old is not None)
        self.sum = (self.sum + _integer(new) - _integer(old)) % MODULUS
        if not hashes.numbers:
            del self._conversations[index]


class _Hashes:
    """Of the rows of one conversation."""

    __slots__ = ("_hashes", "numbers")

    def __init__(self) -> None:
        self.numbers = array("Q")
        """In ascending order."""
        self._hashes = bytearray()
        """In the same order."""

    def set(self, number: int, new: bytes | None) -> bytes | None:
        """What it was."""
        numbers = self.numbers
        at = len(numbers) if not numbers or number > numbers[-1] else bisect_left(numbers, number)
        place = slice(at * _SIZE, (at + 1) * _SIZE)
        if at < len(numbers) and numbers[at] == number:
            old = bytes(self._hashes[place])
            self._hashes[place] = new or b""
            if new is None:
                del numbers[at]
            return old
        if new is not None:
            numbers.insert(at, number)
            self._hashes[place.start:place.start] = new
        return None


def _number(row_key: RowKey) -> int:
    """Of a row within its conversation. Later turns have higher ones, so that most are added at the end."""
    if len(row_key) == 1:
        return 0
    return row_key[1] * _OF_A_TURN + (row_key[2] + 1 if len(row_key) == 3 else 0)


def _integer(hashed: bytes | None) -> int:
    return 0 if hashed is None else int.from_bytes(hashed, "big")
