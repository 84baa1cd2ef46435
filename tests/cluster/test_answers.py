"""Answers: which LLMs are asked when nodes and LLMs fail, retries, and the nodes' own choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import CALM, Cluster, Event, until
from tests.unit.llm.gemini_tools import candidate, streamed, usage
from tests.unit.llm.llm_tools import stand_in


def nodes_with(**own: dict[str, Any]) -> list[dict[str, Any]]:
    """Five nodes; `n3={...}` are node 3's own settings."""
    return [{"id": pid, "llm": own[f"n{pid}"]} if f"n{pid}" in own else {"id": pid} for pid in range(1, 6)]


def answered(context: str, turn: int = 1) -> Callable[[Event], bool]:
    def is_answer(event: Event) -> bool:
        return (event["event"], event.get("context"), event.get("turn")) == ("answer", context, turn)

    return lambda event: is_answer(event) and "text" in event


def of(name: str, node: int, key: str) -> Callable[[Event], bool]:
    """An event about this node that has this key."""
    return lambda event: event["event"] == name and event["node"] == node and key in event


def asked_in_all(cluster: Cluster) -> int:
    """How often any LLM has been asked."""
    return sum(status["llm"]["requests"] for status in cluster.statuses().values())


def test_the_leader_alone_is_asked_and_every_screen_shows_the_answer(calm_cluster: Cluster) -> None:
    leader = calm_cluster.leader()
    asker = calm_cluster.nodes[leader % 5 + 1]
    asker.ok("create c")
    asker.ok("ask c Why?")
    seen = [process.wait(answered("c")) for process in calm_cluster.nodes.values()]
    assert {event["node"] for event in seen} == {leader}
    assert asked_in_all(calm_cluster) == 1
    asker.ok("query c And who says so?")
    for process in calm_cluster.nodes.values():
        process.wait(lambda e: e["event"] == "candidate" and e["turn"] == 2 and e["have"] == 5)
    asker.ok("choose c 2")
    asker.ok("ask c Really?")
    assert asker.wait(answered("c", 3))["node"] == calm_cluster.leader()
    assert asked_in_all(calm_cluster) == 1 + 5 + 1


def test_the_next_best_node_takes_over_from_an_llm_that_fails(tmp_path: Path) -> None:
    broken = {f"n{pid}": {"provider": "fake", "fail": f"broken {pid}"} for pid in (1, 2, 3, 4)}
    with Cluster(tmp_path, nodes=nodes_with(**broken), timing=CALM) as cluster:
        if cluster.leader() == 5:
            cluster.nodes[5].kill()
            cluster.leader(among=[1, 2, 3, 4])
            cluster.start([5])
        leader = cluster.leader()
        assert leader != 5
        until(lambda: all(len(status["links"]) == 4 for status in cluster.statuses().values()))  # all know who is there
        node = cluster.nodes[3]
        node.ok("create c")
        node.ok("ask c Why?")
        assert node.wait(answered("c"))["node"] == 5
        failures = [e["node"] for e in node.events if e["event"] == "answer" and "error" in e]
        assert failures == [leader, *sorted({1, 2, 3, 4} - {leader})], "the leader first, then by number"
        (turn,) = node.ok("view c")["turns"]
        assert [turn["candidates"][str(pid)]["error"] for pid in (1, 2, 3, 4)] == [f"broken {p}" for p in (1, 2, 3, 4)]
        assert turn["chosen"] == 5
        cluster.converged()


def test_the_leader_dies_while_its_llm_thinks(tmp_path: Path) -> None:
    with Cluster(tmp_path, llm={"provider": "fake", "delay_s": 5.0}, timing=CALM) as cluster:
        leader = cluster.leader()
        asker = cluster.nodes[leader % 5 + 1]
        asker.ok("create c")
        asker.ok("ask c Why?")
        until(lambda: cluster.status(leader)["llm"]["in_flight"] == 1)
        cluster.nodes[leader].kill()
        answer = asker.wait(answered("c"))
        assert answer["node"] != leader
        asked = asked_in_all(cluster)
        cluster.start([leader])
        cluster.leader()
        cluster.converged()
        (turn,) = cluster.nodes[leader].ok("view c")["turns"]
        assert turn["chosen"] == answer["node"] and list(turn["candidates"]) == [str(answer["node"])]
        assert asked_in_all(cluster) == asked == 1, "who came back asks nobody: it is decided"


def test_the_leader_dies_as_soon_as_its_answer_is_decided(calm_cluster: Cluster) -> None:
    """A node has it, but perhaps not the next leader: it must learn it before it asks."""
    for number in range(4):
        leader = calm_cluster.leader()
        others = [process for pid, process in calm_cluster.nodes.items() if pid != leader]
        others[0].ok(f"create c{number}")
        asked = {pid: calm_cluster.status(pid)["llm"]["requests"] for pid in calm_cluster.up() if pid != leader}
        others[0].send(f"ask c{number} Why?")
        others[number].wait(answered(f"c{number}"))
        calm_cluster.nodes[leader].kill()
        calm_cluster.leader()
        seen = [process.wait(answered(f"c{number}")) for process in others]
        assert {event["node"] for event in seen} == {leader}
        assert {pid: calm_cluster.status(pid)["llm"]["requests"] for pid in asked} == asked
        calm_cluster.start([leader])


