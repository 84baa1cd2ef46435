"""The look of a node's prompt: a real node of a real cluster in a terminal with colours and a cursor."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pyte.screens import Char

from api.client import Client
from api.node_commands import StatusCommand
from api.sockets import socket_path
from tests.cluster.harness import CALM, PATIENCE_S, Cluster, until
from tests.unit.console.screen import CTRL_C, ENTER, Painted

ME = 1
TIME = re.compile(r"^\d\d:\d\d:\d\d ")
PROMPT = f"node {ME}> "
STATUS = re.compile(rf"node {ME} (leader|follower|candidate).* \| queue \d+ \| links \d/4 \| LLM \d+ in flight")

HOSTILE = {
    "sequences": "\x1b[2J\x1b[H\x1b]0;title\x07\x1b[?1049h\x9b31mall gone \x1b[5;5Hhere\r\x08\x08 there " * 8,
    "word": "x" * 700,
    "wide": "\u6f22\u5b57\u304b\u306a" * 120,
    "wide words": "a\u6f22\u5b57 " * 150,
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202egnorw\u202c " * 40,
    "emoji": "\U0001f44d\U0001f3fd\U0001f1e9\U0001f1ea\u2764\ufe0f\U0001f469\u200d\U0001f4bb" * 60,
    "marks": "Z" + "\u0301" * 90 + "algo " * 100,
    "tabs": "a\tb\t" * 100,
    "lines": "\n\r\n\v\f\u2028\u2029one\ntwo",
}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Five nodes, but for the first one."""
    cluster = Cluster(tmp_path, timing=CALM)
    cluster.pids = [2, 3, 4, 5]
    with cluster:
        yield cluster


@pytest.fixture
def screen(cluster: Cluster) -> Iterator[Painted]:
    """Node 1 in a terminal, as part of the cluster."""
    command = [sys.executable, "node.py", str(ME), "--config", str(cluster.config)]
    screen = Painted(command, {"NO_COLOR": "", "COLORTERM": ""}, size=(40, 120))
    try:
        screen.see(lambda: any("leader: node" in row for row in screen.rows), PATIENCE_S)
        screen.see(lambda: "links 4/4" in screen.rows[-1], PATIENCE_S)
        until(lambda: asyncio.run(standing(cluster.folder / "data")) == "voter")  # others may have founded without it
        yield screen
    finally:
        screen.close()


async def standing(data_dir: Path) -> str:
    async with await Client.connect(socket_path(data_dir, ME)) as client:
        return (await client.run(StatusCommand())).standing


def typed(screen: Painted, text: str) -> bool:
    """Whether `text` follows the prompt, then the cursor, and the status line is on the last line."""
    row, column = screen.cursor
    behind = screen.rows[row] == (PROMPT + text).rstrip() and column == len(PROMPT + text)
    return behind and row < len(screen.rows) - 1 and STATUS.fullmatch(screen.rows[-1]) is not None


def shows(screen: Painted, row: str, times: int = 1) -> bool:
    """Whether there is a row like this, scrolled away or not."""
    return [untimed(each) for each in screen.scrolled].count(row) >= times


def untimed(row: str) -> str:
    """Without the time at its left, which events have."""
    return TIME.sub("", row)


def test_the_cursor_stays_behind_what_is_typed_while_answers_arrive(cluster: Cluster, screen: Painted) -> None:
    screen.type("verbose" + ENTER)
    screen.see(lambda: any("showing all activity" in row for row in screen.rows) and typed(screen, ""))
    line = "query nothing-that-is-there but typed slowly"
    for end, letter in enumerate(line, 1):
        cluster.nodes[2].send(f"create talk-{end}", f"query talk-{end} What is {end}?")
        screen.type(letter)
        screen.see(partial(typed, screen, line[:end]), PATIENCE_S)
    last = len(line)

    def all_said() -> bool:
        return sum(f"talk-{last}: node " in row for row in screen.scrolled) == 5

    screen.see(lambda: all_said() and typed(screen, line), PATIENCE_S)
    for number in range(1, last + 1):
        about = [row for row in map(untimed, screen.scrolled) if row.startswith(f"talk-{number}: ")]
        assert about[:2] == [f"talk-{number}: created", f"talk-{number}: question from node 2: What is {number}?"]
        answers = sorted(row.split(" (")[0] for row in about[2:])
        assert answers == [f"talk-{number}: node {node}" for node in range(1, 6)]
    assert not [row for row in screen.scrolled if "typed slowly" in row and row != PROMPT + line], "nothing is torn"
    screen.type(CTRL_C)
    screen.see(lambda: typed(screen, ""))


