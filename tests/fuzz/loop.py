"""One event loop for all inputs of a target that needs sockets: what it has opened stays open for the next input."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LIMIT_S = 30.0
"""An input that takes longer has hung something. (The CPU may be busy with other things.)"""


class Hung(AssertionError):
    """What had to happen did not."""


class Loop(Generic[T]):
    """`opened` makes what every input is tried on, when the first one comes; `close` puts it away. Errors that an
    event loop would only log are raised."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._opened = opened
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack: AsyncExitStack
        self._used: T
        self._problems: list[dict[str, Any]] = []

    def run(self, attempt: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        if self._loop is None:
            self._loop, self._stack = asyncio.new_event_loop(), AsyncExitStack()
            self._loop.set_exception_handler(lambda _, context: self._problems.append(context))
            self._used = self._loop.run_until_complete(self._stack.enter_async_context(self._opened()))
        try:
            self._loop.run_until_complete(_limited(attempt(self._used)))
        except Exception:
            self.close()  # the next input gets a new one
            raise
        problems, self._problems = self._problems, []
        for problem in problems:
            raise AssertionError(problem["message"]) from problem.get("exception")

    def close(self) -> None:
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        loop.run_until_complete(_limited(self._stack.aclose()))
        loop.close()
        self._problems.clear()


async def _limited(attempt: Coroutine[Any, Any, None]) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await attempt
    except TimeoutError as error:
        raise Hung(f"not done within {LIMIT_S:g} s") from error
