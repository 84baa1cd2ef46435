"""`script FILE`: the operator's commands from a file, one after the other, shown as they are carried out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from console import Result, Usage, UsageError
from console.usage import parse
from orchestrator.words import Action, CommandError

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
SUFFIX = ".txt"
MAX_BYTES = 1024 * 1024

NOT_IN_SCRIPTS = ("script", "stop")

FRESH = "$N"
"""Stands for a word that no earlier run of a script had: for names of conversations."""
_EPOCH = 1_700_000_000

_READ_S, _READ_CHAR_S, _READ_MOST_S = 0.5, 0.035, 5.0
"""How long a reader gets for a text that is shown."""


class Interpreter(Protocol):
    """Who carries out single commands."""

    def check(self, name: str, args: list[str]) -> None:
        """Raises CommandError if the command makes no sense. Changes nothing."""

    async def execute(self, name: str, args: list[str], by: str) -> Result: ...


class Step(msgspec.Struct, frozen=True):
    line: int
    text: str
    name: str
    args: list[str]


class Scripts:
    """At most one script runs at a time. Events: `step` before each command, `step_result` with its result after it."""

    def __init__(
        self, interpreter: Interpreter, usages: Mapping[str, Usage], emit: Callable[[dict[str, Any]], None],
        unhurried: bool,
    ) -> None:
        """`unhurried`: a person reads along, and gets the time for it."""
        self._unhurried = unhurried
        self._interpreter = interpreter
        self._usages = {name: usage for name, usage in usages.items() if name not in NOT_IN_SCRIPTS}
        self._emit = emit
        self._stop: asyncio.Event | None = None
        """Of the running script."""
        self.playing = ""
        """As it was typed; empty if no script runs."""
        self.where: str | None = None
        """Which line of which file is being carried out."""

    def plan(self, args: list[str]) -> Action:
        """Reads and checks the whole file. Raises CommandError."""
        path = _find(" ".join(args))
        steps = list(self._steps(path))
        return lambda: self._play(" ".join(args), path, steps)

    def stop(self) -> Result:
        if self._stop is None:
            return {"text": "no script is running"}
        self._stop.set()
        return {"text": f"stopped: {self.where}; faults stay as they are, reset takes them back"}

    def names(self) -> list[str]:
        return sorted(path.stem for path in SCENARIOS.glob(f"*{SUFFIX}"))

    def _steps(self, path: Path) -> Iterable[Step]:
        fresh = _fresh(time.time())
        for number, line in enumerate(_read(path).splitlines(), 1):
            text = line.strip().replace(FRESH, fresh)
            if not text or text.startswith("#"):
                continue
            try:
                command = parse(number, text, self._usages)
                self._interpreter.check(command.name, command.args)
            except (UsageError, CommandError) as error:
                raise CommandError(f"{path.name}, line {number}: {error}; nothing was carried out") from None
            yield Step(number, text, command.name, command.args)

    async def _play(self, typed: str, path: Path, steps: list[Step]) -> Result:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._stop = stop = asyncio.Event()
        self.playing = typed
        try:
            for step in steps:
                self.where = f"line {step.line} of {path.name}"
                about = {"file": path.name, "line": step.line, "command": step.text}
                self._emit({"event": "step", "name": step.name, **about})
                result = await _unless(stop, self._interpreter.execute(step.name, step.args, "script"))
                if result is None:
                    raise CommandError(f"stopped at line {step.line} of {path.name}")
                self._emit({"event": "step_result", "name": step.name, **about, **result})
                if step.name == "say" and self._unhurried:
                    await _unless(stop, _reading(step.text))
                if not result["ok"]:
                    raise CommandError(f"{path.name} ends at line {step.line}, {step.text}: {result['error']}")
        finally:
            self._stop = self.where = None
            self.playing = ""
        seconds = round(loop.time() - began, 1)
        return {"steps": len(steps), "seconds": seconds, "text": f"{path.name}: done in {seconds:g} s"}


def _fresh(now: float) -> str:
    """A few letters and digits that no other second has."""
    number, letters = int(now) - _EPOCH, ""
    while number:
        number, last = divmod(number, 36)
        letters = "0123456789abcdefghijklmnopqrstuvwxyz"[last] + letters
    return letters


async def _reading(text: str) -> Result:
    await asyncio.sleep(min(_READ_S + _READ_CHAR_S * len(text), _READ_MOST_S))
    return {}


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What comes of `work`; None if `stop` is set before it is done, which ends it."""
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopped.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working])


def _find(name: str) -> Path:
    """The file of this name, or the scenario. Raises CommandError."""
    for path in (Path(name).expanduser(), SCENARIOS / name, SCENARIOS / f"{name}{SUFFIX}"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in SCENARIOS.glob(f"*{SUFFIX}")))
    raise CommandError(f"there is no file '{name[:200]}'; in scenarios/ are {known}, for example: script failover")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CommandError(f"{path} is too long for a script: at most {MAX_BYTES} bytes are possible")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
