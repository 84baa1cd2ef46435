"""A snapshot that is read for a peer holds everything that the log had lost when it was asked for."""

from __future__ import annotations

from paxos.messages import Snapshot
from tests.simulation.world import Node, Observer, Violation, World


class Gap(Violation):
    pass


class Served(Observer):
    def loaded(self, world: World, node: Node, snapshot: Snapshot, compacted: int) -> None:
        if snapshot.position < compacted:
            raise Gap(f"{node.pid} hands out a snapshot at {snapshot.position}; its log begins behind {compacted}")
