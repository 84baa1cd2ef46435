"""Which rows have changed since they were hashed, and since they were saved.

The digest is the sum of the SHA-256 hashes of all rows, so that a change costs one hash, however many rows there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from kvstore import rows
from kvstore.row_hashes import RowHashes

KEPT_BYTES = 4 * 1024 * 1024
"""Of contents that were hashed and are not saved: whoever never saves (on etcd, all nodes but one) must not hold all of
them twice."""


class ChangedRows:
    """`value` gives the content of a row; None if there is none any more."""

    def __init__(self, value: Callable[[rows.RowKey], bytes | None]) -> None:
        self._value = value
        self._unhashed: set[rows.RowKey] = set()
        self._unsaved: dict[rows.RowKey, bytes | None] = {}
        """With what they held when they were hashed last, unless they have changed since, as far as that is kept."""
        self._kept = 0
        """Bytes of these contents."""
        self._hashes = RowHashes()

    @property
    def count(self) -> int:
        """Of all rows, but for some that have changed lately."""
        return max(self._hashes.count, len(self._unhashed))

    def touch(self, *row_key: int) -> None:
        """This row has changed."""
        self._unhashed.add(row_key)
        self._kept -= len(self._unsaved.get(row_key) or b"")
        self._unsaved[row_key] = None

    def replace(self, row_keys: Iterable[rows.RowKey]) -> None:
        """There are these rows, and no others; they count as saved."""
        self._unhashed, self._unsaved, self._kept, self._hashes = set(), {}, 0, RowHashes()
        for row_key in row_keys:
            self._hash(row_key, rows.key(row_key), self._value(row_key))

    def digest(self) -> str:
        """64 hex digits."""
        for row_key in self._unhashed:
            content = self._value(row_key)
            self._hash(row_key, rows.key(row_key), content)
            if content and row_key in self._unsaved and self._kept + len(content) <= KEPT_BYTES:
                self._unsaved[row_key] = content
                self._kept += len(content)
        self._unhashed.clear()
        return f"{self._hashes.sum:064x}"

    def take(self) -> list[tuple[bytes, bytes | None]]:
        """Those that are not saved, sorted by key. They are hashed here too, so that the work of `digest` stays small,
        however rarely that is called."""
        changed: list[tuple[bytes, bytes | None]] = []
        for row_key in sorted(self._unsaved):
            key, content = rows.key(row_key), self._unsaved[row_key]
            if content is None:
                content = self._value(row_key)
            changed.append((key, content))
            if row_key in self._unhashed:
                self._unhashed.remove(row_key)
                self._hash(row_key, key, content)
        self._unsaved.clear()
        self._kept = 0
        return changed

    def _hash(self, row_key: rows.RowKey, key: bytes, content: bytes | None) -> None:
        hashed = None
        if content is not None:
            hashed = hashlib.sha256(bytes((len(row_key),)) + key + content).digest()  # tells where the key ends
        self._hashes.set(row_key, hashed)
