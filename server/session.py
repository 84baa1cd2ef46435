"""One user at one node: runs the user's commands, and reports what happens elsewhere.

A session decides nothing: it has operations decided by the engine, and reads the node's store. A node has one for its
prompt and one for each of its control socket's clients. Operations are submitted in the order of the calls, when they
are called: a caller need not await one before the next.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from api import node_results as results
from api.base import Failure, Result
from api.conversation import SYNTHESIS, candidate_words
from api.conversation import Conversation as ConversationRecord
from api.errors import BUSY, InvalidCommand
from api.lost_quorum import no_quorum
from api.node_commands import (
    AskCommand,
    BackupCommand,
    CancelCommand,
    ChooseCommand,
    CreateCommand,
    ExplainCommand,
    ExportCommand,
    ImportCommand,
    LastCommand,
    LogCommand,
    MembersCommand,
    QueryCommand,
    QuotasCommand,
    RegenerateCommand,
    RetryCommand,
    ViewallCommand,
    ViewCommand,
)
from api.node_events import ExplainEvent
from config.prices import NO_PRICES, Price
from engine.interface import AppliedOperation, Busy, Engine, NotUnderstood
from kvstore.conversation import Conversation, Cut
from kvstore.operations import (
    CREATING,
    AboutTurn,
    Ask,
    AskOnce,
    Cancel,
    Choose,
    Create,
    Fork,
    IfCreatedAt,
    Query,
    Regenerate,
    Retry,
    SetQuotas,
    StartPoll,
    StoreOperation,
    Synthesize,
    unconditional,
)
from kvstore.rules import check
from kvstore.store import Outcome, Store
from server import backup, transfer
from server.applied_log import KEPT, AppliedLog, seconds
from server.backup import Backup
from server.byte_rate import ByteRate
from server.event_feed import AtWork, EventFeed, Level, SessionEvent, Tell
from server.explain_text import Sentence
from server.first_quotas import PROPOSED
from server.members import members
from server.names import unusable
from server.progress_hints import Hint
from server.quota_use import quotas_record, warning
from server.records import about, conversation_record, log_entry, page_of, turn_records
from server.search import SearchIndex
from server.usage import usage

R = TypeVar("R", bound=Result)

Answer: TypeAlias = asyncio.Future[R | Failure]
"""May be cancelled by who does not wait for it any more; the operation is not."""


class Explanations(Protocol):
    """The running commentary of the node."""

    def listen(self, listener: Callable[[Sequence[Sentence]], None]) -> None: ...

    def leave(self, listener: Callable[[Sequence[Sentence]], None]) -> None: ...

    def flush(self) -> None: ...


class AskedOnce(results.QueryResult, frozen=True, kw_only=True):
    """For callers in the same process. By the time that it is read, another conversation may have the name."""

    conversation: Conversation


class _Submission(msgspec.Struct, Generic[R]):
    """An operation of this user that has no outcome yet."""

    operation: StoreOperation
    succeed: Callable[[int], R]
    """Makes the result; gets the turn that was added or changed."""
    answer: Answer[R]


class Session:
    """For one user at one of the members, who are the `founders` until it is decided. `tell` gets what happens
    elsewhere, as much as `level` says. `llm_status` is what the node asks of its LLM; `too_long` says of a question why
    the LLM cannot be asked that.
    `on_screen`: the user acts on what this node shows them; a program acts on what is decided."""

    def __init__(
        self, engine: Engine, applied_log: AppliedLog, founders: Collection[int], tell: Tell, *,
        explanations: Explanations | None = None, llm_status: Callable[[], results.LlmStatus] | None = None,
        too_long: Callable[[str], str | None] = lambda text: None, level: Level = Level.NORMAL,
        on_screen: bool = False, rate: ByteRate | None = None, search_index: SearchIndex | None = None,
        prices: Mapping[str, Price] = NO_PRICES, at_prompt: Callable[[], Iterable[Session]] = tuple,
    ) -> None:
        """`rate`: how much the node takes from all its users; None: however much. `prices`: of models, by name.
        `at_prompt`: the session of the node's own prompt, if it has one."""
        self._rate = rate
        self.search_index = search_index
        self._prices = prices
        self._founders = founders
        self.creating: Counter[str] = Counter()
        """Context ids of conversations whose creation was submitted here and is in progress."""
        self._engine = engine
        self._applied_log = applied_log
        self._explanations = explanations
        self._llm_status = llm_status
        self._too_long = too_long
        self._on_screen = on_screen
        self._explaining = False
        self._at_prompt = at_prompt
        self._tell_user = tell
        self._feed = EventFeed(
            self._tell, lambda: engine.store, nodes=lambda: len(self.members), level=level, up=self._up
        )
        self._unsent: deque[_Submission[Result]] = deque()
        self._under_way: dict[int, _Submission[Result]] = {}
        """By the engine's tickets."""
        self.closed = False
        self.lost = False
        """No quorum can form, as the node saw last."""

    def _tell(self, told: SessionEvent) -> None:
        if not isinstance(told.event, ExplainEvent):
            self._explain_first()
        self._tell_user(told)

    def _explain_first(self) -> None:
        """What the user is told next came of what is yet to be explained."""
        if self._explaining and self._explanations is not None:
            self._explanations.flush()

    # Events from the node.

    def on_applied(self, applied: AppliedOperation) -> None:
        """To be called right after each operation that is applied live. Events of this user's own operations
        precede their results."""
        submission = self._under_way.pop(applied.ticket, None)
        if not self.closed:
            self._feed.on_applied(applied, mine=submission is not None)
        if submission is not None:
            self._settle(submission, applied.outcome)

    def on_outcome_unknown(self, ticket: int) -> None:
        """Nothing more will be reported about this operation, perhaps another user's."""
        submission = self._under_way.pop(ticket, None)
        if submission is not None:
            self._settle(submission, None)

    def on_progress(self, node: int, hint: Hint) -> None:
        """How far the LLM of `node` is."""
        if not self.closed:
            self._feed.on_progress(node, hint)

    def on_leader(self, leader: int | None) -> None:
        """The node sees a new leader, or none; calls without a change are harmless."""
        if not self.closed:
            self._feed.on_leader(leader)

    def on_quorum_lost(self) -> None:
        """Nothing can be decided any more: whoever waits for a decision is told so."""
        self.lost = True
        under_way, self._under_way = self._under_way, {}
        unsent, self._unsent = self._unsent, deque()
        reason = self.lost_quorum() or "no quorum"
        for submission in under_way.values():
            self._give(submission, Failure(error=f"{reason}. It takes effect only if a lost disk turns up again"))
        for submission in unsent:
            self._give(submission, _refused(submission.operation, reason))

    def close(self) -> None:
        """The user has disconnected: nothing more is reported. Waiting operations are still submitted, see `idle`."""
        self.closed = True
        if self._explanations is not None:
            self._explanations.leave(self._feed.on_explained)

    @property
    def idle(self) -> bool:
        """No operation is in progress."""
        return not self._under_way and not self._unsent

    # What a prompt looks at.

    @property
    def members(self) -> Collection[int]:
        membership = self._engine.membership()
        return self._founders if membership is None else sorted(membership.members)

    @property
    def conversations(self) -> Mapping[str, Conversation]:
        """What has been applied here."""
        return self._engine.store.conversations

    @property
    def _knows_members(self) -> bool:
        """False at a node that has come to join, and has not learned of the cluster yet."""
        return self._engine.membership() is not None or self._engine.status().node in self._founders

    @property
    def llm_status(self) -> results.LlmStatus | None:
        return None if self._llm_status is None else self._llm_status()

    def at_work(self) -> list[AtWork]:
        """This user's questions that LLMs are writing answers to; the latest last."""
        return self._feed.at_work()

    def _up(self) -> Collection[int]:
        status = self._engine.status()
        return {status.node, *status.links}

    @property
    def store(self) -> Store:
        return self._engine.store

    def lost_quorum(self) -> str | None:
        """Why nothing can be decided any more, and what can be done about that; None if it can."""
        status = self._engine.status()
        return no_quorum(status.lost, status.voters) if status.lost else None

    def waiting_for(self) -> str:
        """Why a decision takes long."""
        notice = self._engine.status().notice
        if notice:
            return notice
        return "not decided yet" if self._engine.majority_reachable() else "no majority reachable"

    def node_status(self) -> results.NodeStatus:
        """`status` without its expensive parts."""
        status = self._engine.status()
        return results.NodeStatus(
            node=status.node, role=str(status.role), leader=status.leader, ballot=status.ballot,
            decided=status.decided, applied=status.applied, queued=status.queued, standing=status.voter_status,
            links=status.links,
        )

    # Reading.

    def status(self) -> results.StatusResult:
        status = self._engine.status()
        return results.StatusResult(
            **msgspec.structs.asdict(self.node_status()), digest=self._engine.store.digest(),
            llm=self.llm_status or UNSET, differs=status.differs or UNSET, lost=status.lost or UNSET,
            notice=self.lost_quorum() or status.notice or UNSET, quotas=quotas_record(self._engine.store, self._rate),
        )

    async def members_of_cluster(self, command: MembersCommand) -> results.MembersResult | Failure:
        return await members(self._engine, command)

    def quotas(self, command: QuotasCommand) -> Answer[results.QuotasResult]:
        """Raises InvalidCommand."""
        def use(turn: int = 0) -> results.QuotasResult:
            return results.QuotasResult(quotas=quotas_record(self._engine.store, self._rate))

        if command.quota is None and command.most is None:
            return _done(use())
        if command.quota is None or command.most is None:
            raise InvalidCommand("a quota and its new value are expected")
        wanted = msgspec.structs.replace(SetQuotas(), **{command.quota: command.most})
        _check(wanted)
        if self._engine.store.quotas is None:
            self._submit_checked(PROPOSED, use)  # what is not named is as it would have come to be
        return self._submit_checked(wanted, use)

    async def view(self, command: ViewCommand) -> results.ViewResult | Failure:
        return await self._view(command.context, command.thoughts)

    async def last(self, command: LastCommand) -> results.LastResult | Failure:
        found = await self._view(command.context)
        if isinstance(found, Failure):
            return found
        last = found.turns[-1] if found.turns else None
        return results.LastResult(
            context=found.context, turn=len(found.turns), last=last, stale=found.stale, created=found.created
        )

    async def viewall(self, command: ViewallCommand) -> results.ViewallResult | Failure:
        try:
            stale = not await self.caught_up()
        except Busy as busy:
            return _busy(busy)
        found, more = page_of(self.conversations, command.after, command.limit)
        return results.ViewallResult(
            conversations=[conversation_record(one) for one in found],
            changed={one.context: seconds(one.changed) for one in found}, stale=stale, more=more,
        )

    def log(self, command: LogCommand) -> results.LogResult:
        """Raises InvalidCommand."""
        if command.count < 1:
            raise InvalidCommand(f"{command.count} operations are none")
        return results.LogResult(log=[log_entry(logged) for logged in self._applied_log.last(command.count)], kept=KEPT)

    async def export(self, command: ExportCommand) -> results.ExportResult | Failure:
        found = await self._view(command.context)
        if isinstance(found, Failure):
            return found
        record = ConversationRecord(
            context=found.context, turns=found.turns, title=found.title, system=found.system
        )
        try:
            path = await asyncio.to_thread(transfer.write, record, command.file, command.force)
        except transfer.TransferError as error:
            return results.RefusedResult(context=command.context, error=str(error))
        return results.ExportResult(
            context=command.context, file=str(path), turns=len(found.turns), stale=found.stale
        )

    async def backup(self, command: BackupCommand) -> results.BackupResult | Failure:
        try:
            stale = not await self.caught_up()
        except Busy as busy:
            return _busy(busy)
        store, position = self._engine.store, self._engine.status().applied
        content = Backup(position, time.time_ns() // 1_000_000, store.snapshot())
        count = len(store.conversations)
        try:
            path = transfer.path_of(command.file)
            await asyncio.to_thread(backup.write, path, content, command.force)
        except (transfer.TransferError, backup.BackupError) as error:
            return Failure(error=str(error))
        return results.BackupResult(file=str(path), conversations=count, position=position, stale=stale)

    async def _view(self, context: str, thoughts: bool = False) -> results.ViewResult | Failure:
        try:
            stale = not await self.caught_up()
        except Busy as busy:
            return _busy(busy)
        found = self.conversations.get(context)
        if found is None:
            error = f"no conversation '{context}': viewall shows all"
            return results.NotFoundResult(error=error, context=context, stale=stale)
        turns, (title, system) = turn_records(found, thoughts), about(found)
        return results.ViewResult(
            context=context, turns=turns, stale=stale, title=title, system=system, created=found.created,
            usage=usage(found, self._prices), auto=found.auto or UNSET,
        )

    async def not_ready(self) -> str | None:
        """Why this node cannot serve now; None if it is level with the others and reaches a majority."""
        lost = self.lost_quorum()
        if lost is not None:
            return lost
        if not self._engine.majority_reachable():
            return self._engine.status().notice or "no majority reachable"
        try:
            return None if await self.caught_up() else "not level with the other nodes yet"
        except Busy as busy:
            return f"{BUSY}: {busy}"

    async def caught_up(self) -> bool:
        """Whether the store certainly holds everything acknowledged before now. Raises Busy."""
        if self.lost_quorum() is not None:
            return False  # nobody can tell, however long one waits
        reading = self._engine.read()
        await asyncio.wait([reading], timeout=self._engine.read_timeout_s())
        if reading.done():
            return not reading.cancelled() and reading.exception() is None
        reading.cancel()
        return False

    # What this user is told.

    @property
    def level(self) -> Level:
        return self._feed.level

    @level.setter
    def level(self, level: Level) -> None:
        self._feed.level = level

    def explain(self, command: ExplainCommand) -> results.ExplainResult | Failure:
        if self._explanations is None:
            return Failure(error="explain tells what Multi-Paxos does; this node runs on another engine")
        if not command.pane:
            self._explain(self._explanations, command.on)
            return results.ExplainResult(explain=command.on)
        prompts = list(self._at_prompt())
        if not prompts:
            return Failure(error="this node runs in the background: it has no prompt to explain at")
        for session in prompts:
            session._explain(self._explanations, command.on)
            session._feed.on_explaining(command.on)
        return results.ExplainResult(explain=command.on)

    def _explain(self, explanations: Explanations, on: bool) -> None:
        self._explaining = on
        if on:
            explanations.listen(self._feed.on_explained)
        else:
            explanations.leave(self._feed.on_explained)

    # Writing. All of it raises InvalidCommand.

    def create(self, command: CreateCommand) -> Answer[results.CreateResult]:
        context = command.context
        return self.submit(
            Create(context),
            lambda turn: results.CreateResult(context=context, warning=self.quota_warning(context, created=True)),
        )

    def query(self, command: QueryCommand) -> Answer[results.QueryResult]:
        return self._ask(_question(command, "query") or Query(command.context, command.text))

    def ask(self, command: AskCommand) -> Answer[results.QueryResult]:
        return self._ask(_question(command, "ask") or Ask(command.context, command.text))

    def ask_once(self, operation: AskOnce) -> Answer[AskedOnce]:
        """A question with a key, perhaps in a conversation that begins with it. Raises InvalidCommand."""
        begins = operation.history is not None and operation.context not in self.conversations
        mistake = unusable(Create(operation.context)) if begins else None
        if mistake is not None:
            raise InvalidCommand(mistake)
        context = operation.context
        return self._put(operation, lambda turn: AskedOnce(
            context=context, turn=turn, warning=self.quota_warning(context, created=False),
            created=self.conversations[context].created, conversation=self.conversations[context],
        ))

    def choose(self, command: ChooseCommand) -> Answer[results.ChooseResult]:
        context, node = command.context, command.node
        created, seen = self._seen(context, command.created, command.turn)
        if command.by is not UNSET and node != "synth":
            raise InvalidCommand("`by` says whose LLM writes a synthesis: nothing else is to be written")
        if node == "auto":
            return self.submit(
                _of(created, StartPoll(context, seen)),
                lambda turn: results.ChooseResult(context=context, turn=turn, auto=True),
            )
        if node == "synth":
            return self._synthesize(created, Synthesize(context, seen, None if command.by is UNSET else command.by))
        choice = _of(created, Choose(context, node, seen))
        _check(choice)
        cut = None if command.cut else self._cut(context, node, seen)
        if cut is not None:
            return _done(results.RefusedResult(context=context, node=node, error=cut))
        return self._submit_checked(
            choice, lambda turn: results.ChooseResult(context=context, turn=turn, node=node)
        )

    def _synthesize(self, created: int | None, operation: Synthesize) -> Answer[results.ChooseResult]:
        _check(operation)
        context, by = operation.context, operation.node
        refusal = None if by is None else self._not_a_node(context, by)
        if refusal is not None:
            return _done(refusal)
        named = UNSET if by is None else by
        return self._submit_checked(
            _of(created, operation),
            lambda turn: results.ChooseResult(context=context, turn=turn, synth=True, by=named),
        )

    def _not_a_node(self, context: str, node: int) -> results.RefusedResult | None:
        """The refusal of a command that names a node which is none of the members."""
        if node in self.members or not self._knows_members:
            return None
        error = f"there is no node {node}: the nodes are {', '.join(map(str, self.members))}"
        return results.RefusedResult(context=context, error=error)

    def _cut(self, context: str, node: int, turn: int | None) -> str | None:
        """Why the answer of `node` must be chosen explicitly: the time limit cut it. None if it need not be."""
        conversation = self.conversations.get(context)
        number = None if conversation is None else turn or conversation.open_turn
        if conversation is None or number is None or number > len(conversation.turns):
            return None
        response = conversation.turns[number - 1].candidates.get(node)
        if response is None or response.cut is not Cut.TIME:
            return None
        again = f"choose {context} synth" if node == SYNTHESIS else f"retry {context} {node}"
        return (
            f"{candidate_words(node)} is not whole: it was cut at {response.cut_at:g} s; "
            f"`choose {context} {node} --cut` chooses it all the same, `{again}` asks again"
        )

    def cancel(self, command: CancelCommand) -> Answer[results.CancelResult]:
        context = command.context
        created, seen = self._seen(context, command.created, command.turn)
        operation = _of(created, Cancel(context, seen))
        return self.submit(operation, lambda turn: results.CancelResult(context=context, turn=turn))

    def retry(self, command: RetryCommand) -> Answer[results.RetryResult]:
        context, node = command.context, command.node
        created, seen = self._seen(context, command.created)
        operation = _of(created, Retry(context, seen, node))
        _check(operation)
        refusal = None if node is None else self._not_a_node(context, node)
        if refusal is not None:
            return _done(refusal)
        named = UNSET if node is None else node
        return self._submit_checked(operation, lambda turn: results.RetryResult(context=context, turn=turn, node=named))

    def regenerate(self, command: RegenerateCommand) -> Answer[results.RegenerateResult]:
        context, turn = command.context, None if command.turn is UNSET else command.turn
        operation = _of(self._seen(context, command.created)[0], Regenerate(context, turn))
        return self.submit(operation, lambda turn: results.RegenerateResult(context=context, turn=turn))

    async def import_(self, command: ImportCommand) -> results.ImportResult | Failure:
        try:
            wanted = await asyncio.to_thread(transfer.read, command.file, command.context, command.chosen)
        except transfer.TransferError as error:
            return Failure(error=str(error))
        context, turns, given_up = wanted.operation.context, wanted.turns, wanted.given_up
        return await self._submit_checked(
            wanted.operation,
            lambda turn: results.ImportResult(
                context=context, turns=turns, given_up=given_up, warning=self.quota_warning(context, created=True)
            ),
        )

    def _ask(self, operation: Query | Ask | AskOnce) -> Answer[results.QueryResult]:
        context = operation.context
        return self._put(operation, lambda turn: results.QueryResult(
            context=context, turn=turn, warning=self.quota_warning(context, created=False),
            created=self.conversations[context].created,
        ))

    def _put(self, question: Query | Ask | AskOnce, succeed: Callable[[int], R]) -> Answer[R]:
        _check(question)
        problem = self._too_long(question.text)
        if problem is not None:
            return _done(results.RefusedResult(context=question.context, error=problem))
        return self._submit_checked(question, succeed)

    def quota_warning(self, context: str, created: bool) -> str | UnsetType:
        return warning(self._engine.store, context, created, self._rate) or UNSET

    def _seen(
        self, context: str, created: int | UnsetType, turn: int | UnsetType = UNSET
    ) -> tuple[int | None, int | None]:
        """Which conversation of this name, by the position that created it, and which turn of it: as the command says,
        or else the one with the open turn that the user has before their eyes. None, which is what there is when the
        command is decided, if there is none, if nobody looks at a screen (this node's copy may be older than what a
        program knows from another node), and while operations of theirs are under way: what they want now is about
        what those will bring about."""
        shown = self.conversations.get(context) if self._on_screen and self.idle else None
        there = (None, None) if shown is None else (shown.created, shown.open_turn)
        return there[0] if created is UNSET else created, there[1] if turn is UNSET else turn

    def submit(self, operation: StoreOperation, succeed: Callable[[int], R]) -> Answer[R]:
        """Has it decided; `succeed` gets the turn that was added or changed, or 0. Raises InvalidCommand."""
        _check(operation)
        return self._submit_checked(operation, succeed)

    def _submit_checked(self, operation: StoreOperation, succeed: Callable[[int], R]) -> Answer[R]:
        """At once, or when the engine accepts more."""
        reason = self.lost_quorum() if self.lost else None
        if reason is None and self._rate is not None:
            reason = self._rate.take(operation)
        if reason is not None:
            return _done(_refused(operation, reason))
        answer: Answer[R] = asyncio.get_running_loop().create_future()
        if type(operation) in CREATING and operation.context is not None:
            self.creating[operation.context] += 1
        self._unsent.append(cast("_Submission[Result]", _Submission(operation, succeed, answer)))
        self._send()
        return answer

    def _send(self) -> None:
        """Submits what waits, in order. When the engine is busy, the rest follows as soon as something is decided."""
        while self._unsent:
            submission = self._unsent[0]
            try:
                ticket = self._engine.submit(submission.operation)
            except NotUnderstood as problem:
                self._unsent.popleft()
                self._give(submission, _refused(submission.operation, str(problem)))
            except Busy as busy:
                if self._under_way:
                    return
                self._unsent.popleft()
                self._give(submission, _busy(busy))
            else:
                self._under_way[ticket] = self._unsent.popleft()

    def _settle(self, submission: _Submission[Result], outcome: Outcome | None) -> None:
        self._explain_first()
        if outcome is None:
            result: Result = Failure(error="the node stopped before this was decided; it may still take effect")
        elif outcome.ok:
            result = submission.succeed(outcome.turn or 0)
        else:
            result = _refused(submission.operation, outcome.error or "refused")
        self._give(submission, result)
        self._send()

    def _give(self, submission: _Submission[Result], result: Result) -> None:
        operation = submission.operation
        if type(operation) in CREATING and operation.context is not None:
            self.creating[operation.context] -= 1
            if not self.creating[operation.context]:
                del self.creating[operation.context]
        if not submission.answer.done():
            submission.answer.set_result(result)


def _question(command: QueryCommand | AskCommand, kind: Literal["query", "ask"]) -> AskOnce | None:
    """The operation, if the command has a key."""
    return None if command.key is UNSET else AskOnce(command.context, command.text, command.key, kind)


def _of(created: int | None, operation: AboutTurn) -> StoreOperation:
    """The operation on the conversation that was created there, if that is said."""
    return operation if created is None else IfCreatedAt(created, operation)


def _check(operation: StoreOperation) -> None:
    """Raises InvalidCommand."""
    mistake = check(operation) or unusable(operation)
    if mistake is not None:
        raise InvalidCommand(mistake)


def _refused(operation: StoreOperation, error: str) -> results.RefusedResult:
    operation = unconditional(operation)
    node = operation.node if isinstance(operation, (Choose, Retry)) else None
    context = operation.source if isinstance(operation, Fork) else operation.context
    return results.RefusedResult(
        context=UNSET if context is None else context, node=UNSET if node is None else node,
        auto=True if isinstance(operation, StartPoll) else UNSET,
        synth=True if isinstance(operation, Synthesize) else UNSET, error=error,
    )


def _busy(busy: Busy) -> Failure:
    return Failure(error=f"{BUSY}: {str(busy) or 'too many commands are waiting for a decision'}")


def _done(result: R | Failure) -> Answer[R]:
    answer: Answer[R] = asyncio.get_running_loop().create_future()
    answer.set_result(result)
    return answer
