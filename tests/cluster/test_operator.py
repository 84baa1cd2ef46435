"""The operator's process as started by others: exit codes, help, signals, watch; and all six in one terminal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE_S, ROOT, Cluster, Event, Process, until
from tests.cluster.test_tmux import Desktop
from tests.free_ports import free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({
        "orchestrator": {"port": free_port()}, "nodes": [{"id": 1}, {"id": 2}, {"id": 3}], "llm": {"provider": "fake"},
        "secret": "of the tests of one process",
    }))
    return path


def run(*arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "network_server.py", *arguments], cwd=ROOT, input=typed, capture_output=True, text=True,
        timeout=PATIENCE_S, env={**os.environ, **environment},
    )


def test_help_begins_with_examples_and_the_version_is_told() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("examples:\n  python network_server.py")
    assert run("--version").stdout.startswith("ConsensusLLM ")
    assert run("--dance").returncode == 2
    for_all = subprocess.run(["./run.sh", "--version"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert for_all.stdout == run("--version").stdout


def test_a_wrong_configuration_is_exit_code_2_and_the_environment_names_one(config: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{")
    assert run("--config", str(wrong)).returncode == 2
    assert run(CONFIG=str(wrong)).returncode == 2
    assert run("--config", str(config), CONFIG=str(wrong)).returncode == 0


def test_plain_lines_have_no_colours_and_no_control_characters(config: Path) -> None:
    done = run("--config", str(config), typed="failLink 1 2\nstatus\nhelp\nhelp delay\n", NO_COLOR="1")
    assert done.returncode == 0 and not done.stderr
    assert "\x1b" not in done.stdout
    assert "failed: 1 <-> 2" in done.stdout
    assert "for example: delay 100 20" in done.stdout


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)])
def test_signals_end_it_cleanly(config: Path, tmp_path: Path, sign: signal.Signals, code: int) -> None:
    process = Process(["network_server.py", "--config", str(config), "--json"], tmp_path / "log")
    try:
        process.wait(lambda event: event["event"] == "ready")
        process.ok("loss 5 --for 1m")
        process.ok("watch")
        process.signal(sign)
        assert process.popen.wait(PATIENCE_S) == code
        assert process.log.read_text() == ""
    finally:
        process.close()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_reads_that_it_is_ready_can_end_it_cleanly(config: Path, tmp_path: Path, sign: signal.Signals) -> None:
    process = Process(["network_server.py", "--config", str(config), "--json"], tmp_path / "log")
    try:
        process.wait(lambda event: event["event"] == "ready")
        process.signal(sign)
        assert process.popen.wait(PATIENCE_S) == 0
        assert process.log.read_text() == ""
    finally:
        process.close()


def test_watch_tells_the_status_every_second_until_the_next_line(config: Path, tmp_path: Path) -> None:
    process = Process(["network_server.py", "--config", str(config), "--json"], tmp_path / "log")
    try:
        process.ok("watch")
        first = process.wait(lambda event: event["event"] == "status")
        process.wait(lambda event: event["event"] == "status", since=process.events.index(first) + 1)
        assert {"nodes", "links", "delay_ms", "timers"} <= first.keys()
        process.ok("partition 1|2,3")
        told = [event for event in process.events if event["event"] == "status"]
        process.ok("sleep 1200ms")
        assert [event for event in process.events if event["event"] == "status"] == told
        assert process.finish() == 0
    finally:
        process.close()


def test_the_prompt_speaks_for_users_and_waits_for_the_cluster(calm_cluster: Cluster) -> None:
    cluster, network = calm_cluster, calm_cluster.network
    leader = network.ok("wait leader")["leader"]
    assert network.ok("node 2: create c1")["node"] == 2
    assert "already" in network.do("node leader: create c1")["error"]
    paused = next(pid for pid in cluster.pids if pid != leader)
    network.ok(f"pauseNode {paused}")
    assert network.ok("load 300")["operations"] == 300
    assert network.do("status")["nodes"][paused - 1]["paused"]
    network.ok(f"resumeNode {paused}")
    network.ok("wait applied 301")
    assert network.ok("wait converged")["nodes"] == cluster.pids
    failed = network.ok("failNode leader")["node"]
    assert network.ok("wait leader new")["leader"] != failed
    assert network.ok("node leader: view c1")["turns"] == []
    network.ok("reset")
    assert network.ok("wait converged")["nodes"] == cluster.pids


def _waits(link: list[int], kind: str) -> Callable[[Event], bool]:
    """Whether an event says that a message of this kind waits on the link."""
    return lambda event: (
        event["event"] == "held" and event["link"] == link and event["message"].startswith(f"{kind} <"))


def test_an_operation_is_stepped_through_from_accept_to_decide(calm_cluster: Cluster) -> None:
    cluster = calm_cluster
    network, leader = cluster.network, cluster.leader()
    network.ok("wait converged")  # All know the founding: before that, nobody accepts what comes after it.
    user, since = cluster.nodes[leader], len(network.events)
    network.ok("hold")
    line = user.send("create stepped")
    accepts = [network.wait(_waits([leader, peer], "Accept"), since=since) for peer in cluster.pids if peer != leader]
    assert not any(event.get("line") == line and event["event"] == "result" for event in user.events)
    assert "no message #9999 waits" in network.do("deliver 9999")["error"]
    for accept in accepts[:2]:
        network.ok(f"deliver #{accept['number']}")
    for accept in accepts[:2]:
        answer = network.wait(_waits([accept["link"][1], leader], "Accepted"), since=since)
        network.ok(f"deliver {answer['number']}")
    assert user.result(line)["ok"]  # Two of four others are enough.
    decides = [network.wait(_waits([leader, peer], "Decide"), since=since) for peer in cluster.pids if peer != leader]
    held = network.ok("held")
    assert held["holding"] and {each["number"] for each in decides} <= {each["number"] for each in held["held"]}
    assert network.ok("release")["held"] == []
    assert network.ok("wait converged")["nodes"] == cluster.pids
    assert "hold begins" in network.do("step")["error"]


def test_a_node_in_the_background_logs_little(cluster: Cluster) -> None:
    network = cluster.network
    network.ok("wait leader")
    network.ok("failNode 3")
    network.ok("fixNode 3")
    for number in range(20):
        network.ok(f"node 1: create quiet-{number}")
    network.ok("node 1: query quiet-0 Why?")
    network.ok("wait answers quiet-0")
    network.ok("wait converged")
    log = (cluster.folder / "data" / "node-3.log").read_text()
    assert "leader: node" in log
    assert "quiet-" not in log and len(log.splitlines()) < 10, log


class Terminal:
    """`./run.sh --no-tmux` with pipes."""

    def __init__(self, config: Path, typed: int | None = subprocess.PIPE) -> None:
        self.popen = subprocess.Popen(
            ["./run.sh", "--no-tmux"], cwd=ROOT, stdin=typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, "CONFIG": str(config), "GEMINI_API_KEY": ""},
        )
        assert self.popen.stdout is not None
        self.lines = self.popen.stdout
        self.seen: list[str] = []
        self._limit = threading.Timer(6 * PATIENCE_S, self.popen.kill)  # ends `see`, which waits for a line
        self._limit.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        self.popen.kill()
        self.popen.wait()
        self.lines.close()

    def see_leaders(self, nodes: Collection[str] = ("1", "2", "3")) -> None:
        """Two nodes elect a leader before the third has opened its disk: waits until all know one."""
        starting = set(nodes)
        while starting:
            starting.discard(self.see("| leader: node").split()[0])

    def see_voters(self) -> None:
        """Waits until the members have decided to count all their disks: one that came late is not relied on before."""
        self.see_leaders()
        self.type("1: create founded")  # until the cluster is, `members` is refused, which counts in the exit code
        self.see("founded: created")
        said = "not yet"
        while " yet" in said:
            self.type("1: members")
            said = self.see("cluster ")

    def type(self, *lines: str, last: bool = False) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.writelines(f"{line}\n" for line in lines)
        self.popen.stdin.flush()
        if last:
            self.popen.stdin.close()

    def see(self, text: str) -> str:
        for line in self.lines:
            self.seen.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} was not shown, but {''.join(self.seen)}")

    def process_of(self, program: str) -> int:
        """Of one that runs in this terminal."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text().split()
        return next(int(child) for child in children
                    if program.encode() in Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" "))


