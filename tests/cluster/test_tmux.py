"""The real thing as a user sees it: ./run.sh, six panes, keys typed, screens read."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE_S, ROOT, until
from tests.free_ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Desktop:
    """A separate tmux server, so that no other sessions are touched, with a cluster in it."""

    def __init__(self, folder: Path) -> None:
        # tmux's socket needs a short path.
        self.sockets = tempfile.mkdtemp(prefix="tmux")
        self.config = folder / "config.json"
        self.config.write_text(json.dumps({
            "orchestrator": {"port": free_port()}, "nodes": [{"id": pid} for pid in range(1, 6)],
            "llm": {"provider": "fake"}, "secret": "of the tests in panes of tmux",
        }))
        self.environment = {
            **os.environ, "TMUX_TMPDIR": self.sockets, "CONFIG": str(self.config), "GEMINI_API_KEY": "", "TMUX": "",
            "COLUMNS": "200", "LINES": "50",  # whatever the terminal is in which the tests run
        }

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./run.sh", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, input=typed,
            timeout=PATIENCE_S,
        )

    def tmux(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", *arguments], env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def panes(self) -> dict[str, str]:
        """Pane ids by node number; the network's under ''."""
        listed = self.tmux("list-panes", "-a", "-F", "#{pane_id} #{@consensus_node}").splitlines()
        return {number: pane for pane, _, number in (line.partition(" ") for line in listed)}

    def type(self, number: str, text: str) -> None:
        self.tmux("send-keys", "-t", self.panes()[number], "-l", text)
        self.tmux("send-keys", "-t", self.panes()[number], "Enter")

    def screen(self, number: str) -> str:
        return self.tmux("capture-pane", "-p", "-J", "-S", "-200", "-t", self.panes()[number])

    def see(self, number: str, text: str) -> str:
        """Waits until the pane shows `text`, in however many lines; returns its screen."""
        words = " ".join(text.split())
        try:
            until(lambda: words in " ".join(self.screen(number).split()), PATIENCE_S, every=0.1)
        except TimeoutError as error:
            raise AssertionError(f"pane {number!r} doesn't show {text!r}:\n{self.screen(number)}") from error
        return self.screen(number)

    def close(self) -> None:
        subprocess.run(["tmux", "kill-server"], env=self.environment, capture_output=True)
        shutil.rmtree(self.sockets, ignore_errors=True)


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    desktop = Desktop(tmp_path)
    yield desktop
    desktop.close()


def test_a_conversation_in_six_panes_survives_a_crashed_node(desktop: Desktop) -> None:
    started = desktop.run()
    assert started.returncode == 0, started.stderr
    assert sorted(desktop.panes()) == ["", "1", "2", "3", "4", "5"]
    for number in "12345":
        desktop.see(number, "leader: node")

    desktop.type("2", "create c1")
    desktop.see("2", "c1: created")
    desktop.type("2", "query c1 Name three mammals.")
    desktop.see("2", "all answers are in")
    desktop.type("5", "choose c1 4")
    for number in "12345":
        desktop.see(number, "node 4's answer chosen")

    desktop.type("", "failNode 3")
    assert "in flight" not in desktop.see("3", "has crashed"), "the dead node's status line is gone"
    desktop.type("1", "create c2")
    desktop.see("1", "c2: created")
    desktop.type("", "fixNode 3")
    until(lambda: "has crashed" not in desktop.screen("3") and "leader: node" in desktop.screen("3"), PATIENCE_S)
    desktop.type("3", "viewall")
    desktop.see("3", "Name three mammals.")

    desktop.type("", "exit")
    desktop.see("", "The network has exited (exit code 0). Enter starts it again.")
    desktop.see("1", "reconnecting")
    desktop.type("", "")
    until(lambda: "up: 1 2 3 4 5" in desktop.screen(""), PATIENCE_S)
    desktop.type("1", "create c3")
    desktop.see("1", "c3: created")

    again = desktop.run()
    assert again.returncode == 0 and "already" in again.stdout
    assert len(desktop.panes()) == 6
    refused = desktop.run("reset", typed="no\n")
    assert "Nothing was deleted" in refused.stdout

    stopped = desktop.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert desktop.run().returncode == 0
    for number in "12345":
        desktop.see(number, "leader: node")
    desktop.type("4", "viewall")
    desktop.see("4", "Name three mammals.")

    deleted = desktop.run("reset", typed="yes\n")
    assert deleted.returncode == 0 and "Deleted" in deleted.stdout
    assert not list((desktop.config.parent / "data").glob("node-*"))


