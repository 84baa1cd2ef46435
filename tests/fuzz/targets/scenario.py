"""Scripts of the operator's commands: all of a file is checked before any of it is run."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from api.base import Command, Result
from console.operator.table import parse_line
from orchestrator.errors import CommandError
from orchestrator.script import Scripts
from orchestrator.service import Orchestrator
from tests.fuzz.target import Form, Target
from tests.unit.orchestrator.operator_tools import configuration

_SCENARIOS = Path(__file__).resolve().parents[3] / "scenarios"


class _OnlyChecks:
    """Runs nothing."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    def check(self, command: Command[Any], changed: Mapping[int, bool]) -> None:
        self._orchestrator.check(command, changed)

    async def execute(self, command: Command[Any], by: str) -> Result:
        raise AssertionError("a command was run")


@functools.cache
def _scripts() -> Scripts:
    async def make() -> Scripts:
        with tempfile.TemporaryDirectory() as folder:
            orchestrator = Orchestrator(configuration(Path(folder)), lambda event: None, parse_line)
        return Scripts(_OnlyChecks(orchestrator), parse_line, lambda event: None, interactive=False)

    return asyncio.run(make())


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.txt"
        path.write_bytes(data)
        try:
            script = _scripts().load(str(path))
        except CommandError as error:
            assert str(error) and len(str(error)) < 2000
            return
        lines = data.decode("utf-8-sig").splitlines()
        assert all(1 <= line.number <= len(lines) and line.text for line in script.lines)


def seeds() -> list[bytes]:
    every = b"failLink 1 2 --oneway\npartition 1 2 | 3\ndelay 1 2 10ms\nloss all 5%\nbandwidth 1 100\nload 5 leader\n"
    return [*(path.read_bytes() for path in sorted(_SCENARIOS.glob("*.txt"))), every]


TARGET = Target("scenario files", check, seeds, Form.LINES, examples=200)