@pytest.fixture
def in_one(config: Path) -> Iterator[Terminal]:
    with Terminal(config) as terminal:
        yield terminal


def test_all_in_one_terminal(in_one: Terminal, config: Path) -> None:
    in_one.see_leaders()
    in_one.type("net: node 2: create c1")
    assert in_one.see("node 2: done").startswith("net | ")
    in_one.type("nonsense", "1: view c1", "net: failNode 3")
    in_one.see("type  2: create c1")
    in_one.see("3   | has crashed (signal 9)")
    in_one.type("net: fixNode 3", "net: wait converged")
    in_one.see("node 3 is up, in the foreground")
    in_one.see("nodes 1, 2, 3 have applied the same")
    in_one.type(last=True)
    assert in_one.popen.wait(PATIENCE_S) == 1, "there was nonsense"
    assert not [line for line in in_one.seen if "c1: created" in line], "nobody at the other nodes has asked for that"


def test_a_node_is_added_in_the_same_terminal(in_one: Terminal, config: Path) -> None:
    in_one.see_voters()
    in_one.type("net: addNode 4")
    in_one.see("node 4 is up, in the foreground; the members are 1, 2, 3, 4")
    in_one.type("4: create c4")
    in_one.see("4   | c4: created")
    in_one.type("net: removeNode 1")
    in_one.see("node 1 is no member any more; the members are 2, 3, 4")
    in_one.type(last=True)
    assert in_one.popen.wait(PATIENCE_S) == 0, in_one.seen + in_one.lines.readlines()
    with Terminal(config, subprocess.DEVNULL) as again:
        again.see_leaders({"2", "3", "4"})
        again.popen.send_signal(signal.SIGTERM)
        again.popen.wait(PATIENCE_S)


