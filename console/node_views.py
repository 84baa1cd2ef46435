"""Results of a node's commands, for humans."""

from __future__ import annotations

from console import Command, Layout, Result, render
from console.node_commands import ALL_CANDIDATES, FULL, VOTES


def show(command: Command, result: Result, paper: Layout) -> str:
    """`result` is ok."""
    match command.name:
        case "view":
            return render.view(result, paper, ALL_CANDIDATES in command.args, VOTES in command.args)
        case "viewall":
            return render.viewall(result, paper, FULL in command.args)
        case "log":
            return render.log(result, paper)
        case "status":
            return render.status(result, paper)
        case _:
            return paper.text(_sentence(command.name, result))


def _sentence(name: str, result: Result) -> str:
    context, turn = result.get("context"), result.get("turn")
    match name:
        case "create":
            return f"{context}: created"
        case "query":
            return f"{context}: question {turn} is in, every node is asked"
        case "ask":
            return f"{context}: question {turn} is in, the leader is asked"
        case "choose" if result.get("auto"):
            return f"{context}: every node is asked to rank the answers to question {turn}"
        case "retry":
            whom = f"node {result['node']}" if "node" in result else "every node"
            return f"{context}: question {turn} is asked again: {whom}"
        case "choose":
            return f"{context}: node {result['node']}'s answer chosen"
        case "cancel":
            return f"{context}: question {turn} given up"
        case "use":
            return f"{context} is meant where none is named" if context else "name the conversation each time again"
        case "export":
            return f"{context}: {_questions(result['turns'])} written to {result['file']}"
        case "import":
            return f"{context}: {_questions(result['turns'])} imported{_given_up(result['given_up'])}"
        case "explain":
            return _EXPLAIN[bool(result["explain"])]
        case "quiet" | "normal" | "verbose":
            return _LEVELS[name]
        case _:
            return "ok"


def _questions(count: int) -> str:
    return "1 question" if count == 1 else f"{count} questions"


def _given_up(numbers: list[int]) -> str:
    return f"; open then, given up now: {', '.join(map(str, numbers))}" if numbers else ""


_EXPLAIN = {
    True: "Every step of the protocol is told now; `explain off` ends it. A ballot <4,2,17> is leadership 4 of node 2, "
    "speaking about position 17 of the log. Heartbeats, which never stop, are left out.",
    False: "no more explanations",
}
_LEVELS = {
    "quiet": "only answers to your own questions are shown now; normal and verbose show more",
    "normal": "what happens elsewhere is shown briefly now; quiet shows less, verbose more",
    "verbose": "all that happens elsewhere is shown now; normal and quiet show less",
}
