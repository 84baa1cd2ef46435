"""What a node's user types, carried out; and what happens elsewhere, told to that user.

A session decides nothing: it turns words into commands of the store, has the node get them decided, and reads the
node's store. It fits the console as its executor. A node has one for its prompt and one for each of its control
socket's clients.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from console import Command, Earlier, Layout, Result, Usage, expectation, render
from console import node_views as display
from console.current_conversation import Current
from console.node_commands import ALL_CANDIDATES, AUTO, CHOSEN, COMMANDS, FORCE, FULL, VOTES
from console.node_parsing import Refused, TooLong, whole
from console.node_parsing import operation as operation_of
from console.safe import one_line
from engine.interface import AppliedOperation, Busy, Engine
from kvstore.operations import Choose, Create, Import, Retry, StartPoll, StoreOperation
from kvstore.store import Outcome
from server import transfer
from server.applied_log import KEPT, AppliedLog, seconds
from server.event_feed import Emit, EventFeed, Level
from server.explain_text import Sentence
from server.records import conversation_record, decided_record, status_record

__all__ = ["COMMANDS", "Session"]

LOG_LINES = 10

Submitted: TypeAlias = asyncio.Future[Result] | Coroutine[Any, Any, Result]


class Commentator(Protocol):
    """Who explains what the node does."""

    def listen(self, listener: Callable[[Sequence[Sentence]], None]) -> None: ...

    def leave(self, listener: Callable[[Sequence[Sentence]], None]) -> None: ...


class Session:
    """One user at one node. `node_id` is the node's number, `nodes` how many there are; `more_status` is what `status`
    tells besides what the node says of itself; `too_long` judges questions before they are proposed; `level` counts
    until the user chooses another. `members` are all nodes' numbers, if they are known."""

    def __init__(
        self, engine: Engine, emit: Emit, *, journal: AppliedLog, node_id: int, nodes: int,
        commentary: Commentator | None = None,
        more_status: Callable[[], Mapping[str, Any]] = dict, too_long: TooLong = lambda text: None,
        level: Level = Level.NORMAL, members: Collection[int] = (),
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._node_id = node_id
        self._nodes = nodes
        self._members = members
        self._commentary = commentary
        self._more_status = more_status
        self._too_long = too_long
        self._news = EventFeed(emit, lambda: engine.store, node_id=node_id, nodes=nodes, level=level)
        self._current = Current(lambda: engine.store.conversations)
        self._unsent: deque[tuple[StoreOperation, asyncio.Future[Result]]] = deque()
        self._under_way: dict[int, Callable[[Outcome | None], None]] = {}
        """By ticket, what was submitted and has no outcome yet."""
        self._importing = 0

    def close(self) -> None:
        """The user has gone."""
        if self._commentary is not None:
            self._commentary.leave(self._news.on_commentary)

    # What the console asks for.

    @property
    def commands(self) -> Mapping[str, Usage]:
        return COMMANDS

    def fill(self, usage: Usage, rest: str) -> str:
        return self._current.fill(usage, rest)

    def submit(self, command: Command, earlier: Earlier) -> Submitted:
        match command.name:
            case "status":
                digest = self._engine.store.digest()
                return _at_once({"ok": True, **self._status(), "digest": digest, **self._more_status()})
            case "view" | "viewall":
                return self._read(command, earlier)
            case "log":
                return self._log(command, earlier)
            case "use":
                return self._use(command, earlier)
            case "export":
                return self._export(command, earlier)
            case "import":
                self._importing += 1
                return self._import(command, earlier)
            case "explain":
                return _at_once(self._explain(command))
            case "quiet" | "normal" | "verbose":
                self._news.level = Level(command.name)
                return _at_once({"ok": True, "level": command.name})
            case _ if self._importing:
                return self._write_later(command, earlier)
            case _:
                return self._write(command)

    def waiting_for(self, command: Command) -> str:
        return "not decided yet" if self._engine.majority_reachable() else "no majority reachable"

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        name, *typed = words
        conversations = self._engine.store.conversations
        match name, len(typed):
            case "choose", 0:
                meant = self._current.for_choice()
                return [*conversations, *(self._choices(meant[0]) if len(meant) == 1 else [])]
            case "choose", 1:
                return self._choices(typed[0])
            case "viewall", 0:
                return [FULL]
            case "view", 1:
                return [ALL_CANDIDATES, VOTES]
            case "explain", 0:
                return ["on", "off"]
            case "query" | "ask" | "cancel" | "retry" | "view" | "use" | "export", 0:
                return list(conversations)
            case _:
                return []

    def show(self, command: Command, result: Result, paper: Layout) -> str:
        return display.show(command, result, paper)

    def prompt(self) -> str:
        """What the prompt adds to the node's name: the conversation that is meant."""
        return "" if self._current.context is None else f" {self._current.context}"

    def status_line(self, width: int | None = None) -> str:
        return render.status_line({**self._status(), **self._more_status(), "nodes": self._nodes}, width)

    # What the node tells.

    def on_applied(self, applied: AppliedOperation) -> None:
        """To be called right after each operation that is applied live."""
        decided = self._under_way.pop(applied.ticket, None)
        if decided is not None:
            decided(applied.outcome)
        self._news.on_applied(applied.outcome, applied.id.node, decided is not None)

    def on_outcome_unknown(self, ticket: int) -> None:
        """Of an operation that this user, or another one, submitted."""
        decided = self._under_way.pop(ticket, None)
        if decided is not None:
            decided(None)

    def on_progress(self, node: int, context: str, turn: int, pieces: int) -> None:
        """To be called when the LLM of `node` has begun with an answer (0 pieces), or has so many pieces of it."""
        self._news.on_progress(node, context, turn, pieces)

    def on_leader(self, leader: int | None) -> None:
        """To be called when the node sees another leader, or none; calls that change nothing are fine."""
        self._news.on_leader(leader)

    def _status(self) -> Mapping[str, Any]:
        return status_record(self._engine.status())

    # Reading.

    async def _read(self, command: Command, earlier: Earlier) -> Result:
        words = [word for word in command.args if not word.startswith("--")]
        options = (ALL_CANDIDATES, VOTES) if command.name == "view" else (FULL,)
        if set(command.args) - {*words, *options} or len(words) != (command.name == "view"):
            return _mistake(command, f"not understood: {one_line(' '.join(command.args))}")
        await earlier()
        if command.name == "view":
            return await self._view(words[0])
        try:
            stale = not await self._caught_up()
        except Busy as busy:
            return _busy(busy)
        conversations = self._engine.store.conversations
        return {
            "ok": True, "conversations": [conversation_record(found) for found in conversations.values()],
            "changed": {context: seconds(found.changed) for context, found in conversations.items()}, "stale": stale,
        }

    async def _view(self, context: str) -> Result:
        """A conversation's record as a result, or the reason why there is none."""
        try:
            stale = not await self._caught_up()
        except Busy as busy:
            return _busy(busy)
        found = self._engine.store.conversations.get(context)
        if found is None:
            error = f"no conversation '{context}': viewall shows all"
            return {"ok": False, "error": error, "context": context, "stale": stale}
        return {"ok": True, **conversation_record(found), "stale": stale}

    async def _caught_up(self) -> bool:
        """Whether the store is known to hold everything acknowledged before now. Raises Busy."""
        reading = self._engine.read()
        await asyncio.wait([reading], timeout=self._engine.read_timeout_s())
        if reading.done():
            return not reading.cancelled() and reading.exception() is None
        reading.cancel()
        return False

    async def _log(self, command: Command, earlier: Earlier) -> Result:
        count = LOG_LINES
        if command.args:
            try:
                count = whole(command.args[0], "number of operations")
            except ValueError as error:
                return _mistake(command, str(error))
            if count == 0:
                return _mistake(command, "0 operations are none")
        await earlier()
        entries = [decided_record(decided) for decided in self._journal.last(count)]
        return {"ok": True, "log": entries, "kept": KEPT}

    # What concerns this user alone.

    def _use(self, command: Command, earlier: Earlier) -> Submitted:
        """Counts at once, for the lines that follow: they may be read before this one is answered."""
        before, context = self._current.context, next(iter(command.args), None)
        self._current.context = context
        return self._confirm_use(context, before, earlier)

    async def _confirm_use(self, context: str | None, before: str | None, earlier: Earlier) -> Result:
        await earlier()
        if context is None or context in self._engine.store.conversations:
            return {"ok": True, "context": context}
        if self._current.context == context:
            self._current.context = before
        error = f"no conversation '{context}' at this node: viewall shows all"
        return {"ok": False, "context": context, "error": error}

    def _explain(self, command: Command) -> Result:
        wish = command.args[0].lower()
        if wish not in ("on", "off"):
            return _mistake(command, f"'{one_line(command.args[0], 20)}' is neither on nor off")
        if self._commentary is None:
            return {"ok": False, "error": "there is nobody here who explains"}
        if wish == "on":
            self._commentary.listen(self._news.on_commentary)
        else:
            self._commentary.leave(self._news.on_commentary)
        return {"ok": True, "explain": wish == "on"}

    # Files.

    async def _export(self, command: Command, earlier: Earlier) -> Result:
        context, target = command.args
        force = FORCE in target.split()
        target = " ".join(word for word in target.split(" ") if word != FORCE).strip()
        if not target:
            return _mistake(command, "the file has no name")
        await earlier()
        found = await self._view(context)
        if not found["ok"]:
            return found
        record = {"context": context, "turns": found["turns"]}
        try:
            path = await asyncio.to_thread(transfer.write, record, target, force)
        except transfer.TransferError as error:
            return {"ok": False, "context": context, "error": str(error)}
        turns = len(found["turns"])
        return {"ok": True, "context": context, "file": str(path), "turns": turns, "stale": found["stale"]}

    async def _import(self, command: Command, earlier: Earlier) -> Result:
        words = [word for word in command.args if word != CHOSEN]
        try:
            await earlier()
            if not 1 <= len(words) <= 2:
                return _mistake(command, "a file, and perhaps a name for the conversation, are expected")
            source, name = words[0], words[1] if len(words) > 1 else None
            try:
                wanted = await asyncio.to_thread(transfer.read, source, name, CHOSEN in command.args)
            except transfer.TransferError as error:
                return {"ok": False, "error": str(error)}
            answer = await self._decide(wanted.operation)
            if not answer["ok"]:
                return answer
            return {"ok": True, "context": answer["context"], "turns": wanted.turns, "given_up": wanted.given_up}
        finally:
            self._importing -= 1

    # Writing.

    async def _write_later(self, command: Command, earlier: Earlier) -> Result:
        """While a file is being read in, what follows may be about what it brings."""
        await earlier()
        return await self._write(command)

    def _write(self, command: Command) -> Submitted:
        try:
            operation = operation_of(command, self._turn_seen, self._too_long)
        except ValueError as error:
            return _at_once(_mistake(command, str(error)))
        except Refused as refused:
            return _at_once({"ok": False, "context": command.args[0], "error": str(refused)})
        if isinstance(operation, Retry) and operation.node is not None and self._unknown(operation.node):
            unknown = f"there is no node {operation.node}: there are {', '.join(map(str, self._members))}"
            return _at_once({"ok": False, "context": operation.context, "error": unknown})
        return self._decide(operation)

    def _unknown(self, node: int) -> bool:
        return bool(self._members) and node not in self._members

    def _decide(self, operation: StoreOperation) -> asyncio.Future[Result]:
        """Submits at once, or when the node has room. A user who leaves cancels the future, never the operation."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if isinstance(operation, (Create, Import)):
            self._current.creating[operation.context] += 1
        self._unsent.append((operation, answer))
        self._send()
        return answer

    def _turn_seen(self, context: str) -> int | None:
        """The turn that the user has before their eyes. None while commands of theirs are under way: they speak about
        what those will bring about."""
        if self._under_way or self._unsent:
            return None
        conversation = self._engine.store.conversations.get(context)
        return len(conversation.turns) or None if conversation is not None else None

    def _choices(self, context: str) -> list[str]:
        """The nodes whose answer may be chosen in a conversation, as they are typed."""
        conversation = self._engine.store.conversations.get(context)
        if conversation is None or conversation.open_turn is None:
            return []
        return [*map(str, conversation.turns[-1].choices), AUTO]

    def _send(self) -> None:
        """Submits what waits, in order. When the node is busy, the rest follows as soon as something is decided."""
        while self._unsent:
            operation, answer = self._unsent[0]
            try:
                ticket = self._engine.submit(operation)
            except Busy as busy:
                if self._under_way:
                    return
                self._unsent.popleft()
                self._give(operation, answer, _busy(busy))
            else:
                self._unsent.popleft()
                self._under_way[ticket] = partial(self._decided, operation, answer)

    def _decided(self, operation: StoreOperation, answer: asyncio.Future[Result], outcome: Outcome | None) -> None:
        self._give(operation, answer, _result(operation, outcome))
        if self._unsent:
            self._send()

    def _give(self, operation: StoreOperation, answer: asyncio.Future[Result], result: Result) -> None:
        if isinstance(operation, (Create, Import)):
            self._current.created(operation.context)
        if not answer.done():
            answer.set_result(result)


async def _at_once(result: Result) -> Result:
    return result


def _result(operation: StoreOperation, outcome: Outcome | None) -> Result:
    if outcome is None:
        return {"ok": False, "error": "the node stopped before this was decided; it may still take effect"}
    result: Result = {"ok": outcome.ok, "context": operation.context}
    if outcome.turn is not None:
        result["turn"] = outcome.turn
    if isinstance(operation, Choose) or (isinstance(operation, Retry) and operation.node is not None):
        result["node"] = operation.node
    if isinstance(operation, StartPoll):
        result["auto"] = True
    if not outcome.ok:
        result["error"] = outcome.error or "refused"
    return result


def _busy(busy: Busy) -> Result:
    return {"ok": False, "error": f"busy, try again: {str(busy) or 'too much waits for its decision here'}"}


def _mistake(command: Command, problem: str) -> Result:
    return {"ok": False, "error": f"{problem}; {expectation(COMMANDS[command.name])}", "kind": "usage"}

