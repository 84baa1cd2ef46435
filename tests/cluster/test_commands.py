"""Every command at every node, and every possible mistake: a clear answer, nothing lost, the node alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("commands")) as cluster:
        cluster.leader()
        yield cluster


@pytest.mark.parametrize("pid", [pytest.param(1, marks=pytest.mark.quick), 2, 3, 4, 5])
def test_all_five_commands_at_every_node(running: Cluster, pid: int) -> None:
    node, context = running.nodes[pid], f"talk-{pid}"
    assert node.ok(f"create {context}")["context"] == context
    node.ok(f"query {context} Name three mammals.")
    for watcher in running.nodes.values():
        watcher.wait(lambda e: e["event"] == "candidate" and e["context"] == context and e["have"] == 5)
    node.ok(f"choose {context} 4")
    seen = [process.read(f"view {context}") for process in running.nodes.values()]
    turns = [view["turns"] for view in seen]
    assert turns == turns[:1] * 5
    (turn,) = turns[0]
    assert turn["query"] == "Name three mammals." and turn["chosen"] == 4
    assert set(turn["candidates"]) == {"1", "2", "3", "4", "5"}
    assert all(candidate["text"] for candidate in turn["candidates"].values())
    assert context in [c["context"] for c in node.read("viewall")["conversations"]]


WRONG = [
    ("query nowhere hello", "no conversation 'nowhere'"),
    ("view nowhere", "no conversation 'nowhere'"),
    ("choose nowhere 1", "no conversation 'nowhere'"),
    ("create errors", "'errors' already"),
    ("choose errors 1", "nothing to choose from"),
    ("choose errors x", "number of a node"),
    ("choose errors", "choose C N"),
    ("create", "create C"),
    ("query errors", "query C TEXT"),
    ("create two words", "create C"),
    ("crate c9", "create"),
    ("frobnicate", "help"),
]


@pytest.mark.parametrize(("command", "hint"), WRONG)
def test_a_wrong_command_is_answered_clearly_and_changes_nothing(running: Cluster, command: str, hint: str) -> None:
    node = running.nodes[3]
    node.do("create errors")
    before = node.ok("status")["digest"]
    result = node.do(command)
    assert not result["ok"]
    assert hint in result["error"]
    assert node.ok("status")["digest"] == before


def test_choosing_twice_tells_the_second_user_who_was_chosen(running: Cluster) -> None:
    running.nodes[1].ok("create twice")
    running.nodes[1].ok("query twice one?")
    for process in running.nodes.values():
        process.wait(lambda e: e["event"] == "candidate" and e["context"] == "twice" and e["have"] == 5)
    lines = {pid: running.nodes[pid].send(f"choose twice {pid}") for pid in (2, 5)}
    results = {pid: running.nodes[pid].result(line) for pid, line in lines.items()}
    winners = [pid for pid, result in results.items() if result["ok"]]
    (loser,) = set(lines) - set(winners)
    assert len(winners) == 1
    assert "already" in results[loser]["error"] and f"node {winners[0]}" in results[loser]["error"]


@pytest.mark.parametrize(
    "text",
    ["x" * 100_000, 'He said "no" and \'yes\' \\ and left', "¿Qué? 你好 🐙 עברית", "a\tb\x1b[31mred\x07\x00end"],
    ids=["100 KB", "quotes", "unicode", "control characters"],
)
def test_any_text_survives_as_it_was_typed(running: Cluster, text: str, request: pytest.FixtureRequest) -> None:
    context = f"text-{abs(hash(text))}"
    running.nodes[2].ok(f"create {context}")
    running.nodes[2].ok(f"query {context} {text}")
    assert running.nodes[4].read(f"view {context}")["turns"][0]["query"] == text


@pytest.mark.parametrize("text", ["", "   ", "\t"])
def test_an_empty_query_is_refused(running: Cluster, text: str) -> None:
    running.nodes[2].do("create blank")
    assert not running.nodes[2].do(f"query blank {text}")["ok"]
    assert running.nodes[2].alive


def test_status_has_what_outside_tests_rely_on(running: Cluster) -> None:
    status = running.nodes[1].ok("status")
    assert {"node", "role", "leader", "ballot", "decided", "applied", "queued", "digest"} <= set(status)


def test_end_of_input_answers_what_is_pending_then_leaves(tmp_path: Path) -> None:
    with Cluster(tmp_path, size=1) as cluster:
        node = cluster.nodes[1]
        last = node.send(*(f"create c{number}" for number in range(50)), "viewall")
        assert node.finish() == 0
        assert len(node.result(last)["conversations"]) == 50
