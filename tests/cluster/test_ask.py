"""The leader killed at every point of an ask: exactly one answer is chosen, and no LLM is asked once it is decided."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import CALM, Cluster, Event, Process, until
from tests.unit.llm.llm_tools import Asked, Said, said_stream, stand_in


class Oracle:
    """The LLM of all nodes: each answer is different, and is held until released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Said:
        with self._lock:
            question = asked.body["messages"][-1]["content"]
            self.asked.append(question)
            number = len(self.asked)
        assert self._may_answer.wait(60)
        chunk = {"choices": [{"delta": {"content": f"Answer {number} to {question}"}, "finish_reason": "stop"}]}
        return said_stream(chunk)

    def hold(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def times(self, question: str) -> int:
        return self.asked.count(question)


class Ask:
    """One question, typed at a follower."""

    def __init__(self, cluster: Cluster, oracle: Oracle, name: str) -> None:
        self.cluster = cluster
        self.oracle = oracle
        self.context = name
        self.question = f"Why {name}?"
        self.leader = cluster.leader()
        self.others = sorted(set(cluster.pids) - {self.leader})
        self.asker = cluster.nodes[self.others[0]]
        self.asker.ok(f"create {name}")
        cluster.converged()

    def type(self) -> None:
        self.asker.send(f"ask {self.context} {self.question}")

    def type_and_wait_for_the_llm(self) -> None:
        self.oracle.hold()
        self.type()
        until(lambda: self.oracle.times(self.question) == 1)

    def cut_off(self, *pids: int) -> None:
        """These from the others."""
        sides = [",".join(map(str, sorted(side))) for side in (set(pids), set(self.cluster.pids) - set(pids))]
        self.cluster.network.ok(f"partition {sides[0]}|{sides[1]}")

    def kill(self) -> None:
        self._seen = {pid: len(self.cluster.nodes[pid].events) for pid in self.others}
        self.cluster.nodes[self.leader].kill()

    def replaced_again(self) -> int:
        """How many leaders the survivors have had besides the first one after the kill: two may claim at once, and each
        may ask an LLM before an answer is decided."""
        led = {
            event["leader"] for pid, seen in self._seen.items() for event in self.cluster.nodes[pid].events[seen:]
            if event["event"] == "leader" and event["leader"] not in (None, self.leader)
        }
        return max(len(led) - 1, 0)

    def is_answer(self, event: Event) -> bool:
        return event["event"] == "answer" and event["context"] == self.context and "text" in event


# The events until the leader is dead, and how often the LLM may have been asked in the end.
Story = Callable[[Ask], None]


def before_the_question_is_decided(ask: Ask) -> None:
    ask.cut_off(ask.leader, ask.others[0])
    ask.type()
    until(lambda: ask.cluster.status(ask.others[0])["queued"] > 0 or ask.cluster.status(ask.leader)["queued"] > 0)
    ask.kill()


def before_the_llm_is_asked(ask: Ask) -> None:
    """It has another question to think about, and may do one thing at a time."""
    ask.oracle.hold()
    ask.asker.ok(f"create {ask.context}-busy")
    ask.asker.ok(f"ask {ask.context}-busy Busy?")
    until(lambda: ask.oracle.times("Busy?") == 1)
    ask.type()
    until(lambda: ask.cluster.status(ask.leader)["llm"]["waiting"] == 1)
    ask.kill()


def while_the_llm_thinks(ask: Ask) -> None:
    ask.type_and_wait_for_the_llm()
    ask.kill()


def when_the_llm_has_answered_and_nothing_is_on_disk(ask: Ask) -> None:
    ask.type_and_wait_for_the_llm()
    ask.cluster.nodes[ask.leader].signal(signal.SIGSTOP)
    ask.oracle.release()
    ask.kill()


def when_it_alone_has_accepted_the_answer(ask: Ask) -> None:
    _accepted_by(ask, ask.leader)


def when_a_minority_has_accepted_the_answer(ask: Ask) -> None:
    _accepted_by(ask, ask.leader, ask.others[1])


def _accepted_by(ask: Ask, *pids: int) -> None:
    ask.type_and_wait_for_the_llm()
    ask.cut_off(*pids)
    before = ask.cluster.status(ask.leader)["llm"]["replies"]  # it may have answered in the leader's place before
    ask.oracle.release()
    until(lambda: ask.cluster.status(ask.leader)["llm"]["replies"] > before)
    ask.cluster.status(pids[-1])  # what was sent to it meanwhile has come before this is answered
    ask.kill()


def when_the_answer_is_decided_and_the_leader_alone_knows(ask: Ask) -> None:
    ask.type()
    ask.cluster.nodes[ask.leader].wait(ask.is_answer)
    ask.kill()


def when_one_screen_shows_the_answer(ask: Ask) -> None:
    ask.type()
    ask.cluster.nodes[ask.others[2]].wait(ask.is_answer)
    ask.kill()


def when_all_screens_show_the_answer(ask: Ask) -> None:
    ask.type()
    for process in ask.cluster.nodes.values():
        process.wait(ask.is_answer)
    ask.kill()


STORIES: dict[Story, set[int]] = {
    before_the_question_is_decided: {1},
    before_the_llm_is_asked: {1},
    while_the_llm_thinks: {2},
    when_the_llm_has_answered_and_nothing_is_on_disk: {2},
    when_it_alone_has_accepted_the_answer: {2},
    when_a_minority_has_accepted_the_answer: {1, 2},
    when_the_answer_is_decided_and_the_leader_alone_knows: {1},
    when_one_screen_shows_the_answer: {1},
    when_all_screens_show_the_answer: {1},
}

WHILE_UNDECIDED = list(STORIES)[:6]
"""In these nobody has seen the answer decided when the leader is killed."""


@pytest.fixture(scope="module")
def oracle() -> Iterator[tuple[Oracle, str]]:
    oracle = Oracle()
    with stand_in(oracle) as server:
        yield oracle, server.url
        oracle.release()


@pytest.fixture(scope="module")
def cluster(oracle: tuple[Oracle, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all scenarios, as in practice: a killed node restarts with its disk."""
    llm: dict[str, Any] = {"provider": "openai", "base_url": oracle[1], "model": "oracle", "max_concurrent": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        folder: Path = tmp_path_factory.mktemp("ask")
        with Cluster(folder, llm=llm, timing=CALM) as running:
            yield running


@pytest.mark.parametrize("story", STORIES)
def test_the_leader_is_killed(cluster: Cluster, oracle: tuple[Oracle, str], story: Story) -> None:
    ask = Ask(cluster, oracle[0], story.__name__)
    story(ask)
    ask.oracle.release()
    cluster.network.ok("heal")
    seen = [process.wait(ask.is_answer) for process in survivors(ask)]
    (told,) = {(event["node"], event["text"]) for event in seen}
    asked = ask.oracle.times(ask.question)
    expected = STORIES[story]
    assert min(expected) <= asked <= max(expected) + (ask.replaced_again() if story in WHILE_UNDECIDED else 0)

    cluster.start([ask.leader])
    cluster.leader()
    cluster.converged()
    for process in cluster.nodes.values():
        (turn,) = process.ok(f"view {ask.context}")["turns"]
        (answer,) = turn["candidates"].items()
        assert (turn["chosen"], answer[1]["text"]) == told and answer[0] == str(told[0])
        assert len([event for event in process.events if ask.is_answer(event)]) <= 1
    assert ask.oracle.times(ask.question) == asked, "an LLM was asked although the answer was decided"


def survivors(ask: Ask) -> list[Process]:
    return [ask.cluster.nodes[pid] for pid in ask.others]
