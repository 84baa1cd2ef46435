"""A process that was forked behaves as one that an interpreter has started: these tests run both."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from launcher.arguments import EXIT_INTERRUPTED
from tests.cluster.forked import Forked, start, start_interpreter
from tests.cluster.harness import PATIENCE_S, ROOT
from tests.free_ports import free_port

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="without Linux nothing is forked")

Start = Callable[..., "subprocess.Popen[bytes] | Forked"]

SELF_PORTRAIT = """
import gc, json, os, signal, sys, threading
streams = [sys.stdin, sys.stdout, sys.stderr]
print(json.dumps({
    "name": __name__, "arguments": sys.argv, "path": sys.path, "directory": os.getcwd(), "flags": str(sys.flags),
    "environment": dict(os.environ), "command": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
    "umask": os.umask(0), "group": os.getpgrp(), "session": os.getsid(0), "nice": os.nice(0),
    "descriptors": [number for number in range(1000) if os.path.exists(f"/proc/self/fd/{number}")],
    "streams": [[s.encoding, s.errors, s.line_buffering, s.write_through, s.mode, s.isatty()] for s in streams],
    "seekable": [sys.stdin.seekable(), sys.stdout.seekable()],
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "handlers": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals()) if number != 2],
    "interrupt": signal.getsignal(2) is signal.default_int_handler,
    "threads": threading.active_count(), "collector": [gc.isenabled(), gc.get_threshold()],
}))
"""
ENDS = {
    "by the end of its input": ("import sys; sys.stdin.read(); print('over')", 0, "over\n", ""),
    "with a code": ("import sys; print('unflushed'); sys.exit(3)", 3, "unflushed\n", ""),
    "with words": ("import sys; sys.exit('that is why')", 1, "", "that is why\n"),
    "with an exception": ("print('before'); 1 / 0", 1, "before\n", "ZeroDivisionError: division by zero\n"),
    "by a signal of its own": ("import os; os.abort()", -signal.SIGABRT, "", ""),
    "at once": ("import atexit, os; atexit.register(print, 'lost'); os._exit(4)", 4, "", ""),
    "with its exit handlers": ("import atexit; atexit.register(print, 'called')", 0, "called\n", ""),
    "after its threads": (
        "import threading, time\nsaid = threading.Event()\ndef late(): said.wait(); time.sleep(0.01); print('late')\n"
        "threading.Thread(target=late).start(); print('early'); said.set()", 0, "early\nlate\n", ""
    ),
}


@contextmanager
def running(how: Start, folder: Path, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes] | Forked]:
    with (folder / "stderr").open("wb") as errors:
        process = how(arguments, {**os.environ, **more}, errors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.stdout.close()


def script(folder: Path, text: str) -> str:
    (folder / "program.py").write_text(text)
    return str(folder / "program.py")


def output(process: subprocess.Popen[bytes] | Forked) -> str:
    """All that there is after the end of its input."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    return process.stdout.read().decode()


