"""ctl.py: which node it asks, what it waits for, what it prints, and its exit codes. The nodes are scripted."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import packages
from launcher.configuration import load
from launcher.ctl import command, target
from launcher.ctl.arguments import WAITING_TIMEOUT_S, arguments
from launcher.paths import ROOT
from tests.unit.api.test_client import Server, result

Lines = list[dict[str, Any]]


def turn(chosen: int | None = None, **said: str) -> dict[str, Any]:
    """Candidates by their nodes, as n1=...; "!why" is a failure."""
    candidates = {
        name[1:]: {"error": text[1:]} if text.startswith("!") else {"text": text} for name, text in said.items()
    }
    for each in candidates.values():
        each.update(model="m", seconds=1)  # type: ignore[call-overload]
    return {"query": "Why?", "kind": "query", "candidates": candidates, "chosen": chosen, "cancelled": False}


def last(of: dict[str, Any]) -> dict[str, Any]:
    return result(context="c1", turn=1, last=of, stale=False)


def event(name: str, **values: Any) -> dict[str, Any]:
    return {"event": name, "context": "c1", "turn": 1, "node": 1, **values}


class Asked:
    """A node with one question, and what comes of it: events, and how the turn is then."""

    def __init__(self, *after: Lines, turns: list[dict[str, Any]], auto: bool = False) -> None:
        self._after, self._turns, self._auto = list(after), turns, auto

    def __call__(self, line: str) -> Lines:
        words = json.loads(line)
        name = words["command"] if isinstance(words, dict) else words.split()[0]
        match name:
            case "last":
                return [last(self._turns.pop(0))]
            case "auto":
                return [result(context="c1", auto=self._auto, stale=False)]
            case "query" | "ask" | "choose" | "regenerate":
                how = {"synth": True} if "synth" in line else {"auto": True}
                reply = result(context="c1", turn=1, **how) if name == "choose" else result(context="c1", turn=1)
                return [reply, *self._after.pop(0)]
        raise AssertionError(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"nodes": [{"id": n} for n in (1, 2, 3)], "llm": {"provider": "fake"}}))
    (tmp_path / "data").mkdir()
    return tmp_path


def run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, **nodes: Callable[[str], Lines]
) -> tuple[int, str, str]:
    """ctl.py with these words, while these nodes (n1, n2, network) run: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "argv", ["ctl.py", "--config", str(folder / "config.json"), *words.split()])
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    async def serve() -> int:
        servers = [
            Server(folder / "data" / f"{name if name == 'network' else f'node-{name[1:]}'}.sock", script)
            for name, script in nodes.items()
        ]
        for server in servers:
            await server.start()
        try:
            async with asyncio.timeout(20):
                return await asyncio.to_thread(command.run)
        finally:
            for server in servers:
                server.close()

    return asyncio.run(serve()), out.getvalue(), err.getvalue()


ANSWERS = [event("candidate", have=1, of=3), event("candidate", have=2, of=3), event("candidate", have=3, of=3)]
CHOSEN = turn(2, n1="no", n2="yes", n3="!down")
OPEN = turn(None, n1="no", n2="yes", n3="!down")
SYNTHESIZED = turn(None, n0="both", n1="no", n2="yes", n3="!down")
AWAITED = {**OPEN, "synthesis": {"by": None, "out_of": [1, 2]}}
FAILED = turn(None, n1="!no key", n2="!down", n3="!down")


