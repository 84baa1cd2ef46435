"""Commands about conversations as a whole."""

from __future__ import annotations

from collections.abc import Awaitable

from msgspec import UNSET, UnsetType

from api.base import Failure
from api.node_commands import (
    AutoCommand,
    DeleteCommand,
    ForkCommand,
    RenameCommand,
    SystemCommand,
    TitleCommand,
    UndeleteCommand,
)
from api.node_results import (
    AutoResult,
    DeleteResult,
    ForkResult,
    RenameResult,
    SystemResult,
    TitleResult,
    UndeleteResult,
)
from api.safe_text import one_line
from console.basic_views import STALE
from console.command_table import Earlier, Entry, Run, in_order
from console.layout import Layout
from console.node.executor import NodeExecutor, conversations, submitted
from console.node.words import SWITCH, questions, warned, whole
from console.usage import Usage
from kvstore.deleted import KEPT_CONVERSATIONS, KEPT_POSITIONS
from server import conversations as carried_out

_submit_rename = submitted(carried_out.rename)


def _rename(executor: NodeExecutor, command: RenameCommand, earlier: Earlier) -> Awaitable[RenameResult | Failure]:
    """The current conversation stays the current one, at once: the following lines may be read before this one is
    answered."""
    answer = _submit_rename(executor, command, earlier)
    if executor.current.context != command.context:
        return answer
    return _confirm_rename(executor, command.name, executor.current.change(command.name), answer)


async def _confirm_rename(
    executor: NodeExecutor, name: str, change: int, answer: Awaitable[RenameResult | Failure]
) -> RenameResult | Failure:
    result = await answer
    if result.ok:
        executor.current.confirm(change, name)
    else:
        executor.current.refuse(change)
    return result


RENAME = Entry[NodeExecutor, RenameCommand, RenameResult](
    Usage(
        "rename", "C NEW", "call conversation C by another name", "rename c1 paxos", 2, 2, current=True,
        details="For everybody. Not while a question is open: answers that are on their way refer to it by its name.",
    ),
    RenameCommand,
    _rename,
    view=lambda command, result, layout: layout.text(f"{result.context}: called {result.name} from now on"),
    complete=conversations,
)


DELETE = Entry[NodeExecutor, DeleteCommand, DeleteResult](
    Usage(
        "delete", "C", "delete conversation C", "delete c1", 1, 1,
        details="For everybody, and at once. `undelete C` brings it back, as long as it is kept: the last "
        f"{KEPT_CONVERSATIONS} are, for {KEPT_POSITIONS} operations each.",
    ),
    DeleteCommand,
    submitted(carried_out.delete),
    view=lambda command, result, layout: layout.text(
        f"{result.context}: deleted{f' (undelete {result.context} brings it back)' if result.kept else ''}"
    ),
    complete=conversations,
)

UNDELETE = Entry[NodeExecutor, UndeleteCommand, UndeleteResult](
    Usage(
        "undelete", "C", "bring back the conversation C that was deleted last", "undelete c1", 1, 1,
        details="If there is another C meanwhile, rename that one first. A question that was open is open again.",
    ),
    UndeleteCommand,
    submitted(carried_out.undelete),
    view=lambda command, result, layout: layout.text(
        f"{result.context}: brought back, {questions(result.turns)}{warned(result.warning)}"
    ),
)

REMOVE = "-"
"""In place of a title or a system prompt."""


def _parse_title(words: list[str]) -> TitleCommand:
    return TitleCommand(words[0], _text(words))


def _text(words: list[str]) -> str | UnsetType:
    """What follows the conversation; nothing: it is to be shown."""
    if not words[1:]:
        return UNSET
    return "" if words[1] == REMOVE else words[1]


_set_title: Run[NodeExecutor, TitleCommand, TitleResult] = submitted(carried_out.title)
_show_title: Run[NodeExecutor, TitleCommand, TitleResult] = in_order(
    lambda executor, command: carried_out.title(executor.session, command)
)


def _title(executor: NodeExecutor, command: TitleCommand, earlier: Earlier) -> Awaitable[TitleResult | Failure]:
    return (_show_title if command.text is UNSET else _set_title)(executor, command, earlier)


def _view_title(command: TitleCommand, result: TitleResult, layout: Layout) -> str:
    shown = layout.text(f"{result.context}: {'no title' if result.title is None else one_line(result.title)}")
    return f"{shown}\n{layout.red(STALE)}" if result.stale else shown