@pytest.fixture(params=[start, start_interpreter], ids=["forked", "by-the-interpreter"])
def how(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("umask", [0o027, 0o077], ids=oct)
def test_both_find_the_same_around_them(tmp_path: Path, umask: int) -> None:
    program = script(tmp_path, SELF_PORTRAIT)
    seen: list[dict[str, Any]] = []
    before = os.umask(umask)
    try:
        for each in (start, start_interpreter):
            with running(each, tmp_path, program, "a word", "é", GIVEN="to it") as process:
                seen.append(json.loads(output(process)))
                assert process.wait(PATIENCE_S) == 0
    finally:
        os.umask(before)
    assert seen[0] == seen[1]
    assert seen[0]["environment"]["GIVEN"] == "to it" and seen[0]["umask"] == umask
    assert seen[0]["directory"] == str(ROOT) and seen[0]["descriptors"] == [0, 1, 2]


def test_what_one_is_given_the_next_does_not_have(tmp_path: Path) -> None:
    program = script(tmp_path, "import os, random; print(os.environ.get('GIVEN'), random.random(), hash('word'))")
    said = []
    for more in ({"GIVEN": "once"}, {}, {}, {}):
        with running(start, tmp_path, program, **more) as process:
            assert isinstance(process, Forked)
            said.append(output(process).split())
    assert [words[0] for words in said] == ["once", "None", "None", "None"]
    assert len({words[1] for words in said}) == 4, "each has its own random numbers"
    assert len({words[2] for words in said}) == 2, "of two servers"


@pytest.mark.parametrize("end", ENDS)
def test_it_ends(how: Start, tmp_path: Path, end: str) -> None:
    text, code, printed, complaint = ENDS[end]
    with running(how, tmp_path, script(tmp_path, text)) as process:
        assert output(process) == printed
        assert process.wait(PATIENCE_S) == code == process.poll()
    assert (tmp_path / "stderr").read_text().endswith(complaint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_what_does_not_handle_it(how: Start, tmp_path: Path, number: signal.Signals) -> None:
    with running(how, tmp_path, script(tmp_path, "print('ready', flush=True); input()")) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == -number
        process.send_signal(number)  # to nobody


def test_what_changes_an_interpreters_start_is_not_forked(tmp_path: Path) -> None:
    program = script(tmp_path, "import sys; print(sys.flags.dev_mode)")
    with running(start, tmp_path, program, PYTHONDEVMODE="1") as process:
        assert isinstance(process, subprocess.Popen) and output(process) == "True\n"


def config(folder: Path) -> str:
    (folder / "config.json").write_text(json.dumps({
        "cluster": "test", "orchestrator": {"port": free_port()}, "nodes": [{"id": 1}], "llm": {"provider": "fake"},
    }))  # fmt: skip
    return str(folder / "config.json")


@pytest.mark.parametrize("program", [["node.py", "1"], ["network_server.py"]], ids=["node", "network"])
@pytest.mark.parametrize("end", ["end of input", signal.SIGTERM, signal.SIGINT])
def test_the_programs_run_and_end(how: Start, tmp_path: Path, program: list[str], end: str | signal.Signals) -> None:
    with running(how, tmp_path, *program, "--config", config(tmp_path), "--json") as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"status\n")
        process.stdin.flush()
        while json.loads(process.stdout.readline())["event"] != "result":
            pass  # once it obeys commands it handles signals, too
        if isinstance(end, signal.Signals):
            process.send_signal(end)
        else:
            process.stdin.close()
        expected = EXIT_INTERRUPTED if end == signal.SIGINT else 0
        assert process.wait(PATIENCE_S) == expected, (tmp_path / "stderr").read_text()


def test_a_server_outlives_what_nobody_waits_for(tmp_path: Path) -> None:
    program = script(tmp_path, "input()")
    for _ in range(2):
        with (tmp_path / "stderr").open("wb") as errors:
            process = start([program], os.environ, errors)
        ends = os.pidfd_open(process.pid)
        del process  # nobody keeps its pipes: its input ends
        assert select.select([ends], [], [], PATIENCE_S)[0]
        os.close(ends)
    for _ in range(2):
        with running(start, tmp_path, script(tmp_path, "")) as process:
            assert process.wait(PATIENCE_S) == 0


def test_a_server_leaves_with_who_started_it_and_what_it_started_goes_on(tmp_path: Path) -> None:
    program = script(tmp_path, "import os; print(os.getppid(), flush=True); input(); print('still here')")
    asking = tmp_path / "asking.py"
    asking.write_text(f"""
import os, sys
from tests.cluster.forked import start
process = start([{program!r}], dict(os.environ), sys.stderr.buffer)
print(process.stdout.readline().decode(), process.stdin.fileno(), process.stdout.fileno(), flush=True)
sys.stdin.read()
""")
    with running(start_interpreter, tmp_path, str(asking), PYTHONPATH=str(ROOT)) as process:
        assert process.stdout is not None
        server = os.pidfd_open(int(process.stdout.readline()))
        stdin, stdout = (f"/proc/{process.pid}/fd/{int(number)}" for number in process.stdout.readline().split())
        with open(stdin, "wb", buffering=0) as their_in, open(stdout, "rb") as their_out:
            process.kill()
            assert select.select([server], [], [], PATIENCE_S)[0]
            their_in.write(b"\n")
            assert their_out.read() == b"still here\n"
        os.close(server)
