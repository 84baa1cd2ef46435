"""`script FILE`: runs the operator's commands from a file one after another, and shows each of them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from api.base import Command, Failure, Result, keys, name_of
from api.errors import InvalidCommand
from api.open_records import extended
from api.operator_commands import (
    LEADER,
    AddNodeCommand,
    ContinueCommand,
    NextCommand,
    NodeCommand,
    PauseCommand,
    RemoveNodeCommand,
    SayCommand,
    ScriptCommand,
    StopCommand,
)
from api.operator_events import PlayingEvent, StepEvent, StepResultEvent
from api.operator_results import ScriptResult, TextResult
from config.files import UnusableFile, read_whole, shown_path
from config.json_text import JsonTextError, decoded
from orchestrator.errors import CommandError

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
SUFFIX = ".txt"
MAX_BYTES = 1024 * 1024
MAX_LINES = 5000
"""All are checked before the first one runs."""

FRESH = "$N"
"""Replaced by a word that is unique to this run of the script: for names of conversations."""
_EPOCH = 1_700_000_000

FINALLY = "finally"
"""A line of its own: the lines after it are run however the script ends."""

_ABOUT_SCRIPTS = (ScriptCommand, StopCommand, PauseCommand, NextCommand, ContinueCommand)
_READ_S, _READ_CHAR_S, _READ_MOST_S = 0.5, 0.035, 5.0
"""How long the script pauses after a text, for its reader."""

LineParser: TypeAlias = Callable[[str], Command[Any]]
"""Makes a command of a line that is not blank. Raises InvalidCommand."""


class Interpreter(Protocol):
    """Runs single commands."""

    def check(self, command: Command[Any], changed: Mapping[int, bool]) -> None:
        """Raises InvalidCommand if the command is invalid once these nodes have been added (True) or removed (False).
        Changes nothing."""

    async def execute(self, command: Command[Any], by: str) -> Result:
        """Raises InvalidCommand."""


class ScriptLine(msgspec.Struct, frozen=True):
    number: int
    text: str
    command: Command[Any]


class Script(msgspec.Struct, frozen=True):
    """All its lines have been checked."""

    path: Path
    lines: list[ScriptLine]
    clean_up: list[ScriptLine]
    """Those after `finally`."""


class Pause:
    """Between the lines of a script, if `on`."""

    def __init__(self, on: bool = False) -> None:
        self.on = on
        self._allowed = 0
        """Lines that may still be run."""
        self._changed = asyncio.Event()

    def begin(self) -> None:
        self.on, self._allowed = True, 0

    def end(self) -> None:
        self.on = False
        self._changed.set()

    def allow(self, count: int) -> None:
        self.on, self._allowed = True, count
        self._changed.set()

    def passes(self) -> bool:
        """Whether the next line may be run, which then counts as run."""
        if self.on and not self._allowed:
            return False
        self._allowed = max(self._allowed - 1, 0)
        return True

    async def over(self) -> Result:
        """When the next line may be run."""
        while not self.passes():
            self._changed.clear()
            await self._changed.wait()
        return Result()


class Scripts:
    """Runs at most one script at a time. Events: `step` before each command, `step_result` with its result after it."""

    def __init__(
        self, interpreter: Interpreter, parse: LineParser, emit: Callable[[StepEvent | StepResultEvent], None],
        interactive: bool,
    ) -> None:
        """`interactive`: a person is reading along, and is given time to."""
        self._interpreter = interpreter
        self._parse = parse
        self._emit = emit
        self._interactive = interactive
        self._stop: asyncio.Event | None = None
        """Of the running script, or of its clean-up."""
        self._playing: asyncio.Task[list[str]] | None = None
        self._clean_up_follows = False
        self._cleaning_up = False
        self._pause = Pause()
        self._line = 0
        self.running = ""
        """As it was typed; empty if no script runs."""
        self.position: str | None = None
        """Which line of which file is running."""

    async def run(self, command: ScriptCommand) -> ScriptResult:
        """Raises CommandError where the script ends before its last line, or if one runs already. If nobody waits for
        the result any more, the script is stopped, and cleans up."""
        if self.running:
            raise CommandError(f"script {self.running} is running: stop ends it")
        script = self.load(command.file)
        self._stop = stop = asyncio.Event()
        self.running = command.file
        self._pause = Pause(command.paused)
        self._playing = asyncio.ensure_future(self._play(script, stop, command.reading or self._interactive))
        began = time.monotonic()
        try:
            problems = await asyncio.shield(self._playing)
        except asyncio.CancelledError:
            stop.set()
            raise
        if problems:
            raise CommandError("; ".join(problems))
        seconds = round(time.monotonic() - began, 1)
        text = f"{script.path.name}: done in {seconds:g} s"
        return ScriptResult(steps=len(script.lines) + len(script.clean_up), seconds=seconds, text=text)

    async def close(self) -> None:
        """Ends the running script at once, without its clean-up."""
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.wait([self._playing])

    async def stop(self, command: StopCommand) -> TextResult:
        if self._stop is None:
            return TextResult(text="no script is running")
        self._stop.set()
        then = f"the lines after {FINALLY} clean up" if self._clean_up_follows else (
            "faults stay in place, reset removes them"
        )
        return TextResult(text=f"stopped: {self.position}; {then}")

    async def pause(self, command: PauseCommand) -> TextResult:
        """Raises CommandError."""
        self._require_running()
        self._pause.begin()
        return TextResult(text=f"waits after {self.position}; next and continue go on")

    async def next(self, command: NextCommand) -> TextResult:
        """Raises CommandError."""
        self._require_running()
        self._pause.allow(command.count)
        return TextResult(text=f"goes on at {self.position}, and waits again")

    async def resume(self, command: ContinueCommand) -> TextResult:
        """Raises CommandError."""
        self._require_running()
        self._pause.end()
        return TextResult(text=f"goes on at {self.position}")

    def _require_running(self) -> None:
        if self._stop is None:
            raise CommandError("no script is running")
        if self._cleaning_up:
            raise CommandError(f"{self.position}: the clean-up waits for nobody; stop ends it")

    async def _play(self, script: Script, stop: asyncio.Event, reading: bool) -> list[str]:
        """Why it did not come to its end, and what it could not clean up. `stop` does not end the clean-up."""
        problems: list[str] = []
        begun: list[ScriptLine] = []
        try:
            self._clean_up_follows = bool(script.clean_up)
            try:
                await self._run_lines(script, begun, stop, reading)
            except CommandError as error:
                problems.append(str(error))
            self._clean_up_follows = False
            self._cleaning_up = True
            self._stop = asyncio.Event()
            self._pause.end()
            return problems + await self._clean_up(script, begun, self._stop)
        finally:
            self._stop = self.position = self._playing = None
            self._clean_up_follows = self._cleaning_up = False
            self.running = ""

    async def _run_lines(
        self, script: Script, begun: list[ScriptLine], stop: asyncio.Event, reading: bool
    ) -> None:
        """Adds those that it runs to `begun`. Raises CommandError if the script ends before its last line."""
        file = script.path.name
        for line in script.lines:
            self._at(line, file)
            if not self._pause.passes():  # at once if it does: a pause that comes now is one after this line
                await _unless(stop, self._pause.over())
            if not stop.is_set():
                begun.append(line)
            result = await self._step(file, line, stop)
            if result is None:
                raise CommandError(f"stopped at line {line.number} of {file}")
            if isinstance(line.command, SayCommand) and reading and not self._pause.on:
                await _unless(stop, _reading(line.text))
            if isinstance(result, Failure):
                raise CommandError(f"{file} ends at line {line.number}, {line.text}: {result.error}")

    async def _clean_up(self, script: Script, begun: list[ScriptLine], stop: asyncio.Event) -> list[str]:
        """What could not be cleaned up: one line that fails keeps no other from being run. What no line that was
        `begun` names is not there to be deleted."""
        problems: list[str] = []
        named = {word for line in begun for word in line.text.split()}
        for line in script.clean_up:
            if _deleted(line.command) not in (None, *named):
                continue
            self._at(line, script.path.name)
            result = await self._step(script.path.name, line, stop)
            if result is None:
                return [*problems, f"its clean-up was stopped at line {line.number}"]
            if isinstance(result, Failure):
                problems.append(f"clean-up, line {line.number}, {line.text}: {result.error}")
        return problems

    def _at(self, line: ScriptLine, file: str) -> None:
        self.position = f"line {line.number} of {file}"
        self._line = line.number

    def playing(self) -> PlayingEvent:
        """What is known of the running script."""
        if self._stop is None:
            return PlayingEvent(None, 0, False)
        return PlayingEvent(self.running, self._line, self._pause.on)

    def load(self, name: str) -> Script:
        """Reads and checks a whole file, or the scenario of this name. Raises CommandError."""
        path = _find(name)
        script = Script(path, [], [])
        fresh = _fresh(time.time())
        changed: dict[int, bool] = {}
        lines = script.lines
        for number, line in enumerate(_read(path), 1):
            text = line.strip().replace(FRESH, fresh)
            if not text or text.startswith("#"):
                continue
            if text.lower() == FINALLY:
                if lines is script.clean_up:
                    raise CommandError(f"{path.name}, line {number}: a second {FINALLY}; no command was run")
                lines = script.clean_up
                changed = dict.fromkeys(changed, True)  # The lines before may not all have been run.
                continue
            try:
                command = self._parse(text)
                self._interpreter.check(command, changed)
                if isinstance(command, _ABOUT_SCRIPTS):
                    raise InvalidCommand(f"unknown command '{name_of(type(command))}' in a script")
            except InvalidCommand as error:
                raise CommandError(f"{path.name}, line {number}: {error}; no command was run") from None
            if isinstance(command, AddNodeCommand):
                changed[command.node] = True
            elif isinstance(command, RemoveNodeCommand) and command.node != LEADER:
                changed[command.node] = False
            lines.append(ScriptLine(number, text, command))
        return script

    async def _step(self, file: str, line: ScriptLine, stop: asyncio.Event) -> Result | None:
        """None if `stop` is set before there is a result."""
        if stop.is_set():
            return None
        about = (name_of(type(line.command)), file, line.number, line.text)
        self._emit(StepEvent(*about))
        result = await _unless(stop, self._result(line.command))
        if result is not None:
            more = keys(result) | ({"command": result.replies_to} if result.replies_to else {})
            self._emit(extended(StepResultEvent(*about), more))
        return result

    async def _result(self, command: Command[Any]) -> Result:
        try:
            return await self._interpreter.execute(command, "script")
        except InvalidCommand as error:  # now that `leader` is a number
            return Failure(error=str(error))


def _deleted(command: Command[Any]) -> str | None:
    """The conversation that it deletes, if it does."""
    words = command.line.split() if isinstance(command, NodeCommand) else []
    return words[1] if len(words) == 2 and words[0].lower() == "delete" else None


def names() -> list[str]:
    """Of the scenarios."""
    return sorted(path.stem for path in SCENARIOS.glob(f"*{SUFFIX}"))


def _fresh(now: float) -> str:
    """A few letters and digits, unique to the current second."""
    number, letters = int(now) - _EPOCH, ""
    while number:
        number, last = divmod(number, 36)
        letters = "0123456789abcdefghijklmnopqrstuvwxyz"[last] + letters
    return letters


async def _reading(text: str) -> Result:
    await asyncio.sleep(min(_READ_S + _READ_CHAR_S * len(text), _READ_MOST_S))
    return Result()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """The result of `work`; None if `stop` is set first, which cancels it."""
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
    """The file or scenario of this name. Raises CommandError."""
    for path in (Path(os.path.expanduser(name)), SCENARIOS / name, SCENARIOS / f"{name}{SUFFIX}"):
        if _exists(path):
            return path
    known = ", ".join(names())
    raise CommandError(f"there is no file '{name[:200]}'; scenarios/ has {known}, for example: script failover")


def _exists(path: Path) -> bool:
    try:
        return path.exists() and path != SCENARIOS
    except (OSError, ValueError):  # no file can have this name
        return False


def _read(path: Path) -> list[str]:
    """The lines. Raises CommandError."""
    try:
        lines = decoded(read_whole(path, MAX_BYTES)).split("\n")
    except UnusableFile as error:
        raise CommandError(f"{shown_path(path)} cannot be read: {error}") from error
    except JsonTextError as error:
        raise CommandError(f"{shown_path(path)} {error}") from error
    if len(lines) > MAX_LINES:
        raise CommandError(f"{shown_path(path)} is too long for a script: at most {MAX_LINES} lines are allowed")
    return lines
