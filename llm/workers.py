"""Threads for calls that block and cannot be cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

from llm.provider import ProviderError

T = TypeVar("T")


class Workers:
    """Runs blocking calls in daemon threads, so that neither a cancelled caller nor the end of the process waits for
    one that hangs (an executor joins its threads at exit). At most `limit` calls run or hang at a time."""

    def __init__(self, name: str, limit: int = 8) -> None:
        self._name = name
        self._limit = limit
        self._busy = 0

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result or exception. When cancelled, the call continues unobserved.

        Raises ProviderError if too many earlier calls have not returned.
        """
        if self._busy >= self._limit:
            raise ProviderError(f"{self._limit} earlier requests to {self._name} are still hanging", retryable=True)
        self._busy += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            result: T | None = None
            failure: BaseException | None = None
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it is re-raised where `run` is awaited
                failure = error
            with suppress(RuntimeError):  # the loop is closed: nothing waits any more
                loop.call_soon_threadsafe(finish, result, failure)

        def finish(result: T | None, failure: BaseException | None) -> None:
            self._busy -= 1
            if future.cancelled():
                return
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(cast(T, result))

        threading.Thread(target=work, name=f"llm-{self._name}", daemon=True).start()
        return await future
