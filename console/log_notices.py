"""Log records as notices of a console, so that no stray line breaks a prompt or a stream of JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable


class _Notices(logging.Handler):
    def __init__(self, say: Callable[[str], None], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._say, self.format(record))


def route_logging(say: Callable[[str], None]) -> Callable[[], None]:
    """Sends all loggers' and threads' warnings and errors to `say`, in the running event loop; the result undoes
    that."""
    handler = _Notices(say, asyncio.get_running_loop())
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    return lambda: root.removeHandler(handler)
