"""Disks of a cluster that is founded already: with its id, in configuration 1, and nothing else decided."""

from __future__ import annotations

from collections.abc import Mapping

from paxos.messages import Configuration, Snapshot
from paxos.output import Persist, VoterStatus

CLUSTER = 0xC1
"""Its id."""


def founded(identities: Mapping[int, int], cluster: int = CLUSTER) -> Persist:
    """To be written to each of the members' empty disks, which have these identities."""
    configuration = Configuration(1, cluster, dict(identities), 1)
    return Persist(
        voter_status=VoterStatus.VOTER, roster=dict(identities), snapshot=Snapshot(0, {}, [], configuration),
    )
