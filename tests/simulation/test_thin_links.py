"""Links of 0.3 to 100 MB/s under load; see load.py."""

from __future__ import annotations

import pytest

from paxos.limits import Limits
from tests.simulation.load import Load, behind, members_change, small_operations

SNAPSHOTS = Limits(snapshot_bytes=1_000_000, keep_bytes=100_000, lag_bytes=100_000)


@pytest.mark.parametrize(("megabytes", "operations"), [(0.3, 20), (1.25, 50), (2.5, 100), (10.0, 200), (100.0, 500)])
def test_a_load_of_large_operations(megabytes: float, operations: int) -> None:
    Load(megabytes * 1e6, operations).is_carried()


def test_a_load_of_small_operations() -> None:
    small_operations()


def test_members_that_come_and_go() -> None:
    members_change()


@pytest.mark.parametrize("limits", [Limits(), SNAPSHOTS], ids=["log", "snapshot"])
@pytest.mark.parametrize(("megabytes", "round_trip_s"), [(0.3, 0.02), (2.5, 0.2), (10.0, 0.1), (100.0, 0.01)])
def test_a_node_that_was_away(megabytes: float, round_trip_s: float, limits: Limits) -> None:
    behind(megabytes * 1e6, round_trip_s, limits)
