"""The console in a real terminal: a pseudo-terminal with a small program behind it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import sys
import termios
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.console.screen import CTRL_C, CTRL_D, ENTER, TAB, UP, Painted, Screen

SCRIPT = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    import console.run, console.terminal
    from api.base import Event
    from console import Console, Executor, Form, Usage
    from tests.unit.console.console_tools import table

    console.run.WAITING_AFTER, console.run.EXIT_WITHIN = 0.2, 0.6
    console.terminal._PATIENCE = 10.0  # of the main thread and the terminal's with each other, on a busy machine
    if sys.argv[2:]:
        console.run._STATUS_EVERY = float(sys.argv[2])

    USAGES = [
        Usage("say", "TEXT", "says it", least=1, most=1, text=True),
        Usage("news", "TEXT", "says it to nobody in particular", least=1, most=1, text=True, lines=True),
        Usage("flood", "", "says more than a terminal holds"),
        Usage("stray", "", "prints past the console"),
        Usage("hang", "", "never answers"),
        Usage("width", "", "how wide the terminal is"),
        Usage("work", "", "work goes on until it is typed again"),
        Usage("finish", "", "work ends by itself, a moment later"),
    ]

    class News(Event, frozen=True, tag="news"):
        pass

    async def main():
        console = Console(Form.choose(False), title="test", history_path=Path(sys.argv[1]) / "data" / "history")
        assert console.form is Form.TERMINAL
        count = 0
        works = []

        def finish():
            console.emit(News(), "all of it is done")
            works.clear()

        async def execute(name, args):
            if name == "news":
                asyncio.get_running_loop().call_later(2.0, console.emit, News(), "news: " + args[0])
                return {"text": "later"}
            if name == "flood":
                console.say("flooding " * 100_000)
            if name == "stray":
                print("a stray \\x1bprint")
            if name == "hang":
                await asyncio.Event().wait()
            if name == "work":
                works.pop() if works else works.append(count)
            if name == "finish":
                asyncio.get_running_loop().call_later(0.3, finish)
            if name == "width":
                return {"text": f"width {console.layout.width}"}
            return {"text": f"said {args}"}

        async def tick():
            nonlocal count
            while True:
                await asyncio.sleep(0.01)
                count += 1
                sys.__stderr__.write("tick\\n")
                sys.__stderr__.flush()

        ticking = asyncio.create_task(tick())
        complete = lambda executor, words: [] if words else ["context-one", "context-two"]
        code = await console.run(
            table(USAGES, execute, complete), Executor(), status_line=lambda: f"count {count > 0}",
            progress_line=lambda: f"done {count - works[0] >= 100} of it" if works else "",
        )
        print("left", code, flush=True)
        return code

    sys.exit(asyncio.run(main()))
    """
)
@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    screen = Screen([sys.executable, "-c", SCRIPT, str(tmp_path)])
    try:
        screen.until("test>")
        yield screen
    finally:
        screen.close()


def test_commands_history_and_leaving(screen: Screen, tmp_path: Path) -> None:
    screen.until("True")
    screen.type("say one" + ENTER)
    screen.until(re.escape("said ['one']"))
    screen.type("SAY \x1b[200~\x07two\x1b[201~" + ENTER)
    screen.until(re.escape("said ['\\x07two']"))
    screen.type(UP + UP + ENTER)
    screen.until(re.escape("said ['one']"))
    screen.type("hepl" + ENTER)
    screen.until("did you mean help")
    screen.type(CTRL_D)
    screen.until("Leave")
    screen.type("say stays" + ENTER)
    screen.until(re.escape("said ['stays']"))
    screen.type(CTRL_D)
    screen.until("Leave")
    screen.type(CTRL_D)
    screen.until("left 0")
    assert screen.process.wait(10) == 0
    assert termios.tcgetattr(screen.follower) == screen.before, "the terminal is as it was"
    assert screen.process.stderr
    assert set(screen.process.stderr.read().split(b"\n")) <= {b"tick", b""}, "no complaints"
    assert "+say one" in (tmp_path / "data" / "history").read_text()


