from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import orchestrator.node_faults
from api.base import Event
from api.operator_events import ConnectionRefusedEvent, NodeUpEvent
from console.layout import Layout
from console.operator.events import event_text
from console.operator.views import status_text
from net.control_messages import Report
from net.frames import CONTROL, encode_frame
from orchestrator import panes, supervisor
from tests.free_ports import free_port
from tests.unit.net.net_tools import HOST, Node, run, until
from tests.unit.orchestrator.operator_tools import ROOT, Operator, operator_of


@pytest.fixture(autouse=True)
def no_waiting_for_nodes_on_their_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator.node_faults, "SETTLE_S", 0.0)
    monkeypatch.delenv("TMUX", raising=False)


def test_what_a_stranger_writes_is_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            reader, writer = await asyncio.open_connection(HOST, at.port)
            tag = msgspec.msgpack.encode({"type": "x\nnode 3 is down\nline 1: error: forged"})
            writer.write(encode_frame(CONTROL, 1, 0, tag))
            await until(lambda: [event for event in at.events if event["event"] == "refused"])
            refused = next(event for event in at.events if event["event"] == "refused")
            assert "forged" in refused["reason"] and "\n" not in refused["reason"]
            writer.close()
            await reader.read()

    run(main())


def test_links_fail_and_work_again_in_one_or_both_directions(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            assert (await at.ok("failLink 1 2"))["links"] == [[1, 2], [2, 1]]
            await at.ok("failLink 3 4 --oneway")
            assert await at.links() == [[1, 2], [2, 1], [3, 4]]
            await at.ok("fixLink 1 2 --oneway")
            assert await at.links() == [[2, 1], [3, 4]]
            await at.ok("fixLink 4 3")
            assert await at.links() == [[2, 1]]
            await at.ok("heal")
            assert await at.links() == []

    run(main())


def test_a_partition_replaces_what_was_cut(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            await at.ok("failLink 1 2")
            assert (await at.ok("partition 1,2 | 3 4,5"))["groups"] == [[1, 2], [3, 4, 5]]
            assert await at.links() == sorted([a, b] for a in (1, 2) for b in (3, 4, 5)) + sorted(
                [b, a] for a in (1, 2) for b in (3, 4, 5)
            )
            await at.ok("partition 1|2|3|4|5")
            assert len(await at.links()) == 20

    run(main())


def test_delay_loss_and_the_rest_are_kept_until_they_are_set_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            for line in ("delay 100 20", "loss 5%", "duplicate 2", "reorder 1.5", "heal"):
                await at.ok(line)
            status = await at.ok("status")
            assert (status["delay_ms"], status["jitter_ms"], status["loss_percent"]) == (100, 20, 5)
            assert (status["duplicate_percent"], status["reorder_percent"]) == (2, 1.5)
            assert "delay 100 + 20 ms" in (await at.ok("heal"))["text"]
            assert "loss 5 %" in at.status_line()
            await at.ok("delay 30")
            assert (await at.ok("status"))["jitter_ms"] == 0
            for line in ("delay 0", "loss 0", "duplicate 0", "reorder 0"):
                await at.ok(line)
            assert at.orchestrator.faults.quiet
            assert "no link faults" in at.status_line()

    run(main())


def test_bandwidth_of_all_links_and_of_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            result = await at.ok("bandwidth 8000")
            assert (result["bandwidth_kbps"], "on" in result) == (8000, False)
            assert "8000 kbit/s" in result["text"]
            assert (await at.ok("bandwidth 500 1 2 --oneway"))["on"] == [[1, 2]]
            status = await at.ok("status")
            assert status["others"] == {"bandwidth_kbps": 8000}
            assert status["own"][0]["others"] == {"bandwidth_kbps": 500}
            assert "bandwidth 8000 kbit/s" in at.status_line()
            await at.ok("bandwidth 0")
            assert at.orchestrator.faults.quiet

    run(main())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bandwidth x", "must be kilobits a second"),
        ("bandwidth 5 1", ""),
        ("failLink 1 1", "node 1 has no link to itself"),
        ("failLink 1 9", "there is no node 9: the nodes are 1, 2, 3, 4, 5"),
        ("failLink 1 x", "'x' is not the number of a node"),
        ("failLink 1 ²", "is not the number of a node"),
        ("failLink 1 2 --twoway", "'--twoway' is not an option"),
        ("failLink 1 --oneway", "two nodes are expected"),
        ("failLink 1 2 3", "two nodes are expected"),
        ("fixLink 7 1", "there is no node 7"),
        ("failNode 0", "there is no node 0"),
        ("failNode -1", "'-1' is not the number"),
        ("fixNode 99999999999999999999", "is not the number"),
        ("partition 1,2,3,4,5", "at least two groups"),
        ("partition 1,2,3,4,5|", "at least two groups"),
        ("partition 1,2|3", "nodes 4, 5 are in no group"),
        ("partition 1,2,3|3,4,5", "node 3 is more than once"),
        ("partition 1,2|3,4,6", "there is no node 6"),
        ("partition a|b", "'a' is not the number"),
        ("delay -1", "from 0 to 600000"),
        ("delay nan", "from 0 to 600000"),
        ("delay 1e9", "from 0 to 600000"),
        ("delay 10 x", "'x' must be a number of milliseconds"),
        ("loss 101", "a percentage from 0 to 100"),
        ("loss much", "a percentage"),
        ("duplicate -5", "a percentage"),
        ("reorder inf", "a percentage"),
    ],
)
def test_what_makes_no_sense_is_refused_with_an_example_and_changes_nothing(
    tmp_path: Path, line: str, words: str
) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            before = await at.ok("status")
            result = await at.type(line)
            assert not result["ok"]
            assert words in result["error"]
            assert "for example: " in result["error"]
            assert await at.ok("status") == before

    run(main())


