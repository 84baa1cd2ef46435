"""What release 0.1.0 promised to users, their scripts and their disks is still so.

The sessions, command lines and data directories recorded under tests/data/release-0.1.0/ are played again. A test that
fails here means that somebody's script, or somebody's data, would break: tests/cluster/contract_shapes.py tells what is
compared, tests/cluster/contract_recording.py how it was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cluster import contract_recording as recording
from tests.cluster.contract_commands import WITHOUT_A_CLUSTER, at_a_cluster, prepare, promised, run_all
from tests.cluster.contract_processes import Event, Stage, until
from tests.cluster.contract_sessions import (
    BY_THE_LEADER,
    FAILING,
    SESSIONS,
    SLOW,
    Said,
    located,
    over_stored_data,
    without_llms,
)
from tests.cluster.contract_shapes import changes, difference

RECORDED_SESSIONS = ("impostor", "network", "node", "socket", "stored")


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A directory with the disks of release 0.1.0."""
    recording.unpack(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_goes_as_it_went(name: str, tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        said, codes = SESSIONS[name](stage)
    _keeps_the_contract(said, tmp_path)
    assert codes == recording.read("codes")[name]


def test_command_lines_end_as_they_ended(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    prepare(stage.folder)
    _end_alike(run_all(WITHOUT_A_CLUSTER, stage.folder), first=True)


def test_scripts_at_a_running_cluster(used: Path) -> None:
    with Stage(used, **FAILING) as stage:
        ended = at_a_cluster(stage)
        said = without_llms(stage)
        _comes_in_and_goes_out(stage)
    _end_alike(ended, first=False)
    _keeps_the_contract(said, used)


def test_its_disks_are_read_and_gone_on_with(used: Path) -> None:
    before = recording.read("viewall")
    with Stage(used, **SLOW) as stage:
        for pid in stage.PIDS:
            assert _view(stage, pid) == before, f"node {pid}"
        _keeps_the_contract(over_stored_data(stage), used)
        stage.nodes[2].kill()
        stage.start(2)
        stage.agreed()
        views = [_view(stage, pid) for pid in stage.PIDS]
    for view in views:
        *kept, later = view["conversations"]
        assert kept == before["conversations"]
        assert (later["context"], later["turns"][0]["chosen"], len(later["turns"][0]["candidates"])) == ("later", 3, 3)
        assert view == views[0]


def _comes_in_and_goes_out(stage: Stage) -> None:
    """A conversation that release 0.1.0 exported. How the nodes voted goes out with it, and does not come in."""
    exported = recording.read("export")
    exported["turns"] = [{key: turn[key] for key in turn if key != "poll"} for turn in exported["turns"]]
    imported = stage.ask(1, f"import {recording.RELEASE}/export.json again")
    assert imported["ok"] and imported["turns"] == len(exported["turns"]), imported
    until(lambda: stage.ask(2, "view again").get("turns") == exported["turns"], "node 2 shows it")
    assert stage.ask(3, f"export again {stage.folder}/again.json")["ok"]
    again = json.loads((stage.folder / "again.json").read_text(encoding="utf-8"))
    assert json.dumps(again) == json.dumps({**exported, "context": "again"}), "the same keys, in the same order"


def _view(stage: Stage, pid: int) -> Event:
    def current() -> Event | None:
        view = stage.ask(pid, "viewall")
        return view if view["ok"] and not view["stale"] else None

    view = until(current, f"node {pid} shows what is decided")
    return {"conversations": view["conversations"], "changed": view["changed"]}


def _keeps_the_contract(said: Said, folder: Path) -> None:
    everything = [line for name in RECORDED_SESSIONS for line in recording.said(name)]
    for name, lines in said.items():
        changed = changes(
            recording.said(name), located(lines, folder), all_recorded=everything, by_the_leader=BY_THE_LEADER
        )
        assert not changed, f"session {name}:\n{changed}"


def _end_alike(now: Iterable[Event], *, first: bool) -> None:
    """`now` are the first of the recorded command lines, or the rest of them."""
    every = recording.read("commands")
    count = len(WITHOUT_A_CLUSTER)
    recorded = every[:count] if first else every[count:]
    changed = difference("command lines", [promised(each) for each in recorded], [promised(each) for each in now])
    assert not changed, changed
