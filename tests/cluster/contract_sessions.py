"""What is typed in the sessions that a release is held to: at a node, at the network, over stored conversations.

Each line waits for the result of the one before it, and for the LLMs where something follows from their answers, so
that whoever plays a session gets the same results in the same order. Whatever still depends on timing (who leads, how
long something takes) is left out of account by tests/cluster/contract_shapes.py.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.cluster.contract_processes import FOLDER, Program, Stage, Talk

Said = dict[str, list[str]]
"""What was typed and printed, by the name under which it is recorded."""
Codes = dict[str, int]
"""Exit codes by the way in which a program left."""

BY_THE_LEADER = ("node leader: create c2", "load 5")
"""Lines whose result names the node that happens to lead."""

STORY = """\
# A script, as short as one can be.

say Once upon a time
wait leader
failLink 1 2 --oneway
fixLink 1 2 --oneway
node 1: create story
node 2: query story Why?
wait answers story
node 3: choose story 1
node 1: view story
sleep 1ms
status
"""


def at_a_node(stage: Stage) -> tuple[Said, Codes]:
    """Every command of the node's prompt, at node 1, and everything that it tells by itself."""
    node = stage.nodes[1]
    _mistakes(node)
    _question_and_choice(node)
    _again_and_given_up(node)
    _ask_and_use(node)
    _which_one(node)
    _log_and_explain(node)
    _files(node, stage.folder)
    _levels(node, stage.nodes[2])
    node.do_all("status", "viewall", "viewall --full", "viewall everything")
    _cut_off(node, stage)
    return {"node": node.said}, {
        "exit": node.exit(), "SIGTERM": stage.nodes[2].signal(signal.SIGTERM),
        "SIGINT": stage.nodes[3].signal(signal.SIGINT), "network, SIGTERM": stage.network.signal(signal.SIGTERM),
    }


def _mistakes(node: Talk) -> None:
    node.do_all("viewall", "help", "help query", "HELP Choose", "help frobnicate", "help query choose")
    node.type("# a remark is a line, and has no result")
    node.type("   ")
    node.do_all("frobnicate", "crate t1", "create", "create two words", "create t\u200b1", "Create t1", "create t1")
    node.do("log")
    node.do_all("view", "view nowhere", "view t1", "view t1 --all-candidates --votes", "view t1 --dance", "view t1 t2")
    node.do_all("query", "query t1", "query nowhere Why?", "choose t1", "choose t1 1", "choose t1 auto", "cancel t1")


def _question_and_choice(node: Talk) -> None:
    query(node, "t1", "Name three mammals.")
    node.do_all("query t1 And more?", "view t1", "choose t1 x", "choose t1 9", "choose nowhere 1", "choose 2")
    node.do_all("choose t1 1", "log 3", "log 0", "log x", "log 1 2")
    query(node, "t1", "Which of them can fly?")
    node.do("choose t1 auto")
    node.wait("chosen", context="t1", turn=2)
    node.do_all("choose t1 auto", "view t1 --votes", "view t1 --all-candidates")


def _again_and_given_up(node: Talk) -> None:
    query(node, "t1", "Which one is the largest?")
    node.do_all("retry", "retry t1 x", "retry t1 9", "retry nowhere")
    node.do("retry t1")
    node.wait("candidate", context="t1", have=3)
    node.do("retry t1 2")
    node.wait("candidate", context="t1", node=2)
    node.do_all("cancel t1", "cancel t1", "cancel nowhere", "cancel", "retry t1", "choose t1 1")


def _ask_and_use(node: Talk) -> None:
    node.do_all("ask", "ask t1", "ask nowhere Why?")
    node.do("ask t1 What is a quorum?")
    node.wait("answer", context="t1", turn=4)
    node.do_all("use nowhere", "use t1", "view", "retry")
    node.do("query hello world")
    node.wait("candidate", context="t1", have=3)
    node.do_all("choose 3", "choose auto", "use", "query hello world", "use t1 t2")


def _which_one(node: Talk) -> None:
    """`choose N` alone, while two conversations wait for a choice."""
    for context in ("t2", "t3"):
        node.do(f"create {context}")
        query(node, context, "Why?")
    node.do_all("choose 1", "cancel t2", "cancel t3", "choose 1", "log 2")


def _log_and_explain(node: Talk) -> None:
    node.do_all("explain", "explain perhaps", "explain on")
    node.do("create t4")
    node.wait("explain")
    node.do("explain off")


