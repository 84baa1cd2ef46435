"""Typing while answers of 20 KB arrive: the keys are echoed without delay."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path

from tests.unit.console.screen import ENTER, Screen

KEYS = "BCDEFGHIJKLMNOPQRSTUVWXYZ" + "ГДЖЗИЛПФЦЧШЩЪЫЬЭЮЯ"
"""Letters that nothing else on the screen contains."""
SCRIPT = textwrap.dedent(
    """
    import asyncio, sys
    from itertools import count
    from pathlib import Path
    from console import Console, Form
    from console.node.event_views import session_event_text
    from console.node.executor import NodeExecutor
    from console.node.table import NODE_TABLE
    from kvstore.operations import Candidate, Create, Query
    from server.applied_log import AppliedLog
    from server.session import Session
    from tests.unit.server.session_tools import MEMBERS, FakeEngine

    async def main():
        engine = FakeEngine()
        console = Console(Form.choose(False), title="test")
        engine.listener = session = Session(
            engine, AppliedLog(), MEMBERS, lambda told: console.emit(told.event, session_event_text(told))
        )
        prompt = NodeExecutor(session)

        async def flood():
            text = "A line that goes on for a while, as the answers of models do.\\n" * 320
            while not any(conversation.turns for conversation in engine.store.conversations.values()):
                await asyncio.sleep(0.01)
                while engine.waiting:
                    engine.decide()
            typed = Path(sys.argv[1])
            for number in count():
                if number >= 40 and typed.exists():
                    break
                engine.apply(Create(f"x{number}"), 3)
                engine.apply(Query(f"x{number}", "why?"), 3)
                for answering in range(1, 6):
                    await console._out.writable()  # else some are left out
                    engine.apply(Candidate(f"x{number}", 1, answering, text, None, "model", 1.0), answering)
                    await asyncio.sleep(0.005)
            for answering in range(1, 6):
                engine.apply(Candidate("c1", 1, answering, text, None, "model", 1.0), answering)

        flooding = asyncio.create_task(flood())
        code = await console.run(NODE_TABLE, prompt, status_line=prompt.status_line)
        await flooding
        return code

    sys.exit(asyncio.run(main()))
    """
)


def test_keys_are_echoed_while_answers_arrive(tmp_path: Path) -> None:
    """Each of them, in order, and all before the last answer is there. (How quickly is for bench/ to measure.)"""
    assert len(waits(tmp_path / "typed")) == len(KEYS)


def waits(typed: Path) -> list[float]:
    """Seconds that each key took to appear, typed at intervals. The answers end when there is the file `typed`."""
    screen = Screen([sys.executable, "-c", SCRIPT, str(typed)], size=(40, 100))
    try:
        screen.until("test>")
        screen.type("create c1" + ENTER)
        screen.until("c1: created")
        screen.type("verbose" + ENTER + "query c1 mine?" + ENTER)
        screen.until("x0: node 1")
        taken: list[float] = []
        seen = ""
        for key in KEYS:
            began = time.perf_counter()
            screen.type(key)
            seen += screen.until(key)
            taken.append(time.perf_counter() - began)
            seen += screen.during(0.01)
        assert "c1: all answers are in" not in seen, "the answers are still arriving"
        typed.touch()
        assert "x39: node 5" in seen + screen.until("c1: all answers are in")
        screen.until("test> " + KEYS)
        return taken
    finally:
        screen.close()
