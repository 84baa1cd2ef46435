"""What is done to a cluster while its nodes are stopped: founded with the rows of a backup, or deleted."""

from __future__ import annotations

from collections.abc import Sequence

from engine.etcd.client import EtcdClient
from engine.etcd.keys import Keys
from engine.etcd.members import founded, put_record
from engine.etcd.snapshots import Refused, Snapshots
from engine.etcd.wire import delete, end_of, get, txn, unchanged
from kvstore.store import Store

WORK = "work"


class InUse(Exception):
    """There is a cluster, or it runs."""


async def restore(
    client: EtcdClient, prefix: str, cluster: str, pids: Sequence[int], position: int, rows: list[tuple[bytes, bytes]],
) -> str:
    """Founds cluster `cluster` of nodes `pids` with these rows; returns its id. Raises InUse if there is one."""
    keys, store = Keys(prefix), Store()
    store.load(rows)
    record = founded(cluster, pids)
    present = InUse(
        f"there are conversations already, below {keys.prefix.decode()} in etcd. A backup is restored only where there "
        'are none: set another "prefix"'
    )
    try:
        puts = await Snapshots(client, keys).found(position, store.digest(), rows)
    except Refused:
        raise present from None
    answer = await client.txn(
        WORK, txn([unchanged(keys.members, 0)], [put_record(keys, record), *puts], [get(keys.members)])
    )
    if not answer.succeeded and answer.value().value != put_record(keys, record)["request_put"]["value"]:
        raise present
    return record.id


async def erase(client: EtcdClient, prefix: str) -> int:
    """Deletes everything below the prefix; returns how many keys that were. Raises InUse if a node runs."""
    keys = Keys(prefix)
    live_end = end_of(keys.live)
    nobody = {"key": keys.live, "range_end": live_end, "target": "CREATE", "result": "EQUAL", "create_revision": 0}
    answer = await client.txn(WORK, txn(
        [nobody], [get(keys.prefix, keys.end, count_only=True), delete(keys.prefix, keys.end)],
        [get(keys.live, live_end, keys_only=True)],
    ))
    if not answer.succeeded:
        running = ", ".join(str(keys.live_pid(kv.key)) for kv in answer.range(0).kvs)
        raise InUse(f"node {running} runs, or did a moment ago: stop all nodes first")
    return answer.range(0).count
