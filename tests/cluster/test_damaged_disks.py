"""A node whose disk is damaged, among others whose disks are not."""

from __future__ import annotations

import signal
from pathlib import Path

from storage.database import Database
from storage.records import Compaction
from tests.cluster.harness import Cluster

DEPARTURE_S = 20.0


def leave(cluster: Cluster, pid: int) -> Path:
    """Its disk, once the process has closed it."""
    process = cluster.nodes.pop(pid)
    process.signal(signal.SIGTERM)
    process.popen.wait(DEPARTURE_S)
    return cluster.folder / "data" / f"node-{pid}.db"


def test_a_changed_byte(cluster: Cluster) -> None:
    """The node says so, keeps the file, and gets everything from the others."""
    pid = next(pid for pid in cluster.pids if pid != cluster.leader())
    cluster.nodes[pid].ok("create c1")
    cluster.nodes[pid].ok("query c1 a PRECIOUS question")
    path = leave(cluster, pid)
    damaged = path.read_bytes().replace(b"PRECIOUS", b"PRECIOUT")
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    cluster.start([pid])
    cluster.converged()
    turns = cluster.nodes[pid].ok("view c1")["turns"]
    assert [turn["query"] for turn in turns] == ["a PRECIOUS question"]
    assert path.with_name(f"{path.name}.damaged-1").read_bytes() == damaged
    said = cluster.nodes[pid].log.read_text()
    assert f"node-{pid}.db was damaged (its table log: row " in said
    assert f"it is kept as node-{pid}.db.damaged-1. This node begins with an empty disk" in said


def test_a_snapshot_that_makes_no_sense(cluster: Cluster) -> None:
    """But its checksums are right: it may be worth something. The node says so and leaves."""
    pid = cluster.pids[0]
    path = leave(cluster, pid)
    database = Database.open(path, "test", pid, 1)
    database.write([Compaction(database.durable.snapshot_position, database.durable.sessions, [(b"odd", b"odd")])])
    database.close()
    cluster.start([pid])
    process = cluster.nodes.pop(pid)
    failed = process.wait(lambda event: event["event"] == "failed")
    sentence = f"node-{pid}.db is damaged (its snapshot: these rows are not a snapshot of conversations)"
    assert sentence in failed["error"]
    assert process.popen.wait(DEPARTURE_S) == 1
    assert "Traceback" not in process.log.read_text()
