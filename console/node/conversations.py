"""Commands about conversations as a whole."""

from __future__ import annotations

from collections.abc import Awaitable

from msgspec import UNSET

from api.base import Failure
from api.node_commands import ForkCommand, RenameCommand
from api.node_results import ForkResult, RenameResult
from console.command_table import Earlier, Entry
from console.node.executor import NodeExecutor, conversations, submitted
from console.node.words import questions, warned, whole
from console.usage import Usage
from server import conversations as carried_out

_submit_rename = submitted(carried_out.rename)


def _rename(executor: NodeExecutor, command: RenameCommand, earlier: Earlier) -> Awaitable[RenameResult | Failure]:
    """The current conversation stays the current one, at once: the following lines may be read before this one is
    answered."""
    answer = _submit_rename(executor, command, earlier)
    if executor.current.context != command.context:
        return answer
    executor.current.context = command.name
    return _confirm_rename(executor, command, answer)


async def _confirm_rename(
    executor: NodeExecutor, command: RenameCommand, answer: Awaitable[RenameResult | Failure]
) -> RenameResult | Failure:
    result = await answer
    if not result.ok and executor.current.context == command.name:
        executor.current.context = command.context
    return result


RENAME = Entry[NodeExecutor, RenameCommand, RenameResult](
    Usage(
        "rename", "C NEW", "call conversation C by another name", "rename c1 paxos", 2, 2, current=True,
        details="For everybody. Not while a question is open: answers that are on their way name the conversation.",
    ),
    RenameCommand,
    _rename,
    view=lambda command, result, layout: layout.text(f"{result.context}: called {result.name} from now on"),
    complete=conversations,
)


def _parse_fork(words: list[str]) -> ForkCommand:
    return ForkCommand(words[0], words[1], whole(words[2], "number of a question") if words[2:] else UNSET)


FORK = Entry[NodeExecutor, ForkCommand, ForkResult](
    Usage(
        "fork", "C NEW [TURN]", "begin conversation NEW with the questions of C", "fork c1 c2 3", 2, 3, current=True,
        details="With those up to TURN, and their answers; otherwise with all that are not open. What comes later is "
        "each conversation's own. The copies count against the quotas.",
    ),
    ForkCommand,
    submitted(carried_out.fork),
    _parse_fork,
    lambda command, result, layout: layout.text(
        f"{result.name}: forked from {result.context}, {questions(result.turns)}{warned(result.warning)}"
    ),
    conversations,
)