@pytest.mark.parametrize(
    ("words", "after", "turns", "code", "said"),
    [
        ("ask c1 Why? --wait", [[event("answer", have=1, of=3)]], [CHOSEN], 0, "yes\n"),
        ("ask c1 Why? --wait", [[event("answer", error="x", have=1, of=3), event("answer", error="x", have=3, of=3)]],
         [FAILED], 1, "error: no node has an answer: node 1: no key; node 2: down; node 3: down\n"),
        ("query c1 Why? --wait", [ANSWERS], [OPEN], 0, "[3] m 1.0 s\n        no answer: down"),
        ("--wait query c1 Why?", [[event("chosen", poll=None)]], [CHOSEN], 0, "yes\n"),
        ("query c1 Why? --wait", [[event("cancelled")]], [{**OPEN, "cancelled": True}], 1, "question 1 was cancelled"),
        ("query c1 Why? --choose 2", [ANSWERS, [event("chosen")]], [OPEN, CHOSEN], 0, "yes\n"),
        ("query c1 Why? --wait --choose=auto", [ANSWERS, [event("no_choice")]], [OPEN, OPEN], 1, "use choose c1 N"),
        ("query c1 Why? --choose auto", [ANSWERS], [FAILED], 1, "no node has an answer"),
        ("regenerate c1 --wait", [[event("progress"), event("answer")]], [CHOSEN], 0, "yes\n"),
        ("regenerate c1 --wait", [[event("answer", error="no key")]], [], 1, "the former one stays: node 1: no key"),
        ("choose c1 auto --wait", [[event("ranking"), event("chosen")]], [CHOSEN], 0, "yes\n"),
        ("choose c1 synth --wait", [[event("progress"), event("synthesis", by=2)]], [SYNTHESIZED], 0, "both\n"),
        ("choose c1 synth --wait", [[event("synthesis", by=2, error="no key")]], [], 1,
         "there is no synthesis: node 2: no key"),
        ("choose c1 synth --wait", [[event("retried"), event("synthesis", by=2)]], [AWAITED, SYNTHESIZED], 0, "both\n"),
        ("choose c1 synth --wait", [[event("poll")]], [OPEN], 1, "the synthesis was called off"),
        ("choose c1 synth --wait", [[event("chosen")]], [CHOSEN], 1, "the synthesis was called off"),
        ("choose c1 synth --wait", [[event("chosen")]], [{**SYNTHESIZED, "chosen": 1}], 1, "was called off"),
        ("choose c1 synth 2 --wait", [[{"event": "dropped", "count": 9}]], [SYNTHESIZED], 0, "both\n"),
        ("query c1 Why? --wait", [[{"event": "dropped", "count": 9}]], [CHOSEN, CHOSEN], 0, "yes\n"),
        ("query c1 Why? --wait", [[ANSWERS[0], {"event": "close"}]], [], 1, "the node exited"),
        ("--timeout 2 query c1 Why? --wait", [ANSWERS[:2]], [], 1, "after 2 s: not all answers are in"),
        ("ask c1 Why? --wait", [[event("answer", context="c2"), event("answer", turn=2), {"event": "close"}]], [], 1,
         "the node exited"),
    ],
)
def test_it_waits_for_what_comes_of_a_question(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, after: list[Lines], turns: list[dict[str, Any]],
    code: int, said: str,
) -> None:
    left, out, err = run(folder, monkeypatch, f"--node 1 {words}", n1=Asked(*after, turns=turns))
    shown, other = (out, err) if code == 0 else (err, out)
    assert left == code and said in shown and not other
    assert said != "yes\n" or out == said, "nothing but the answer"


def test_a_choice_in_one_word_is_waited_for_like_any_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.ctl.command.utf8", lambda words: words)
    monkeypatch.setattr("launcher.ctl.command.arguments", lambda: arguments(
        ["--config", str(folder / "config.json"), "--node", "1", "--json", "--timeout", "5", "choose c1 auto", "--wait"]
    ))
    node = Asked([event("ranking"), event("chosen")], turns=[CHOSEN])
    code, out, err = run(folder, monkeypatch, "", n1=node)
    assert code == 0 and json.loads(out)["command"] == "choose", err


NO_CHOICE = {**OPEN, "poll": {"number": 1, "open": False, "points": {}, "votes": {}}}


@pytest.mark.parametrize(
    ("words", "after", "turns", "code", "said"),
    [
        ("query c1 Why? --wait", [*ANSWERS, event("poll"), event("chosen")], [OPEN, CHOSEN], 0, "yes\n"),
        ("query c1 Why? --choose auto", [*ANSWERS, event("chosen")], [OPEN, CHOSEN], 0, "yes\n"),
        ("query c1 Why? --choose auto", [*ANSWERS[:2], event("no_choice")], [NO_CHOICE], 1, "use choose c1 N"),
        ("query c1 Why? --wait", [*ANSWERS[:2], event("no_choice")], [NO_CHOICE], 0, "no answer: down"),
    ],
)
def test_where_the_nodes_choose_by_themselves_it_asks_for_no_choice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, after: Lines, turns: list[dict[str, Any]], code: int,
    said: str,
) -> None:
    """A `choose` would have no answer here."""
    left, out, err = run(folder, monkeypatch, f"--node 1 {words}", n1=Asked(after, turns=turns, auto=True))
    assert left == code and said in (out if code == 0 else err)


