"""What the orchestrator remembers of its cluster from run to run: the id that nodes must have, and the members.

A convenience, not a truth: what the nodes have decided counts. Without the file it learns all of it from them again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from net.control_messages import Count, NodeId
from net.relay.served_cluster import KnownCluster

NAME = "network.json"


class _File(msgspec.Struct):
    """The id as it is shown everywhere, in hexadecimal."""

    cluster: str
    cluster_id: Annotated[str, msgspec.Meta(pattern="^[0-7][0-9a-f]{15}$")]
    configuration: Count
    members: list[NodeId]


def remembered(data_dir: Path, cluster: str) -> KnownCluster:
    """Nothing, if there is no file, or none that makes sense, or that of a cluster of another name."""
    try:
        file = msgspec.json.decode((data_dir / NAME).read_bytes(), type=_File)
        known = KnownCluster(int(file.cluster_id, 16), file.configuration, tuple(sorted(file.members)))
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return KnownCluster()
    return known if file.cluster == cluster else KnownCluster()


def is_remembered(data_dir: Path) -> bool:
    """Whether there is a file."""
    return (data_dir / NAME).exists()


def remember(data_dir: Path, cluster: str, known: KnownCluster) -> None:
    """Replaces the file as a whole. Raises OSError."""
    file = _File(cluster, f"{known.cluster_id:016x}", known.configuration, list(known.members))
    data_dir.mkdir(parents=True, exist_ok=True)
    making = data_dir / f"{NAME}.new"
    making.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n")
    os.replace(making, data_dir / NAME)


def forget(data_dir: Path) -> None:
    """For a new cluster in the place of an old one. Raises OSError."""
    (data_dir / NAME).unlink(missing_ok=True)
