"""From release 0.1.0 to this one, node by node, under load, with the data kept: no acknowledged operation is lost, the
nodes agree in between, and somebody can always get something decided."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from tests.cluster.contract_processes import ROOT, Client, Stage, until

RELEASE = "6de5c6ef40abd1c9100a5cf6db93a3413e700f38"
"""The last commit of 0.1.0."""
MORE = 20
"""Operations that must be acknowledged at each step."""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The sources of 0.1.0."""
    if subprocess.run(["git", "cat-file", "-e", RELEASE], cwd=ROOT, check=False, capture_output=True).returncode:
        pytest.skip(f"the history of this checkout does not reach back to release 0.1.0 ({RELEASE[:7]})")
    sources = tmp_path / "release-0.1.0"
    sources.mkdir()
    archive = subprocess.run(["git", "archive", RELEASE], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(sources)], input=archive, check=True)
    return sources


class Load(threading.Thread):
    """Somebody who works at one node whenever it is there, one command after the other."""

    def __init__(self, stage: Stage, pid: int, stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str | None] = {}
        """Conversations whose creation was, and the question in each, if that was."""
        self.count = 0
        self.refusals: list[str] = []
        self._path = stage.data / f"node-{pid}.sock"
        self._pid = pid
        self._stopping = stopping

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                client = Client(self._path)
            except OSError:  # it is being replaced
                self._stopping.wait(0.05)
                continue
            try:
                self._work(client)
            except (AssertionError, OSError):
                """The node left: what is under way may or may not take effect."""
            finally:
                client.close()

    def _work(self, client: Client) -> None:
        while not self._stopping.is_set():
            context = f"n{self._pid}-{self.count}"
            self.count += 1
            if self._done(client, f"create {context}"):
                self.acknowledged[context] = None
                if self._done(client, f"query {context} why {context}?"):
                    self.acknowledged[context] = f"why {context}?"
                    self._done(client, f"cancel {context}")

    def _done(self, client: Client, command: str) -> bool:
        result = client.do(command)
        if not result["ok"]:
            self.refusals.append(f"{command}: {result['error']}")
        return bool(result["ok"])


@pytest.mark.parametrize("network_first", [True, False])
def test_from_release_0_1_0_node_by_node(release: Path, tmp_path: Path, network_first: bool) -> None:
    stage = Stage(tmp_path)
    stage.root = release
    stopping = threading.Event()
    loads = [Load(stage, pid, stopping) for pid in stage.PIDS]
    with stage:
        try:
            for load in loads:
                load.start()
            _goes_on(loads)
            stage.root = ROOT
            if network_first:
                _replace_network(stage)
                _goes_on(loads)
            for pid in stage.PIDS:
                stage.nodes[pid].kill()
                _goes_on([load for load in loads if load is not loads[pid - 1]])
                stage.start(pid)
                stage.nodes[pid].wait("ready")
                _goes_on(loads)
            if not network_first:
                _replace_network(stage)
                _goes_on(loads)
        finally:
            stopping.set()
        for load in loads:
            load.join()
        stage.agreed()
        shown = {each["context"]: each["turns"] for each in stage.ask(1, "viewall")["conversations"]}
    for load in loads:
        assert [refusal for refusal in load.refusals if "node stopped" not in refusal] == []
        for context, question in load.acknowledged.items():
            assert context in shown and (question is None or shown[context][0]["query"] == question)


def _replace_network(stage: Stage) -> None:
    stage.network.kill()
    stage.start_network()


def _goes_on(loads: list[Load]) -> None:
    """Users at each of these nodes get something decided."""
    before = {load: len(load.acknowledged) for load in loads}
    until(lambda: all(len(load.acknowledged) >= before[load] + MORE for load in loads), "operations are decided")
