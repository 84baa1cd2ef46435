"""Messages that no honest node sends: dropped, counted by sender, and told of with few words."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

TELL_EVERY_S = 600.0
"""After the first line about a node, so long until the next one, which says how many more there were."""

_log = logging.getLogger(__name__)


class OddMessages:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.dropped: Counter[int] = Counter()
        """By sender."""
        self._clock = clock
        self._told: dict[int, tuple[float, int]] = {}
        """When each sender was last told of, and how many there were by then."""

    def add(self, sender: int, why: str) -> None:
        """One was dropped."""
        self.dropped[sender] += 1
        count, now = self.dropped[sender], self._clock()
        at, before = self._told.get(sender, (now - TELL_EVERY_S, 0))
        if now - at < TELL_EVERY_S:
            return
        self._told[sender] = now, count
        more = f" ({count - before} since the last such line)" if before else ""
        _log.warning("what comes as from node %s is what no honest node sends, and is ignored%s: %s", sender, more, why)
