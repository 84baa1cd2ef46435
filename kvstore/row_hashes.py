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
        self._conversations: dict[int, tuple[array[int], bytearray]] = {}
        """The numbers of its rows in ascending order, and their hashes in the same order."""
        self.count = 0
        self.sum = 0
        """Modulo MODULUS."""

    def set(self, row_key: RowKey, new: bytes | None) -> None:
        """The hash of this row is `new`, of 32 bytes; None: there is no such row any more."""
        held = self._conversations.get(row_key[0])
        if held is None:
            held = self._conversations[row_key[0]] = array("Q"), bytearray()
        numbers, hashes = held
        number = _number(row_key)
        at = bisect_left(numbers, number)
        begin, difference = at * _SIZE, 0
        end = begin
        if at < len(numbers) and numbers[at] == number:
            end = begin + _SIZE
            difference = -int.from_bytes(hashes[begin:end], "big")
        if new is not None:
            difference += int.from_bytes(new, "big")
            hashes[begin:end] = new
            if begin == end:
                numbers.insert(at, number)
                self.count += 1
        elif begin < end:
            del hashes[begin:end], numbers[at]
            self.count -= 1
        self.sum = (self.sum + difference) % MODULUS
        if not numbers:
            del self._conversations[row_key[0]]


def _number(row_key: RowKey) -> int:
    """Of a row within its conversation. Later turns have higher ones, so that most are added at the end."""
    if len(row_key) == 1:
        return 0
    return row_key[1] * _OF_A_TURN + (row_key[2] + 1 if len(row_key) == 3 else 0)