def test_status_shows_what_nodes_report_while_they_are_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at, Node(at.port, 2, cluster="demo") as two:
            await two.up()
            two.link.send_report(Report("leader", 2, (3, 2, 9), 8, 8, 1, "abcdef0123456789"))
            two.link.send(1, b"to a node that is down")
            await until(lambda: at.relay.report_of(2) and at.relay.traffic(1).dropped)
            status = await at.ok("status")
            assert status["nodes"][1] == {
                "node": 2, "up": True, "paused": False, "role": "leader", "leader": 2, "ballot": [3, 2, 9],
                "decided": 8, "applied": 8,
                "queued": 1, "digest": "abcdef0123456789", "frames_in": 1, "frames_out": 0, "bytes_in": 31,
                "bytes_out": 0, "dropped": 0, "frames_in_per_s": 0, "frames_out_per_s": 0, "bytes_in_per_s": 0,
                "bytes_out_per_s": 0,
            }
            one = status["nodes"][0]
            assert (one["up"], one["role"], one["dropped"]) == (False, None, 1)
            json.dumps(status)
            assert "<3,2,9>" in status_text(at.orchestrator.status(), Layout())
            assert "up: 2 |" in at.status_line()

    run(main())


def test_fail_node_kills_a_process_at_once_and_fix_node_starts_it_in_the_background(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            process = await at.process(3)
            await at.ok("failNode 3")
            assert not at.relay.is_up(3)
            assert await process.wait() == -signal.SIGKILL
            assert (await at.ok("failNode 3"))["text"] == "node 3 was already down"
            assert "in the background" in (await at.ok("fixNode 3"))["text"]
            assert at.relay.is_up(3)
            await until(lambda: at.supervisor.log_of(3).read_text() == "up\n")
            child = at.supervisor.child(3)
            assert child is not None
            assert os.getsid(child.pid) == child.pid
            assert "already up" in (await at.ok("fixNode 3"))["text"]
            assert at.supervisor.child(3) is child
            await at.ok("failNode 3")
            assert at.supervisor.child(3) is None
            await at.ok("fixNode 3")
            await until(lambda: at.supervisor.log_of(3).read_text() == "up\nup\n")
            last = at.supervisor.child(3)
        assert last is not None
        assert last.returncode == 0
        assert at.supervisor.log_of(3).read_text() == "up\nup\ntold to leave\n"

    run(main())


def test_fail_node_kills_a_stopped_process_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            process = await at.process(4)
            process.send_signal(signal.SIGSTOP)
            await at.ok("failNode 4")
            assert await process.wait() == -signal.SIGKILL

    run(main())


def test_fail_node_kills_no_process_that_is_not_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator.node_faults, "GONE_S", 0.3)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            at.write(name="something_else.py")
            process = await at.process(4)
            process.send_signal(signal.SIGSTOP)
            result = await at.type("failNode 4")
            assert "node 4 was told to crash but has not within 0.3 s" in result["error"]
            assert process.returncode is None
            process.send_signal(signal.SIGCONT)
            assert await process.wait() == -signal.SIGKILL  # the order that it received while stopped

    run(main())


def test_fail_node_waits_for_nodes_that_come_back_to_a_new_orchestrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator.node_faults, "SETTLE_S", 10.0)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            failing = asyncio.ensure_future(at.type("failNode 1"))
            async with Node(at.port, 1, cluster="demo") as one:
                await until(lambda: one.crashed)
                await one.link.close()
                assert (await failing)["text"] == "node 1 is dead; fixNode 1 starts it again"

    run(main())


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('the disk is full')", "node 2 stopped with exit code 1: the disk is full (see "),
        ("import time; time.sleep(60)", "has not connected within 0.5 s"),
    ],
)
def test_fix_node_says_why_a_node_does_not_come_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    monkeypatch.setattr(orchestrator.node_faults, "START_S", 0.5 if "sleep" in program else 10.0)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            at.write(program)
            result = await at.type("fixNode 2")
            assert words in result["error"]
            assert str(at.supervisor.log_of(2)) in result["error"]
            await at.ok("failNode 2")
            assert at.supervisor.child(2) is None

    run(main())


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("line", ["failNode 3", "fixAll", "fixNode 3"])
def test_a_node_that_a_stopped_script_was_crashing_or_starting_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, own: bool
) -> None:
    """`own`: the orchestrator has started it."""
    script = tmp_path / "mine.txt"
    script.write_text(f"{line}\nsleep 1m\nfinally\nfixAll\n")

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            begun = asyncio.Event()
            crashing: list[int] = []

            def crash(node: int) -> None:
                begun.set()
                crashing.append(node)

            async def start(node: int, *, new: bool = False) -> str:
                begun.set()
                return await starts(node, new=new)

            if own:
                await at.ok("fixNode 3")
            else:
                await at.process(3)
            if line != "failNode 3":
                await at.ok("failNode 3")
            crashes, starts = at.relay.crash, at.supervisor.start
            monkeypatch.setattr(at.relay, "crash", crash)
            monkeypatch.setattr(at.supervisor, "start", start)
            playing = asyncio.ensure_future(at.type(f"script {script}"))
            await begun.wait()
            await at.ok("stop")
            for node in crashing:  # only now is it told
                crashes(node)
            assert "stopped at line 1" in (await playing)["error"]
            process = at.supervisor.child(3)
            assert at.relay.is_up(3) and process is not None and at.relay.process(3) == process.pid

    run(main())