def test_what_crashes_comes_back_by_itself(in_one: Terminal) -> None:
    """The network as well as a node; a node that an operator has crashed waits for the operator, whatever else does."""
    in_one.see_voters()
    in_one.type("net: failNode 3")
    in_one.see("3   | has crashed (signal 9); net: fixNode 3 starts it again")
    in_one.type("net: pauseNode 1")
    in_one.see("node 1 is paused")
    for program in ("node.py 2 ", "network_server.py "):
        os.kill(in_one.process_of(program), signal.SIGKILL)
        in_one.see("has crashed (signal 9); it is started again in 0.5 s")
    in_one.see("net | network of ")
    in_one.type("net: wait leader", "net: node 1: create c1", "net: node 2: view c1", "net: fixNode 3")
    in_one.see("node 2: ")
    in_one.see("node 3 is up, in the foreground")
    in_one.type(last=True)
    assert in_one.popen.wait(PATIENCE_S) == 1, "commands may have been lost with the network"
    assert not [line for line in in_one.seen if "starts it again" in line and line[0] in "12"]


def test_nodes_leave_when_all_have_answered(config: Path) -> None:
    """The first idle process must not break the majority of the others, nor a paused one block all."""
    with Terminal(config) as terminal:
        terminal.see_voters()
        terminal.type("1: create c1", "2: create c2", "net: pauseNode 3", last=True)
        shown = "".join((*terminal.seen, *terminal.lines))
        assert terminal.popen.wait(PATIENCE_S) == 0, shown
    assert "c1: created" in shown and "c2: created" in shown and "end-of-the-input" not in shown


def test_a_refused_command_is_exit_code_1_when_input_ends(config: Path) -> None:
    done = subprocess.run(
        ["./run.sh", "--no-tmux"], cwd=ROOT, input="net: wait leader\nnet: pauseNode 9\n", capture_output=True,
        text=True, timeout=3 * PATIENCE_S, env={**os.environ, "CONFIG": str(config), "GEMINI_API_KEY": ""},
    )
    assert done.returncode == 1, done.stdout
    assert "there is no node 9" in done.stdout


def test_without_any_input_it_runs_until_a_signal(config: Path) -> None:
    with Terminal(config, subprocess.DEVNULL) as terminal:
        terminal.see_leaders()
        terminal.popen.send_signal(signal.SIGTERM)
        assert terminal.popen.wait(PATIENCE_S) == 0
        locks = list((config.parent / "data").glob("*.lock"))
        assert len(locks) == 3
        for lock in locks:
            holder = json.loads(lock.read_text())["os_pid"]
            assert not Path(f"/proc/{holder}").exists()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_watch_is_a_panel_under_the_prompt(tmp_path: Path) -> None:
    desktop = Desktop(tmp_path)
    try:
        assert desktop.run().returncode == 0
        for number in "12345":
            desktop.see(number, "leader: node")
        desktop.type("", "watch")
        desktop.see("", "to 1 2 3 4 5")
        desktop.type("", "partition 1,2|3,4,5 --for 10s")
        until(lambda: ". X X X" in _last_lines(desktop), PATIENCE_S, every=0.1)
        until(lambda: "over" in desktop.screen("") and "X" not in _last_lines(desktop), PATIENCE_S, every=0.1)
        desktop.type("", "watch")
        until(lambda: "to 1 2 3" not in _last_lines(desktop), PATIENCE_S, every=0.1)
    finally:
        desktop.close()


def _last_lines(desktop: Desktop) -> str:
    """The panel, without what stands above it."""
    return "\n".join(desktop.screen("").rstrip().splitlines()[-8:])
