"""An event loop whose time is virtual: it passes only while nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.simulation.observer import Violation

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Instead of waiting, time passes."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Violation("everything waits for ever")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    async def finish(self) -> None:
        """Returns when nothing else can be done without time passing. To be awaited by one task."""
        while True:
            await asyncio.sleep(0)
            if not self._ready:  # type: ignore[attr-defined]  # there is no other way to see it
                return


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """In virtual time. What is left behind unhandled is a violation."""
    loop, problems = VirtualLoop(), list[str]()
    loop.set_exception_handler(lambda _, context: problems.append(str(context.get("exception") or context["message"])))
    try:
        found = loop.run_until_complete(work())
        if problems:
            raise Violation(f"unhandled: {problems[0]}")
        return found
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left)) if left else None
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
