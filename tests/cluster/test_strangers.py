"""Unauthorized connections are refused with a clear message and do not affect the cluster."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path

from tests.cluster.harness import Cluster, Event, Process, until
from tests.free_ports import free_port


def knock(cluster: Cluster, payload: bytes) -> bytes:
    """Connects to the relay, sends bytes, and returns what it receives until the connection is closed."""
    port = cluster.settings["orchestrator"]["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stranger:
        stranger.sendall(payload)
        received = b""
        try:
            while chunk := stranger.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass  # closed with unread bytes: equally good
        return received


def refused(event: Event) -> bool:
    return bool(event["event"] == "refused")


def test_garbage_and_oversized_frames_are_refused_and_the_cluster_goes_on(calm_cluster: Cluster) -> None:
    calm_cluster.nodes[1].ok("create c1")
    ballot = calm_cluster.status(1)["ballot"][:2]
    seen = len(calm_cluster.network.events)
    for payload in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 64, struct.pack(">IBHH", 2**31, 1, 1, 2)):
        knock(calm_cluster, payload)
    # What comes after the first is only counted for a while.
    assert "unidentified" in calm_cluster.network.wait(refused, since=seen)["reason"]
    calm_cluster.nodes[2].ok("create c2")
    assert calm_cluster.status(1)["ballot"][:2] == ballot


def test_a_second_node_3_is_refused_by_its_disk_and_by_the_relay(cluster: Cluster, tmp_path: Path) -> None:
    second = cluster._process(["node.py", "3"], "second")
    assert second.popen.wait(20) == 1
    assert "in use by process" in second.log.read_text()
    elsewhere = dict(cluster.settings, data_dir="elsewhere")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(elsewhere))
    third = Process(["node.py", "3", "--config", str(other), "--json"], tmp_path / "third.err")
    cluster.started.append(third)
    assert "running" in third.wait(refused)["reason"]
    assert cluster.network.wait(refused)["reason"]
    cluster.nodes[3].ok("create c3")


def test_a_wrong_secret_is_refused_and_the_right_one_works(tmp_path: Path) -> None:
    with Cluster(tmp_path, secret="correct horse battery") as cluster:
        cluster.leader()
        cluster.nodes[5].kill()
        wrong = tmp_path / "wrong.json"
        wrong.write_text(json.dumps(dict(cluster.settings, secret="wrong wrong wrong")))
        impostor = Process(["node.py", "5", "--config", str(wrong), "--json"], tmp_path / "impostor.err")
        cluster.started.append(impostor)
        assert "secret" in impostor.wait(refused)["reason"]
        assert "secret" in cluster.network.wait(refused)["reason"]
        impostor.kill()
        cluster.start([5])
        cluster.nodes[5].ok("create c1")
    for path in tmp_path.rglob("*"):
        assert path.suffix == ".json" or not path.is_file() or b"correct horse battery" not in path.read_bytes()


def conversations(process: Process) -> set[str]:
    return {each["context"] for each in process.read("viewall")["conversations"]}


def founded(folder: Path, port: int, name: str) -> str:
    """Runs a cluster of three that has one conversation, and stops it; returns its id."""
    with Cluster(folder, 3, orchestrator={"port": port}) as cluster:
        cluster.nodes[1].ok(f"create {name}", within=60)
        cluster_id: str = cluster.nodes[1].ok("members")["cluster"]
        until(lambda: all(cluster.nodes[pid].do("members").get("cluster") == cluster_id for pid in cluster.pids))
        cluster.converged()
        until((folder / "data" / "network.json").exists)
        return cluster_id


def test_a_node_of_another_cluster_of_the_same_name_is_refused_in_words(cluster: Cluster, tmp_path: Path) -> None:
    """The wrong folder, or a port copied by mistake: its node 3 comes while ours is down."""
    theirs = founded(tmp_path / "theirs", free_port(), "only-theirs")
    cluster.nodes[1].ok("create only-ours", within=60)
    cluster.converged()
    ours = cluster.nodes[1].ok("members")["cluster"]
    cluster.nodes[3].kill()
    path = tmp_path / "theirs" / "mixed.json"
    path.write_text(json.dumps(dict(cluster.settings, nodes=[{"id": pid} for pid in (1, 2, 3)])))
    stranger = Process(["node.py", "3", "--config", str(path), "--json"], tmp_path / "stranger.err")
    cluster.started.append(stranger)
    reason = stranger.wait(refused)["reason"]
    assert reason == f"this is cluster test {ours}, node 3 belongs to cluster test {theirs}"
    assert cluster.network.wait(refused)["reason"] == reason
    cluster.nodes[2].ok("create during", within=60)
    assert stranger.do("viewall")["stale"] is True
    stranger.kill()
    cluster.start([3])
    assert conversations(cluster.nodes[3]) == {"only-ours", "during"}


def test_nodes_that_reconnect_to_the_network_of_another_cluster_are_refused(tmp_path: Path) -> None:
    """`exit` at our network, while our nodes go on; then another checkout is started with the same name and port."""
    port = free_port()
    theirs = founded(tmp_path / "theirs", port, "only-theirs")
    with Cluster(tmp_path / "ours", 3, orchestrator={"port": port}) as ours:
        ours.nodes[1].ok("create only-ours", within=60)
        ours.converged()
        ours.network.kill()
        with Cluster(tmp_path / "theirs", 3, orchestrator={"port": port}) as others:
            others.nodes[2].ok("create theirs-too", within=60)
            assert others.nodes[2].ok("members")["cluster"] == theirs
            for pid in ours.pids:
                assert f"this is cluster test {theirs}" in ours.nodes[pid].wait(refused)["reason"]
            assert conversations(others.nodes[1]) == {"only-theirs", "theirs-too"}
        ours.start_network()
        ours.nodes[2].ok("create ours-too", within=60)
        assert conversations(ours.nodes[1]) == {"only-ours", "ours-too"}
