"""The scripts in scenarios/, run against real processes as an operator would: `script NAME`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import ROOT, Cluster

SCENARIOS = sorted(path.stem for path in (ROOT / "scenarios").glob("*.txt"))
WITHIN_S = 90.0
"""Bound of one script on a loaded machine; they take 2 to 25 s."""


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all scenarios: each begins with a reset, and none may leave anything behind."""
    with Cluster(tmp_path_factory.mktemp("shared")) as cluster:
        cluster.leader()
        yield cluster


def run_script(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """The events of a script that came to its end."""
    before = len(cluster.network.events)
    result = cluster.network.do(f"script {name}", WITHIN_S)
    assert result["ok"], result["error"]
    return cluster.network.events[before:]


def conversations(cluster: Cluster) -> list[str]:
    """Without that of the command `load`: it may be a user's own."""
    found = cluster.network.read("node 3: viewall")["conversations"]
    return [conversation["context"] for conversation in found if conversation["context"] != "load"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_comes_to_its_end_and_leaves_a_whole_network(shared_cluster: Cluster, name: str) -> None:
    before = conversations(shared_cluster)
    events = run_script(shared_cluster, name)
    assert conversations(shared_cluster) == before
    assert any(event["event"] == "step_result" and event["name"] == "say" for event in events)
    status = shared_cluster.network.do("status")
    assert [node["up"] for node in status["nodes"]] == [True] * 5
    assert (status["links"], status["own"], status["delay_ms"], status["timers"]) == ([], [], 0, [])
    assert shared_cluster.network.ok("wait converged")["nodes"] == [1, 2, 3, 4, 5]
    assert "wait converged" in (ROOT / "scenarios" / f"{name}.txt").read_text()
    if name == "split_brain":
        (later,) = (event for event in events if event["event"] == "node_answer")
        assert (later["node"], later["ok"]) == (1, False)
        assert "already" in later["error"]
    if name == "crash_of_all":
        downs = [event["node"] for event in events if event["event"] == "node_down"]
        assert sorted(downs) == [1, 2, 3, 4, 5]


def test_each_scenario_explains_itself_and_can_be_found() -> None:
    assert {"failover", "split_brain", "chain", "three_seconds", "crash_of_all", "lagging_node", "tour"} <= {*SCENARIOS}
    for name in SCENARIOS:
        text = (ROOT / "scenarios" / f"{name}.txt").read_text()
        assert f"script {name}" in text.splitlines()[0]
        assert text.count("\nsay ") >= 3
        assert "\nfinally\nfixAll\n" in text, "it cleans up, also when it fails or is stopped"
    assert "script tour" in Path(ROOT / "README.md").read_text()
