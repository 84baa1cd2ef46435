"""The stored snapshot: segments of rows, later ones in the place of earlier rows, and a manifest that names them.

Segments are written first, in as many requests as they take; they count from the transaction on that puts the manifest.
The same transaction deletes the operations that the snapshot holds and all segments that it does not name. So whoever
reads a manifest and the operations at one revision has everything, and a request that arrives late deletes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from engine.etcd.client import EtcdClient
from engine.etcd.keys import Keys, Unusable
from engine.etcd.wire import MOST_VALUE, Json, RangeAnswer, delete, encode, get, put, txn, unchanged

MOST_SEGMENTS: Final = 16
"""A longer chain is written anew, as one segment; and so is one whose later segments are larger than its first."""
WORK = "snapshot"

Row: TypeAlias = tuple[bytes, bytes | None]
"""None: it is there no more."""

_rows = msgspec.msgpack.Decoder(list[Row])


class Segment(msgspec.Struct, frozen=True):
    name: str
    chunks: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """The state after position `position`: after all operations up to revision `revision`."""

    position: int
    revision: int
    sessions: dict[int, tuple[int, int]]
    digest: str
    """Of the conversations."""
    segments: list[Segment] = []


class Taken(msgspec.Struct, frozen=True):
    """A snapshot to be stored. Of `segments`, which are stored already, it is a continuation."""

    position: int
    revision: int
    sessions: dict[int, tuple[int, int]]
    digest: str
    rows: Sequence[Row]
    last_keys: dict[int, bytes]
    """By node, of its last batch that is in it."""
    segments: list[Segment]


class Refused(Exception):
    """Somebody else leads, or has stored another snapshot."""


class Snapshots:
    def __init__(self, client: EtcdClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def load(self, manifest: Manifest) -> list[tuple[bytes, bytes]] | None:
        """Its rows; None if it has been replaced meanwhile."""
        rows: dict[bytes, bytes] = {}
        for segment in manifest.segments:
            for number in range(segment.chunks):
                request = encode({"key": self._keys.chunk(segment.name, number)})
                found = await self._client.insist("follow", "/v3/kv/range", request, RangeAnswer)
                if not found.kvs:
                    return None
                for key, content in _rows.decode(found.kvs[0].value):
                    if content is None:
                        rows.pop(key, None)
                    else:
                        rows[key] = content
        return sorted(rows.items())

    async def store(self, taken: Taken, leadership: int, base: int) -> tuple[Manifest, int]:
        """Stores a snapshot as the leader of this leadership (the revision at which its key was put), in the place of
        the manifest of revision `base` (0: there is none). Returns its manifest, and that one's revision. Raises
        Refused."""
        guard = unchanged(self._keys.leader, leadership)
        segment = await self._write(f"{leadership:016x}-{taken.position:016x}", taken.rows, [guard])
        manifest = Manifest(
            taken.position, taken.revision, taken.sessions, taken.digest, [*taken.segments, segment]
        )
        clears = [
            delete(self._keys.operations_of(pid), last + b"\0") for pid, last in sorted(taken.last_keys.items())
        ]
        success = [put(self._keys.manifest, msgspec.msgpack.encode(manifest)), *clears, *self._others(manifest)]
        answer = await self._client.txn(
            WORK, txn([guard, unchanged(self._keys.manifest, base)], success, [get(self._keys.manifest)])
        )
        revision = answer.header.revision
        if not answer.succeeded:
            found = answer.value()
            if found.value != msgspec.msgpack.encode(manifest):
                raise Refused
            revision = found.mod_revision  # an earlier attempt took effect
        return manifest, revision

    async def found(self, position: int, digest: str, rows: Sequence[Row]) -> list[Json]:
        """What a cluster's first transaction has to do so that it begins with these rows."""
        segment = await self._write(f"restored-{position:016x}", rows, [unchanged(self._keys.members, 0)])
        manifest = Manifest(position, 0, {}, digest, [segment])
        return [put(self._keys.manifest, msgspec.msgpack.encode(manifest))]

    async def _write(self, name: str, rows: Sequence[Row], guards: list[Json]) -> Segment:
        total = chunks = 0
        for chunk in _chunks(rows):
            value = msgspec.msgpack.encode(chunk)
            answer = await self._client.txn(WORK, txn(guards, [put(self._keys.chunk(name, chunks), value)]))
            if not answer.succeeded:
                raise Refused
            chunks += 1
            total += len(value)
        return Segment(name, chunks, total)

    def _others(self, manifest: Manifest) -> list[Json]:
        """Deletes segments that do not belong to it: replaced ones, and what a leader left unfinished."""
        kept = sorted(self._keys.segment(segment.name) for segment in manifest.segments)
        begins = [self._keys.rows, *(segment[:-1] + b"0" for segment in kept)]
        ends = [*kept, self._keys.rows[:-1] + b"0"]
        return [delete(begin, end) for begin, end in zip(begins, ends, strict=True) if begin < end]


def manifest_of(value: bytes) -> Manifest | None:
    """None if there is no value. Raises Unusable for what this release does not understand."""
    try:
        return msgspec.msgpack.decode(value, type=Manifest) if value else None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unusable(f"the snapshot in etcd is not one that this release knows ({error}): upgrade") from error


def continued(manifest: Manifest) -> bool:
    """Whether the next segment may follow upon these."""
    first, *later = manifest.segments
    return len(later) + 1 < MOST_SEGMENTS and sum(segment.bytes for segment in later) < max(first.bytes, MOST_VALUE)


def _chunks(rows: Sequence[Row]) -> Iterable[list[Row]]:
    chunk: list[Row] = []
    size = 0
    for key, content in rows:
        weight = len(key) + len(content or b"") + 16
        if chunk and size + weight > MOST_VALUE:
            yield chunk
            chunk, size = [], 0
        chunk.append((key, content))
        size += weight
    yield chunk
