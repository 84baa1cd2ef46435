"""Commands that change a conversation."""

from __future__ import annotations

from msgspec import UNSET

from api.conversation import candidate_words
from api.node_commands import (
    AskCommand,
    CancelCommand,
    ChooseCommand,
    CreateCommand,
    QueryCommand,
    RegenerateCommand,
    RetryCommand,
)
from api.node_results import CancelResult, ChooseResult, CreateResult, QueryResult, RegenerateResult, RetryResult
from api.safe_text import one_line
from console.command_table import Entry
from console.layout import Layout
from console.node.executor import NodeExecutor, choices, conversations, submitted
from console.node.words import AUTO, CUT, SYNTH, VOTES, warned, whole
from console.usage import Usage
from server.session import Session

_LEFT_OUT = (
    "After `use C`, C may be omitted. The first word is then a conversation if one of that name exists; "
    "otherwise it is part of the text."
)

CREATE = Entry[NodeExecutor, CreateCommand, CreateResult](
    Usage("create", "C", "create conversation C", "create c1", 1, 1),
    CreateCommand,
    submitted(Session.create),
    view=lambda command, result, layout: layout.text(f"{result.context}: created{warned(result.warning)}"),
)

QUERY = Entry[NodeExecutor, QueryCommand, QueryResult](
    Usage(
        "query", "C TEXT", "ask every node's LLM", "query c1 What is Paxos?", 2, 2, text=True, lines=True,
        details=_LEFT_OUT, current=True,
    ),
    QueryCommand,
    submitted(Session.query),
    view=lambda command, result, layout: layout.text(
        f"{result.context}: question {result.turn} sent to every node{warned(result.warning)}"
    ),
    complete=conversations,
)

ASK = Entry[NodeExecutor, AskCommand, QueryResult](
    Usage(
        "ask", "C TEXT", "ask only the leader's LLM", "ask c1 What is a quorum?", 2, 2, text=True, lines=True,
        details=_LEFT_OUT, current=True,
    ),
    AskCommand,
    submitted(Session.ask),
    view=lambda command, result, layout: layout.text(
        f"{result.context}: question {result.turn} sent to the leader{warned(result.warning)}"
    ),
    complete=conversations,
)


def _parse_choose(words: list[str]) -> ChooseCommand:
    plain = [word for word in words if word != CUT]
    is_synthesis = len(plain) > 1 and plain[1].lower() == SYNTH
    if len(plain) not in ((2, 3) if is_synthesis else (2,)) or (is_synthesis and CUT in words):
        raise ValueError(f"not understood: {one_line(' '.join(words))}")
    context, node, *by = plain
    if is_synthesis:
        return ChooseCommand(context, "synth", by=whole(by[0], "number of a node") if by else UNSET)
    return ChooseCommand(context, "auto" if node.lower() == AUTO else whole(node, "number of a node"), CUT in words)


def _view_choose(command: ChooseCommand, result: ChooseResult, layout: Layout) -> str:
    if result.synth is not UNSET:
        whom = "the leader" if result.by is UNSET else f"node {result.by}"
        return layout.text(
            f"{result.context}: {whom} is asked for one answer out of those to question {result.turn}"
        )
    if result.node is not UNSET:
        return layout.text(f"{result.context}: {candidate_words(result.node)} chosen")
    return layout.text(f"{result.context}: every node was asked to rank the answers to question {result.turn}")


CHOOSE = Entry[NodeExecutor, ChooseCommand, ChooseResult](
    Usage(
        "choose", f"C N|{AUTO}|{SYNTH} [N] [{CUT}]", "choose an answer, let the nodes choose, or have one written",
        "choose c1 3", 2, 4, current=True,
        details="`choose N` is enough after `use C`, or when only one conversation awaits a choice.\n"
        f"With `{AUTO}` every node's LLM ranks the answers anonymously. Of n answers, the best "
        "gets n - 1 points, the last none; the highest sum wins, in a tie the lowest node. "
        f"`view C {VOTES}` shows it.\n"
        f"With `{SYNTH}` one LLM, the leader's or that of node N, writes one answer out of those that are in, the "
        f"synthesis, as a further candidate: `choose C 0` chooses it. `choose C {SYNTH}` again replaces it. A choice "
        "that comes first, of a user or of the nodes, calls it off.\n"
        f"An answer that the time limit cut is chosen only with {CUT}.",
    ),
    ChooseCommand,
    submitted(Session.choose),
    _parse_choose,
    _view_choose,
    choices,
)

CANCEL = Entry[NodeExecutor, CancelCommand, CancelResult](
    Usage("cancel", "C", "cancel the open question", "cancel c1", 1, 1, current=True),
    CancelCommand,
    submitted(Session.cancel),
    view=lambda command, result, layout: layout.text(f"{result.context}: question {result.turn} cancelled"),
    complete=conversations,
)


def _parse_retry(words: list[str]) -> RetryCommand:
    return RetryCommand(words[0], whole(words[1], "number of a node") if words[1:] else None)


def _view_retry(command: RetryCommand, result: RetryResult, layout: Layout) -> str:
    whom = "every node" if result.node is UNSET else f"node {result.node}"
    return layout.text(f"{result.context}: question {result.turn} sent again to {whom}")


RETRY = Entry[NodeExecutor, RetryCommand, RetryResult](
    Usage(
        "retry", "C [N]", "ask the open question again, at all nodes or node N", "retry c1 3", 1, 2,
        current=True, details="Earlier answers are dropped, including those still on their way.",
    ),
    RetryCommand,
    submitted(Session.retry),
    _parse_retry,
    _view_retry,
    conversations,
)

REGENERATE = Entry[NodeExecutor, RegenerateCommand, RegenerateResult](
    Usage(
        "regenerate", "C", "ask the leader's LLM for another answer to the last `ask`", "regenerate c1", 1, 1,
        current=True, details="The present answer stands until the other one is in, and stays if the leader's "
        "LLM fails, or if the next question comes first. Nodes are asked a `query` again with `retry`.",
    ),
    RegenerateCommand,
    submitted(Session.regenerate),
    lambda words: RegenerateCommand(words[0]),
    lambda command, result, layout: layout.text(
        f"{result.context}: the leader is asked for another answer to question {result.turn}"
    ),
    conversations,
)
