"""The stored snapshot, read from a real file for a peer: a reading that fails is repeated, damage stops the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from engine.driver import ReplicaDriver
from kvstore.operations import Create
from kvstore.payloads import encode
from kvstore.store import Outcome, Store
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Fetch, Snapshot, SnapshotPiece
from paxos.output import Applied, Divergence, Persist, VoterStatus
from paxos.replica import Status
from storage.database import Database
from storage.errors import StorageDamaged, StorageError
from storage.writer import DiskWriter


class Peer:
    """The other nodes, and who hears of this one."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[SnapshotPiece] = asyncio.Queue()
        self.failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    def send(self, to: int, message: AnyMessage) -> None:
        if isinstance(message, SnapshotPiece):
            self.pieces.put_nowait(message)

    def flush(self) -> None:
        """Everything has arrived."""

    def on_failed(self, error: Exception) -> None:
        self.failed.set_result(error)

    def on_applied(self, applied: Applied, outcome: Outcome, live: bool) -> None:
        """Not looked at, as the following."""

    def on_outcome_unknown(self, ticket: int) -> None: ...

    def on_read_ready(self, ticket: int) -> None: ...

    def on_installed(self, snapshot: Snapshot) -> None: ...

    def on_status(self, status: Status) -> None: ...

    def on_stranger(self, node: int, cluster: int) -> None: ...
    def on_odd(self, node: int, why: str) -> None: ...

    def on_diverged(self, divergence: Divergence) -> None: ...


def serve(path: Path, scenario: Callable[[Database, Peer, ReplicaDriver], asyncio.Future[None]]) -> None:
    """A node whose log begins after its snapshot, and whose peer has nothing."""
    store = Store()
    store.apply(1, encode(Create("c1")))
    rows = [(key, value) for key, value in store.changed() if value is not None]
    database = Database.open(path, "demo", 1, 1)
    database.write([Persist(snapshot=Snapshot(10, {}, rows), voter_status=VoterStatus.VOTER)])
    database.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        database = Database.open(path, "demo", 1, 1)
        peer = Peer()
        disk = DiskWriter(database, loop, lambda error: None)
        driver = ReplicaDriver(
            1, (1, 2, 3), database.durable, timing=Timing(), limits=Limits(), random=Random(1), clock=loop.time,
            transport=peer, disk=disk, machine=store, listener=peer, defer=loop.call_soon,
        )
        driver.start()
        driver.receive(2, Fetch(1, 0, 0))
        ticking = asyncio.create_task(_tick(driver))
        try:
            async with asyncio.timeout(10):
                await scenario(database, peer, driver)
        finally:
            ticking.cancel()
            driver.stop()
            await disk.close()

    asyncio.run(main())


async def _tick(driver: ReplicaDriver) -> None:
    while True:
        driver.tick()
        await asyncio.sleep(0.05)


def test_a_reading_that_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, readings = Database.load_snapshot, []

    def fail_once(database: Database) -> Snapshot:
        readings.append(database)
        if len(readings) == 1:
            raise StorageError("disk I/O error")
        return read(database)

    monkeypatch.setattr(Database, "load_snapshot", fail_once)

    async def scenario(database: Database, peer: Peer, driver: ReplicaDriver) -> None:
        piece = await peer.pieces.get()
        assert (piece.position, piece.rows, len(readings)) == (10, list(database.rows()), 2)
        assert not peer.failed.done()

    serve(tmp_path / "node.db", lambda *what: asyncio.ensure_future(scenario(*what)))


def test_damage_stops_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Database.load_snapshot

    def damage(database: Database) -> Snapshot:
        database._connection.execute("UPDATE snapshot SET value = x'00'")
        return read(database)

    monkeypatch.setattr(Database, "load_snapshot", damage)

    async def scenario(database: Database, peer: Peer, driver: ReplicaDriver) -> None:
        error = await peer.failed
        assert isinstance(error, StorageDamaged) and "its table snapshot: row " in str(error)
        assert driver.stopped and peer.pieces.empty()

    serve(tmp_path / "node.db", lambda *what: asyncio.ensure_future(scenario(*what)))
