"""Commands about what one user is shown, and which conversation they mean."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal, TypeVar

from api.base import Command, Failure
from api.node_commands import ExplainCommand, NormalCommand, QuietCommand, UseCommand, VerboseCommand
from api.node_results import ExplainResult, LevelResult, RefusedResult, UseResult
from api.safe_text import one_line
from console.command_table import Earlier, Entry, Run
from console.layout import Layout
from console.node.executor import NodeExecutor, conversations, ready
from console.usage import Usage
from server.event_feed import Level

C = TypeVar("C", bound=Command[LevelResult])


def _use(executor: NodeExecutor, command: UseCommand, earlier: Earlier) -> Awaitable[UseResult | Failure]:
    """Counts at once, for the lines that follow: they may be read before this one is answered."""
    before, executor.current.context = executor.current.context, command.context
    return _confirm_use(executor, command.context, before, earlier)


async def _confirm_use(
    executor: NodeExecutor, context: str | None, before: str | None, earlier: Earlier
) -> UseResult | Failure:
    await earlier()
    if context is None or context in executor.session.conversations:
        return UseResult(context=context)
    if executor.current.context == context:
        executor.current.context = before
    return RefusedResult(context=context, error=f"no conversation '{context}' at this node: viewall shows all")


def _view_use(command: UseCommand, result: UseResult, layout: Layout) -> str:
    if result.context:
        return layout.text(f"{result.context} is meant where none is named")
    return layout.text("name the conversation each time again")


USE = Entry[NodeExecutor, UseCommand, UseResult](
    Usage(
        "use", "[C]", "make C the conversation that is meant when none is named", "use c1", 0, 1,
        details="Then query, ask, choose, cancel, retry, view and export may leave C out. `use` alone ends that.\n"
        "With `use c1`, `query hello world` asks \"hello world\" in c1, unless there is a conversation `hello`.",
    ),
    UseCommand,
    _use,
    view=_view_use,
    complete=conversations,
)


def _parse_explain(words: list[str]) -> ExplainCommand:
    wish = words[0].lower()
    if wish not in ("on", "off"):
        raise ValueError(f"'{one_line(words[0], 20)}' is neither on nor off")
    return ExplainCommand(wish == "on")


def _view_explain(command: ExplainCommand, result: ExplainResult, layout: Layout) -> str:
    return layout.text(
        "Every step of the protocol is told now; `explain off` ends it. A ballot <4,2,17> is leadership 4 of node 2, "
        "speaking about position 17 of the log. Heartbeats, which never stop, are left out."
        if result.explain else "no more explanations"
    )


EXPLAIN = Entry[NodeExecutor, ExplainCommand, ExplainResult](
    Usage(
        "explain", "on|off", "say in plain words what this node does to agree with the others", "explain on", 1, 1,
        details="One line for each step of the protocol; heartbeats are left out.",
    ),
    ExplainCommand,
    lambda executor, command, earlier: ready(executor.session.explain(command)),
    _parse_explain,
    _view_explain,
    lambda executor, words: () if words else ("on", "off"),
)


def _tell(level: Literal["quiet", "normal", "verbose"]) -> Run[NodeExecutor, C, LevelResult]:
    def run(executor: NodeExecutor, command: C, earlier: Earlier) -> Awaitable[LevelResult | Failure]:
        executor.session.level = Level(level)
        return ready(LevelResult(level=level))

    return run


QUIET = Entry[NodeExecutor, QuietCommand, LevelResult](
    Usage("quiet", "", "show less of what happens elsewhere: only answers to your own questions", "quiet"),
    QuietCommand,
    _tell("quiet"),
    view=lambda command, result, layout: layout.text(
        "only answers to your own questions are shown now; normal and verbose show more"
    ),
)

NORMAL = Entry[NodeExecutor, NormalCommand, LevelResult](
    Usage("normal", "", "show what happens elsewhere, briefly", "normal"),
    NormalCommand,
    _tell("normal"),
    view=lambda command, result, layout: layout.text(
        "what happens elsewhere is shown briefly now; quiet shows less, verbose more"
    ),
)

VERBOSE = Entry[NodeExecutor, VerboseCommand, LevelResult](
    Usage("verbose", "", "show all that happens elsewhere", "verbose"),
    VerboseCommand,
    _tell("verbose"),
    view=lambda command, result, layout: layout.text(
        "all that happens elsewhere is shown now; normal and quiet show less"
    ),
)
