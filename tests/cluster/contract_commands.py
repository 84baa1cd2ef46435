"""Command lines of the entry points: with which exit code they end, on which stream they speak, what --json prints.

How help, tables and complaints are worded and laid out is no part of the contract, but what a user has named (a
conversation, a file) must occur in them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.contract_processes import FOLDER, PATIENCE_S, ROOT, Stage, environment
from tests.cluster.contract_sessions import located
from tests.cluster.contract_shapes import shape
from tests.free_ports import free_port

Record = dict[str, Any]
VERSION = re.compile(r"ConsensusLLM \d+\.\d+\.\d+(\.dev\d+)?\n")
PROGRAMS = ("node.py", "network_server.py", "ctl.py")
CONFIG = f"{FOLDER}/config.json"
AT_ONCE = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True)
class Case:
    """A command line, and words that must occur in what it prints. FOLDER stands for the directory it is run for."""

    words: Sequence[str]
    mentions: Sequence[str] = ()
    config: str = ""
    """The environment's CONFIG."""


CONFIGS: dict[str, Any] = {
    "even": {"nodes": [{"id": 1}, {"id": 2}], "llm": {"provider": "fake"}},
    "exposed": {"nodes": [{"id": 1}], "secret": "correct horse battery", "llm": {"provider": "fake"}},
    "unknown-key": {"nodes": [{"id": 1}], "colour": "red"},
    "wrong-value": {"nodes": [{"id": 1}], "timing": {"heartbeat_ms": "often"}},
    "twice": {"nodes": [{"id": 1}, {"id": 1}]},
    "open": {"nodes": [{"id": 1}], "orchestrator": {"host": "0.0.0.0"}},
    "list": [],
}
"""Configurations that are questionable or wrong."""


def prepare(folder: Path) -> None:
    """The files that the command lines name."""
    for name, content in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "exposed.json").chmod(0o644)
    (folder / "broken.json").write_text('{"nodes": [')
    damaged = {"nodes": [{"id": 1}], "data_dir": "damaged", "orchestrator": {"port": free_port()}}
    (folder / "damaged.json").write_text(json.dumps(damaged))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "node-1.db").write_bytes(b"this is no database" * 1000)


def _ctl(*words: str) -> list[str]:
    return ["ctl.py", "--config", CONFIG, "--node", "2", *words]


def _wrong_lines() -> Iterable[Case]:
    """The same for all programs, then each one's own."""
    for program in PROGRAMS:
        one = ["1"] if program == "node.py" else ["--node", "1", "status"] if program == "ctl.py" else []
        yield Case([program, "--version"])
        yield Case([program, "--help"], [program, "--config"])
        yield Case([program, "--dance"])
        yield Case([program, *one], ["broken.json"], f"{FOLDER}/broken.json")
    yield Case(["node.py", "1", "--config", f"{FOLDER}/nowhere.json"], ["nowhere.json"])
    for words in ([], ["9", "--config", CONFIG], ["9", "--check-config", "--config", CONFIG]):
        yield Case(["node.py", *words])
    for words in (["status"], ["--node", "1"], ["--node", "9", "--config", CONFIG, "status"]):
        yield Case(["ctl.py", *words])
    yield Case(["ctl.py", "--node", "1", "--timeout", "0", "status"], ["--timeout"])


def _configurations() -> Iterable[Case]:
    yield Case(["node.py", "1", "--check-config", "--config", CONFIG], ["config.json", "contract"])
    for name in ("config", "even", "exposed"):
        yield Case(["node.py", "--check-config", "--config", f"{FOLDER}/{name}.json", "--json"], [f"{name}.json"])
    yield Case(["node.py", "--check-config", "--config", f"{FOLDER}/unknown-key.json", "--json"], ["colour"])
    for name, mentioned in (("wrong-value", "heartbeat_ms"), ("twice", "1"), ("open", "secret")):
        yield Case(["node.py", "1", "--config", f"{FOLDER}/{name}.json"], [f"{name}.json", mentioned])
    yield Case(["network_server.py", "--config", f"{FOLDER}/list.json"], ["list.json"])


