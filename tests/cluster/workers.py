"""Users of a cluster under test: their commands and results, as a history."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from tests.cluster.fleet import Fleet, Member
from tests.cluster.talk import Answer, Talk
from tests.simulation.history import Args, Call, Op, Pending, Result, SeenTurn
from tests.simulation.users import reason

PER_NODE = 3
"""One at the prompt, the others at the control socket."""
LAST = "last look"
"""The process of the calls after all users have left."""
READER = 1
"""This user hardly ever writes, and so is not blocked where no majority can be reached."""
TOPICS = 5
"""Conversations that all users work on at a time."""
CALLS_PER_TOPIC = 30
THINK_S = 0.25
"""Between two commands of one user, on average."""
TYPE_AHEAD = 0.2
"""How often a user types several commands at once."""
SHOWN_BY_VIEWALLS = 4
"""The maximum average number of conversations shown by viewalls per call: conversations keep growing."""

_WEIGHTS: dict[Op, int] = {"query": 20, "choose": 25, "view": 35, "retry": 4, "cancel": 4, "create": 4, "ask": 4}
_BEGINNING: dict[Op, int] = {"create": 60, "view": 20, "query": 15, "choose": 5}
_READING: dict[Op, int] = {"view": 30, "create": 1}


class Topic:
    """A conversation, and what users remember of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.created = False
        self.choices: list[int] = []
        """Nodes that had an answer to the last question at the latest view."""


class Said(NamedTuple):
    """A command that was typed."""

    op: Op
    topic: Topic
    pending: Pending
    answer: asyncio.Future[Answer | None]


class Crowd:
    """All users, and the history that they make."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.calls: list[Pending] = []
        self.counts: Counter[str] = Counter()
        """Calls answered, by operation; and "stale", "busy", "no such node", "unanswered"."""
        self.stopping = asyncio.Event()
        self.random = Random(seed)
        self._fleet = fleet
        self._names = 0
        self._topics: list[Topic] = []
        self._old: list[Topic] = []

    def history(self) -> list[Call]:
        return [pending.call for pending in self.calls]

    def created(self) -> list[str]:
        """The conversations whose creation was acknowledged."""
        return [
            call.args.context for call in self.history()
            if call.op == "create" and call.result is not None and call.result.ok and call.args.context is not None
        ]  # fmt: skip

    async def run(self) -> None:
        """Until `stopping`, and until what was typed by then is answered."""
        users = [User(self, member, number) for member in self._fleet.members.values() for number in range(PER_NODE)]
        async with asyncio.TaskGroup() as working:
            for user in users:
                working.create_task(user.run())

    async def look(self, member: Member) -> Result | None:
        """One viewall, recorded like any other; None if it was not answered or may be stale."""
        talk = await member.session()
        if talk is None:
            return None
        said = self.say(talk, LAST, "viewall", Topic(""))
        await self.take(said)
        await talk.close()
        result = said.pending.call.result
        return None if result is None or result.stale else result

    def pick(self, reader: bool) -> tuple[Op, Topic]:
        """A user's next command."""
        if self.random.random() < min(0.03, SHOWN_BY_VIEWALLS / max(self._names, 1)):
            return "viewall", Topic("")
        if self._old and self.random.random() < 0.03:
            return "view", self.random.choice(self._old)
        while len(self._topics) < TOPICS:
            self._names += 1
            self._topics.append(Topic(f"c{self._names}"))
        topic = self.random.choice(self._topics)
        topic.calls += 1
        if topic.calls > CALLS_PER_TOPIC:
            self._topics.remove(topic)
            self._old.append(topic)
        weights = _READING if reader else _WEIGHTS if topic.created else _BEGINNING
        return self.random.choices(list(weights), list(weights.values()))[0], topic

    def say(self, talk: Talk, process: str, op: Op, topic: Topic) -> Said:
        """Types a command."""
        text = f"q{len(self.calls)}" if op in ("query", "ask") else None
        node = None
        if op == "choose":
            informed = topic.choices and self.random.random() < 0.9
            node = self.random.choice(topic.choices if informed else [*self._fleet.members])
        elif op == "retry" and self.random.random() < 0.5:
            node = self.random.choice([*self._fleet.members])
        words = [op, topic.name, *([text] if text else []), *([str(node)] if node else [])]
        pending = Pending(Call(process, op, Args(topic.name or None, text, node), time.monotonic()))
        self.calls.append(pending)
        return Said(op, topic, pending, talk.say(" ".join(word for word in words if word)))

    async def take(self, said: Said) -> None:
        """Waits for the answer, and records it in the history."""
        answer = await said.answer
        error = answer.said.get("error", "") if answer is not None else ""
        if answer is None or error.startswith("the node stopped before"):
            self.counts["unanswered"] += 1
        elif error.startswith(("busy", "there is no node")):
            self.counts["busy" if error.startswith("busy") else "no such node"] += 1
            self.calls.remove(said.pending)  # it was not even submitted
        else:
            self.counts[said.op] += 1
            self.counts["stale"] += bool(answer.said.get("stale"))
            self._record(said, answer)

    def _record(self, said: Said, answer: Answer) -> None:
        record, topic = answer.said, said.topic
        stale = bool(record.get("stale"))
        if not record["ok"]:
            said.pending.returned(answer.at, Result(False, reason(record["error"]), stale=stale))
            topic.created |= said.op == "create"
        elif said.op == "viewall":
            shown = {each["context"]: _turns(each) for each in record["conversations"]}
            said.pending.returned(answer.at, Result(True, conversations=shown, stale=stale))
        elif said.op == "view":
            said.pending.returned(answer.at, Result(True, turns=_turns(record), stale=stale))
            topic.created = True
            last: dict[str, Any] = record["turns"][-1] if record["turns"] else {"candidates": {}}
            topic.choices = [int(node) for node in last["candidates"]]
        else:
            said.pending.returned(answer.at, Result(True, turn=record.get("turn")))
            topic.created = True
            if said.op in ("query", "choose", "retry", "cancel"):
                topic.choices = []


