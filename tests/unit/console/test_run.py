"""The console behind pipes: plain lines and JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.base import Event
from console import Console, Executor, Form, Usage
from tests.unit.console.console_tools import table

ROOT = Path(__file__).resolve().parents[3]
USAGES = [
    Usage("say", "TEXT", "says it", "say hello", 1, 1, text=True),
    Usage("big", "N", "says much", "big 1000", 1, 1, large=True),
    Usage("hang", "", "never answers"),
    Usage("play", "", "never answers, and shows how far it is", shows_progress=True),
    Usage("status", "", "at once", at_once=True),
]


async def execute(name: str, args: list[str]) -> dict[str, Any]:
    match name:
        case "say":
            return {"text": args[0]}
        case "big":
            return {"text": "x" * int(args[0])}
        case "hang" | "play":
            await asyncio.Event().wait()
    return {"role": "tester"}


class LeaderEvent(Event, frozen=True, tag="leader"):
    leader: int


class CandidateEvent(Event, frozen=True, tag="candidate"):
    text: str


class OddEvent(Event, frozen=True, tag="odd"):
    pass


class SilentEvent(Event, frozen=True, tag="silent"):
    pass


class WideEvent(Event, frozen=True, tag="wide"):
    pass


class LateEvent(Event, frozen=True, tag="late"):
    pass


TABLE = table(USAGES, execute)


class Reader(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.data = b""

    def run(self) -> None:
        while chunk := os.read(self.descriptor, 65536):
            self.data += chunk


def type_and_close(descriptor: int, typed: bytes) -> None:
    os.write(descriptor, typed)
    os.close(descriptor)


def converse(
    form: Form, typed: bytes, before: Callable[[Console], None] = lambda console: None
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a console that gets `typed` through a pipe."""
    pipes = [os.pipe() for _ in range(3)]
    (stdin, typing), (out_end, stdout), (err_end, stderr) = pipes
    readers = [Reader(out_end), Reader(err_end)]
    writer = threading.Thread(target=type_and_close, args=(typing, typed))

    async def serve() -> int:
        console = Console(form, title="test", stdin=stdin, stdout=stdout, stderr=stderr)
        before(console)
        async with asyncio.timeout(20):
            return await console.run(TABLE, Executor())

    for thread in (*readers, writer):
        thread.start()
    try:
        code = asyncio.run(serve())
    finally:
        for descriptor in (stdout, stderr):
            os.close(descriptor)
        for thread in (*readers, writer):
            thread.join()
        for descriptor in (stdin, out_end, err_end):
            os.close(descriptor)
    return code, readers[0].data.decode(), readers[1].data.decode()