def test_json_of_what_comes_of_a_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run(folder, monkeypatch, "--node 1 --json query c1 Why? --wait", n1=Asked(ANSWERS, turns=[FAILED]))
    values = json.loads(out)
    assert code == 1 and not values["ok"] and values["command"] == "query" and values["turn"] == 1
    assert values["last"]["candidates"]["1"]["error"] == "no key"


def named_c1(asked: int | None, last: int, view: int, lines: Lines, turns: int = 1) -> Callable[[str], Lines]:
    """A node where c1 is the conversation that was created at `asked` at first, then the one of `last`, then of `view`;
    None: the node's release does not tell of a question. `lines` gets the commands."""

    def script(line: str) -> Lines:
        words = json.loads(line)
        lines.append(words if isinstance(words, dict) else {"command": words.split()[0]})
        match lines[-1]["command"]:
            case "query" | "ask":
                return [result(context="c1", turn=1, **({} if asked is None else {"created": asked})), *ANSWERS]
            case "last":
                is_open = turns > 1 or lines[-2]["command"] == "query"
                return [result(context="c1", turn=turns, last=OPEN if is_open else CHOSEN, stale=False, created=last)]
            case "view":
                return [result(context="c1", turns=[CHOSEN] * turns, stale=False, created=view)]
            case "choose":
                return [result(context="c1", turn=1, node=2), event("chosen")]
            case "auto":
                return [result(context="c1", auto=False, stale=False)]
        raise AssertionError(line)

    return script


@pytest.mark.parametrize(
    ("asked", "last", "view", "turns", "is_same"),
    [(2, 2, 2, 1, True), (2, 7, 7, 1, False), (2, 2, 2, 2, True), (2, 2, 7, 2, False), (None, 7, 7, 1, True)],
)
def test_what_is_told_is_of_the_conversation_where_it_was_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, last: int, view: int, turns: int, is_same: bool
) -> None:
    """Another one may have its name by then; older nodes do not tell."""
    left, out, err = run(
        folder, monkeypatch, "--node 1 ask c1 Why? --wait", n1=named_c1(asked, last, view, [], turns)
    )
    if is_same:
        assert (left, out, err) == (0, "yes\n", "")
    else:
        assert (left, out) == (1, "") and "the conversation 'c1' has another name by now, or is gone" in err


@pytest.mark.parametrize("asked", [2, None])
def test_a_choice_is_for_the_conversation_where_it_was_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None
) -> None:
    lines: Lines = []
    left, out, _ = run(
        folder, monkeypatch, "--node 1 query c1 Why? --choose 2", n1=named_c1(asked, asked or 7, 7, lines)
    )
    [choice] = [line for line in lines if line["command"] == "choose"]
    assert (choice["context"], choice["node"], choice["turn"], choice.get("created")) == ("c1", 2, 1, asked)
    assert (left, out) == (0, "yes\n")


def node(number: int, leader: int | None, *later: dict[str, Any]) -> Callable[[str], Lines]:
    status = {"node": number, "role": "follower", "leader": leader, "ballot": (1, 1, 1), "decided": 1, "applied": 1,
              "queued": 0, "standing": "voter", "links": [], "digest": "", "quotas": {}}

    def script(line: str) -> Lines:
        if "status" in line:
            return [result(**status), *later]
        return [result(context=f"at-{number}")]

    return script


@pytest.mark.parametrize(
    ("where", "nodes", "said"),
    [
        ("any", {"n2": node(2, 3), "n3": node(3, 3)}, "at-"),
        ("any", {"n2": node(2, None), "n3": node(3, 3)}, "at-3"),
        ("any", {"n2": node(2, None)}, "at-2"),
        ("any", {}, "no node of cluster 'demo' answers here"),
        ("leader", {"n1": node(1, 3), "n3": node(3, 3)}, "at-3"),
        ("leader", {"n1": node(1, 3)}, "node-3.sock"),
        ("leader", {"n1": node(1, None)}, "no node knows a leader"),
    ],
)
def test_it_finds_the_node(
    folder: Path, monkeypatch: pytest.MonkeyPatch, where: str, nodes: dict[str, Callable[[str], Lines]], said: str
) -> None:
    timeout_s = 10 if "at-" in said else 0.3
    code, out, err = run(folder, monkeypatch, f"--timeout {timeout_s} --node {where} create c1", **nodes)
    assert said in (err if code else out) and code == ("at-" not in said)


