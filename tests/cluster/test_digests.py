"""A node whose conversations are not those of the others, although every checksum is right."""

from __future__ import annotations

import time

import msgspec

from engine.state_digests import REST_S
from engine.stored_state import stored_state
from storage.database import Database
from storage.records import Compaction
from tests.cluster.harness import Cluster, until
from tests.cluster.test_damaged_disks import DEPARTURE_S, leave

SAID, INSTEAD = b"a PRECIOUS question", b"a PREVIOUS question"


def tamper(cluster: Cluster, pid: int) -> None:
    """Changes a stored text, as a fault of the memory could before the checksum was made."""
    database = Database.open(leave(cluster, pid), "test", pid, 1)
    state = stored_state(database)
    rows: list[tuple[bytes, bytes | None]] = [
        (key, value.replace(SAID, INSTEAD)) for key, value in state.store.snapshot()
    ]
    assert rows != state.store.snapshot()
    database.write([Compaction(state.position, state.sessions, rows, state.configuration)])
    database.close()


def rest() -> None:
    """A digest is taken after a second without another operation, and looked for once a second. Whoever is compared
    before the others have told theirs is only known to differ, not to be wrong."""
    time.sleep(2.5 * REST_S)


def say(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create c1")
    cluster.nodes[1].ok(f"query c1 {SAID.decode()}")
    until(lambda: len(cluster.nodes[1].ok("view c1")["turns"][0]["candidates"]) == len(cluster.pids))
    cluster.converged()


def test_the_one_that_is_wrong_stops(cluster: Cluster) -> None:
    """With a sentence, whenever it is started with these data; and it is back when they are moved away."""
    say(cluster)
    rest()
    pid = next(pid for pid in cluster.pids if pid != cluster.leader())
    tamper(cluster, pid)
    path = cluster.folder / "data" / f"node-{pid}.db"
    for _ in range(2):
        cluster.start([pid])
        process = cluster.nodes[pid]
        failed = process.wait(lambda event: event["event"] == "failed")
        assert "this node's conversations are not those of nodes" in failed["error"], failed
        assert process.popen.wait(DEPARTURE_S) == 1
        assert "Traceback" not in process.log.read_text()
        assert path.exists() and not list(path.parent.glob("*.damaged-*")), "it is kept for inspection"
    others = [each for each in cluster.pids if each != pid]
    for each in others:
        cluster.nodes[each].wait(
            lambda event: event["event"] == "diverged" and f"node {pid}" in event["reason"]
            and "agrees with a majority" in event["reason"])
        assert cluster.nodes[each].alive
    cluster.nodes[others[0]].ok("create meanwhile")
    for part in path.parent.glob(f"{path.name}*"):
        part.rename(cluster.folder / part.name)
    cluster.start([pid])
    cluster.converged()
    assert [turn["query"] for turn in cluster.nodes[pid].ok("view c1")["turns"]] == [SAID.decode()]
    until(lambda: cluster.status(pid)["standing"] == "voter")


def test_without_a_majority_both_say_so_and_nobody_stops(cluster: Cluster) -> None:
    """Two of five are up: nobody can know who is right."""
    say(cluster)
    for pid in (3, 4, 5):
        cluster.nodes.pop(pid).kill()  # at once: before they tell digests, which node 1 would remember
    tamper(cluster, 2)
    cluster.start([2])
    for pid, other in ((1, 2), (2, 1)):
        event = cluster.nodes[pid].wait(lambda event: event["event"] == "diverged")
        assert f"node {other}" in event["reason"] and "nobody stops" in event["reason"], event
        assert cluster.status(pid)["differs"] == [other]
    cluster.start([3, 4, 5])
    assert cluster.nodes[2].popen.wait(DEPARTURE_S) == 1
    del cluster.nodes[2]
    cluster.nodes[1].ok("create after")
    assert "differs" not in cluster.status(3) or cluster.status(3)["differs"] == [2]


def test_the_event_is_one_of_the_schema() -> None:
    """Its keys are what programs rely on."""
    from api.node_events import DivergedEvent

    assert msgspec.to_builtins(DivergedEvent("why")) == {"event": "diverged", "reason": "why"}
