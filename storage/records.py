"""Records to write in addition to the core's own."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from paxos.messages import Configuration
from paxos.output import Persist


class Compaction(msgspec.Struct):
    """Makes the state machine as of `position` the stored snapshot.

    `rows` are those that changed since the last stored snapshot; None stands for a deleted row. The log stays as it
    is until `Persist.compacted` says so.
    """

    position: int
    sessions: dict[int, tuple[int, int]]
    rows: list[tuple[bytes, bytes | None]]
    configuration: Configuration | None = None


Record: TypeAlias = Persist | Compaction
