"""What every prompt says when so many voters have lost their disks that nothing can be decided any more."""

from __future__ import annotations

from collections.abc import Sequence


def no_quorum(lost: Sequence[int], voters: int, whose: str = "this node's") -> str:
    """`lost` are those of so many voters whose disks are gone, or too old to vote; `whose` data may be rescued."""
    nodes = f"node{'s' if len(lost) > 1 else ''} {', '.join(map(str, lost))}"
    return (
        f"{len(lost)} of {voters} voters have lost their disks ({nodes}): no quorum of voters can form; export works; "
        f"`./run.sh rescue` founds a new cluster from {whose} data"
    )
