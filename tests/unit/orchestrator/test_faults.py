"""The operator's faults of single links and nodes, temporary faults, and the removal of all of them."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import orchestrator.node_faults
from net.control_messages import Report
from net.relay.faults.loss import Loss
from orchestrator import waiting
from orchestrator.node_client import NodeClient, NodeUnreachable
from orchestrator.script import _fresh
from tests.unit.net.net_tools import Node, run, until
from tests.unit.orchestrator.operator_tools import Operator, operator_of


@pytest.fixture(autouse=True)
def no_waiting_for_nodes_on_their_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator.node_faults, "SETTLE_S", 0.0)
    monkeypatch.delenv("TMUX", raising=False)


def of_kind(at: Operator, kind: str) -> list[dict[str, Any]]:
    return [event for event in at.events if event["event"] == kind]


def test_delay_loss_and_duplicates_of_single_links_and_directions(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            assert (await at.ok("delay 1 2 300 50 --oneway"))["on"] == [[1, 2]]
            assert (await at.ok("loss 3 4 20%"))["on"] == [[3, 4], [4, 3]]
            await at.ok("dup 3 4 10")
            await at.ok("reorder 4 5 1 --oneway")
            status = await at.ok("status")
            assert (status["delay_ms"], status["loss_percent"]) == (0, 0)
            own = {(link["from"], link["to"]): link for link in status["own"]}
            assert list(own) == [(1, 2), (3, 4), (4, 3), (4, 5)]
            assert (own[1, 2]["delay_ms"], own[1, 2]["jitter_ms"], own[1, 2]["loss_percent"]) == (300, 50, 0)
            assert (own[4, 3]["loss_percent"], own[4, 3]["duplicate_percent"]) == (20, 10)
            assert own[4, 5]["reorder_percent"] == 1
            await at.ok("delay 10")
            assert "on" not in await at.ok("dup 0")
            own = {(link["from"], link["to"]): link for link in (await at.ok("status"))["own"]}
            assert list(own) == [(3, 4), (4, 3), (4, 5)]
            json.dumps(own[3, 4])

    run(main())


def test_an_isolated_node_has_no_links(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            await at.ok("isolate 3")
            assert await at.links() == sorted(
                [[3, other] for other in (1, 2, 4, 5)] + [[other, 3] for other in (1, 2, 4, 5)]
            )
            await at.ok("heal")
            assert await at.links() == []

    run(main())


def test_a_fault_for_a_while_ends_by_itself_and_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            await at.ok("delay 100")
            assert (await at.ok("delay 3000 --for 200ms"))["for_s"] == 0.2
            await at.ok("failLink 1 2 --for 100ms")
            await at.ok("partition 1,2 | 3,4,5 --for 300ms")
            status = await at.ok("status")
            assert (status["delay_ms"], len(status["links"])) == (3000, 12)
            assert {timer["fault"] for timer in status["timers"]} >= {"delay 3000", "partition 1,2 | 3,4,5"}
            await until(lambda: len(of_kind(at, "fault_over")) == 3)
            assert of_kind(at, "fault_over")[0]["fault"] == "failLink 1 2"
            status = await at.ok("status")
            assert (status["delay_ms"], status["links"], status["timers"]) == (100, [], [])
            done = [entry["what"] for entry in (await at.ok("log"))["entries"]]
            assert done[:2] == ["delay 100", "delay 3000 --for 200ms"]
            assert done[-1] == "partition 1,2 | 3,4,5: over"

    run(main())


def test_what_is_typed_later_counts_and_the_end_of_a_covered_fault_is_not_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            await at.ok("loss 10 --for 100ms")
            await at.ok("loss 20")
            assert (await at.ok("status"))["timers"] == []
            await at.ok("failLink 1 2 --for 100ms")
            await until(lambda: of_kind(at, "fault_over"))
            assert len(of_kind(at, "fault_over")) == 1
            assert (await at.ok("status"))["loss_percent"] == 20

    run(main())


def test_reset_takes_everything_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            process = await at.process(2)
            other = await at.process(4)
            for line in ("delay 5", "loss 1 2 3", "partition 1|2,3,4,5", "pauseNode 2", "failNode 4", "dup 9 --for 1m"):
                await at.ok(line)
            assert (await at.ok("status"))["nodes"][1]["paused"]
            text = (await at.ok("reset"))["text"]
            assert "node 2 is running again" in text
            assert "node 4 is up again" in text
            status = await at.ok("status")
            assert (status["links"], status["own"], status["delay_ms"], status["timers"]) == ([], [], 0, [])
            assert not status["nodes"][1]["paused"]
            assert at.orchestrator.faults.quiet
            process.kill()
            await process.wait()
            await other.wait()

    run(main())


def is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().split()[2] == "T"


def test_a_paused_node_stands_still_and_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            process = await at.process(3)
            await at.ok("pauseNode 3")
            await until(lambda: is_stopped(process.pid))
            assert "paused" in (await at.ok("fixNode 3"))["text"]
            await at.ok("resumeNode 3")
            await until(lambda: not is_stopped(process.pid))
            assert "is not paused" in (await at.ok("resumeNode 3"))["text"]
            await at.ok("pauseNode 3 --for 100ms")
            await until(lambda: of_kind(at, "fault_over"))
            assert not is_stopped(process.pid)
            await at.ok("pauseNode 3")
        await until(lambda: not is_stopped(process.pid))  # nothing else would resume it
        process.kill()
        await process.wait()

    run(main())


def test_a_node_that_is_down_cannot_be_paused(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            assert "node 3 is down" in (await at.type("pauseNode 3"))["error"]
            assert "node 3 is down" in (await at.ok("resumeNode 3"))["text"]

    run(main())


def test_a_crash_for_a_while_starts_the_node_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            process = await at.process(3)
            await at.ok("failNode 3 --for 100ms")
            assert not at.relay.is_up(3)
            await until(lambda: of_kind(at, "fault_over"))
            assert at.relay.is_up(3)
            await process.wait()
            await at.ok("failNode 3 --for 50ms")
            await at.ok("failNode 3")  # permanently: the earlier timer is cancelled
            assert (await at.ok("status"))["timers"] == []

    run(main())


def test_what_does_nothing_leaves_the_end_of_a_fault_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            process = await at.process(3)
            await at.ok("failNode 3 --for 1m")
            assert "is down" in (await at.type("pauseNode 3"))["error"]
            assert "is down" in (await at.ok("resumeNode 3"))["text"]
            assert [timer["fault"] for timer in (await at.ok("status"))["timers"]] == ["failNode 3"]
            await at.ok("fixNode 3")
            assert (await at.ok("status"))["timers"] == []
            await at.ok("pauseNode 3 --for 1m")
            assert "up but paused" in (await at.ok("fixNode 3"))["text"]
            assert [timer["fault"] for timer in (await at.ok("status"))["timers"]] == ["pauseNode 3"]
            await at.ok("failNode 3")
            assert (await at.ok("status"))["timers"] == []
            await process.wait()

    run(main())


def test_a_node_that_is_being_started_crashes_once_it_is_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            async with at.orchestrator._nodes._starting[3]:
                failing = asyncio.ensure_future(at.ok("failNode 3"))
                process = await at.process(3)
            assert "node 3 is dead" in (await failing)["text"]
            await process.wait()

    run(main())


def test_what_is_delayed_or_held_goes_on_when_all_faults_are_removed(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at, AsyncExitStack() as nodes:
            one, two = [await nodes.enter_async_context(Node(at.port, node, cluster="demo")) for node in (1, 2)]
            await one.up()
            await two.up()
            await at.ok("delay 600000")
            for number in range(3):
                one.link.send(2, b"%d" % number)
            await until(lambda: at.relay.delayed_bytes)
            await at.ok("fixAll")
            await two.count(3)
            assert not at.relay.delayed_bytes

    run(main())


def test_the_word_leader_means_the_node_that_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            with monkeypatch.context() as impatient:
                impatient.setattr(waiting, "ELECTION_S", 0.05)
                assert "no leader is known now" in (await at.type("isolate leader"))["error"]
            isolating = asyncio.ensure_future(at.type("isolate leader"))
            nodes = {number: Node(at.port, number, cluster="demo") for number in (1, 2, 3)}
            for number, node in nodes.items():
                node.link.start()
                await node.up()
                node.link.send_report(Report("leader" if number == 2 else "follower", 2, (3, 2, 9), 8, 8, 0, "ab"))
            assert (await at.ok("wait leader"))["leader"] == 2
            assert (await isolating)["node"] == 2, "an election that goes on is waited for"
            assert len(await at.links()) == 8
            assert "no node other than 2 leads" in (await at.type("wait leader new --within 100ms"))["error"]
            assert (await at.ok("wait applied 8"))["applied"] == 8
            assert "after 0.1 s" in (await at.type("wait applied 9 --within 100ms"))["error"]
            assert (await at.ok("wait converged"))["nodes"] == [1, 2, 3]
            for node in nodes.values():
                await node.link.close()

    run(main())


def test_answers_are_waited_for_at_nodes_that_are_cut_off_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unheard = {"ok": False, "error": "no conversation 'c1': viewall shows all", "stale": True}
    asked = {"ok": True, "turns": [{"candidates": {}}], "stale": False}
    answered = {"ok": True, "turns": [{"candidates": {"1": {}, "2": {}}}], "stale": False}
    late = {**answered, "stale": True}
    views: list[dict[str, Any] | Exception] = [
        unheard, NodeUnreachable("it is busy"), asked, answered, late, answered, answered, answered,
    ]

    async def run_at(self: NodeClient, node: int, command: str, timeout_s: float) -> dict[str, Any]:
        view = views.pop(0)
        if isinstance(view, Exception):
            raise view
        return view

    monkeypatch.setattr(NodeClient, "run", run_at)
    monkeypatch.setattr(waiting, "ASK_EVERY_S", 0.01)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            nodes = [Node(at.port, number, cluster="demo") for number in (1, 2)]
            for node in nodes:
                node.link.start()
                await node.up()
            assert (await at.ok("wait answers c1"))["answers"] == 2 and not views
            views.append({**unheard, "stale": False})
            views.append({**unheard, "stale": False})
            assert "no conversation 'c1'" in (await at.type("wait answers c1"))["error"]
            for node in nodes:
                await node.link.close()

    run(main())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("failLink 1 2 --for", "is not a duration"),
        ("failLink 1 2 --for -1s", "is not a duration"),
        ("failLink 1 2 --for 99999999", "is not a duration"),
        ("fixLink 1 2 --for 3s", "'--for' is not an option"),
        ("isolate", "too few words"),
        ("isolate 9", "there is no node 9"),
        ("isolate 1 2", "one node is expected"),
        ("delay 1 2 3 4 5", "at most a jitter"),
        ("delay 1 9 300", "there is no node 9"),
        ("delay 1 1 300", "no link to itself"),
        ("delay 300 --oneway", "--oneway needs a link"),
        ("loss 1 2", "a percentage"),
        ("loss 1 2 101", "a percentage"),
        ("dup 1 2 x", "a percentage"),
        ("pauseNode x", "is not the number of a node"),
        ("seed x", "a whole number"),
        ("log 0", "at least 1"),
        ("sleep 3h", "is not a duration"),
        ("wait", "too few words"),
        ("wait godot", "not something to wait for"),
        ("wait applied x", "a log position"),
        ("wait leader 3,9", "there is no node 9"),
        ("node 2 create", "a colon"),
        ("node 9: create c1", "there is no node 9"),
        ("load 0", "at least 1"),
        ("load 10 9", "there is no node 9"),
        ("watch out", "neither on nor off"),
        ("script nothing", "there is no file 'nothing'"),
    ],
)
def test_nonsense_is_refused_with_an_example_and_changes_nothing(tmp_path: Path, line: str, words: str) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            before = await at.ok("status")
            error = await at.error(line)
            assert words in error
            assert "for example: " in error
            assert await at.ok("status") == before
            assert (await at.ok("log"))["entries"] == []

    run(main())


def test_a_script_is_carried_out_line_by_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            script = tmp_path / "mine.txt"
            script.write_text("# mine\nsay Now.\nfailLink 1 2\n\nloss 5 --for 1m\nsleep 10ms\nstatus\n")
            assert (await at.ok(f"script {script}"))["steps"] == 5
            steps = of_kind(at, "step_result")
            assert [(step["line"], step["command"], step["ok"]) for step in steps] == [
                (2, "say Now.", True), (3, "failLink 1 2", True), (5, "loss 5 --for 1m", True),
                (6, "sleep 10ms", True), (7, "status", True),
            ]
            assert steps[-1]["links"] == [[1, 2], [2, 1]]
            assert {entry["by"] for entry in (await at.ok("log"))["entries"]} == {"script"}

    run(main())


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("failLink 1 9", "mine.txt, line 2: there is no node 9"),
        ("failNoed 1", "mine.txt, line 2: unknown command"),
        ("script failover", "mine.txt, line 2: unknown command"),
        ("partition 1|2", "in no group"),
        ("node leader", "a colon"),
    ],
)
def test_a_script_with_a_wrong_line_changes_nothing(tmp_path: Path, second: str, words: str) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            script = tmp_path / "mine.txt"
            script.write_text(f"failLink 1 2\n{second}\n")
            error = (await at.type(f"script {script}"))["error"]
            assert words in error and "no command was run" in error
            assert await at.links() == []

    run(main())


def test_odd_files_are_no_scripts(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "long.txt").write_text("say x\n" * 5001)
    (tmp_path / "large.txt").write_text("#" * (1024 * 1024 + 1))
    (tmp_path / "wide.txt").write_bytes("say x".encode("utf-16"))
    (tmp_path / "byte.txt").write_bytes(b"say x\nsay \xff\n")
    (tmp_path / "nul.txt").write_bytes(b"say x\nfailLink 1 \0\n")
    refused = {
        "pipe.txt": "it is a pipe; a regular file is needed", "long.txt": "at most 5000 lines are allowed",
        "large.txt": "it is too large: at most 1048576 bytes", "wide.txt": "is not in UTF-8, but in UTF-16",
        "byte.txt": "line 2 contains a wrong byte, 0xff", "nul.txt": "nul.txt, line 2: ", "": "it is a directory",
        "n" * 300: "there is no file", "~nobody-of-this-name": "there is no file",
    }

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            for name, words in refused.items():
                path = name if name.startswith("~") else tmp_path / name
                assert words in (await at.type(f"script {path}"))["error"], name
            assert await at.links() == []

    run(main())


def test_a_script_ends_at_a_command_that_fails_and_when_it_is_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            script = tmp_path / "mine.txt"
            script.write_text("failLink 1 2\npauseNode 3\nloss 9\n")
            error = (await at.type(f"script {script}"))["error"]
            assert "mine.txt ends at line 2, pauseNode 3: node 3 is down" in error
            script.write_text("loss 7\nsleep 1m\nloss 9\n")
            playing = asyncio.ensure_future(at.type(f"script {script}"))
            await until(lambda: "line 2 of mine.txt" in at.status_line())
            await at.ok("stop")
            assert "stopped at line 2" in (await playing)["error"]
            assert at.orchestrator.faults.get(Loss).loss_percent == 7
            assert (await at.ok("stop"))["text"] == "no script is running"

    run(main())


def test_a_script_cleans_up_however_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "mine.txt"
    cleaning = "finally\npauseNode 3\nheal\nloss 0\n"

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            def whole() -> bool:
                return not at.orchestrator.scripts.running and at.orchestrator.faults.get(Loss).loss_percent == 0

            script.write_text("failLink 1 2\nfinally\nheal\nstatus\n")
            assert (await at.ok(f"script {script}"))["steps"] == 3
            assert await at.links() == []
            script.write_text(f"failLink 1 2\nloss 7\npauseNode 4\n{cleaning}")
            error = await at.error(f"script {script}")
            assert "ends at line 3, pauseNode 4: node 4 is down" in error
            assert "clean-up, line 5, pauseNode 3: node 3 is down" in error, "and the lines after it are run"
            assert whole() and await at.links() == []

            script.write_text(f"loss 7\nsleep 1m\n{cleaning}")
            for how in ("stop", "nobody waits any more"):
                playing = asyncio.ensure_future(at.type(f"script {script}"))
                await until(lambda: "line 2 of mine.txt" in at.status_line())
                if how == "stop":
                    assert "clean up" in (await at.ok("stop"))["text"]
                    assert "stopped at line 2" in (await playing)["error"]
                else:
                    playing.cancel()
                await until(whole)

            script.write_text("loss 7\nfinally\nsleep 1m\nloss 0\n")
            playing = asyncio.ensure_future(at.type(f"script {script}"))
            await until(lambda: "line 3 of mine.txt" in at.status_line())
            for line in ("pause", "next", "continue"):
                assert "the clean-up waits for nobody" in await at.error(line)
            assert not at.orchestrator.scripts.playing().paused
            assert "faults stay in place" in (await at.ok("stop"))["text"]
            assert (await playing)["error"] == "its clean-up was stopped at line 3"
            assert at.orchestrator.faults.get(Loss).loss_percent == 7
            script.write_text("pauseNode 4\nnode 1: create c1\nfinally\nnode 1: delete c1\nheal\n")
            assert "clean-up" not in await at.error(f"script {script}"), "c1 is not there to be deleted"
            script.write_text("node 1: create c1\nfinally\nnode 1: delete c1\n")
            playing = asyncio.ensure_future(at.type(f"script {script} --step"))
            await until(lambda: "line 1 of mine.txt" in at.status_line())
            await at.ok("stop")
            assert (await playing)["error"] == "stopped at line 1 of mine.txt", "it was not run yet"
            script.write_text("say c1 is there\nfinally\nnode 1: delete c1\n")
            assert "line 3, node 1: delete c1: node 1: " in await at.error(f"script {script}")
            script.write_text("finally\nheal\nfinally\n")
            assert "line 3: a second finally; no command was run" in await at.error(f"script {script}")

    run(main())


def test_names_that_a_script_makes_are_short_and_never_come_again() -> None:
    names = [_fresh(1_800_000_000.0 + second) for second in range(1000)]
    assert len(set(names)) == 1000
    assert all(len(name) <= 6 and name.isalnum() and name.islower() for name in names)


def test_the_status_line_fits_into_a_narrow_window(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            (tmp_path / "long.txt").write_text("sleep 1m\n")
            playing = asyncio.ensure_future(at.type(f"script {tmp_path}/long.txt"))
            await until(lambda: "script: line 1" in at.status_line())
            assert at.status_line() == "up: none | no link faults | script: line 1 of long.txt (stop ends it)"
            assert at.status_line(50) == "up: none|no link faults|script: line 1 of long.txt"
            assert len(at.status_line(20)) == 20
            await at.ok("stop")
            await playing

    run(main())


def test_all_scenarios_make_sense(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            names = at.complete("script")
            assert len(names) >= 6
            for name in names:
                assert at.orchestrator.scripts.load(name).lines

    run(main())
