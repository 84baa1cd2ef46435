"""Where things are in etcd, below the configured prefix:

    digest/<pid>                <position>.<digest> of its conversations there
    leader                      <pid>.<incarnation> of the leader, with its lease
    live/<pid>                  <incarnation> of a node that runs, with its lease
    members                     who belongs to the cluster: engine/etcd/members.py
    op/<pid>/<incarnation>/<number of the first>   a batch of operations, as an array of their bytes
    rows/<segment>/<chunk>      rows of the snapshot
    sent/<pid>                  <incarnation>.<number> of the last operation that node has put
    snapshot                    which segments are the snapshot: engine/etcd/snapshots.py

The order of the names matters: one watch, from `digest/` to the end of `op/`, sees all that nodes follow, and neither
the rows nor what goes with every batch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from engine.etcd.wire import end_of

_batch = msgspec.msgpack.Decoder(list[bytes])


class Unusable(Exception):
    """What is below the prefix is not this cluster's, or of a later release."""


class Batch(NamedTuple):
    """Operations of one node, with consecutive numbers from `first` on. With number 0 and no operations it begins an
    incarnation."""

    pid: int
    incarnation: int
    first: int
    payloads: list[bytes]

    @property
    def last(self) -> int:
        return self.first + len(self.payloads) - 1 if self.payloads else self.first


class Sent(NamedTuple):
    """How far a node has put its operations."""

    incarnation: int
    number: int

    def encoded(self) -> bytes:
        return b"%d.%d" % self


NOTHING_SENT: Final = Sent(0, 0)


def sent_of(value: bytes) -> Sent:
    """`NOTHING_SENT` if there is no value. Raises ValueError."""
    if not value:
        return NOTHING_SENT
    incarnation, number = value.split(b".")
    return Sent(int(incarnation), int(number))


class Keys:
    def __init__(self, prefix: str) -> None:
        self.prefix = root = prefix.strip("/").encode() + b"/"
        self.end = end_of(root)
        self.watched = self.digests = root + b"digest/"
        self.leader = root + b"leader"
        self.live = root + b"live/"
        self.members = root + b"members"
        self.operations = root + b"op/"
        self.operations_end = end_of(self.operations)
        self.rows = root + b"rows/"
        self.all_sent = root + b"sent/"
        self.manifest = root + b"snapshot"

    def live_node(self, pid: int) -> bytes:
        return self.live + b"%d" % pid

    def digest(self, pid: int) -> bytes:
        return self.digests + b"%d" % pid

    def digest_pid(self, key: bytes) -> int | None:
        """Whose digest is there."""
        word = key.removeprefix(self.digests)
        return int(word) if key.startswith(self.digests) and word.isdigit() else None

    def sent(self, pid: int) -> bytes:
        return self.all_sent + b"%d" % pid

    def segment(self, name: str) -> bytes:
        return self.rows + name.encode() + b"/"

    def chunk(self, name: str, number: int) -> bytes:
        return self.segment(name) + b"%06d" % number

    def operation(self, batch: Batch) -> bytes:
        return self.operations + b"%05d/%016x/%012x" % batch[:3]

    def operations_of(self, pid: int) -> bytes:
        return self.operations + b"%05d/" % pid

    def batch(self, key: bytes, value: bytes) -> Batch | None:
        """What is there; None if it is none that a node has put."""
        try:
            words = [word.decode("ascii") for word in key.removeprefix(self.operations).split(b"/")]
            pid, incarnation, first = int(words[0]), int(words[1], 16), int(words[2], 16)
            found = Batch(pid, incarnation, first, _batch.decode(value))
        except (ValueError, IndexError, msgspec.MsgspecError):
            return None
        return found if self.operation(found) == key and bool(first) == bool(found.payloads) else None

    def live_pid(self, key: bytes) -> int | None:
        """Whose presence this key tells."""
        word = key.removeprefix(self.live)
        return int(word) if key.startswith(self.live) and word.isdigit() else None


def encode_batch(payloads: list[bytes]) -> bytes:
    return msgspec.msgpack.encode(payloads)
