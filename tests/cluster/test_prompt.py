"""A node's prompt in a terminal: a real node, alone in its cluster, with a simulated user."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import PATIENCE_S, Cluster
from tests.unit.console.screen import CTRL_C, CTRL_D, ENTER, TAB, UP, Screen

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One node, not started yet."""
    cluster = Cluster(tmp_path, size=1)
    cluster.pids = []
    with cluster:
        yield cluster


def sit_down(cluster: Cluster, **environment: str) -> Screen:
    command = [sys.executable, "node.py", "1", "--config", str(cluster.config)]
    return Screen(command, {"NO_COLOR": "", **environment}, size=(40, 110))


def complete(screen: Screen, typed: str, offered: str) -> None:
    """Types a word's beginning and TAB; TAB again if the node was too busy to offer anything at once."""
    screen.type(typed)
    for _ in range(10):
        screen.type(TAB)
        with contextlib.suppress(AssertionError):
            screen.until(offered, 5)
            return
    raise AssertionError(f"{offered!r} was not offered: {screen.shown[-2000:]!r}")


def test_a_session_at_the_prompt(cluster: Cluster, tmp_path: Path) -> None:
    screen = sit_down(cluster)
    try:
        # Painted whole once, before or after the founding is decided; then only what changes.
        screen.until(r"\| <1,1,[12]> \| decided [01] applied [01] \| queue 0 \| links 0/0 \| LLM 0 in flight")
        screen.type("crate talk" + ENTER)
        screen.until(re.escape("unknown command 'crate': did you mean create?"))
        screen.type("create talk" + ENTER)
        screen.until("talk: created")
        complete(screen, "use t", "alk")
        screen.type(ENTER)
        screen.until("node 1 talk> ")
        screen.type("query \x1b[200~Two\nlines?\x1b[201~" + ENTER)
        screen.until("talk: all answers are in")
        complete(screen, "choose ", "1 +talk")
        screen.type(CTRL_C + "choose 1" + ENTER)
        screen.until("talk: node 1's answer chosen")
        screen.type("view" + ENTER)
        assert "1.  Two\n    lines?" in screen.until(r"fake \d+\.\d s  chosen")
        screen.type("log" + ENTER)
        assert "choose talk node 1" in screen.until("<1,1,5>.*\n")
        screen.type("explain on" + ENTER + "create c2" + ENTER)
        screen.until("· applied position 6: create c2, submitted by this node")
        screen.type("explain off" + ENTER)
        screen.until("no more explanations")
        screen.type(UP + UP + ENTER)
        screen.until("error: conversation 'c2' already exists")
        screen.type(CTRL_D)
        screen.until("Leave")
        screen.type("n")
        screen.until("in flight")
        screen.type(CTRL_C + CTRL_D)
        screen.until("Leave")
        screen.type("y")
        assert screen.process.wait(PATIENCE_S) == 0
    finally:
        screen.close()
    assert "+use talk" in (tmp_path / "data" / "history-1").read_text()


def test_a_long_conversation_comes_in_pages_and_in_colours(cluster: Cluster, tmp_path: Path) -> None:
    answer = {"text": "**Bold** words\n" + "line\n" * 100 + "and an end", "model": "m", "seconds": 1}
    talk = {
        "format": "consensusllm-conversation", "version": 1, "context": "long",
        "turns": [{"query": "why?", "chosen": 1, "candidates": {"1": answer}}],
    }
    (tmp_path / "talk.json").write_text(json.dumps(talk))
    screen = sit_down(cluster)
    try:
        screen.until("leader: node 1")
        screen.type(f"import {tmp_path}/talk.json" + ENTER)
        screen.until("long: 1 question imported")
        screen.type("view long" + ENTER)
        screen.until("Bold words")
        assert "\x1b[1mBold\x1b[0m words" in screen.everything
        screen.until("more lines: Enter shows more")
        screen.type(ENTER)
        screen.until("more lines: Enter shows more")
        screen.type("status" + ENTER)
        screen.until("digest")
        screen.type("view long" + ENTER)
        for _ in range(2):
            screen.until("more lines: Enter shows more")
            screen.type(ENTER)
        screen.until("and an end")
    finally:
        screen.close()


def test_no_color_is_honoured(cluster: Cluster) -> None:
    screen = sit_down(cluster, NO_COLOR="1")
    try:
        screen.until("leader: node 1")
        screen.type("view nowhere" + ENTER + "create c1" + ENTER + "query c1 **why**?" + ENTER)
        screen.until("error: no conversation 'nowhere'")
        screen.until("all answers are in")
        assert not COLOUR.search(screen.everything)
    finally:
        screen.close()


def test_a_dumb_terminal_gets_plain_lines(cluster: Cluster) -> None:
    screen = sit_down(cluster, TERM="dumb")
    try:
        screen.until("leader: node 1")
        screen.type("create c1\nview c1\n")
        screen.until("c1  no questions yet")
        screen.type(CTRL_D)
        assert screen.process.wait(PATIENCE_S) == 0
        assert "\x1b" not in screen.everything
    finally:
        screen.close()