class User:
    """One user at one node, who reconnects whenever the node restarts."""

    def __init__(self, crowd: Crowd, member: Member, number: int) -> None:
        self._crowd = crowd
        self._member = member
        self._number = number

    async def run(self) -> None:
        while not self._crowd.stopping.is_set():
            talk = await self._sit_down()
            if talk is not None:
                await self._work(talk, f"n{self._member.pid}.{self._member.incarnation} u{self._number}")
                if self._number:
                    await talk.close()

    async def _sit_down(self) -> Talk | None:
        """A session with the node when it is up; None if there is nothing to do."""
        ends = [asyncio.ensure_future(event.wait()) for event in (self._member.up, self._crowd.stopping)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if self._crowd.stopping.is_set():
            return None
        if self._number:
            return await self._member.session()
        prompt = self._member.prompt
        if prompt is not None and prompt.over:
            await asyncio.sleep(0.05)  # the process is about to be found gone
            return None
        return prompt

    async def _work(self, talk: Talk, process: str) -> None:
        crowd = self._crowd
        while not talk.over and not crowd.stopping.is_set():
            count = crowd.random.randint(2, 4) if crowd.random.random() < TYPE_AHEAD else 1
            typed = [crowd.say(talk, process, *crowd.pick(self._number == READER)) for _ in range(count)]
            for said in typed:
                await crowd.take(said)
            await asyncio.sleep(crowd.random.expovariate(1 / THINK_S))


def _turns(record: dict[str, Any]) -> tuple[SeenTurn, ...]:
    return tuple(
        SeenTurn(
            sys.intern(turn["query"]),
            {int(node): sys.intern(said["text"]) if "text" in said else None
             for node, said in turn["candidates"].items()},
            turn["chosen"], turn["cancelled"], turn["kind"],
        )
        for turn in record["turns"]
    )  # fmt: skip
