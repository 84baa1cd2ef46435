"""Runs the commands that are typed at a node: one user's session, and the state of their prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from api.base import Command, Failure, Result
from console import render
from console.command_table import Earlier, Executor, Run, TypedCommand
from console.node.current_conversation import CurrentConversation
from console.node.words import AUTO, SYNTH
from console.progress_report import progress_line
from console.usage import Usage
from server.session import Session

C = TypeVar("C", bound=Command[Any])
R = TypeVar("R", bound=Result)


class NodeExecutor(Executor):
    def __init__(self, session: Session) -> None:
        self.session = session
        self.current = CurrentConversation(session)
        self.importing = 0
        """How many files are being imported."""

    def fill(self, usage: Usage, rest: str) -> str:
        return self.current.fill(usage, rest)

    def waiting_for(self, typed: TypedCommand) -> str:
        return self.session.waiting_for()

    def prompt(self) -> str:
        """What the prompt adds to the node's name: the current conversation."""
        return "" if self.current.context is None else f" {self.current.context}"

    def progress_line(self, width: int | None = None) -> str:
        """What LLMs do with this user's questions; empty if that is nothing."""
        return progress_line(self.session.at_work(), len(self.session.members), width)

    def status_line(self, width: int | None = None) -> str:
        llm = self.session.llm_status
        in_flight = None if llm is None else llm.in_flight
        return render.status_line(self.session.node_status(), len(self.session.members), in_flight, width)


def submitted(submit: Callable[[Session, C], Awaitable[R | Failure]]) -> Run[NodeExecutor, C, R]:
    """For commands that change something: submitted when they are typed. While a file is being imported they wait
    for it, since they may refer to its content."""

    async def later(executor: NodeExecutor, command: C, earlier: Earlier) -> R | Failure:
        await earlier()
        return await submit(executor.session, command)

    def run(executor: NodeExecutor, command: C, earlier: Earlier) -> Awaitable[R | Failure]:
        return later(executor, command, earlier) if executor.importing else submit(executor.session, command)

    return run


async def ready(result: R | Failure) -> R | Failure:
    """For commands that are run when they are typed."""
    return result


def conversations(executor: NodeExecutor, words: Sequence[str]) -> Iterable[str]:
    """Completes the first word."""
    return () if words else list(executor.session.conversations)


def choices(executor: NodeExecutor, words: Sequence[str]) -> Iterable[str]:
    """Completes a conversation, and the node whose answer is chosen in it."""
    if len(words) > 1:
        return ()
    if words:
        return _choices(executor, words[0])
    meant = executor.current.for_choice()
    return [*executor.session.conversations, *(_choices(executor, meant[0]) if len(meant) == 1 else [])]


def _choices(executor: NodeExecutor, context: str) -> list[str]:
    conversation = executor.session.conversations.get(context)
    if conversation is None or conversation.open_turn is None:
        return []
    return [*map(str, conversation.turns[-1].choices), AUTO, SYNTH]
