"""What a node's user types, carried out; and what happens elsewhere, told to that user.

A session decides nothing: it turns words into commands of the store, has the node get them decided, and reads the
node's store. It fits the console as its executor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

from console import Command, Earlier, Paper, Result, Text, Usage, by_name, expectation, render
from console.safe import one_line
from kvstore.commands import Answer, Ask, Cancel, Candidate, Choose, Create, Query, check
from kvstore.commands import Command as Operation
from kvstore.conversation import Conversation, Response, Turn
from kvstore.store import Outcome, Store
from runtime.busy import Busy

Emit: TypeAlias = Callable[[Mapping[str, Any], Text], None]
"""Where events go: the event, and what humans get to see of it."""

COMMANDS = by_name(
    [
        Usage("create", "C", "begin a conversation called C", "create c1", 1, 1),
        Usage("query", "C TEXT", "ask every node's LLM", "query c1 What is Paxos?", 2, 2, text=True),
        Usage("choose", "C N", "take the answer of node N", "choose c1 3", 2, 2),
        Usage("ask", "C TEXT", "ask the leader's LLM alone", "ask c1 What is a quorum?", 2, 2, text=True),
        Usage("cancel", "C", "give up the open question", "cancel c1", 1, 1),
        Usage("view", "C", "show a conversation", "view c1", 1, 1, large=True),
        Usage("viewall", "", "show all conversations", "viewall", large=True),
        Usage("status", "", "what this node knows of the cluster", "status", at_once=True),
    ]
)


class Node(Protocol):
    """What a session needs of its node. All in one event loop."""

    @property
    def store(self) -> Store: ...

    def submit(self, command: Operation) -> asyncio.Future[Outcome]:
        """Has a command decided, exactly once and after those submitted before. The future is done when it is applied
        here; cancelled if that cannot be known any more. Raises Busy."""
        ...

    def read(self) -> asyncio.Future[None]:
        """Done when the store holds everything that was acknowledged anywhere before this call. Is cancelled by the
        session when it gives up waiting. Raises Busy."""
        ...

    def status(self) -> Mapping[str, Any]:
        """For users, ready for JSON: `node`, `role`, `leader`, `ballot`, `decided`, `applied`, `queued`, `digest`..."""
        ...

    def reachable(self) -> bool:
        """Whether there is, as far as this node sees, a leader with a majority."""
        ...

    def patience(self) -> float:
        """Seconds after which a read is given up."""
        ...


class Session:
    """One user at one node. `node_id` is the node's number, `nodes` how many there are."""

    def __init__(self, node: Node, emit: Emit, *, node_id: int, nodes: int) -> None:
        self._node = node
        self._emit = emit
        self._node_id = node_id
        self._nodes = nodes
        self._unsent: deque[tuple[Operation, asyncio.Future[Outcome | Busy]]] = deque()
        self._sent = 0
        self._asked_here: dict[str, int] = {}
        """Context id -> its open turn, if the question was typed here."""
        self._leader: int | None = None

    # What the console asks for.

    @property
    def commands(self) -> Mapping[str, Usage]:
        return COMMANDS

    def submit(self, command: Command, earlier: Earlier) -> Awaitable[Result]:
        match command.name:
            case "status":
                return _at_once({"ok": True, **self._node.status()})
            case "view" | "viewall":
                return self._read(command, earlier)
            case _:
                return self._write(command)

    def fill(self, usage: Usage, rest: str) -> str:
        return rest

    def waiting_for(self, command: Command) -> str:
        return "not decided yet" if self._node.reachable() else "no majority reachable"

    def complete(self, words: Sequence[str]) -> Iterable[str]:
        if words[0] in ("status", "viewall"):
            return []
        conversations = self._node.store.conversations
        if len(words) == 1:
            return [] if words[0] == "create" else list(conversations)
        conversation = conversations.get(words[1])
        if words[0] != "choose" or len(words) != 2 or conversation is None or conversation.open_turn is None:
            return []
        return [str(node) for node in conversation.turns[-1].choices]

    def show(self, command: Command, result: Result, paper: Paper) -> str:
        match command.name:
            case "view":
                return render.view(result, paper)
            case "viewall":
                return render.viewall(result, paper)
            case "status":
                return render.status(result, paper)
            case _:
                return paper.text(_done(command.name, result))

    def status_line(self) -> str:
        return render.status_line(self._node.status())

    # What the node tells.

    def on_applied(self, outcome: Outcome, origin: int) -> None:
        """To be called right after each operation that is applied live (not when old ones are applied again after a
        restart); `origin` is the node that submitted it."""
        command, turn = outcome.command, outcome.turn
        if not outcome.ok or command is None:
            return
        event = {"context": command.context, "turn": turn, "origin": origin}
        match command:
            case Create():
                self._tell("created", {"context": command.context, "origin": origin}, f"{command.context}: created")
            case Query() | Ask():
                self._on_question(command, event)
            case Candidate():
                self._on_candidate(command)
            case Choose():
                text = f"{command.context}: node {command.node}'s answer chosen"
                self._tell("chosen", {**event, "node": command.node}, text)
            case Answer():
                self._on_answer(command)
            case Cancel():
                self._tell("cancelled", event, f"{command.context}: question given up")
        if isinstance(command, (Choose, Cancel)) or (isinstance(command, Answer) and command.text is not None):
            self._asked_here.pop(command.context, None)

    def on_leader(self, leader: int | None) -> None:
        """To be called when the node sees another leader, or none; calls that change nothing are fine."""
        if leader != self._leader:
            self._leader = leader
            self._emit({"event": "leader", "leader": leader}, f"leader: node {leader}" if leader else "leader: none")

    # Reading.

    async def _read(self, command: Command, earlier: Earlier) -> Result:
        await earlier()
        try:
            stale = not await self._caught_up()
        except Busy as busy:
            return _busy(busy)
        conversations = self._node.store.conversations
        if command.name == "viewall":
            shown = [_conversation(conversation) for conversation in conversations.values()]
            return {"ok": True, "conversations": shown, "stale": stale}
        context = command.args[0]
        found = conversations.get(context)
        if found is None:
            error = f"no conversation '{context}': viewall shows all"
            return {"ok": False, "error": error, "context": context, "stale": stale}
        return {"ok": True, **_conversation(found), "stale": stale}

    async def _caught_up(self) -> bool:
        """Whether the store is known to hold everything acknowledged before now. Raises Busy."""
        reading = self._node.read()
        await asyncio.wait([reading], timeout=self._node.patience())
        if reading.done():
            return not reading.cancelled() and reading.exception() is None
        reading.cancel()
        return False

    # Writing.

    def _write(self, command: Command) -> Awaitable[Result]:
        try:
            operation = self._operation(command)
        except ValueError as error:
            return _at_once({"ok": False, "error": f"{error}; {expectation(COMMANDS[command.name])}"})
        answer: asyncio.Future[Outcome | Busy] = asyncio.get_running_loop().create_future()
        self._unsent.append((operation, answer))
        self._send()
        return _result(operation, answer)

    def _operation(self, command: Command) -> Operation:
        """Raises ValueError with a sentence for users."""
        context = command.args[0]
        operation: Operation
        match command.name:
            case "create":
                operation = Create(context)
            case "query":
                operation = Query(context, command.args[1])
            case "ask":
                operation = Ask(context, command.args[1])
            case "choose":
                operation = Choose(context, _number(command.args[1]), self._turn_seen(context))
            case "cancel":
                operation = Cancel(context, self._turn_seen(context))
            case _:
                raise AssertionError(command.name)
        refusal = check(operation)
        if refusal is not None:
            raise ValueError(refusal)
        return operation

    def _turn_seen(self, context: str) -> int | None:
        """The turn that the user has before their eyes. None while commands of theirs are under way: they speak about
        what those will bring about."""
        if self._sent or self._unsent:
            return None
        conversation = self._node.store.conversations.get(context)
        return len(conversation.turns) or None if conversation is not None else None

    def _send(self) -> None:
        """Submits what waits, in order. When the node is busy, the rest follows as soon as something is decided."""
        while self._unsent:
            operation, answer = self._unsent[0]
            try:
                decided = self._node.submit(operation)
            except Busy as busy:
                if self._sent:
                    return
                answer.set_result(busy)
            else:
                self._sent += 1
                decided.add_done_callback(partial(self._decided, answer))
            self._unsent.popleft()

    def _decided(self, answer: asyncio.Future[Outcome | Busy], decided: asyncio.Future[Outcome]) -> None:
        self._sent -= 1
        if decided.cancelled():
            answer.cancel()
        elif (error := decided.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(decided.result())
        self._send()

    # News.

    def _on_question(self, command: Query | Ask, event: Mapping[str, Any]) -> None:
        context, turn, origin = command.context, event["turn"], event["origin"]
        if origin == self._node_id:
            self._asked_here[context] = turn
        kind, noun = ("query", "question") if isinstance(command, Query) else ("ask", "question for the leader")
        text = f"{context}: {noun} from node {origin}: {one_line(command.text)}"
        self._tell(kind, {**event, "text": command.text}, text)

    def _on_candidate(self, command: Candidate) -> None:
        context = command.context
        turn = self._node.store.conversations[context].turns[command.turn - 1]
        have, asked_here = len(turn.candidates), self._asked_here.get(context) == command.turn
        event = {
            "event": "candidate", "context": context, "turn": command.turn, "node": command.node,
            "have": have, "of": self._nodes, **_response(command),
        }
        text: Text = None
        if have >= self._nodes:
            elsewhere = f"{context}: {have} answers in: view {context}"
            text = partial(render.choices, context, _turn(turn)) if asked_here else elsewhere
        elif asked_here:
            failed = "" if command.error is None else f" (node {command.node} has none: {one_line(command.error)})"
            hint = f", view {context} shows them" if have > self._nodes // 2 else ""
            text = f"{context}: {have} of {self._nodes} answers in{failed}{hint}"
        self._emit(event, text)

    def _on_answer(self, command: Answer) -> None:
        context, node, response = command.context, command.node, _response(command)
        event = {"event": "answer", "context": context, "turn": command.turn, "node": node, **response}
        if command.error is None:
            self._emit(event, partial(render.answer, context, node, response))
        else:
            self._emit(event, f"{context}: node {node} has no answer: {one_line(command.error)}")

    def _tell(self, name: str, event: Mapping[str, Any], text: str) -> None:
        """An event that humans need not read where it was typed: there the command's result says it."""
        self._emit({"event": name, **event}, None if event["origin"] == self._node_id else text)


async def _at_once(result: Result) -> Result:
    return result


async def _result(operation: Operation, answer: asyncio.Future[Outcome | Busy]) -> Result:
    await asyncio.wait([answer])  # not awaited itself: a user who leaves must not cancel the operation
    if answer.cancelled():
        return {"ok": False, "error": "the node stopped before this was decided; it may still take effect"}
    outcome = answer.result()
    if isinstance(outcome, Busy):
        return _busy(outcome)
    result: Result = {"ok": outcome.ok, "context": operation.context}
    if outcome.turn is not None:
        result["turn"] = outcome.turn
    if isinstance(operation, Choose):
        result["node"] = operation.node
    if not outcome.ok:
        result["error"] = outcome.error or "refused"
    return result


def _busy(busy: Busy) -> Result:
    return {"ok": False, "error": f"busy, try again: {str(busy) or 'too much waits for its decision here'}"}


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise ValueError(f"'{one_line(word, 20)}' is not the number of a node")
    return int(word)


def _done(name: str, result: Result) -> str:
    """What humans read when a command has succeeded."""
    context, turn = result["context"], result.get("turn")
    match name:
        case "create":
            return f"{context}: created"
        case "query":
            return f"{context}: question {turn} is in, every node is asked"
        case "ask":
            return f"{context}: question {turn} is in, the leader is asked"
        case "choose":
            return f"{context}: node {result['node']}'s answer chosen"
        case _:
            return f"{context}: question {turn} given up"


def _conversation(conversation: Conversation) -> dict[str, Any]:
    return {"context": conversation.context, "turns": [_turn(turn) for turn in conversation.turns]}


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "query": turn.text,
        "kind": turn.kind.value,
        "candidates": {str(node): _response(response) for node, response in turn.candidates.items()},
        "chosen": turn.chosen,
        "cancelled": turn.cancelled,
    }


def _response(response: Response | Candidate | Answer) -> dict[str, Any]:
    said = {"text": response.text} if response.error is None else {"error": response.error}
    return {**said, "model": response.model, "seconds": round(response.seconds, 3)}