def _files(node: Talk, folder: Path) -> None:
    (folder / "wrong.json").write_text('{"format": "something else"}')
    target = f"export t1 {folder}"
    node.do_all(f"{target}/talk.json", f"{target}/talk.json", f"{target}/talk.json --force", f"{target}/talk.md")
    node.do_all(f"{target}/talk.txt", f"export nowhere {folder}/no.json", "export t1", "export t1 --force")
    source = f"import {folder}"
    node.do_all(f"{source}/talk.json copy", f"{source}/talk.json", f"{source}/talk.json brief --chosen", "view brief")
    node.do_all(f"{source}/none.json", f"{source}/wrong.json", f"{source}/talk.json a b", "import", "import --chosen")
    query(node, "t4", "Is this open?")
    node.do_all(f"export t4 {folder}/open.json", f"{source}/open.json given-up", "view given-up", "cancel t4")


def _levels(node: Talk, other: Talk) -> None:
    """How much of what happens elsewhere is told, and what only `verbose` tells."""
    node.do_all("quiet", "verbose aloud", "verbose")
    other.do("create t1")
    node.wait("operation_refused", context="t1")
    node.do("normal")


def _cut_off(node: Talk, stage: Stage) -> None:
    """No majority for a while, then no network."""
    network = stage.network
    network.do("isolate 1")
    stale, late = node.type("view t1"), node.type("create late")
    node.wait("waiting", line=late)
    assert node.result(stale)["stale"]
    network.do("heal")
    node.result(late)
    node.mark()
    network.exit()
    node.wait("disconnected")
    node.mark()
    stage.start_network()
    node.wait("connected")


def at_the_network(stage: Stage) -> tuple[Said, Codes]:
    """Every command of the operator's prompt, and everything that it tells by itself."""
    network = stage.network
    network.do("wait leader")
    _operator_mistakes(network)
    _links(network)
    _nodes(network)
    _users(network)
    impostor = _impostor(stage)
    _scripts(network, stage.folder)
    network.mark()
    stage.knock()
    network.wait("refused", code="protocol")
    impostor.wait("refused")
    impostor.do("status")
    impostor.kill()
    impostor.ended()
    network.do_all("status", "log 3", "log")
    return {"network": network.said, "impostor": impostor.said}, {
        "exit": network.exit(), "node, end of input": stage.nodes[1].end_of_input(),
        "node, SIGHUP": stage.nodes[2].signal(signal.SIGHUP),
    }


def _operator_mistakes(network: Talk) -> None:
    network.do_all("help", "help delay", "help frobnicate", "frobnicate", "fialLink 1 2")
    network.do_all("failLink", "failLink 1 2 3 4 5 6", "failLink 1 1", "failLink 1 9", "failLink a b")
    network.do_all("failLink 1 2 --dance", "fixLink 1 2 --for 1s")
    network.do_all("failNode", "failNode 9", "failNode 1 2", "fixNode x", "fixNode 1", "pauseNode 0", "resumeNode 1")
    network.do_all("isolate", "isolate 7", "partition", "partition 1|1", "partition 1,2", "heal all")
    network.do_all("delay", "delay x", "delay -1", "delay 1 2 3 4 5", "delay 10 --oneway", "delay 10 --for never")
    network.do_all("loss 101", "loss x", "dup 1 2", "duplicate x", "reorder", "seed", "seed x", "sleep x", "log 0")
    network.do_all("log", "script", "script nowhere", "stop", "wait", "wait for it", "wait leader 9", "wait applied x")
    network.do_all("wait leader new --within 1ms", "wait applied 999999 --within 1ms", "wait answers nowhere", "say")
    network.do_all("node", "node 1", "node 9: status", "node 1: frobnicate", "node 1: view nowhere", "load x", "load 0")
    network.do_all("load 1 9", "watch perhaps")


def _links(network: Talk) -> None:
    network.do_all("failLink 1 2", "failLink 2 3 --oneway", "fixLink 1 2", "fixLink 2 3 --oneway", "isolate 3", "heal")
    network.do_all("partition 1|2,3", "heal", "seed 7", "delay 1", "delay 1 2 3 4 --oneway", "status", "delay 2 1")
    network.do_all("loss 1", "loss 1 2 0.5", "dup 1%", "dup 1 2 1", "duplicate 1")
    network.do_all("reorder 1 3 1 --oneway", "reorder 1", "delay 1 --for 1m", "heal", "status", "reset")
    network.do("loss 1 --for 10ms")
    network.wait("fault_over")
    network.do("failLink 1 2 --for 10ms")
    network.wait("fault_over")


