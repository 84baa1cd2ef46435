"""What the targets rely on finds what it is there for: planted faults of every kind."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz import loop, registry, worker
from tests.fuzz.__main__ import Processes
from tests.fuzz.loop import Hung, Loop
from tests.fuzz.mutation import MOST_BYTES, mutate
from tests.fuzz.target import Form, Logged, Target, TooSlow, bounded
from tests.fuzz.worker import Fault, Worker

ROOT = Path(__file__).resolve().parents[2]


def _never_ends(data: bytes) -> None:
    while True:
        pass


def _logs(data: bytes) -> None:
    try:
        raise KeyError(data)
    except KeyError:
        logging.getLogger("x").warning("odd", exc_info=True)


@pytest.mark.parametrize(
    ("check", "found"), [(_never_ends, TooSlow), (_logs, Logged), (lambda data: data[7], IndexError)]
)
def test_what_is_wrong_with_an_input_is_raised(check: Callable[[bytes], None], found: type[Exception]) -> None:
    with pytest.raises(found):
        Target("planted", check, lambda: [b""], seconds=0.1).try_out(b"x")


GROWTH = """
import sys
from pathlib import Path

from tests.fuzz import target

target._RESET = Path(sys.argv[1])
earlier = bytearray(b"x") * 600_000_000
del earlier
for size in (400_000_000, 20_000_000):
    try:
        with target.bounded(9.0, megabytes=100):
            bytearray(b"x") * size
    except target.TooLarge:
        print("too large:", size)
"""
"""The process has been larger before. It is one of its own: of one that has run other tests the system may take back
hundreds of megabytes while it is measured."""


@pytest.mark.parametrize("reset", ["/proc/self/clear_refs", "/proc/missing/clear_refs", "/dev/null"])
def test_an_input_that_takes_much_memory_is_found(reset: str) -> None:
    """Also where the peak cannot be begun anew, and where the system only says that it has been."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, reset], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "too large: 400000000\n"


def test_what_is_done_in_time_leaves_no_timer_behind() -> None:
    with bounded(0.05):
        pass
    began = time.process_time()
    while time.process_time() - began < 0.1:
        pass


@pytest.mark.parametrize("form", Form)
def test_mutations_differ_are_bounded_and_are_repeated_by_their_seed(form: Form) -> None:
    value: dict[str, Any] = {"a": [1, 2.5, None, True, "text", {"b": []}]}
    data = {Form.MSGPACK: msgspec.msgpack.encode(value), Form.JSON: json.dumps(value).encode()}.get(form, b"a b\nc d\n")
    made = [mutate(data, form, Random(number), [b"other"]) for number in range(300)]
    assert made == [mutate(data, form, Random(number), [b"other"]) for number in range(300)]
    assert len(set(made)) > 150 and max(map(len, made)) <= MOST_BYTES
    if form in (Form.MSGPACK, Form.JSON):
        decode = msgspec.msgpack.decode if form is Form.MSGPACK else json.loads
        assert sum(map(_succeeds(decode), made)) > 100, "too few are well-formed"


def _succeeds(decode: Callable[[bytes], object]) -> Callable[[bytes], bool]:
    def succeeds(data: bytes) -> bool:
        try:
            decode(data)
        except (ValueError, RecursionError):
            return False
        return True

    return succeeds


def test_a_loop_raises_what_would_only_be_logged_and_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LIMIT_S", 0.05)
    closed: list[str] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        yield "used"
        closed.append("used")

    async def fails_later(used: str) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def waits(used: str) -> None:
        await asyncio.Event().wait()

    wrong: list[tuple[Callable[[str], Coroutine[Any, Any, None]], type[Exception]]] = [
        (fails_later, AssertionError), (waits, Hung),
    ]
    one = Loop(opened)
    for attempt, found in wrong:
        with pytest.raises(found):
            one.run(attempt)
    one.close()
    assert closed == ["used"]


def test_a_worker_keeps_the_smallest_input_of_each_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(data: bytes) -> None:
        assert b"bad" not in data
        if b"worse" in data:
            raise KeyError("worse")

    monkeypatch.setattr(registry, "load", lambda name: Target("planted", check, lambda: [b"good"]))
    one = Worker("planted", tmp_path)
    for data in (b"good", b"is bad, really", b"bad", b"it is bad", b"worse"):
        one.attempt(data)
    faults = list(one.report.faults.values())
    assert one.report.inputs == 5 and [fault.times for fault in faults] == [3, 1]
    assert [Path(fault.file).read_bytes() for fault in faults] == [b"bad", b"worse"]
    assert fuzz._report(tmp_path / "planted" / "report.json").faults == one.report.faults


def test_a_run_tells_inputs_and_faults_and_tries_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fuzz.fuzz("frames", 1, 1, tmp_path, Processes())
    assert found.inputs > 0 and not found.faults and "frames" in str(found)
    fault = Fault("KeyError at x.py:1: no", str(tmp_path / "frames" / "faults" / "1"), 7)
    shown = str(found._replace(faults=[fault], covered=(10, 1234)))
    assert "coverage 10 -> 1,234, 1 fault\n" in shown and f"(7 times)\n    ./run.sh fuzz --replay {fault.file}" in shown
    Path(fault.file).write_bytes(b"\x00")
    assert fuzz.replay(Path(fault.file)) == 0 and "nothing is wrong" in capsys.readouterr().out
    assert fuzz.replay(tmp_path) == 2
    monkeypatch.setattr(registry, "load", lambda name: Target("planted", _logs, lambda: [b""]))
    monkeypatch.setattr(fuzz, "load", registry.load)
    with pytest.raises(Logged):
        fuzz.replay(Path(fault.file))


def test_a_process_that_dies_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = tmp_path / "planted" / "faults"

    def dies(self: Processes, command: Sequence[str], within: float) -> tuple[str, int]:
        faults.mkdir(parents=True, exist_ok=True)
        (faults / "timeout-12").write_bytes(b"x")
        return "ALARM: working on the last Unit for 120 seconds\n", 70

    monkeypatch.setattr(Processes, "run", dies)
    found = fuzz.fuzz("planted", 1, 1, tmp_path, Processes())
    assert [fault.what[:15] for fault in found.faults] == ["timeout: ALARM:", "the process end"]


def test_processes_that_hang_or_are_stopped_are_killed() -> None:
    script = "import sys, time; print('began', file=sys.stderr, flush=True); time.sleep(60)"
    processes = Processes()
    assert processes.run([sys.executable, "-c", script], 0.01)[1] == -signal.SIGKILL
    stopping = threading.Timer(0.2, processes.stop)
    stopping.start()
    assert processes.run([sys.executable, "-c", script], 50)[1] == -signal.SIGKILL and processes.stopped
    assert fuzz.fuzz("frames", 60, 1, ROOT, processes).inputs == 0


def test_every_target_is_found_by_its_name_alone() -> None:
    for name in registry.names():
        target = registry.load(name)
        assert target.what and target.seeds() and target.examples >= 20, name
    unknown = {path.name for path in registry.CORPUS.glob("*")} - set(registry.names())
    assert not unknown, f"a corpus of no target: {unknown}"
    assert worker.PACKAGES and all((ROOT / package).is_dir() for package in worker.PACKAGES)