def test_output_does_not_tear_what_is_typed(screen: Screen) -> None:
    screen.type("news \x1b[200~\x07 two\nlines\x1b[201~" + ENTER)
    screen.until("later")
    screen.type("say unfini")
    screen.until("say unfini")
    screen.until(r"news: \^G two\n *lines")
    assert screen.until("test> say unfini")
    screen.type("shed" + ENTER)
    screen.until(re.escape("said ['unfinished']"))


def test_ctrl_c_clears_and_tab_completes(screen: Screen) -> None:
    screen.type("nonsense" + CTRL_C + "sa" + TAB)
    screen.until("y")  # only what changes is drawn
    screen.type(" cont" + TAB)
    screen.until("context-two")
    screen.type(TAB + ENTER)
    screen.until(re.escape("said ['context-one']"))


def test_progress_is_one_line_above_the_prompt(tmp_path: Path) -> None:
    screen = Painted([sys.executable, "-c", SCRIPT, str(tmp_path)], size=(30, 70))
    try:
        screen.until("test>")
        screen.type("work" + ENTER)
        screen.until("done False of it")
        screen.until("True of it")
        screen.type("say one" + ENTER)
        screen.until(re.escape("said ['one']"))
        screen.type("work" + ENTER)
        screen.until("said")
        prompts = ["test> work", "test> say one", "test> work", "test>"]
        # It is redrawn, and gone when it is over.
        screen.see(lambda: [row for row in screen.rows if row.startswith("test>") or "of it" in row] == prompts)
    finally:
        screen.close()


def test_what_is_printed_never_stands_above_progress_that_is_over(tmp_path: Path) -> None:
    """Neither a key nor the next look at the progress, which is an hour away, is needed."""
    screen = Painted([sys.executable, "-c", SCRIPT, str(tmp_path), "3600"], size=(30, 70))
    try:
        screen.until("test>")
        screen.type("work" + ENTER)
        screen.see(lambda: any("False of it" in row for row in screen.rows))
        screen.type("finish" + ENTER)
        screen.see(lambda: any("all of it is done" in row for row in screen.rows))
        screen.see(lambda: not any("done False" in row or "done True" in row for row in screen.rows))
    finally:
        screen.close()


def test_the_size_of_the_window(screen: Screen) -> None:
    screen.type("width" + ENTER)
    screen.until("width 70")
    fcntl.ioctl(screen.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 50, 0, 0))
    screen.type("width" + ENTER)
    screen.until("width 50")


def test_exit_answers_what_is_done_and_does_not_wait_long(screen: Screen) -> None:
    screen.type("say a" + ENTER + "hang" + ENTER + "exit" + ENTER)
    screen.until(re.escape("said ['a']"))
    seen = screen.until("left 0")
    assert "hang: still trying" in seen and "may still take" in seen
    assert "error: hang: left before" in seen, "an answer that comes late says to what"


def test_a_stalled_terminal_holds_up_nothing_but_itself(screen: Screen) -> None:
    screen.type("flood" + ENTER)
    screen.until("flooding flooding")
    # The terminal is not read from here on, and its buffer is far smaller than the output. Ticks use another channel.
    assert screen.process.stderr
    for _ in range(100):
        assert screen.process.stderr.readline() == b"tick\n"
    screen.until(re.escape("said []"))


def test_what_is_printed_past_the_console_does_not_tear_either(screen: Screen) -> None:
    screen.type("stray" + ENTER + "say unfi")
    screen.until(re.escape("a stray ?print") + r"\n(.|\n)*test> say unfi")


def test_a_terminal_that_is_gone_ends_the_process(screen: Screen) -> None:
    os.close(screen.leader)
    try:
        assert screen.process.stderr
        screen.process.stderr.read()
        screen.process.wait(10)
    finally:
        screen.leader = os.dup(0)
