"""What stands behind a console: whoever carries out commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from console.layout import Layout
from console.render import plain_result
from console.usage import Command, Result, Usage, by_name

Earlier: TypeAlias = Callable[[], Awaitable[None]]
"""Waits until every command that was typed before has answered."""


class Executor(Protocol):
    """Carries out what is typed. `help` and `exit` are the console's own."""

    @property
    def commands(self) -> Mapping[str, Usage]:
        """By canonical name."""
        ...

    def submit(self, command: Command, earlier: Earlier) -> asyncio.Future[Result] | Coroutine[Any, Any, Result]:
        """Starts a command; called in the order typed, without waiting for the results. What it returns may be
        cancelled when the user leaves. Commands that must not overlap with earlier ones await `earlier()` first."""
        ...

    def fill(self, usage: Usage, rest: str) -> str:
        """`rest` of a line with the words put in that this user may leave out. May raise UsageError."""
        ...

    def waiting_for(self, command: Command) -> str:
        """Why a command has not answered for a while, for users."""
        ...

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        """What may follow `words` (a canonical command name and its first arguments) as the next word."""
        ...

    def show(self, command: Command, result: Result, paper: Layout) -> str:
        """A result for humans."""
        ...


class Sequential:
    """An executor made of one coroutine function: one command at a time, in the order typed.

    `execute` gets the canonical name and the arguments and returns the result; `ok` may be left out. Commands whose
    usage says `at_once` do not wait for the others. `show` may render a result, or return None for the default.
    """

    def __init__(
        self,
        usages: Iterable[Usage],
        execute: Callable[[str, list[str]], Awaitable[Result]],
        *,
        show: Callable[[Command, Result, Layout], str | None] | None = None,
        complete: Callable[[Sequence[str]], Iterable[str]] | None = None,
        waiting_for: Callable[[Command], str] | None = None,
    ) -> None:
        self._commands = by_name(usages)
        self._execute = execute
        self._show = show
        self._complete = complete
        self._waiting_for = waiting_for

    @property
    def commands(self) -> Mapping[str, Usage]:
        return self._commands

    async def submit(self, command: Command, earlier: Earlier) -> Result:
        if not self._commands[command.name].at_once:
            await earlier()
        result = await self._execute(command.name, command.args)
        return {"ok": "error" not in result, **result}

    def fill(self, usage: Usage, rest: str) -> str:
        return rest

    def waiting_for(self, command: Command) -> str:
        return self._waiting_for(command) if self._waiting_for else "not done yet"

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        return self._complete(words) if self._complete else ()

    def show(self, command: Command, result: Result, paper: Layout) -> str:
        shown = self._show(command, result, paper) if self._show else None
        return plain_result(command, result, paper) if shown is None else shown
