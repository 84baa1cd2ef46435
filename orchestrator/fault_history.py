"""What was done to the network, and when."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec
from msgspec import UNSET

from api.base import name_of
from api.operator_commands import FaultCommand
from api.operator_results import HistoryEntry

KEPT = 1000


class FaultHistory:
    """The last faults that were set and removed, each with its time."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._entries: deque[HistoryEntry] = deque(maxlen=KEPT)

    def note(self, what: str, by: str) -> None:
        """`by` is who did it: `operator`, `script` or `timer`."""
        self._entries.append(HistoryEntry(time.time(), round(time.monotonic() - self._began, 3), what, by))

    def since_last(self) -> tuple[float, str] | None:
        """How many seconds ago the last fault was, and what; None if there was none."""
        if not self._entries:
            return None
        last = self._entries[-1]
        return time.monotonic() - self._began - last.after_s, last.what

    def last(self, count: int) -> list[HistoryEntry]:
        """The last entries, the oldest of them first."""
        return list(self._entries)[-count:]


def words_of(command: FaultCommand[Any]) -> str:
    """What a command is called in the history: as it was typed, or could have been typed."""
    if command.words is not UNSET:
        return command.words
    values = {key: value for key, value in msgspec.structs.asdict(command).items() if value not in (UNSET, None)}
    if values.get("jitter_ms") == 0:
        del values["jitter_ms"]
    one_way, for_s = values.pop("one_way", False), values.pop("for_s", None)
    words = [name_of(type(command)), *map(str, values.pop("link", ()))]
    if groups := values.pop("groups", None):
        words.append("|".join(",".join(map(str, group)) for group in groups))
    words += [f"{value:.15g}" if isinstance(value, float) else str(value) for value in values.values()]
    return " ".join([*words, *(["--oneway"] if one_way else []), *([f"--for {for_s:g}s"] if for_s else [])])
