"""The file in which the orchestrator remembers its cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

from net.relay.faults import Faults
from net.relay.relay import Relay
from net.relay.served_cluster import KnownCluster
from orchestrator.memory import NAME, remember, remembered
from tests.fuzz.target import Form, Target
from tests.unit.net.net_tools import Operator


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / NAME).write_bytes(data)
        known = remembered(folder, "demo")
        assert all(isinstance(node, int) for node in known.members) and known.configuration >= 0
        assert all(1 <= node <= 65_535 for node in known.members) and 0 <= known.cluster_id < 2**63
        relay = Relay(cluster="demo", nodes=(1, 2, 3), secret=None, faults=Faults(Random(1)), listener=Operator(),
                      known=known)
        assert relay.known == known and relay.members
        remember(folder, "demo", known)
        assert remembered(folder, "demo") == known


def seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        remember(folder, "demo", KnownCluster(2**62 + 5, 3, (1, 2, 4)))
        return [(folder / NAME).read_bytes()]


TARGET = Target("network.json", check, seeds, Form.JSON, examples=100)