def test_a_failed_answer_is_asked_for_again(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=nodes_with(n4={"provider": "fake", "fail": "no key"})) as cluster:
        cluster.leader()
        node = cluster.nodes[2]
        node.ok("create c")
        node.ok("query c Why?")
        node.wait(lambda e: e["event"] == "candidate" and e["have"] == 5)
        before = {pid: status["llm"]["requests"] for pid, status in cluster.statuses().items()}
        first = node.ok("view c")["turns"][0]["candidates"]
        node.ok("retry c 4")
        until(lambda: cluster.status(4)["llm"]["requests"] == 2)
        refused = node.do("query c And?")
        assert not refused["ok"] and "retry c" in refused["error"] and "cancel c" in refused["error"]
        node.ok("retry c")
        again = until(lambda: len(c := node.ok("view c")["turns"][0]["candidates"]) == 5 and c)
        assert all(again[pid].get("text") != first[pid].get("text") for pid in "1235"), "another round, another seed"
        after = {pid: status["llm"]["requests"] for pid, status in cluster.statuses().items()}
        assert {pid: after[pid] - before[pid] for pid in after} == {1: 1, 2: 1, 3: 1, 4: 2, 5: 1}
        cluster.converged()


def test_the_cluster_chooses_without_a_node_and_one_that_abstains(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=nodes_with(n1={"provider": "fake", "fail": "no key"}), timing=CALM) as cluster:
        dead = next(pid for pid in (5, 4) if pid != cluster.leader())
        cluster.nodes[dead].kill()
        node = cluster.nodes[2]
        node.ok("create c")
        node.ok("query c Why?")
        node.wait(lambda e: e["event"] == "candidate" and e["have"] == 4)
        node.ok("choose c auto")
        chosen = [cluster.nodes[pid].wait(lambda e: e["event"] == "chosen") for pid in cluster.up()]
        assert len({event["node"] for event in chosen}) == 1
        (turn,) = node.ok("view c --votes")["turns"]
        poll = turn["poll"]
        assert poll["votes"]["1"]["error"] == "no key"
        voters = [pid for pid in (2, 3, 4, 5) if pid != dead]
        assert set(poll["votes"]) == {"1", *map(str, voters)} and set(poll["points"]) == set(map(str, voters))
        points = {pid: sum(2 - poll["votes"][str(v)]["order"].index(pid) for v in voters) for pid in voters}
        assert points == {int(pid): count for pid, count in poll["points"].items()}
        assert turn["chosen"] == chosen[0]["node"] == min(voters, key=lambda pid: (-points[pid], pid))
        cluster.converged()


def test_answers_after_the_end_are_dropped_everywhere(tmp_path: Path) -> None:
    slow = {f"n{pid}": {"provider": "fake", "delay_s": 50} for pid in (4, 5)}
    with Cluster(tmp_path, nodes=nodes_with(**slow)) as cluster:
        cluster.leader()
        node = cluster.nodes[1]
        node.ok("create c")
        node.ok("query c Why?")
        node.wait(lambda e: e["event"] == "candidate" and e["have"] == 3)
        node.ok("cancel c")
        node.ok("query c And?")
        node.wait(lambda e: e["event"] == "candidate" and e["turn"] == 2 and e["have"] == 3)
        node.ok("choose c 3")
        until(lambda: all(cluster.status(pid)["llm"]["in_flight"] == 0 for pid in (4, 5)))
        cluster.converged()
        first, second = cluster.nodes[5].ok("view c")["turns"]
        assert set(first["candidates"]) == set(second["candidates"]) == {"1", "2", "3"}
        assert first["cancelled"] and second["chosen"] == 3


def test_progress_is_shown_where_the_question_was_typed_and_nowhere_else(tmp_path: Path) -> None:
    with Cluster(tmp_path, llm={"provider": "fake", "delay_s": 4}) as cluster:  # each tells of it several times
        cluster.leader()
        asker = cluster.nodes[2]
        asker.ok("create c")
        asker.ok("query c Why?")

        def told(*states: str) -> set[int]:
            return {e["node"] for e in asker.events if e["event"] == "progress" and e["state"] in states}

        # A node that is faster than the asker's own may tell of its start before that knows of the question.
        until(lambda: told("thinking", "writing") == {1, 2, 3, 4, 5})
        assert 2 in told("thinking")
        asker.wait(lambda e: e["event"] == "candidate" and e["have"] == 5)
        cluster.converged()
        assert len(asker.ok("log 100")["log"]) == 1 + 1 + 5, "nothing of it is in the log"
        others = [process for pid, process in cluster.nodes.items() if pid != 2]
        assert not any(event["event"] == "progress" for process in others for event in process.events)


def test_tokens_are_shown_as_gemini_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    words = [candidate(f"word {number} ", None) | usage(5, number) for number in range(1, 9)]
    with stand_in(streamed(*words, candidate("end."), delay_s=0.2)) as google:
        gemini = {"base_url": google.url, "api_key": "AIza-no-real-key"}
        own = {"n1": {"provider": "gemini", **gemini}, "n2": {"provider": "google-genai", **gemini}}
        with Cluster(tmp_path, nodes=nodes_with(**own)) as cluster:
            cluster.leader()
            asker = cluster.nodes[3]
            asker.ok("create c")
            asker.ok("query c Why?")
            for pid in (1, 2):
                told = asker.wait(of("progress", pid, "tokens"))
                done = asker.wait(of("candidate", pid, "text"))
                assert told["state"] == "writing" and 1 <= told["tokens"] <= len(done["text"]) // 4
                assert done["text"].startswith("word 1 word 2") and asker.events.index(told) < asker.events.index(done)
