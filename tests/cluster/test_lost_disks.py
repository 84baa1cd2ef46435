"""Disks that are lost or go back in time: what the others can repair they do, and what they cannot they say."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from tests.cluster.harness import Cluster, Event, Process, until
from tests.cluster.test_backup import run_sh
from tests.cluster.test_damaged_disks import leave

SENTENCE = (
    "3 of 5 voters have lost their disks (nodes 1, 2, 3): no quorum of voters can form; export works; "
    "`./run.sh rescue` founds a new cluster from "
)
AT_ONCE_S = 1.5
"""Reads that wait for a majority take two seconds, each time; a busy machine takes its time now and then."""


def lose_disk(cluster: Cluster, pid: int) -> None:
    """For good, while the node is stopped."""
    for path in (cluster.folder / "data").glob(f"node-{pid}.db*"):
        path.unlink()


def at_once(node: Process, command: str) -> Event:
    """Its result, which does not wait for anything; the command changes nothing."""
    for _ in range(3):
        try:
            return node.do(command, AT_ONCE_S)
        except TimeoutError as late:
            failure = late
    raise failure


def says(event: Event) -> bool:
    return bool(event["event"] == "quorum_lost")


def all_vote(cluster: Cluster) -> None:
    """Who was not there when the cluster was founded votes a moment later."""
    cluster.leader()
    until(lambda: {status["standing"] for status in cluster.statuses().values()} == {"voter"})


def converse(cluster: Cluster) -> None:
    cluster.nodes[1].ok("create precious")
    cluster.nodes[1].ok("query precious Name three mammals.")
    until(lambda: len(cluster.nodes[1].ok("view precious")["turns"][0]["candidates"]) == 5)
    cluster.nodes[1].ok("choose precious 2")
    cluster.converged()


def test_three_of_five_disks_are_gone(cluster: Cluster, tmp_path: Path) -> None:
    converse(cluster)
    founded = cluster.nodes[4].ok("members")["cluster"]
    for pid in (1, 2, 3):
        leave(cluster, pid)
        lose_disk(cluster, pid)
    line = cluster.nodes[5].send("create in-time")
    cluster.nodes[5].wait(lambda event: event["event"] == "waiting" and event["line"] == line)
    cluster.start([1, 2, 3])
    told = cluster.nodes[5].result(line)
    assert not told["ok"] and told["error"].startswith(SENTENCE) and "only if a lost disk turns up" in told["error"]
    for pid in cluster.pids:
        event = cluster.nodes[pid].wait(says)
        assert event["reason"].startswith(SENTENCE) and event["lost"] == [1, 2, 3] and event["voters"] == 5
        status = cluster.status(pid)
        assert status["lost"] == [1, 2, 3] and status["notice"] == event["reason"]
    told = cluster.network.wait(says)
    assert told["reason"].startswith(SENTENCE)
    assert cluster.network.ok("status")["notice"] == told["reason"]

    node = cluster.nodes[4]
    refused = at_once(node, "create more")
    assert not refused["ok"] and refused["error"].startswith(SENTENCE)
    for change in ("remove 1", "replace 1"):
        assert at_once(node, f"members {change}")["error"].startswith(SENTENCE)
    shown = at_once(node, "view precious")
    assert shown["stale"] and shown["turns"][0]["chosen"] == 2
    assert at_once(node, "viewall")["stale"]
    exported = at_once(node, f"export precious {tmp_path}/out.json --force")
    assert exported["stale"] and json.loads((tmp_path / "out.json").read_text())["context"] == "precious"
    for pid in (1, 2, 3):
        until(lambda pid=pid: "precious" in str(cluster.nodes[pid].ok("viewall")))  # type: ignore[misc]

    rescue(cluster, founded)


def rescue(cluster: Cluster, lost: str) -> None:
    """The way out that was named; the network process runs on."""
    refused = run_sh("rescue", cluster)
    assert refused.returncode == 1 and "is running: stop all nodes first" in refused.stderr
    for pid in cluster.pids:
        leave(cluster, pid)
    data = cluster.folder / "data"
    before = {path.name: path.read_bytes() for path in data.glob("node-4.db*") if path.suffix != ".lock"}
    done = run_sh("rescue", cluster, "4")
    assert done.returncode == 0, done
    assert "from the data of node 4: 1 conversation, up to operation " in done.stdout
    assert f"All former files are kept in {data / 'before-rescue-1'}" in done.stdout
    assert {path.name for path in (data / "before-rescue-1").iterdir()} >= before.keys()
    cluster.start(cluster.pids)
    cluster.leader()
    cluster.nodes[1].ok("create more", within=60)
    cluster.converged()
    assert cluster.nodes[3].ok("view precious")["turns"][0]["chosen"] == 2
    assert cluster.nodes[1].ok("members")["cluster"] == cluster.owner()["cluster_id"] != lost
    assert all("lost" not in status and status["standing"] == "voter" for status in cluster.statuses().values())


def test_rescue_takes_the_disk_that_holds_most_or_the_one_that_is_named(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        all_vote(cluster)
        cluster.nodes[1].ok("create c1")
        cluster.converged()
        leave(cluster, 1)
        cluster.nodes[2].ok("create c2")
        for pid in (2, 3):
            cluster.nodes[pid].kill()
        nobody = run_sh("rescue", cluster, "7")
        assert nobody.returncode == 1 and "there are no data of node 7" in nobody.stderr
        assert run_sh("rescue", cluster, "all").returncode == 2
        done = run_sh("rescue", cluster)
        assert done.returncode == 0 and "2 conversations, up to operation " in done.stdout, done
        again = run_sh("rescue", cluster, "2")
        assert again.returncode == 0 and (tmp_path / "data" / "before-rescue-2").exists()
        cluster.start(cluster.pids)
        cluster.leader()
        assert {each["context"] for each in cluster.nodes[1].ok("viewall")["conversations"]} == {"c1", "c2"}


def test_all_five_disks_are_lost_one_after_the_other(cluster: Cluster) -> None:
    """Each is back before the next one goes: the cluster keeps working, and all that was ever acknowledged."""
    all_vote(cluster)
    names = ["before"]
    cluster.nodes[1].ok("create before")
    for pid in cluster.pids:
        cluster.nodes[pid].kill()
        lose_disk(cluster, pid)
        other = pid % 5 + 1
        names.append(f"without-{pid}")
        cluster.nodes[other].ok(f"create without-{pid}", within=60)
        cluster.start([pid])
        until(lambda pid=pid: cluster.status(pid)["standing"] == "voter", within=60)  # type: ignore[misc]
    cluster.converged()
    for pid in cluster.pids:
        shown = cluster.nodes[pid].read("viewall")
        assert [each["context"] for each in shown["conversations"]] == names


def test_an_older_copy_of_a_disk_is_put_back(tmp_path: Path) -> None:
    """It is noticed where somebody remembers better, recovers like a lost disk, and nothing acknowledged is lost."""
    with Cluster(tmp_path, 3) as cluster:
        all_vote(cluster)
        cluster.nodes[1].ok("create early")
        cluster.converged()
        path = leave(cluster, 3)
        copy = tmp_path / "copy"
        shutil.copytree(path.parent, copy, ignore=lambda _, names: [
            name for name in names if not name.startswith("node-3.db")])
        cluster.start([3])
        cluster.converged()
        leave(cluster, 1)
        cluster.nodes[2].ok("create acknowledged", within=60)
        cluster.nodes[3].kill()
        lose_disk(cluster, 3)
        for part in copy.iterdir():
            shutil.copy(part, path.parent)
        cluster.start([3])
        until(lambda: cluster.status(3)["decided"] == cluster.status(2)["decided"] and cluster.status(2)["links"])
        assert cluster.status(3)["standing"] == "learner", "with one of two others down, nobody can decide its new disk"
        cluster.nodes[2].signal(signal.SIGTERM)
        cluster.nodes[2].popen.wait(20)
        cluster.start([1])
        until(lambda: cluster.status(1)["links"] == [3])
        line = cluster.nodes[1].send("create later")
        cluster.nodes[1].wait(lambda event: event["event"] == "waiting" and event["line"] == line)
        cluster.start([2])
        assert cluster.nodes[1].result(line, within=60)["ok"]
        until(lambda: cluster.status(3)["standing"] == "voter", within=60)
        cluster.converged()
        for pid in cluster.pids:
            found = [each["context"] for each in cluster.nodes[pid].ok("viewall")["conversations"]]
            assert found == ["early", "acknowledged", "later"]
