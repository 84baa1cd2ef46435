"""What a target is, and what holds for every input of every target."""

from __future__ import annotations

import logging
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import FrameType

import msgspec

SECONDS = 2.0
"""CPU time that one input may take."""
MEGABYTES = 200
"""By how much one input may make the process grow."""

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_TRIAL = 64_000_000


class Form(StrEnum):
    """How inputs look, so that mutations keep them well-formed at times."""

    BYTES = "bytes"
    MSGPACK = "msgpack"
    JSON = "json"
    LINES = "lines"


class Target(msgspec.Struct, frozen=True):
    """`check` raises anything if a property does not hold; what is declared to be raised it catches itself."""

    what: str
    """In a few words."""
    check: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    """Good inputs, to be mutated."""
    form: Form = Form.BYTES
    examples: int = 200
    """How many inputs the tests try."""
    seconds: float = SECONDS
    close: Callable[[], None] = lambda: None
    """To be called when no input follows."""

    def try_out(self, data: bytes) -> None:
        """Raises if any property does not hold for this input."""
        with bounded(self.seconds), no_traceback():
            self.check(data)


class TooSlow(AssertionError):
    """One input took too much CPU time."""


class TooLarge(AssertionError):
    """One input took too much memory."""


class Logged(AssertionError):
    """Something was logged with a traceback: it was not expected where it was caught."""


@contextmanager
def bounded(seconds: float, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Raises TooSlow or TooLarge, the first also in the midst of an endless loop."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"still not done after {seconds:g} s of CPU time")

    memory = _memory()
    before, began = signal.signal(signal.SIGPROF, stop), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
        grown = memory() // 2**20
    taken = time.process_time() - began
    if taken > seconds:
        raise TooSlow(f"{taken:.1f} s of CPU time")
    if grown > megabytes:
        raise TooLarge(f"{grown} MB")


def _memory() -> Callable[[], int]:
    """Begins to measure; the result ends it and tells by how many bytes memory had grown at its peak.

    The process' own peak tells all of it, but is of use only where it can be begun anew: it may have been higher
    before. Elsewhere what Python allocates is traced, which is slower.
    """
    if not _peak_is_told(_RESET):
        return _traced_memory()
    _RESET.write_text("5")
    before = _peak()
    return lambda: _peak() - before


@cache
def _peak_is_told(reset: Path) -> bool:
    """Tried rather than believed: a system may take the request to begin the peak anew and do nothing."""
    try:
        reset.write_text("5")
        before = _peak()
        bytearray(b"x") * _TRIAL
        grown = _peak() - before
        reset.write_text("5")
        left = _peak() - before
    except (OSError, ValueError):
        return False
    return grown > _TRIAL // 2 > left


def _peak() -> int:
    """Bytes; ValueError if the system does not tell them."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no peak in the state of the process")


def _traced_memory() -> Callable[[], int]:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    def end() -> int:
        grown = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        return grown

    return end


class _Tracebacks(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, BaseException]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.found.append((record.getMessage(), record.exc_info[1]))


@contextmanager
def no_traceback() -> Iterator[None]:
    """Raises Logged."""
    tracebacks, root = _Tracebacks(), logging.getLogger()
    root.addHandler(tracebacks)
    try:
        yield
    finally:
        root.removeHandler(tracebacks)
    for message, error in tracebacks.found:
        raise Logged(message) from error
