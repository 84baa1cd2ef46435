"""What happens, in words and in order; and how the cluster is, told at a bounded rate while somebody watches."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import orchestrator.node_faults
from api.base import Event
from api.operator_commands import FaultCommand, PauseCommand, ScriptCommand
from api.operator_events import HappenedEvent, HoldingEvent, MessagesEvent, NetworkStatusEvent, PlayingEvent
from console.operator.table import parse_line
from net.control_messages import Report
from net.relay.tap import SeenMessage
from orchestrator.fault_words import _WORDS, sentence
from orchestrator.happenings import SETTLED_S, Happenings
from tests.unit.net.net_tools import Node, run, until
from tests.unit.orchestrator.operator_tools import Operator, operator_of, seen


def report(leader: int, sequence: int) -> Report:
    return Report("leader", leader, (sequence, leader, 5), 4, 4, 0, "")


def test_a_campaign_is_told_before_the_leadership_that_comes_of_it_and_each_once() -> None:
    told: list[HappenedEvent] = []
    now = [0.0]
    happenings = Happenings(told.append, lambda: now[0])
    for label in ("Prepare <2,3,5>", "Prepare <2,3,5>", "Promise <2,3,5>", "Prepare <1,2,5>"):
        happenings.on_message(SeenMessage(0.0, 3, 1, label, "passed"))
    for _ in range(2):
        happenings.on_leader(3, report(3, 2), range(5))
    for now[0] in (1.0, 1.0 + SETTLED_S / 2):
        happenings.on_leader(None, None, range(5))
    happenings.on_leader(3, report(3, 2), range(5))
    for now[0] in (3.0, 3.0 + SETTLED_S, 9.0):
        happenings.on_leader(None, None, range(5))
    happenings.on_leader(3, report(3, 2), range(5))
    happenings.on_leader(4, report(4, 7), range(5))
    kinds = [(each.kind, each.node) for each in told]
    assert kinds == [("campaign", 3), ("leader", 3), ("leader", 3), ("leader", 3), ("leader", 4)]
    words = ["campaigns", "leads:", "does not lead any more", "leads again", "leads:"]
    assert [word for word, each in zip(words, told, strict=True) if word in each.text] == words


def test_a_fault_is_told_before_what_comes_of_it_and_why_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator.node_faults, "SETTLE_S", 0.0)

    async def main() -> None:
        async with operator_of(tmp_path) as at:
            told: list[str] = []
            at.orchestrator.listen(lambda event: told.append(event.text) if isinstance(event, HappenedEvent) else None)
            await at.process(3)
            await at.ok("failNode 3")
            await at.ok("failLink 1 2 --for 10ms")
            await until(lambda: len(told) > 4)
            assert "no leader is known" in await at.error("isolate leader")
            assert "is down" in await at.error("pauseNode 4")
            assert told[:4] == ["node 3 is up", "node 3 is killed", "node 3 is down", "link 1-2 is cut for 0.01 s"]
            assert told[4] == "over: link 1-2 is cut (timer)"
            assert told[5] == "node 4 is paused" and told[6].startswith("pauseNode 4 failed: node 4 is down")
            assert len(told) == 7

    run(main())


def test_who_watches_is_told_a_bounded_number_of_times_and_nobody_else_anything(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at, Node(at.port, 1, cluster="demo") as one:
            await until(lambda: at.relay.is_up(1))
            told: list[Event] = []
            first = at.orchestrator.live.now()
            assert [type(event) for event in first] == [NetworkStatusEvent, HoldingEvent, PlayingEvent]
            assert not at.relay.tap.active
            at.orchestrator.live.start(told.append)
            await until(lambda: one.link.wants_labels)
            loop = asyncio.get_running_loop()
            began = loop.time()
            while loop.time() - began < 0.8 or sum(isinstance(event, MessagesEvent) for event in told) < 2:
                one.link.send(2, b"x", label="Accept <1,1,1>")
                at.orchestrator.live.changed()
                await asyncio.sleep(0.002)
            at.orchestrator.live.stop()
            counts = Counter(type(event) for event in told)
            passed = loop.time() - began
            assert 2 <= counts[MessagesEvent] <= 8 * passed + 2 and 1 <= counts[NetworkStatusEvent] <= 4 * passed + 2
            assert counts[HoldingEvent] == counts[PlayingEvent] == 1, "what stays the same is told once"
            assert sum(len(each.messages) for each in told if isinstance(each, MessagesEvent)) <= 80 * passed + 120
            await until(lambda: not one.link.wants_labels)

    run(main())


async def play(at: Operator, text: str, options: str = "") -> asyncio.Task[dict[str, object]]:
    script = at.folder / "mine.txt"
    script.write_text(text)

    async def result() -> dict[str, object]:
        return seen(await at.orchestrator.execute(ScriptCommand(file=str(script), paused="paused" in options)))

    return asyncio.create_task(result())


def test_a_script_waits_between_its_lines_and_is_run_once_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at, AsyncExitStack() as nodes:
            scripts = at.orchestrator.scripts
            for command in ("pause", "next", "continue"):
                assert await at.error(command) == "no script is running"
            playing = await play(at, "loss 1\nloss 2\nloss 3\nloss 4\nloss 5\n", "paused")
            await until(lambda: scripts.playing().line == 1 and scripts.playing().paused)
            assert (await at.ok("log"))["entries"] == []
            assert "is running: stop ends it" in await at.error("script failover")
            await at.ok("next 2")
            await until(lambda: scripts.playing().line == 3)
            assert [entry["what"] for entry in (await at.ok("log"))["entries"]] == ["loss 1", "loss 2"]
            await at.ok("next")
            await until(lambda: scripts.playing().line == 4)
            await at.ok("continue")
            assert (await playing)["ok"] and scripts.playing().file is None
            playing = await play(at, "wait leader\nloss 7\nloss 8\n")
            await until(lambda: scripts.playing().line == 1)
            await at.ok("pause")
            for number in (1, 2, 3):
                node = await nodes.enter_async_context(Node(at.port, number, cluster="demo"))
                await node.up()
                node.link.send_report(report(2, 3))
            await until(lambda: scripts.playing().line == 2)
            await at.ok("stop")
            ended = await playing
            assert not ended["ok"] and "stopped at line 2" in str(ended["error"])
            assert [entry["what"] for entry in (await at.ok("log"))["entries"]][-1] == "loss 5"

    run(main())


def test_a_pause_while_a_line_begins_is_one_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            scripts = at.orchestrator.scripts
            playing = await play(at, "loss 1\nloss 2\n")
            while scripts.playing().line != 1:  # noqa: ASYNC110 - each step of the loop is looked at
                await asyncio.sleep(0)
            paused = await scripts.pause(PauseCommand())
            assert paused.text.startswith("waits after line 1 of mine.txt")
            await until(lambda: scripts.playing().line == 2)
            assert [entry["what"] for entry in (await at.ok("log"))["entries"]] == ["loss 1"]
            await at.ok("continue")
            assert (await playing)["ok"]

    run(main())


@pytest.mark.parametrize(("line", "words"), [
    ("failLink 1 3", "link 1-3 is cut"), ("failLink 1 3 --oneway", "link 1-3, from 1 to 3 only, is cut"),
    ("fixLink 1 3", "link 1-3 works again"), ("isolate 2 --for 5s", "node 2 is cut off from all other nodes for 5 s"),
    ("partition 1,2|3,4,5", "the network is split: 1, 2 | 3, 4, 5"), ("heal", "no link is cut any more"),
    ("delay 100 20", "every link delays messages by 100 to 120 ms"),
    ("delay 1 2 100", "link 1-2 delays messages by 100 ms"), ("delay 0", "every link delays nothing any more"),
    ("loss 5", "every link loses 5 % of all messages"), ("dup 1 2 5", "link 1-2 doubles 5 % of all messages"),
    ("duplicate 0", "every link doubles nothing any more"), ("reorder 5", "every link reorders 5 % of all messages"),
    ("bandwidth 800", "every link carries 800 kbit/s at most"), ("bandwidth 0", "every link carries as much as comes"),
    ("seed 7", "random faults begin anew, from seed 7"),
    ("hold", "messages wait at the network, to go on one by one"), ("step", "the oldest message that waits goes on"),
    ("step 3", "the 3 oldest ones go on"), ("deliver 3", "message 3 goes on"),
    ("repeat 3", "a copy of message 3 goes on"), ("drop 3", "message 3 is lost"),
    ("slow 10", "messages go on slowly, 10 a second"), ("release", "all messages go on, and none waits any more"),
    ("failNode 3", "node 3 is killed"), ("fixNode 3", "node 3 is started"), ("pauseNode 3", "node 3 is paused"),
    ("resumeNode 3", "node 3 goes on"), ("reset", "all faults are removed"),
])
def test_faults_are_told_in_plain_words(line: str, words: str) -> None:
    command = parse_line(line)
    assert isinstance(command, FaultCommand) and sentence(command) == words


def test_every_fault_has_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with operator_of(tmp_path) as at:
            kinds = {kind for kind in at.orchestrator.command_kinds if issubclass(kind, FaultCommand)}
            assert kinds == set(_WORDS)

    run(main())