def test_the_commentary_has_a_colour_for_each_phase(cluster: Cluster, screen: Painted) -> None:
    network = cluster.network
    network.ok(f"isolate {ME}")
    others = [2, 3, 4, 5]
    cluster.leader(among=others)  # so that node 1 must campaign later
    for a in range(2, 6):
        for b in range(a + 1, 6):
            network.ok(f"failLink {a} {b}")
    screen.see(lambda: "no leader" in screen.rows[-1], PATIENCE_S)
    screen.type("explain on" + ENTER)
    screen.see(lambda: any("Every step of the protocol" in row for row in screen.rows))
    for other in range(2, 6):
        network.ok(f"fixLink {ME} {other}")  # a star: only its centre can lead
    screen.see(lambda: f"leader {ME}" in screen.rows[-1], PATIENCE_S)
    screen.type("create c1" + ENTER)
    said(screen, "· I campaign: Prepare <", "brown")
    said(screen, "· I propose <", "cyan")
    said(screen, "· applied position", "green")
    assert {cell.fg for cell in matching(screen, r"· nodes? [2-5].* promises? <")} == {"magenta"}
    assert {cell.fg for cell in matching(screen, r"· node.* ha(s|ve) accepted <.*: decided")} == {"green"}
    leads = matching(screen, r"· (prepared <.*that is a majority of 5; I lead|I lead with <)")
    assert {cell.fg for cell in leads} == {"default"} and all(cell.bold for cell in leads)
    network.ok(f"isolate {ME}")
    network.ok("fixLink 2 3")
    for a, b in ((2, 4), (2, 5), (3, 4), (3, 5), (4, 5)):
        network.ok(f"fixLink {a} {b}")
    leader = cluster.leader(among=others)
    network.ok("reset")
    screen.see(lambda: f"leader {leader}" in screen.rows[-1], PATIENCE_S)
    cluster.nodes[2].ok("create c2")
    said(screen, "· accepted", "blue")
    screen.type("explain off" + ENTER)
    screen.see(partial(shows, screen, "no more explanations"))
    assert {cell.fg for cell in screen.cells("no more explanations")} == {"default"}


def said(screen: Painted, beginning: str, colour: str) -> None:
    """Waits for a line of the commentary, and checks its colour."""
    screen.see(lambda: any(untimed(row).startswith(beginning) for row in screen.scrolled), PATIENCE_S)
    assert {cell.fg for cell in matching(screen, re.escape(beginning))} == {colour}


def matching(screen: Painted, pattern: str) -> list[Char]:
    """What is visible of the last row that matches."""
    row = next(row for row in reversed(screen.scrolled) if re.match(pattern, untimed(row)))
    return [cell for cell in screen.cells(row)[len(row) - len(untimed(row)) :] if cell.data.strip()]


def test_the_screen_is_drawn_anew_in_a_window_of_another_size(screen: Painted) -> None:
    screen.type("query half a line")
    for rows, columns in ((50, 200), (40, 120), (24, 100), (50, 200)):
        screen.see(lambda: typed(screen, "query half a line"))
        screen.resize(rows, columns)
        screen.see(lambda: typed(screen, "query half a line"))
        assert sum("in flight" in row for row in screen.rows) == 1, "not the old status line too"


@pytest.mark.parametrize(("rows", "columns"), [(40, 120), (50, 200)])
def test_hostile_text_keeps_the_layout(
    cluster: Cluster, screen: Painted, tmp_path: Path, rows: int, columns: int
) -> None:
    screen.resize(rows, columns)
    screen.see(lambda: typed(screen, ""))
    for number, (name, text) in enumerate(HOSTILE.items(), 1):
        turn = {"query": text, "chosen": 2, "candidates": {"2": {"text": text, "model": text[:200], "seconds": 1}}}
        talk = {"format": "consensusllm-conversation", "version": 1, "context": f"t{number}", "turns": [turn]}
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(talk))
        screen.type(f"import {file}" + ENTER)
        screen.see(partial(shows, screen, f"t{number}: 1 question imported"), PATIENCE_S)
        screen.type(f"view t{number}" + ENTER)
        head = f"t{number}  1 question"
        screen.see(partial(shows, screen, head), PATIENCE_S)
        screen.see(partial(typed, screen, ""))
        shown = screen.scrolled[screen.scrolled.index(head) + 1 :]
        shown = shown[: shown.index(PROMPT.rstrip())]
        answer = next(index for index, row in enumerate(shown) if row.endswith("1.0 s  chosen")) + 1
        assert shown[0].startswith("1.  ") and all(row.startswith("    ") for row in shown[1:] if row), (name, shown)
        assert any(shown[answer:]), name
        assert all(row.startswith("        ") for row in shown[answer:] if row), (name, shown)
    cluster.nodes[2].ok("create live")
    for number, text in enumerate(HOSTILE.values(), 1):
        cluster.nodes[2].ok("query live " + text.replace("\n", " "))
        cluster.nodes[2].ok("cancel live")
        screen.see(partial(shows, screen, "live: question cancelled", number), PATIENCE_S)
    screen.type("create \u6f22\u5b57\U0001f44d")
    screen.see(lambda: screen.rows[screen.cursor[0]] == PROMPT + "create \u6f22\u5b57\U0001f44d")
    assert screen.cursor[1] == len(PROMPT + "create ") + 6
    assert STATUS.fullmatch(screen.rows[-1])