def test_a_cluster_in_another_server_of_tmux_is_found_again(desktop: Desktop) -> None:
    """As `tmux -L work` makes one, while ./run.sh is typed in a terminal that knows nothing of it."""
    other = ("-L", "work")
    try:
        desktop.tmux(*other, "new-session", "-d", "-x", "200", "-y", "50", "-c", str(ROOT), "./run.sh; exec cat")
        panes = ("list-panes", "-a", "-F", "#{@consensus_node}")
        until(lambda: {"1", "5"} <= set(desktop.tmux(*other, *panes).splitlines()), PATIENCE_S)
        shown = desktop.run()
        assert shown.returncode == 0 and "The cluster is already running." in shown.stdout, shown
        assert "tmux -L work attach -t consensus-" in shown.stdout
        stopped = desktop.run("stop")
        assert stopped.returncode == 0 and "Stopped; ./run.sh continues" in stopped.stdout, stopped
        assert desktop.tmux(*other, *panes).split() == [], "the user's own session stays"
        assert "The cluster is not running." in desktop.run("stop").stdout
    finally:
        subprocess.run(["tmux", *other, "kill-server"], env=desktop.environment, capture_output=True)


def test_nodes_come_and_go_in_panes_of_their_own(desktop: Desktop) -> None:
    assert desktop.run().returncode == 0
    for number in "12345":
        desktop.see(number, "leader: node")
    desktop.type("1", "create founded")  # before the founding is decided, no node is added
    desktop.see("1", "founded: created")
    desktop.type("", "addNode 6")
    until(lambda: "6" in desktop.panes(), PATIENCE_S)
    desktop.see("6", "leader: node")
    desktop.see("", "up: 1 2 3 4 5 6")
    desktop.type("6", "create c1")
    desktop.see("6", "c1: created")
    desktop.type("", "removeNode 2")
    desktop.see("2", "node 2 was removed from the cluster")
    desktop.see("2", "Node 2 has exited (exit code 0)")
    desktop.see("", "up: 1 3 4 5 6")
    desktop.type("", "failNode 6")
    desktop.see("6", "has crashed")
    desktop.type("", "fixNode 6")
    until(lambda: "has crashed" not in desktop.screen("6") and "leader: node" in desktop.screen("6"), PATIENCE_S)

    assert desktop.run("stop").returncode == 0
    assert desktop.run().returncode == 0
    assert sorted(desktop.panes()) == ["", "1", "3", "4", "5", "6"], "the members as they were decided"
    desktop.see("", "that founds a cluster, and is not obeyed later")
    desktop.type("6", "viewall")
    desktop.see("6", "c1")


def test_mistakes_in_the_set_up_are_told_in_one_line(desktop: Desktop) -> None:
    settings = json.loads(desktop.config.read_text())
    desktop.config.write_text(json.dumps({**settings, "nodez": []}))
    wrong = desktop.run()
    assert wrong.returncode == 2 and "nodez" in wrong.stderr and len(wrong.stderr.splitlines()) == 1

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        desktop.config.write_text(json.dumps({**settings, "orchestrator": {"port": other.getsockname()[1]}}))
        busy = desktop.run()
        assert busy.returncode == 1 and "in use" in busy.stderr and len(busy.stderr.splitlines()) == 1
    unknown = desktop.run("dance")
    assert unknown.returncode == 2 and "usage" in unknown.stderr
