"""What a number in a message, or on a disk, may be at most. All of it is checked while it is decoded: what is outside
of these bounds is no message of this protocol, and is dropped as a whole.

The bounds are far above what honest nodes ever reach, and as far below what the formats can carry: there is always
something to add. How near to them a node lets others drive it is not decided here, but in paxos/ceilings.py.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

MOST_PID = 65_535
MOST_NODES = 1_024
MOST_POSITION = 2**53
"""A million operations a second fill that in 285 years."""
MOST_COUNT = 2**62
"""Of what is counted up, or is a time in microseconds. A disk takes numbers below 2^63."""
MOST_PAYLOAD = 1024 * 1024
"""Bytes of one operation; what a node takes in for itself is less (see Limits)."""
MOST_PIECES = 2**20
"""Of a snapshot. A gigabyte takes a few thousand."""
_MOST_OPERATIONS = 8_192
_MOST_ROWS = 65_536

Pid: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_PID)]
Position: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_POSITION)]
Piece: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_PIECES)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
Identity: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Named: TypeAlias = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
"""An identity in a configuration, where -1 is that of no disk."""
Digest: TypeAlias = Annotated[int, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(ge=-1e15, le=1e15)]
"""Infinity is outside, and so is what is no number."""
Version: TypeAlias = Annotated[int, Meta(ge=0, le=2**16)]
Hops: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_NODES)]
Payload: TypeAlias = Annotated[bytes, Meta(max_length=MOST_PAYLOAD)]

OF_NODES = Meta(max_length=MOST_NODES)
OF_SESSIONS = Meta(max_length=MOST_PID)
OF_OPERATIONS = Meta(max_length=_MOST_OPERATIONS)
"""More than any node puts into one message."""
OF_ROWS = Meta(max_length=_MOST_ROWS)
"""The same, of rows of a snapshot, and of entries."""
