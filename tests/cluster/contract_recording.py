"""The recording of a release that later ones are held to: `python -m tests.cluster.contract_recording` makes it anew.

To be done in the sources of that release, and when a session is changed; never to make a failing test pass. Under
tests/data/release-0.1.0/ there are

    node.txt, network.txt, ...    what was typed (after "> ") and printed in the sessions of contract_sessions.py
    commands.json                 command lines, their exit codes, and what they printed
    codes.json                    exit codes of the programs in the sessions, by the way in which they left
    node-1.db.gz, ...             the disks of three nodes that were used for a while and stopped
    viewall.json                  what is on them
    export.json                   a conversation as `export` wrote it
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cluster.contract_commands import WITHOUT_A_CLUSTER, at_a_cluster, prepare, run_all
from tests.cluster.contract_processes import ROOT, Event, Stage, Talk
from tests.cluster.contract_sessions import (
    FAILING,
    SESSIONS,
    SLOW,
    Codes,
    Said,
    located,
    over_stored_data,
    query,
    without_llms,
)

RELEASE = ROOT / "tests" / "data" / "release-0.1.0"
LOAD = 2500
"""Operations, enough for a snapshot (one is stored every 2000) with a log behind it."""


def said(name: str) -> list[str]:
    return (RELEASE / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]


def read(name: str) -> Any:
    return json.loads((RELEASE / f"{name}.json").read_text(encoding="utf-8"))


def unpack(folder: Path) -> None:
    """The recorded disks, as the data directory of a stage in `folder`."""
    data = folder / "data"
    data.mkdir()
    for packed in RELEASE.glob("*.db.gz"):
        (data / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))


def _write(name: str, lines: Sequence[str]) -> None:
    (RELEASE / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_json(name: str, content: object) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (RELEASE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def record_data(folder: Path) -> None:
    """A cluster's life: conversations, one node away for 2500 operations, more conversations, a clean end."""
    with Stage(folder) as stage:
        one, two, three = (stage.nodes[pid] for pid in stage.PIDS)
        _before_the_snapshot(one, two, three, folder)
        stage.agreed()
        three.exit()
        stage.network.do(f"load {LOAD} 1")
        stage.start(3)
        stage.agreed()
        _after_the_snapshot(one, two, stage.nodes[3])
        stage.agreed()
        views = [stage.ask(pid, "viewall") for pid in stage.PIDS]
        assert all(view["conversations"] == views[0]["conversations"] and not view["stale"] for view in views)
        _write_json("export", json.loads((folder / "animals.json").read_text(encoding="utf-8")))
        _write_json("viewall", {key: views[0][key] for key in ("conversations", "changed")})
        for node in (one, two, stage.nodes[3]):
            node.exit()
        stage.network.exit()
    for pid in stage.PIDS:
        _pack(stage.data / f"node-{pid}.db")


def _before_the_snapshot(one: Talk, two: Talk, three: Talk, folder: Path) -> None:
    one.do("create animals")
    query(one, "animals", "Name three mammals.")
    one.do("choose animals 2")
    query(two, "animals", "Which of them can fly?")
    two.do("choose animals auto")
    two.wait("chosen")
    three.do("ask animals What is a bat?")
    three.wait("answer")
    two.do_all("create animals", "create plans", "create käse-🧀", "create empty")
    query(two, "plans", "Where to?")
    two.do("cancel plans")
    query(two, "plans", "Where to, then?")
    two.do("retry plans")
    two.wait("candidate", have=3)
    two.do("retry plans 2")
    two.wait("candidate", node=2)
    two.do("choose plans 1")
    query(three, "käse-🧀", "¿Qué? 你好 עברית \"quoted\" \\ and\ttabbed")
    three.do_all(f"export animals {folder}/animals.json", f"import {folder}/animals.json copy")
    three.do_all(f"import {folder}/animals.json brief --chosen")


def _after_the_snapshot(one: Talk, two: Talk, three: Talk) -> None:
    three.do("create open")
    query(three, "open", "Which answer is the best?")
    three.do_all("choose käse-🧀 1", "choose käse-🧀 2")
    query(one, "animals", "And which one is the largest?")
    one.do("choose animals 3")
    two.do("ask plans When?")
    two.wait("answer")
    query(two, "copy", "What else?")
    two.do("choose copy auto")
    two.wait("chosen")
    query(two, "käse-🧀", "Given up?")
    two.do_all("cancel käse-🧀", "query nowhere Why?")


def _pack(disk: Path) -> None:
    """Stores a disk as it was left; fails if it is not what the test is to begin with."""
    content = disk.read_bytes()
    assert not disk.with_name(f"{disk.name}-wal").exists(), "not stopped cleanly"
    with contextlib.closing(sqlite3.connect(disk)) as database:
        state = {name: json.loads(value) for name, value in database.execute("SELECT name, value FROM state")}
        (last,) = database.execute("SELECT max(last) FROM log").fetchone()
    assert 0 < state["snapshot_position"] < last, state
    packed = gzip.compress(content, mtime=0)
    (RELEASE / f"{disk.name}.gz").write_bytes(packed)
    print(f"{disk.name}: {len(packed)} bytes, snapshot at {state['snapshot_position']}, log up to {last}")


def record_sessions() -> None:
    codes: dict[str, Codes] = {}
    for name, session in SESSIONS.items():
        with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
            recorded, codes[name] = session(stage)
            _write_all(recorded, stage.folder)
    _write_json("codes", codes)
    with tempfile.TemporaryDirectory() as folder:
        unpack(Path(folder))
        with Stage(Path(folder), **SLOW) as stage:
            _write_all(over_stored_data(stage), stage.folder)


def record_commands() -> None:
    commands: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        prepare(stage.folder)
        commands += run_all(WITHOUT_A_CLUSTER, stage.folder)
    with tempfile.TemporaryDirectory() as folder:
        unpack(Path(folder))
        with Stage(Path(folder), **FAILING) as stage:
            commands += at_a_cluster(stage)
            _write_all(without_llms(stage), stage.folder)
    _write_json("commands", commands)


def _write_all(recorded: Said, folder: Path) -> None:
    for name, lines in recorded.items():
        _write(name, located(lines, folder))


def main() -> int:
    RELEASE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        record_data(Path(folder))
    record_sessions()
    record_commands()
    return 0


if __name__ == "__main__":
    sys.exit(main())
