"""Follows the cluster: what is there already by a range, what comes by one watch, without a gap and without repetition.

A watch goes on from the last revision that was seen, whichever member it is on and however it broke off. If etcd does
not keep that one any more, the operations that are missing are still there as keys, or in the snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, Protocol

from engine.etcd.client import Compacted, EtcdClient, EtcdError
from engine.etcd.keys import Keys, Unusable
from engine.etcd.snapshots import Manifest, Snapshots, manifest_of
from engine.etcd.wire import Event, KeyValue, Watched, encode, get, txn

STALLED_S: Final = 2.0
"""What etcd has confirmed, and a watch has not told for so long, another member is asked for."""
PAGE: Final = 16
"""Batches at a time; each has 256 KB, mostly."""
WORK = "follow"
INCOMPLETE: Final = (
    "the snapshot in etcd is incomplete: a part of it was deleted. Restore etcd's own backup; or type backup FILE at a "
    "node that still runs, then ./run.sh reset and ./run.sh restore FILE"
)


class Sink(Protocol):
    """What is followed for."""

    @property
    def revision(self) -> int:
        """Operations up to this one are applied."""

    def on_install(self, manifest: Manifest, rows: list[tuple[bytes, bytes]]) -> None:
        """A snapshot that is ahead."""

    def on_batch(self, kv: KeyValue) -> None:
        """In order of revisions, each once."""

    def on_state(self, kvs: list[KeyValue]) -> None:
        """All other keys that nodes follow, as they are now."""

    def on_key(self, kv: KeyValue, deleted: bool) -> None:
        """One of them has changed; perhaps told again."""

    def on_level(self) -> None:
        """All that was there is applied."""


class Follower:
    def __init__(self, client: EtcdClient, keys: Keys, snapshots: Snapshots, sink: Sink,
                 clock: Callable[[], float]) -> None:
        self._client = client
        self._attempts = client.attempts(WORK)
        client.watch_left = self._move
        self._keys = keys
        self._snapshots = snapshots
        self._sink = sink
        self._clock = clock
        self._next: int | None = None
        """From which revision on a watch has to tell; None: a range comes first."""
        self._expected = 0
        self._patience: asyncio.Timeout | None = None

    async def run(self) -> None:
        while True:
            try:
                if self._next is None:
                    await self._catch_up()
                await self._watch()
            except Compacted:
                self._next = None
            except TimeoutError:
                self._client.leave_watched()
            except EtcdError as error:
                await self._attempts.failed(error)

    def expect(self, revision: int) -> None:
        """An operation was put at this revision: the watch is about to tell it."""
        self._expected = max(self._expected, revision)
        if self._patience is not None and self._patience.when() is None and self._sink.revision < self._expected:
            self._patience.reschedule(self._clock() + STALLED_S)

    def _move(self) -> None:
        """Whoever answers no more may tell nothing more either."""
        if self._patience is not None:
            self._patience.reschedule(self._clock())

    async def _catch_up(self) -> None:
        """All that is there at one revision."""
        keys, incomplete = self._keys, 0
        while True:
            first = await self._client.txn(WORK, txn([], [
                get(keys.manifest), get(keys.watched, keys.operations), self._operations(0),
            ]))
            manifest, page, revision = manifest_of(first.value().value), first.range(2), first.header.revision
            if manifest is not None and manifest.revision > self._sink.revision:
                rows = await self._snapshots.load(manifest)
                if rows is not None:
                    self._sink.on_install(manifest, rows)
                elif manifest.revision == incomplete:
                    raise Unusable(INCOMPLETE)
                else:
                    incomplete = manifest.revision  # unless it has been replaced meanwhile
                continue
            self._sink.on_state(first.range(1).kvs)
            self._batches(page.kvs)
            while page.more:
                answer = await self._client.txn(WORK, txn([], [self._operations(revision)]))
                page = answer.range(0)
                self._batches(page.kvs)
            self._next = revision + 1
            self._sink.on_level()
            return

    def _operations(self, revision: int) -> dict[str, object]:
        """The batches that come next, as of this revision; as of now, if 0."""
        return get(
            self._keys.operations, self._keys.operations_end, min_mod_revision=max(0, self._sink.revision + 1),
            sort_target="MOD", sort_order="ASCEND", limit=PAGE, revision=revision,
        )

    def _batches(self, kvs: list[KeyValue]) -> None:
        for kv in kvs:
            self._sink.on_batch(kv)

    async def _watch(self) -> None:
        keys = self._keys
        request = encode({"create_request": {
            "key": keys.watched, "range_end": keys.operations_end, "start_revision": self._next, "fragment": True,
        }})
        try:
            async with asyncio.timeout(None) as self._patience, aclosing(self._client.watch(request)) as watch:
                self.expect(self._expected)
                async for told in watch:
                    self._take_in(told)
        finally:
            self._patience = None

    def _take_in(self, told: Watched) -> None:
        if told.created:
            self._attempts.succeeded()
        for event in told.events:
            self._on_event(event)
        if told.events and self._patience is not None:
            behind = self._sink.revision < self._expected
            self._patience.reschedule(self._clock() + STALLED_S if behind else None)

    def _on_event(self, event: Event) -> None:
        """The last revision is told again after a break: half of it may have been missing."""
        kv = event.kv
        self._next = max(self._next or 0, kv.mod_revision)
        deleted = event.type == "DELETE"
        if not kv.key.startswith(self._keys.operations):
            self._sink.on_key(kv, deleted)
        elif not deleted and kv.mod_revision > self._sink.revision:
            self._sink.on_batch(kv)