def _nodes(network: Talk) -> None:
    network.do_all("pauseNode 2", "status", "fixNode 2", "resumeNode 2", "resumeNode 2")
    network.do("pauseNode 2 --for 10ms")
    network.wait("fault_over")
    network.do_all("failNode 3", "pauseNode 3", "resumeNode 3", "status", "fixNode 3", "fixNode 3")
    network.do_all("failNode 3 --for 1m", "reset", "wait converged")


def _users(network: Talk) -> None:
    network.do_all("wait leader 1,2,3", "node 2: create c1", *BY_THE_LEADER, "load 5 2", "wait applied 5")
    network.do("node 3: query c1 Why? &")
    network.wait("node_answer")
    network.do_all("wait answers c1", "node 1: choose c1 3", "node 1: view c1", "node 1: viewall", "node 1: status")
    network.do("node 3: create c1 &")
    network.wait("node_answer")


def _scripts(network: Talk, folder: Path) -> None:
    (folder / "story.txt").write_text(STORY)
    (folder / "wrong.txt").write_text("say first\nfrobnicate\n")
    (folder / "failing.txt").write_text("node 1: create c1\nsay never\n")
    (folder / "endless.txt").write_text("sleep 1m\n")
    network.do_all(f"script {folder}/story.txt", f"script {folder}/wrong.txt", f"script {folder}/failing.txt")
    endless = network.type(f"script {folder}/endless.txt")
    network.wait("waiting", line=endless)
    network.do("watch")
    network.wait("status")
    network.do_all("watch off", "stop")
    network.result(endless)
    network.do_all("sleep 1ms", "say The end.")


def _impostor(stage: Stage) -> Program:
    """A process that believes that it is node 3. It takes seconds to be sure that it is not wanted."""
    elsewhere = stage.folder / "elsewhere.json"
    elsewhere.write_text(json.dumps({**stage.settings, "data_dir": "elsewhere"}))
    return stage.program("node.py", "3", config=elsewhere)


SLOW: dict[str, Any] = {"nodes": [{"id": 1}, {"id": 2}, {"id": 3, "llm": {"delay_s": 3.0}}]}
"""Settings of a stage where one LLM takes long enough to be seen writing."""


def over_stored_data(stage: Stage) -> Said:
    """What a user does who comes back to the recorded conversations. The stage is SLOW."""
    client = stage.client(1)
    with contextlib.closing(client):
        client.do_all("create later")
        client.do("query later What has changed?")
        client.wait("progress", node=3, state="writing")
        client.wait("candidate", context="later", have=3)
        client.do_all("choose later 3", "view later", "exit")
        client.ended()
    return {"stored": client.said}


FAILING: dict[str, Any] = {"llm": {"provider": "fake", "fail": "out of order"}}
"""Settings of a stage where no LLM answers."""


def without_llms(stage: Stage) -> Said:
    """A script at the control socket of node 2, over the recorded conversations. The stage is FAILING."""
    client = stage.client(2)
    with contextlib.closing(client):
        client.do_all("choose open auto")
        client.wait("no_choice", context="open")
        client.do_all("view open --votes", '"create by-socket"', '"unfinished', '"create of\\ntwo"', "frobnicate")
        client.do('"query by-socket two\\nlines?"')
        client.wait("candidate", have=3)
        client.do_all("view by-socket", "choose by-socket 1", "choose by-socket auto", "cancel by-socket")
        client.do("ask by-socket Is anybody there?")
        for node in stage.PIDS:
            client.wait("answer", node=node)
        client.do_all("retry by-socket 9", "cancel by-socket", "view by-socket", "status", "exit")
        client.ended()
    return {"socket": client.said}


def query(node: Talk, context: str, text: str) -> None:
    """Asks, and waits until all have answered."""
    node.do(f"query {context} {text}")
    node.wait("candidate", context=context, have=3)


def located(said: Iterable[str], folder: Path) -> list[str]:
    """The same, wherever the session took place."""
    return [line.replace(str(folder), FOLDER) for line in said]


Session = Callable[[Stage], tuple[Said, Codes]]
SESSIONS: dict[str, Session] = {"node": at_a_node, "network": at_the_network}
"""Those that begin with nothing on disk."""