def records(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_json_is_one_object_a_line() -> None:
    typed = 'say "hi" \x1b[31m\u202e世\x00\n\n# no\nsya x\nsay\n\u00e9\nstatus\nexit\nsay late'.encode() + b"\xff\n"
    code, stdout, stderr = converse(Form.JSON, typed)
    assert code == 0 and stderr == ""
    assert stdout.isascii() and stdout.replace("\n", "").isprintable()
    answers = sorted(records(stdout), key=lambda record: record["line"])
    assert all(record["event"] == "result" for record in answers)
    assert [(record["line"], record["command"], record["ok"]) for record in answers] == [
        (1, "say", True), (4, "sya", False), (5, "say", False), (6, "é", False), (7, "status", True), (8, "exit", True)
    ]
    assert answers[0]["text"] == '"hi" \x1b[31m\u202e世\x00'
    assert "did you mean say?" in answers[1]["error"]
    assert "for example: say hello" in answers[2]["error"]
    assert answers[4]["role"] == "tester"


def test_plain_is_safe_text() -> None:
    code, stdout, _ = converse(Form.PLAIN, b"say \x1b[31mred\nnope\nhelp say\n\xff\n")
    assert code == 0
    # help answers at once, hence its place is its own
    assert {"^[[31mred", "line 2: error: unknown command 'nope': help lists all commands"} <= set(stdout.splitlines())
    assert "say TEXT  says it\nfor example: say hello\n" in stdout
    assert "line 4: error: the line is not valid UTF-8 (byte 1)\n" in stdout


def test_events_and_notices() -> None:
    def speak(console: Console) -> None:
        console.emit(LeaderEvent(4), "leader: \x07node 4")
        console.emit(SilentEvent())
        console.emit(WideEvent(), lambda layout: f"width {layout.width}")
        console.say("a notice\x1b")

    _, stdout, stderr = converse(Form.JSON, b"", speak)
    assert [record["event"] for record in records(stdout)] == ["leader", "silent", "wide"]
    assert stderr == "a notice^[\n"
    _, stdout, stderr = converse(Form.PLAIN, b"", speak)
    assert stdout == "leader: ^Gnode 4\nwidth None\na notice^[\n"
    assert stderr == ""


def test_exit_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.run.EXIT_WITHIN", 1.0)
    code, stdout, _ = converse(Form.JSON, b"say a\nhang\nexit\n")
    assert code == 0
    assert [(record["line"], record["ok"]) for record in records(stdout)] == [(1, True), (2, False), (3, True)]


def test_waiting_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.run.WAITING_AFTER", 0.05)
    monkeypatch.setattr("console.run.EXIT_WITHIN", 0.5)
    _, stdout, _ = converse(Form.JSON, b"hang\nexit\n")
    assert records(stdout)[0] == {"event": "waiting", "command": "hang", "line": 1, "reason": "not done yet"}
    assert [record["event"] for record in records(stdout)] == ["waiting", "result", "result"]


def test_people_are_not_told_what_they_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.run.WAITING_AFTER", 0.05)
    monkeypatch.setattr("console.run.EXIT_WITHIN", 0.5)
    _, stdout, _ = converse(Form.PLAIN, b"hang\nplay\nexit\n")
    assert "hang: still trying" in stdout and "play: still trying" not in stdout
    _, stdout, _ = converse(Form.JSON, b"play\nexit\n")
    assert records(stdout)[0]["event"] == "waiting"


def test_much_input_and_much_output() -> None:
    texts = [f"{number} " + "long " * 20_000 for number in range(20)]
    typed = "".join(f"say {text}\n" for text in texts).encode() + b"say " + b"x" * (1 << 20) + b"\nbig 6000000\n"
    code, stdout, _ = converse(Form.JSON, typed)
    answers = records(stdout)
    assert code == 0
    assert [record.get("text") for record in answers[:20]] == [text.strip() for text in texts]
    assert "too long" in answers[20]["error"]
    assert len(answers[21]["text"]) == 6_000_000


def test_events_are_dropped_and_counted_while_the_reader_is_far_behind() -> None:
    async def scenario() -> None:
        reading, writing = os.pipe()
        console = Console(Form.JSON, stdout=writing)
        for _ in range(1000):
            console.emit(CandidateEvent("x" * 10_000))
        reader = Reader(reading)
        reader.start()
        await console._out.writable()
        console.emit(LateEvent())
        await console._out.drained()
        os.close(writing)
        reader.join()
        os.close(reading)
        events = [record["event"] for record in records(reader.data.decode())]
        assert 100 < events.count("candidate") < 1000
        assert events[-2:] == ["dropped", "late"]

    asyncio.run(scenario())


SCRIPT = textwrap.dedent(
    """
    import asyncio, sys
    from console import Console, Executor, Form, Usage
    from tests.unit.console.console_tools import table

    async def execute(name, args):
        return {"text": "x" * 100_000}

    async def main():
        return await Console(Form.choose("--json" in sys.argv)).run(
            table([Usage("big", "", "much")], execute), Executor()
        )

    sys.exit(asyncio.run(main()))
    """
)


def start(stdin: Any, *flags: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *flags], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_who_leaves_ends_the_process_quietly(flags: tuple[str, ...]) -> None:
    with start(subprocess.PIPE, *flags) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"big\n" * 100)
        process.stdin.flush()
        assert process.stdout.read(1000)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 1


def test_a_process_without_input() -> None:
    with start(subprocess.DEVNULL) as process:
        stdout, stderr = process.communicate(timeout=10)
        assert (process.returncode, stdout, stderr) == (0, b"", b"")


def test_cancelling_leaves_at_once_with_what_was_said() -> None:
    async def scenario() -> bytes:
        stdin, typing = os.pipe()
        reading, stdout = os.pipe()
        console = Console(Form.PLAIN, stdin=stdin, stdout=stdout)
        running = asyncio.ensure_future(console.run(TABLE, Executor()))
        os.write(typing, b"hang\n")
        console.say("last words")
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await running
        os.close(stdout)
        os.close(typing)
        said = os.read(reading, 1000)
        os.close(reading)
        return said

    assert asyncio.run(scenario()) == b"last words\n"


def test_a_console_that_never_runs_hands_over_what_it_said() -> None:
    async def scenario() -> bytes:
        reading, stdout = os.pipe()
        console = Console(Form.PLAIN, stdout=stdout)
        console.emit(LateEvent(), "stopping")
        await console.close()
        os.close(stdout)
        said = os.read(reading, 1000)
        os.close(reading)
        return said

    assert asyncio.run(scenario()) == b"stopping\n"


def test_a_bug_in_how_something_looks_stops_nobody() -> None:
    def speak(console: Console) -> None:
        console.emit(OddEvent(), lambda layout: str(1 // 0))

    code, stdout, _ = converse(Form.PLAIN, b"say on\n", speak)
    assert (code, stdout) == (0, '{"event":"odd"}\non\n')
