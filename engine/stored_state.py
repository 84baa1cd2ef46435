"""What a node's disk holds, while the node is stopped."""

from __future__ import annotations

from random import Random

import msgspec

from kvstore.payloads import UnknownOperation
from kvstore.store import Store
from paxos.limits import Limits, Timing
from paxos.messages import Configuration
from paxos.replica import Replica
from storage.database import Database
from storage.errors import StorageError, damaged


class StoredState(msgspec.Struct, frozen=True):
    store: Store
    position: int
    """Of the last operation in it."""
    sessions: dict[int, tuple[int, int]]
    configuration: Configuration | None
    accepted_only: int
    """The number of positions of which this disk does not say that they were decided."""


def stored_state(database: Database, *, accepted: bool = False) -> StoredState:
    """The state after all that the disk says is decided. With `accepted`, also after what follows that without a gap:
    it was accepted here, and whether it was decided only the other disks knew. Raises StorageError, also
    if any of it makes no sense to this release."""
    durable = database.durable
    upto = durable.decided
    if accepted:
        held = {entry.position for entry in durable.entries}
        while upto + 1 in held:
            upto += 1
    store = Store()
    try:
        store.load(database.rows())
    except ValueError as error:
        raise damaged(database.path, f"its snapshot: {error}", certain=False) from error
    durable = msgspec.structs.replace(durable, decided=upto)
    replica = Replica(1, (1,), durable, Timing(), Limits(), Random(0), 0.0)
    try:
        for applied in replica.take_output(0.0).apply:
            store.apply(applied.position, applied.operation.payload)
    except UnknownOperation as error:
        raise StorageError(f"cannot use {database.path}: {error}") from error
    accepted_only = upto - database.durable.decided
    return StoredState(store, replica.applied, replica.sessions.table(), replica.configuration, accepted_only)