TITLE = Entry[NodeExecutor, TitleCommand, TitleResult](
    Usage(
        "title", "C [TEXT|-]", "give conversation C a title", "title c1 Why majorities", 1, 2, text=True, current=True,
        details=f"For everybody; views show it. `title C` shows it, `title C {REMOVE}` takes it away. Unlike "
        "`rename C NEW`, it leaves the name that commands take as it is.",
    ),
    TitleCommand,
    _title,
    _parse_title,
    _view_title,
    conversations,
)


def _parse_system(words: list[str]) -> SystemCommand:
    return SystemCommand(words[0], _text(words))


_set_system: Run[NodeExecutor, SystemCommand, SystemResult] = submitted(carried_out.system)
_show_system: Run[NodeExecutor, SystemCommand, SystemResult] = in_order(
    lambda executor, command: carried_out.system(executor.session, command)
)


def _system(executor: NodeExecutor, command: SystemCommand, earlier: Earlier) -> Awaitable[SystemResult | Failure]:
    return (_show_system if command.text is UNSET else _set_system)(executor, command, earlier)


def _view_system(command: SystemCommand, result: SystemResult, layout: Layout) -> str:
    said = " what each node tells its own" if result.system is None else f"\n{layout.text(result.system, 4)}"
    stale = f"\n{layout.red(STALE)}" if result.stale else ""
    return f"{layout.text(result.context)}: LLMs are told:{said}{stale}"


SYSTEM = Entry[NodeExecutor, SystemCommand, SystemResult](
    Usage(
        "system", "C [TEXT|-]", "what LLMs are told before the questions of C", "system c1 Answer in French.", 1, 2,
        text=True, current=True, large=True,
        details="The same at every node, in place of `system_prompt` in its configuration, for what is asked from now "
        f"on. `system C` shows it, `system C {REMOVE}` takes it away. Forks and exports have it, too.",
    ),
    SystemCommand,
    _system,
    _parse_system,
    _view_system,
    conversations,
)


def _parse_auto(words: list[str]) -> AutoCommand:
    """`on c1` is understood as well as `c1 on`."""
    if len(words) == 1:
        return AutoCommand(words[0])
    context, switch = words if words[1].lower() in SWITCH else reversed(words)
    if switch.lower() not in SWITCH:
        raise ValueError(f"'{one_line(words[1], 20)}' is neither on nor off")
    return AutoCommand(context, SWITCH[switch.lower()])


_set_auto: Run[NodeExecutor, AutoCommand, AutoResult] = submitted(carried_out.auto)
_show_auto: Run[NodeExecutor, AutoCommand, AutoResult] = in_order(
    lambda executor, command: carried_out.auto(executor.session, command)
)


def _auto(executor: NodeExecutor, command: AutoCommand, earlier: Earlier) -> Awaitable[AutoResult | Failure]:
    return (_show_auto if command.on is UNSET else _set_auto)(executor, command, earlier)


def _view_auto(command: AutoCommand, result: AutoResult, layout: Layout) -> str:
    who = "the nodes choose by themselves when all answers are in" if result.auto else "a user chooses"
    stale = f"\n{layout.red(STALE)}" if result.stale else ""
    return f"{layout.text(f'{result.context}: {who}')}{stale}"


AUTO = Entry[NodeExecutor, AutoCommand, AutoResult](
    Usage(
        "auto", "C [on|off]", "have the nodes choose by themselves in C", "auto c1 on", 1, 2, current=True,
        details="After every query, when the answers of all nodes that are there are in, they choose as with `choose C "
        "auto`; if there is one answer only, it stands. Once for each time that a question is asked: where no node can "
        "rank the answers, a user chooses, or asks again with `retry C`. `auto C` shows whether they do; a fork "
        "does as its source does.",
    ),
    AutoCommand,
    _auto,
    _parse_auto,
    _view_auto,
    conversations,
)


def _parse_fork(words: list[str]) -> ForkCommand:
    return ForkCommand(words[0], words[1], whole(words[2], "number of a question") if words[2:] else UNSET)


FORK = Entry[NodeExecutor, ForkCommand, ForkResult](
    Usage(
        "fork", "C NEW [TURN]", "begin conversation NEW with the questions of C", "fork c1 c2 3", 2, 3, current=True,
        details="With those up to TURN, and their answers; otherwise with all that are not open. What comes later "
        "belongs to each conversation alone. The copies count against the quotas.",
    ),
    ForkCommand,
    submitted(carried_out.fork),
    _parse_fork,
    lambda command, result, layout: layout.text(
        f"{result.name}: forked from {result.context}, {questions(result.turns)}{warned(result.warning)}"
    ),
    conversations,
)