def _nothing_runs() -> Iterable[Case]:
    """At a cluster that is not running, and what works without one."""
    yield Case(_ctl("status"))
    yield Case(_ctl("--json", "create", "c1"))
    yield Case(["network_server.py", "--config", CONFIG])
    yield Case(["node.py", "1", "--config", CONFIG])
    yield Case(["node.py", "1", "--config", f"{FOLDER}/damaged.json"], ["node-1.db"])
    for word in ("--version", "help", "dance"):
        yield Case(["./run.sh", word], [] if word == "--version" else ["./run.sh stop"])


WITHOUT_A_CLUSTER = [*_wrong_lines(), *_configurations(), *_nothing_runs()]
CHANGING = [
    Case(_ctl("create", "by-ctl"), ["by-ctl"]), Case(_ctl("create", "by-ctl"), ["by-ctl"]),
    Case(_ctl("--json", "create", "by-ctl"), ["by-ctl"]),
    Case(_ctl("query", "by-ctl", "two\nlines?"), ["by-ctl"]),
    Case(_ctl("cancel", "by-ctl"), ["by-ctl"]),
    Case(_ctl("export", "plans", f"{FOLDER}/plans.json"), ["plans.json"]),
    Case(_ctl("export", "plans", f"{FOLDER}/plans.json"), ["plans.json"]),
    Case(_ctl("--json", "import", f"{FOLDER}/plans.json", "plans-2"), ["plans-2"]),
    Case(_ctl("--json", "view", "plans-2"), ["Where to?"]),
]
"""At a cluster with the recorded conversations, one after the other."""
READING = [
    Case(_ctl("crate", "c1"), ["crate"]), Case(_ctl("--json", "crate", "c1"), ["crate"]),
    Case(_ctl("choose", "plans", "x")), Case(_ctl("help", "query"), ["query"]),
    Case(_ctl("view", "animals"), ["animals", "Name three mammals."]), Case(_ctl("viewall"), ["animals", "plans"]),
    Case(_ctl("view", "animals", "--all-candidates", "--votes"), ["animals", "Which of them can fly?"]),
    Case(_ctl("view", "nowhere"), ["nowhere"]), Case(_ctl("--json", "view", "nowhere"), ["nowhere"]), Case(_ctl("log")),
    Case(_ctl("--json", "help"), ["viewall"]), Case(_ctl("--json", "status")), Case(_ctl("status")),
    Case(["node.py", "1", "--config", CONFIG]), Case(["network_server.py", "--config", CONFIG]),
]
"""There too, in any order; the last two find that somebody runs already."""


def run_all(cases: Iterable[Case], folder: Path, at_once: int = AT_ONCE) -> list[Record]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda case: _run(case, folder), cases))


def at_a_cluster(stage: Stage) -> list[Record]:
    return [*run_all(CHANGING, stage.folder, at_once=1), *run_all(READING, stage.folder)]


def _run(case: Case, folder: Path) -> Record:
    words = [word.replace(FOLDER, str(folder)) for word in case.words]
    program = [] if words[0].startswith("./") else [sys.executable]
    more = {"CONFIG": case.config.replace(FOLDER, str(folder))} if case.config else {}
    done = subprocess.run(
        [*program, *words], cwd=ROOT, env=environment(COLUMNS="120", **more), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE_S,
    )
    out, err = located([done.stdout, done.stderr], folder)
    err = "".join(line for line in err.splitlines(keepends=True) if not line.startswith("still trying: "))  # after 2 s
    for mentioned in case.mentions:
        assert mentioned in out + err, f"{case.words} does not mention {mentioned}: {out}{err}"
    return {"words": case.words, "code": done.returncode, "stdout": out, "stderr": err}


def promised(record: Record) -> str:
    """What of a command line's end is compared."""
    said = [f"{stream}: {line}" for stream in ("stdout", "stderr") for line in _promised(record[stream])]
    return "\n".join([f"$ {' '.join(record['words'])}", f"exit code {record['code']}", *said])


def _promised(printed: str) -> list[str]:
    if not printed:
        return []
    if printed.startswith("{"):
        return [shape(json.loads(line)) for line in printed.splitlines()]
    return ["its version" if VERSION.fullmatch(printed) else "words for people"]
