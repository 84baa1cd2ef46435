"""Command lines: examples first, exit codes, which configuration, and what is said about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ctl
import node
from api.node_commands import ImportCommand
from console.node.table import NODE_TABLE
from launcher.arguments import VERSION
from launcher.ctl.arguments import line_of

ROOT = Path(__file__).resolve().parents[3]


def code_of(program: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of an entry point."""
    monkeypatch.setattr(sys, "argv", [program, *words])
    try:
        return {"node.py": node.main, "ctl.py": ctl.main}[program]()
    except SystemExit as left:
        assert isinstance(left.code, int)
        return left.code


def write_config(folder: Path, nodes: int) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"nodes": [{"id": n} for n in range(1, nodes + 1)], "llm": {"provider": "fake"}}))
    return path


def test_run_sh_and_the_programs_have_one_version(tmp_path: Path) -> None:
    said = subprocess.run([ROOT / "run.sh", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == f"ConsensusLLM {VERSION}\n"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


@pytest.mark.parametrize("program", ["node.py", "ctl.py"])
def test_help_and_version(program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(program, "--help", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"examples:\n  python {program} ") and "exit codes: 0 done" in shown
    assert code_of(program, "--version", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"ConsensusLLM {VERSION}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("node.py", "the node number is missing, for example: python node.py 1"),
        ("node.py x", "invalid int value"),
        ("node.py 1 --nonsense", "unrecognized arguments"),
        ("node.py 1 --config nowhere.json", "nowhere.json does not exist"),
        ("node.py 7", "there is no node 7"),
        ("ctl.py status", "one of the arguments --node --network is required"),
        ("ctl.py --node 1", "a command is missing, for example: status"),
        ("ctl.py --node 1 --timeout -1 status", "--timeout"),
        ("ctl.py --node 7 status", "there is no node 7"),
    ],
)
def test_wrong_command_lines(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIG", str(write_config(tmp_path, 3)))
    program, *words = line.split()
    assert code_of(program, *words, monkeypatch=monkeypatch) == 2
    output = capsys.readouterr()
    assert said in output.err and not output.out


def test_the_flag_counts_before_the_environment_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFIG", raising=False)
    assert node.arguments(["1"]).config == Path("config.json")
    monkeypatch.setenv("CONFIG", "other.json")
    assert node.arguments(["1"]).config == Path("other.json")
    assert node.arguments(["1", "--config", "third.json"]).config == Path("third.json")


@pytest.mark.parametrize(
    ("size", "warning"),
    [(1, "cannot survive the failure of any node"), (3, None), (4, "odd sizes are recommended"), (7, None)],
)
def test_check_config(
    size: int, warning: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_config(tmp_path, size))
    assert code_of("node.py", "--check-config", "--config", config, monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert f"{config} is valid." in shown and f"survives the failure of any {(size - 1) // 2}" in shown
    assert ("warning" in shown) == (warning is not None) and (warning or "") in shown
    assert code_of("node.py", "--check-config", "--json", "--config", config, monkeypatch=monkeypatch) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and said["nodes"] == list(range(1, size + 1)) and len(said["warnings"]) == (warning is not None)
    assert os.listdir(tmp_path) == ["config.json"], "it starts nothing"
    Path(config).write_text('{"nodes": [{"id": 1}], "timing": {"heartbeat_ms": 900}}')
    assert code_of("node.py", "--check-config", "--config", config, monkeypatch=monkeypatch) == 2
    assert "timing.heartbeat_ms is 900; it must be less than timing.election_ms" in capsys.readouterr().err


def test_files_are_named_from_where_ctl_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert line_of(["export", "c1", "my talk.md", "--force"]) == f"export c1 {tmp_path}/my talk.md --force"
    assert line_of(["import", "talk.json", "c2"]) == f"import {tmp_path}/talk.json c2"
    for words, context, chosen in (([], None, False), (["c2"], "c2", False), (["--chosen"], None, True)):
        typed = NODE_TABLE.parse(1, line_of(["import", "my talk.json", *words])).command
        assert typed == ImportCommand(f"{tmp_path}/my talk.json", context, chosen)
    assert line_of(["query", "c1", "export  it"]) == "query c1 export  it"
    assert line_of(["export c1 talk.md"]) == f"export c1 {tmp_path}/talk.md"
    assert line_of(["help"]) == "help"


def test_a_node_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_config(tmp_path, 3))
    assert code_of("ctl.py", "--config", config, "--node", "2", "create", "c1", monkeypatch=monkeypatch) == 1
    output = capsys.readouterr()
    assert "error: this node is not running: nothing is listening at" in output.err and not output.out
    assert code_of("ctl.py", "--config", config, "--node", "2", "--json", "status", monkeypatch=monkeypatch) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
