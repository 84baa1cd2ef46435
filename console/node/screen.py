"""Commands that set what one user is shown, and the current conversation."""

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

PANE = "pane"
"""`explain on pane`, from elsewhere: at the node's own prompt."""


def _use(executor: NodeExecutor, command: UseCommand, earlier: Earlier) -> Awaitable[UseResult | Failure]:
    """Takes effect at once: the following lines may be read before this one is answered."""
    return _confirm_use(executor, command.context, executor.current.change(command.context), earlier)


async def _confirm_use(
    executor: NodeExecutor, context: str | None, change: int, earlier: Earlier
) -> UseResult | Failure:
    await earlier()
    if context is None or context in executor.session.conversations:
        executor.current.confirm(change, context)
        return UseResult(context=context)
    executor.current.refuse(change)
    return RefusedResult(context=context, error=f"no conversation '{context}' at this node: viewall shows all")


def _view_use(command: UseCommand, result: UseResult, layout: Layout) -> str:
    if result.context:
        return layout.text(f"{result.context} is now the current conversation")
    return layout.text("no current conversation any more")


USE = Entry[NodeExecutor, UseCommand, UseResult](
    Usage(
        "use", "[C]", "make C the current conversation", "use c1", 0, 1, only_prompt=True,
        details="Then query, ask, choose, cancel, retry, view and export may omit C. `use` alone ends that.\n"
        "With `use c1`, `query hello world` asks \"hello world\" in c1, unless there is a conversation `hello`.",
    ),
    UseCommand,
    _use,
    view=_view_use,
    complete=conversations,
)


def _parse_explain(words: list[str]) -> ExplainCommand:
    wanted, *where = (word.lower() for word in words)
    if wanted not in ("on", "off"):
        raise ValueError(f"'{one_line(words[0], 20)}' is neither on nor off")
    if where not in ([], [PANE]):
        raise ValueError(f"'{one_line(words[1], 20)}' is not {PANE}; explain on all is typed at the network")
    return ExplainCommand(wanted == "on", bool(where))


def _view_explain(command: ExplainCommand, result: ExplainResult, layout: Layout) -> str:
    return layout.text(explaining(result.explain))


def explaining(on: bool) -> str:
    return (
        "Every step of the protocol is now explained; `explain off` ends it. In ballot <4,2,17>, leadership 4 of "
        "node 2 refers to position 17 of the log. Heartbeats, which never stop, are left out."
        if on else "no more explanations"
    )


EXPLAIN = Entry[NodeExecutor, ExplainCommand, ExplainResult](
    Usage(
        "explain", "on|off", "explain each step of the protocol in plain words", "explain on", 1, 2, only_prompt=True,
        details="One line for each step of the protocol; heartbeats are left out. `explain on all` at the network has "
        f"every node explain at its prompt; it sends them `explain on {PANE}`.",
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
    Usage("quiet", "", "show only answers to your own questions", "quiet", only_prompt=True),
    QuietCommand,
    _tell("quiet"),
    view=lambda command, result, layout: layout.text(
        "now showing only answers to your own questions; normal and verbose show more"
    ),
)

NORMAL = Entry[NodeExecutor, NormalCommand, LevelResult](
    Usage("normal", "", "show activity on other nodes briefly", "normal", only_prompt=True),
    NormalCommand,
    _tell("normal"),
    view=lambda command, result, layout: layout.text(
        "now showing activity on other nodes briefly; quiet shows less, verbose more"
    ),
)

VERBOSE = Entry[NodeExecutor, VerboseCommand, LevelResult](
    Usage("verbose", "", "show all activity on other nodes", "verbose", only_prompt=True),
    VerboseCommand,
    _tell("verbose"),
    view=lambda command, result, layout: layout.text(
        "now showing all activity on other nodes; normal and quiet show less"
    ),
)