def test_it_waits_for_a_leader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the event of a node that knows none yet."""
    seen = {"event": "leader", "leader": 2}

    async def find() -> int:
        servers = [Server(folder / "data" / "node-1.sock", node(1, None))]
        for server in servers:
            await server.start()
        finding = asyncio.ensure_future(target.find(config, "leader", 10))
        while len(servers[0].writers) < 2:  # noqa: ASYNC110 - the fake node has no event for it
            await asyncio.sleep(0.001)
        servers[0].writers[-1].write(json.dumps(seen).encode() + b"\n")
        try:
            return await finding
        finally:
            servers[0].close()

    config = load(folder / "config.json")
    assert asyncio.run(find()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--node 1 use c1", "use concerns only the prompt where it is typed"),
        ("--node 1 QUIET", "quiet concerns only"), ("--node 1 explain on", "explain concerns only"),
        ('--node 1 {"command":"verbose"}', "verbose concerns only"), ("--node 1 exit", "exit concerns only"),
        ("--network watch on", "watch concerns only"),
        ("--node 1 --wait create c1", "--wait is for ask, query, choose and regenerate"),
        ("--network --wait reset", "--wait is for ask, query, choose and regenerate"),
        ("--node 1 ask c1 Why? --choose 2", "--choose is for query"),
        ("--node 1 --choose best query c1 Why?", "--choose"), ("--node first status", "--node"),
        ("--node 1 --network status", "not allowed with"),
    ],
)
def test_what_would_do_nothing_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["ctl.py", "--config", str(folder / "config.json"), *words.split()])
    try:
        code: Any = command.run()
    except SystemExit as left:
        code = left.code
    assert code == 2 and said in capsys.readouterr().err


def test_options_are_told_from_text() -> None:
    wanted = arguments(["--node", "any", "query", "c1", "what is --wait", "--choose", "auto"])
    assert (wanted.words, wanted.choose, wanted.wait) == (["query", "c1", "what is --wait"], "auto", True)
    assert wanted.timeout_s == WAITING_TIMEOUT_S
    assert arguments(["--node", "1", "create", "--wait"]).words == ["create", "--wait"]
    quoted = arguments(["--node", "1", "Query c1 Why?", "--wait"])
    assert quoted.words == ["Query c1 Why?"] and quoted.wait, "a command in one word is the same command"
    assert arguments(["--network", "script", "tour"]).timeout_s is None


def test_the_network_answers_and_shows_the_steps_of_a_script(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"name": "node", "file": "f.txt", "line": 2, "command": "node 2: view c1"}

    def script(line: str) -> Lines:
        if "script" not in line:
            return [result(node=2, text="sent")]
        answer = {**about, "event": "step_result", "ok": True, "node": 2, "context": "c1", "turns": []}
        return [{"event": "step", **about}, answer, result(steps=1, seconds=1.0, text="f.txt: done")]

    code, out, _ = run(folder, monkeypatch, "--network script f.txt", network=script)
    assert code == 0 and "> node 2: view c1\n  node 2: c1 exists, no questions yet\nf.txt: done" in out
    assert run(folder, monkeypatch, "--network node 2: create c1 &", network=script)[1] == "node 2: sent\n"
    assert "this network is not running" in run(folder, monkeypatch, "--network status")[2]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG", raising=False)
    yield


@pytest.mark.usefixtures("elsewhere")
def test_from_another_directory_it_is_the_cluster_of_this_one() -> None:
    assert arguments(["--node", "1", "status"]).config == ROOT / "config.json"
    Path("config.json").touch()
    assert arguments(["--node", "1", "status"]).config == Path("config.json")


def test_a_python_without_the_packages_is_told_which_one_to_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, packages.explained("ctl.py"):
        raise ModuleNotFoundError(name="msgspec")
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "this Python lacks msgspec: call " in said and ".venv/bin/python" in said and said.count("\n") == 1
    monkeypatch.setattr(sys, "version_info", (3, 9))
    with pytest.raises(SystemExit), packages.explained("ctl.py"):
        pass
    assert "this Python is 3.9: call" in capsys.readouterr().err