def test_fix_node_without_a_writable_folder_is_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            at.config.data_dir.write_text("in the way")
            assert "node 2 cannot be started" in (await at.type("fixNode 2"))["error"]

    run(main())


def test_a_large_log_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "MAX_LOG", 100)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            at.config.data_dir.mkdir()
            at.supervisor.log_of(2).write_text("old\n" * 100)
            await at.ok("fixNode 2")
            await until(lambda: at.supervisor.log_of(2).read_text() == "up\n")

    run(main())


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_fix_node_uses_the_nodes_own_pane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "tmux"

    def tmux(*arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(server), "-f", "/dev/null", *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            here = tmux("new-session", "-d", "-P", "-F", "#{pane_id}", "-x", "80", "-y", "24", "sleep 600")
            tmux("set-option", "-w", "-t", here, "remain-on-exit", "on")
            command = f"{sys.executable} {at.program} 3 --config {at.config.path}"
            pane = tmux("split-window", "-P", "-F", "#{pane_id}", "-t", here, command)
            tmux("set-option", "-p", "-t", pane, panes.OPTION, "3")
            monkeypatch.setenv("TMUX", f"{server},0,0")
            monkeypatch.setenv("TMUX_PANE", here)
            await until(lambda: at.relay.is_up(3))
            first = at.relay.process(3)
            await at.ok("failNode 3")
            assert (await at.ok("fixNode 3"))["text"] == f"node 3 is up, in its pane {pane}"
            assert at.relay.process(3) != first
            assert at.supervisor.child(3) is None
            assert "in the background" in (await at.ok("fixNode 2"))["text"]
            tmux("kill-server")
            assert "tmux list-panes failed" in (await at.type("fixNode 4"))["error"]

    try:
        run(main())
    finally:
        subprocess.run(["tmux", "-S", str(server), "kill-server"], capture_output=True, check=False)


def test_completion_offers_the_other_nodes(tmp_path: Path) -> None:
    at = Operator(tmp_path)
    assert at.complete("failLink") == ["1", "2", "3", "4", "5"]
    assert at.complete("failLink", "2") == ["1", "3", "4", "5"]
    assert at.complete("failLink", "2", "3") == ["--oneway", "--for"]
    assert at.complete("failNode", "2") == ["--for"]
    assert at.complete("failNode") == ["1", "2", "3", "4", "5", "leader"]
    assert at.complete("watch") == ["on", "off"] and at.complete("watch", "on") == []
    assert "failover" in at.complete("script")


class OtherEvent(Event, frozen=True, tag="something new"):
    pass


def test_events_in_words() -> None:
    assert event_text(NodeUpEvent(3)) == "node 3 is up"
    assert event_text(ConnectionRefusedEvent("secret", "no", "::1")) == "refused (::1): no"
    assert event_text(ConnectionRefusedEvent("secret", "7 more like it", count=7)) == "refused: 7 more like it"
    assert event_text(OtherEvent()) is None


def test_the_entry_point_answers_everything_that_is_piped_in_and_leaves(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"nodes": [{"id": 1}, {"id": 2}], "orchestrator": {"port": free_port()}}))
    lines = b"failLink 1 2\nfixNode x\nstatus\n"
    done = subprocess.run(
        [sys.executable, "network_server.py", "--config", str(config), "--json"], cwd=ROOT, input=lines,
        capture_output=True, timeout=60, check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "ready"
    assert sorted((event["line"], event["ok"]) for event in events[1:]) == [(1, True), (2, False), (3, True)]


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            config = tmp_path / "other.json"
            config.write_text(json.dumps({"nodes": [{"id": 1}], "orchestrator": {"port": at.port}}))
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(ROOT / "network_server.py"), "--config", str(config), "--json",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            output, errors = await process.communicate()
            assert process.returncode == 1
            assert output == b""
            assert errors.count(b"\n") == 1
            assert f"port {at.port} on {HOST} is in use by another program".encode() in errors

    run(main())
