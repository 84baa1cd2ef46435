"""Scenes of nodes on a fake etcd, each about one thing that would go wrong rarely."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine
from typing import Any

from engine.etcd.client import FIRST_ANSWER_S
from engine.etcd.follower import STALLED_S
from engine.etcd.http import HttpError
from engine.etcd.presence import TTL_S
from kvstore.operations import Create
from kvstore.payloads import encode
from tests.simulation.etcd_gateway import EXHAUSTED, UNAVAILABLE, Json, Kept, Refuse
from tests.simulation.etcd_runs import one
from tests.simulation.etcd_world import ENDPOINTS, LONGEST_S, EtcdWorld, SimulatedNode
from tests.simulation.virtual_loop import run
from tests.simulation.world import Violation

Scene = Callable[[], Coroutine[Any, Any, None]]


def in_virtual_time(scene: Scene) -> Callable[[], None]:
    def played() -> None:
        run(scene)

    played.__name__, played.__doc__ = scene.__name__, scene.__doc__
    return played


def _puts(request: Json, part: bytes) -> list[bytes]:
    """What is put at keys with this in them."""
    puts = [each["request_put"] for each in request.get("success", ()) if "request_put" in each]
    return [b64decode(each["value"]) for each in puts if part in b64decode(each["key"])]


def _is_batch(request: Json) -> bool:
    """With operations in it."""
    return any(len(value) > 1 for value in _puts(request, b"/op/"))


def _operations(world: EtcdWorld, part: str = "op/") -> list[str]:
    """Keys of batches with operations in them."""
    return [key for key in world.etcd.keys(part) if not key.endswith("/000000000000")]


async def _started(world: EtcdWorld, *numbers: int) -> None:
    world.start(*(numbers or world.numbers))
    await world.until(lambda: all(node.engine.status().leader for node in world.nodes.values()))


async def _created(world: EtcdWorld, node: SimulatedNode, *names: str) -> None:
    """One after the other."""
    for name in names:
        node.create(name)
        await world.until(lambda: not node.tickets)


@in_virtual_time
async def answer_lost() -> None:
    """Every batch takes effect, and its first answer is lost."""
    world, seen = EtcdWorld(3), set[str]()

    def after(endpoint: str, path: str, request: Json) -> None:
        if _is_batch(request) and (name := str(request)) not in seen:
            seen.add(name)
            raise HttpError("has closed the connection")

    world.etcd.after = after
    await _started(world)
    for number in range(10):
        world.nodes[1].create(f"a{number}")
        world.nodes[2].create(f"b{number}")
        await asyncio.sleep(0.05)
    await world.settled()


@in_virtual_time
async def batches_overtake() -> None:
    """Several batches of a node are in flight, and each takes another time."""
    world = EtcdWorld(2)
    world.etcd.delay = lambda: world.random.choice((0.001, 0.03, 0.2))
    await _started(world)
    for number in range(40):
        world.nodes[1].create(f"c{number}")
        await asyncio.sleep(0.01)
    await world.settled()
    created = list(world.nodes[1].engine.store.conversations)
    if created != [f"c{number}" for number in range(40)]:
        raise Violation(f"not first in, first out: {created}")


@in_virtual_time
async def keys_that_are_no_batches() -> None:
    """More of them than a page has lie where operations are."""
    world = EtcdWorld(2)
    for number in range(40):
        revision = world.etcd.revision + 1
        world.etcd._change([Kept(b"test/op/odd%d" % number, b"?", revision, revision, 0)], [])
    await _started(world)
    await _created(world, world.nodes[1], "c")
    await world.settled()


@in_virtual_time
async def a_part_of_the_snapshot_is_gone() -> None:
    """A node that needs it says so, and does not ask for it for ever."""
    world = EtcdWorld(3, snapshot_every=3)
    await _started(world, 1, 2)
    await _created(world, world.nodes[1], *(f"c{number}" for number in range(10)))
    await world.until(lambda: world.etcd.keys("rows/"))
    world.etcd._change([], [key for key in world.etcd.kept if b"/rows/" in key])
    world.start(3)
    try:
        await world.until(lambda: False)
    except Violation as violation:
        if "failed: the snapshot in etcd is incomplete" not in str(violation):
            raise
    await world.close()


@in_virtual_time
async def compacted_batch_repeated() -> None:
    """A batch is put, applied, and gone with a snapshot; then the request comes once more."""
    world = EtcdWorld(2, snapshot_every=3)
    await _started(world)
    await _created(world, world.nodes[1], "once")
    repeated = next(request for _, _, request in world.etcd.requests if b"once" in b"".join(_puts(request, b"/op/")))
    await _created(world, world.nodes[2], *(f"c{number}" for number in range(10)))
    await world.until(lambda: not _operations(world, "op/00001/"))
    world.etcd._txn(repeated)
    if _operations(world, "op/00001/"):
        raise Violation("an operation that was compacted was put again")
    await world.settled()


@in_virtual_time
async def earlier_process_goes_on() -> None:
    """A node is started while an earlier process of it still runs: that one stops, and nothing of it counts."""
    world = EtcdWorld(2)
    await _started(world)
    before = world.nodes[1]
    world.start(1)
    await world.until(lambda: world.nodes[1].engine.status().leader)
    before.create("late")
    await asyncio.sleep(1)
    await before.engine.close()
    if before.failed is None or "another process runs as node 1" not in before.failed:
        raise Violation("the earlier process goes on")
    await _created(world, world.nodes[1], "c1")
    if "late" in world.nodes[2].engine.store.conversations:
        raise Violation("what an earlier process put counts")
    await world.settled()


@in_virtual_time
async def watch_falls_silent() -> None:
    """A member tells a watch nothing more, without closing it; a read must not show less than was acknowledged."""
    world = EtcdWorld(2)
    await _started(world)
    world.etcd.silent.update(ENDPOINTS)
    world.nodes[1].create("c1")
    await asyncio.sleep(0.1)
    world.etcd.silent.clear()
    await world.until(lambda: not world.nodes[1].tickets, within=2 * STALLED_S)
    reading = world.nodes[2].engine.read()
    await asyncio.wait([reading], timeout=3 * STALLED_S)
    if not reading.done() or "c1" not in world.nodes[2].engine.store.conversations:
        raise Violation("a read shows less than was acknowledged, or nothing")
    await world.settled()


@in_virtual_time
async def answer_lost_and_silent() -> None:
    """A batch takes effect, its answer is lost, and the watch tells nothing of it."""
    world, lost = EtcdWorld(1), list[str]()

    def after(endpoint: str, path: str, request: Json) -> None:
        if _is_batch(request) and not lost:
            lost.append(endpoint)
            world.etcd.silent.clear()
            raise Refuse(EXHAUSTED, "etcdserver: too many requests", 429)

    await _started(world)
    world.etcd.after = after
    world.etcd.silent.update(ENDPOINTS)
    world.nodes[1].create("c1")
    await world.until(lambda: not world.nodes[1].tickets, within=3 * STALLED_S)


@in_virtual_time
async def member_hangs() -> None:
    """The member that a node watches takes requests, and answers nothing; meanwhile another node leads."""
    world = EtcdWorld(3)
    await _started(world)
    leader = world.nodes[1].engine.status().leader
    assert leader is not None
    watched = world.nodes[leader % 3 + 1].engine._client._endpoint
    world.etcd.hung, world.etcd.silent = {watched}, {watched}
    await world.kill(leader)
    others = list(world.nodes.values())
    await world.until(
        lambda: all(node.engine.status().leader not in (None, leader) for node in others), within=4 * TTL_S)
    await _created(world, others[0], "c1")
    world.etcd.hung.clear()
    await world.settled()


@in_virtual_time
async def watch_breaks_in_a_revision() -> None:
    """A watch breaks off between two events of one revision: a lease ends with two keys."""
    world = EtcdWorld(3)
    world.etcd.fragments = True
    await _started(world)
    leader = world.nodes[1].engine.status().leader
    assert leader is not None
    await world.kill(leader)
    told = type(world.etcd)._tell

    def tell(stream: Any, changes: list[Any]) -> None:
        told(world.etcd, stream, changes[:1] if len(changes) > 1 else changes)
        if len(changes) > 1:
            stream.queue.put_nowait(None)

    world.etcd._tell = tell  # type: ignore[method-assign]
    await asyncio.sleep(TTL_S)
    world.etcd.expire()
    world.etcd._tell = told.__get__(world.etcd)  # type: ignore[method-assign]
    left = [node for number, node in world.nodes.items() if number != leader]
    await world.until(lambda: all(node.engine.status().leader not in (None, leader) for node in left), within=2 * TTL_S)
    await world.until(lambda: all(leader not in node.engine.status().links for node in left), within=TTL_S)


@in_virtual_time
async def history_is_compacted() -> None:
    """While a watch is broken, etcd forgets its history; more than once, also of what nodes follow besides."""
    world = EtcdWorld(3, snapshot_every=5)
    await _started(world)
    for round_ in range(8):
        cut = ENDPOINTS[round_ % 3]
        world.etcd.cut = {cut}
        world.etcd.break_watches()
        for number in range(3):
            world.nodes[1 + number].create(f"c{round_}-{number}")
        await asyncio.sleep(0.02)
        world.etcd.compact()
        await asyncio.sleep(0.3)
    world.etcd.cut.clear()
    await world.settled()


@in_virtual_time
async def compacted_while_paging() -> None:
    """A node reads what is there, page after page as of one revision, and that revision is compacted meanwhile."""
    world = EtcdWorld(2)
    await _started(world, 1)
    await _created(world, world.nodes[1], *(f"c{number}" for number in range(20)))
    pages: list[str] = []

    def after(endpoint: str, path: str, request: Json) -> None:
        if any("min_mod_revision" in each.get("request_range", {}) for each in request.get("success", ())):
            pages.append(endpoint)
            if len(pages) == 1:
                world.nodes[1].create("meanwhile")
                world.etcd.compact(world.etcd.revision)

    world.etcd.after = after
    world.start(2)
    await world.settled()
    if len(pages) < 2:
        raise Violation("it did not begin again")


@in_virtual_time
async def lease_ends_before_use() -> None:
    """A node gets a lease, and does not get to use it before it ends."""
    world, granted = EtcdWorld(1), list[str]()

    def after(endpoint: str, path: str, request: Json) -> None:
        if path == "/v3/lease/grant" and not granted:
            granted.append(path)
            for lease in list(world.etcd._leases):
                world.etcd._revoke(lease)

    world.etcd.after = after
    world.start(1)
    await world.until(lambda: world.nodes[1].engine.status().leader, within=4 * TTL_S)


@in_virtual_time
async def starts_from_a_snapshot() -> None:
    """All is in segments; one of them was written by a leader that was killed in the middle."""
    world = EtcdWorld(3, snapshot_every=4)
    await _started(world)
    for _ in range(4):
        names = [f"c{world.random.random()}" for _ in range(6)]
        await _created(world, world.nodes[2], *names)
        leader = world.nodes[2].engine.status().leader
        if leader not in (None, 2):
            await world.kill(leader)
            await asyncio.sleep(2 * TTL_S)
            world.start(leader)
    await world.settled()
    if len(_operations(world)) > 12:
        raise Violation(f"operations are not compacted: {len(_operations(world))} are left")
    world.etcd.compact()
    for number in world.numbers:
        await world.kill(number)
    await _started(world)
    await world.settled()


@in_virtual_time
async def leads_from_a_snapshot() -> None:
    """A node that began with a snapshot leads, and stores the next one; then a node begins with that."""
    world = EtcdWorld(2, snapshot_every=4)
    await _started(world, 1)
    await _created(world, world.nodes[1], *(f"c{number}" for number in range(6)))
    await world.until(lambda: world.etcd.keys("snapshot"))
    await _started(world, 2)
    await world.kill(1)
    await world.until(lambda: world.nodes[2].engine.status().leader == 2)
    await _created(world, world.nodes[2], *(f"d{number}" for number in range(6)))
    world.start(1)
    await world.settled()


@in_virtual_time
async def deposed_leader_stores() -> None:
    """A leader loses its lease while it stores a snapshot: what it writes then does not count."""
    world = EtcdWorld(3, snapshot_every=6)
    held: list[Json] = []

    def before(endpoint: str, path: str, request: Json) -> None:
        if _puts(request, b"/snapshot"):
            held.append(request)
            if len(held) < 20:
                raise Refuse(UNAVAILABLE, "etcdserver: request timed out")

    world.etcd.before = before
    await _started(world)
    await _created(world, world.nodes[1], *(f"c{number}" for number in range(7)))
    await world.until(lambda: held)
    leader = world.nodes[1].engine.status().leader
    assert leader is not None
    others = [number for number in world.numbers if number != leader]
    await world.kill(leader)
    await asyncio.sleep(2 * TTL_S)
    world.etcd.before = lambda endpoint, path, request: None
    await _created(world, world.nodes[others[0]], *(f"d{number}" for number in range(20)))
    if world.etcd._txn(held[0]).get("succeeded"):
        raise Violation("a snapshot counts whose writer began as the leader and finished without the lease")
    world.start(leader)
    await world.settled()
    await world.kill(others[0])
    world.start(others[0])
    await world.settled()


@in_virtual_time
async def leader_is_replaced() -> None:
    """The leader is gone without a word; later its former self is back, and leads only if it is elected."""
    world = EtcdWorld(3)
    await _started(world)
    leader = world.nodes[1].engine.status().leader
    assert leader is not None
    others = [node for number, node in world.nodes.items() if number != leader]
    await world.kill(leader)
    await world.until(
        lambda: all(node.engine.status().leader not in (None, leader) for node in others), within=2 * TTL_S)
    world.start(leader)
    await world.until(lambda: len({node.engine.status().leader for node in world.nodes.values()}) == 1)
    if sum(node.engine.status().role == "leader" for node in world.nodes.values()) != 1:
        raise Violation("not exactly one node leads")


@in_virtual_time
async def alone_without_etcd() -> None:
    """A node that reaches etcd no more knows of no leader, itself included, once its lease may have ended."""
    world = EtcdWorld(1)
    await _started(world)
    node = world.nodes[1]
    world.etcd.cut.update(ENDPOINTS)
    world.etcd.break_watches()
    node.create("waits")
    await asyncio.sleep(2 * TTL_S)
    status = node.engine.status()
    if status.role == "leader" or status.leader is not None or node.engine.majority_reachable():
        raise Violation(f"it takes itself for the leader: {status}")
    world.etcd.cut.clear()
    await world.settled()


@in_virtual_time
async def request_dies_with_etcds_leader() -> None:
    """A batch is never answered, as when its member has passed it on to a leader that dies."""
    world = EtcdWorld(1)
    await _started(world)
    usual, node = world.etcd.delay, world.nodes[1]
    world.etcd.delay = lambda: LONGEST_S
    node.create("c1")
    await asyncio.sleep(0.01)
    world.etcd.delay = usual
    await world.until(lambda: not node.tickets, within=1.5 * FIRST_ANSWER_S)
    await world.settled()


@in_virtual_time
async def trouble_is_told_once() -> None:
    """A watch that breaks is not worth telling; that etcd has no majority is, once, for as long as it lasts."""
    world = EtcdWorld(3)
    await _started(world)
    for _ in range(3):
        await asyncio.sleep(10)
        world.etcd.break_watches()
    await asyncio.sleep(1)
    if any(node.told != ["connected"] for node in world.nodes.values()):
        raise Violation(f"it is told that a watch has broken: {world.nodes[1].told}")

    def before(endpoint: str, path: str, request: Json) -> None:
        raise Refuse(UNAVAILABLE, "etcdserver: no leader")

    usual, world.etcd.before = world.etcd.before, before
    world.etcd.cut = set(ENDPOINTS)
    world.etcd.break_watches()
    world.nodes[1].create("c1")
    await asyncio.sleep(20)
    world.etcd.cut.discard(ENDPOINTS[0])
    await asyncio.sleep(20)
    if any(node.engine.status().notice != "etcd has no leader" for node in world.nodes.values()):
        raise Violation(f"the status does not say what is wrong: {world.nodes[1].engine.status().notice}")
    world.etcd.before = usual
    world.etcd.cut.clear()
    await world.settled()
    for node in world.nodes.values():
        told = node.told[1:-1]
        if node.told[-1] != "connected" or "etcd has no leader" not in told or len(told) > len(set(told)):
            raise Violation(f"it is told more than once, or not: {node.told}")


@in_virtual_time
async def lease_is_replaced() -> None:
    """The leader has to take a new lease, while etcd keeps the former one for longer: it leads on with the new one."""
    world = EtcdWorld(2)
    await _started(world)
    leader = world.nodes[1].engine.status().leader
    assert leader is not None
    kept, former = world.etcd._leases, world.etcd.kept[b"test/leader"].lease

    def before(endpoint: str, path: str, request: Json) -> None:
        if path == "/v3/lease/keepalive" and int(request["ID"]) == former:
            kept[former] = TTL_S, asyncio.get_running_loop().time() + TTL_S
            raise Refuse(UNAVAILABLE, "etcdserver: request timed out")

    world.etcd.before = before
    await world.until(lambda: world.etcd.kept[b"test/leader"].lease != former, within=2 * TTL_S)
    world.etcd._revoke(former)
    await asyncio.sleep(1)
    if any(node.engine.status().leader != leader for node in world.nodes.values()):
        raise Violation("the leader has changed with its lease")
    await world.settled()


@in_virtual_time
async def conversations_differ() -> None:
    """The memory of one of three is not what it should be: it stops, the others say so; of two, both say so."""
    world = EtcdWorld(3)
    await _started(world)
    await _created(world, world.nodes[1], "c1")
    await asyncio.sleep(3)
    world.nodes[3].engine.store.apply(99, encode(Create("imagined")))
    await world.kill(2)
    await _created(world, world.nodes[1], "c2")
    await asyncio.sleep(4)
    if not all("No majority agrees" in node.told[-1] for node in world.nodes.values()):
        raise Violation("nobody says that they differ")
    world.start(2)
    await asyncio.sleep(4)
    if world.nodes[3].failed is None or "It stops" not in world.nodes[3].failed or world.nodes[1].failed is not None:
        raise Violation(f"the wrong one goes on: {world.nodes[3].failed}, {world.nodes[1].failed}")
    if world.nodes[1].engine.status().differs != (3,):
        raise Violation("the status does not show who differs")
    await world.nodes.pop(3).engine.close()
    world.start(3)
    await world.settled()


@in_virtual_time
async def drawn_runs() -> None:
    """Some of those of etcd_runs.py."""
    for seed in range(1, 13):
        await one(seed)


STORIES: dict[str, Callable[[], None]] = {
    "etcd-put-blindly": compacted_batch_repeated,
    "etcd-counted-twice": answer_lost,
    "etcd-incarnation-not-claimed": earlier_process_goes_on,
    "etcd-found-earlier-attempt-not-expected": answer_lost_and_silent,
    "etcd-goes-on-after-the-revision": watch_breaks_in_a_revision,
    "etcd-snapshot-passed-over": history_is_compacted,
    "etcd-silence-not-noticed": watch_falls_silent,
    "etcd-left-members-watched": member_hangs,
    "etcd-anybody-stores": deposed_leader_stores,
    "etcd-sessions-not-in-snapshots": starts_from_a_snapshot,
    "etcd-new-leader-stores-changes": leads_from_a_snapshot,
    "etcd-operations-kept": starts_from_a_snapshot,
    "etcd-reads-at-once": watch_falls_silent,
    "etcd-leads-without-lease": alone_without_etcd,
    "etcd-differences-ignored": conversations_differ,
    "etcd-found-patience-at-once": request_dies_with_etcds_leader,
    "etcd-found-broken-watch-told": trouble_is_told_once,
    "etcd-found-trouble-told-in-turns": trouble_is_told_once,
    "etcd-found-members-hide-trouble": trouble_is_told_once,
    "etcd-found-leads-by-former-lease": lease_is_replaced,
    "etcd-found-compacted-insisted-on": compacted_while_paging,
    "etcd-found-lease-insisted-on": lease_ends_before_use,
}
"""By mutant."""

MORE: tuple[Callable[[], None], ...] = (
    a_part_of_the_snapshot_is_gone, batches_overtake, drawn_runs, keys_that_are_no_batches, leader_is_replaced,
)
"""Stories that no single mistake belongs to."""
