"""One node as a service: its engine, its LLM, and its users' sessions, brought together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import UNSET, UnsetType

from api.base import Event
from api.lost_quorum import no_quorum
from api.node_events import (
    ConnectedEvent,
    DisconnectedEvent,
    DivergedEvent,
    FailedEvent,
    LearnerEvent,
    QuorumLostEvent,
    RefusedEvent,
    RemovedEvent,
    StrangerEvent,
)
from api.node_results import LlmStatus
from api.safe_text import one_line
from config.prices import NO_PRICES, Price
from engine.interface import AppliedOperation, Engine, EngineStatus
from llm.request_scheduler import OnProgress, RequestScheduler
from llm.requests import Request
from paxos.output import VoterStatus
from server.applied_log import AppliedLog
from server.byte_rate import ByteRate
from server.draft_messages import is_about_drafts
from server.drafts import Drafts
from server.event_feed import EventFeed, Level, Tell
from server.expiry import Expiry
from server.first_quotas import FirstQuotas
from server.members_notice import MembersNotice
from server.progress_hints import Hint, ProgressHints
from server.responder import Done, Responder
from server.search import SearchIndex
from server.session import Explanations, Session

MakeScheduler: TypeAlias = Callable[[Done, OnProgress], RequestScheduler]
"""Gets the callbacks for each request's outcome, and for the LLM's progress with it."""


MAX_REASON = 500
"""Characters, in one line, of what the network says of a connection: anybody may have written it."""


class Watcher(Protocol):
    """Sees what happens at the node, whoever brought it about. Called in the midst of the node's work: handlers must be
    quick and never raise."""

    def on_applied(self, applied: AppliedOperation) -> None:
        """An operation was applied live; before the users' sessions learn of it."""

    def on_installed(self) -> None:
        """Conversations were replaced, without events."""

    def on_status(self, status: EngineStatus) -> None:
        """The role, the leader, a link or the voter status has changed."""


class NodeService:
    """Node `number` of `members`; an EngineListener. `emit` gets what concerns the node as a whole. Tells nobody
    anything before `start`."""

    def __init__(
        self, number: int, members: Sequence[int], engine: Engine, make_scheduler: MakeScheduler, *,
        emit: Callable[[Event], None], explanations: Explanations | None = None,
        too_long: Callable[[str], str | None] = lambda text: None, poll_timeout_s: float,
        by_agreement: bool = True, rate: ByteRate | None = None, prices: Mapping[str, Price] = NO_PRICES,
        reaches: Literal["etcd"] | UnsetType = UNSET,
    ) -> None:
        """`poll_timeout_s`: a poll ends without the nodes that have not voted after this many seconds; `by_agreement`:
        how far the answers agree counts beside the votes. `rate`: how much the node takes from its users. `prices`: of
        models, by name. `reaches`: what the engine runs on, if not on the network."""
        self.failed = asyncio.Event()
        self.removed = asyncio.Event()
        """The engine acknowledges nothing any more; the process must leave."""
        self._number = number
        self._members = members
        self._reaches = reaches
        self._engine = engine
        self._emit = emit
        self._explanations = explanations
        self._too_long = too_long
        self._applied_log = AppliedLog()
        self._sessions: set[Session] = set()
        self._at_prompt: list[Session] = []
        """Of the node's own prompt, which lives as long as the node does; none in the background."""
        self._watchers: list[Watcher] = []
        self._rate = rate
        self._prices = prices
        self._first_quotas = FirstQuotas(engine, number)
        self._members_notice = MembersNotice(number, members)
        self._hints = ProgressHints(number, engine.send_hint, self._on_progress)
        self.drafts = Drafts(number, engine.send_hint, lambda: engine.store.conversations, self._engine_members)
        self._responder = Responder(
            number, engine, lambda done: make_scheduler(done, self._on_llm_progress), poll_s=poll_timeout_s,
            by_agreement=by_agreement,
        )
        self._expiry = Expiry(engine, number)
        self._search_index = SearchIndex(lambda: engine.store.conversations)
        self._voter_status = engine.status().voter_status
        self._lost: tuple[int, ...] = ()
        """Voters without disks, if no quorum can form."""
        self._responding: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._engine.start(self)
        self._look_at_members()
        self._expiry.start()
        self._responding = asyncio.create_task(self._responder.run())

    async def close(self) -> None:
        """Stores what is in progress."""
        self._expiry.close()
        self._first_quotas.stop()
        if self._responding is not None:
            self._responding.cancel()
            await asyncio.wait([self._responding])
        await self._responder.close()
        self.drafts.close()
        await self._search_index.close()
        await self._engine.close()

    # ---- Users

    def open_session(
        self, tell: Tell, level: Level = Level.NORMAL, *, on_screen: bool = False, at_prompt: bool = False
    ) -> Session:
        """Opens a session for another user. `on_screen` as in `Session`; `at_prompt`: at the node's own prompt."""
        session = Session(
            self._engine, self._applied_log, self._members, tell, explanations=self._explanations,
            llm_status=self._llm_status, too_long=self._too_long, level=level,
            on_screen=on_screen, rate=self._rate, search_index=self._search_index, prices=self._prices,
            at_prompt=lambda: self._at_prompt,
        )
        status = self._engine.status()
        session.on_leader(status.leader)
        session.lost = bool(status.lost)
        self._sessions.add(session)
        if at_prompt:
            self._at_prompt.append(session)
        return session

    def close_session(self, session: Session) -> None:
        """What its user wanted is still seen through."""
        session.close()
        self._forget_if_over(session)

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.remove(watcher)

    def open_feed(self, tell: Tell) -> EventFeed:
        """What happens in the cluster, for a watcher who has it told: all of it, and nobody's own."""
        return EventFeed(
            tell, lambda: self._engine.store, nodes=lambda: len(self._engine_members()), level=Level.VERBOSE
        )

    def _engine_members(self) -> Collection[int]:
        membership = self._engine.membership()
        return self._members if membership is None else membership.members

    def _forget_if_over(self, session: Session) -> None:
        if session.closed and session.idle:
            self._sessions.discard(session)

    def _llm_status(self) -> LlmStatus:
        metering = self._responder.scheduler.metering
        return LlmStatus(
            model=self._responder.scheduler.model, in_flight=metering.in_flight, waiting=metering.waiting,
            requests=metering.requests, replies=metering.replies, failures=metering.failures,
            retries=metering.retries, tokens_in=metering.tokens_in, tokens_out=metering.tokens_out,
            mean_s=None if metering.mean_s is None else round(metering.mean_s, 3),
        )

    def _on_llm_progress(self, request: Request, pieces: int, text: Callable[[], str]) -> None:
        self._hints.on_progress(request, pieces)
        self.drafts.on_progress(request, pieces, text)

    def _on_progress(self, node: int, hint: Hint) -> None:
        for session in self._sessions:
            session.on_progress(node, hint)

    # ---- Events from the engine

    def on_applied(self, applied: AppliedOperation) -> None:
        self._applied_log.add(applied)
        if applied.live:
            self._hints.on_applied(applied)
            for watcher in self._watchers:
                watcher.on_applied(applied)
            for session in list(self._sessions):
                session.on_applied(applied)
                if session.closed:
                    self._forget_if_over(session)
        self.drafts.on_applied(applied.outcome)
        self._responder.on_applied(applied.outcome)
        self._first_quotas.on_applied(applied.outcome)
        self._search_index.on_applied(applied.outcome)

    def on_outcome_unknown(self, ticket: int) -> None:
        for session in list(self._sessions):
            session.on_outcome_unknown(ticket)
            self._forget_if_over(session)

    def on_installed(self) -> None:
        for watcher in self._watchers:
            watcher.on_installed()
        self.drafts.on_installed()
        self._search_index.on_installed()
        self._responder.review()

    def on_status(self, status: EngineStatus) -> None:
        for session in self._sessions:
            session.on_leader(status.leader)
        for watcher in self._watchers:
            watcher.on_status(status)
        self._responder.see(status.leader, status.links)
        self._first_quotas.see(status.leader)
        self._look_at_members()
        if status.voter_status != self._voter_status:
            self._voter_status = status.voter_status
            if status.voter_status == VoterStatus.LEARNER:
                self._emit(LearnerEvent(self._number))
        if status.lost != self._lost:
            self._lost = status.lost
            for session in self._sessions:
                session.lost = bool(status.lost)
            if status.lost:
                self._emit(QuorumLostEvent(status.lost, status.voters, no_quorum(status.lost, status.voters)))
                for session in list(self._sessions):
                    session.on_quorum_lost()
                    self._forget_if_over(session)

    def _look_at_members(self) -> None:
        told = self._members_notice.look(self._engine.membership())
        if told is not None and not self.removed.is_set():
            self._emit(told)

    def on_hint(self, node: int, payload: bytes) -> None:
        if is_about_drafts(payload):
            self.drafts.on_message(node, payload)
        else:
            self._hints.on_hint(node, payload)

    def on_connected(self) -> None:
        self._emit(ConnectedEvent(self._reaches))

    def on_disconnected(self, reason: str) -> None:
        self._emit(DisconnectedEvent(one_line(reason, MAX_REASON), self._reaches))

    def on_refused(self, reason: str) -> None:
        self._emit(RefusedEvent(one_line(reason, MAX_REASON)))

    def on_removed(self) -> None:
        self._emit(RemovedEvent(self._number))
        self.removed.set()

    def on_stranger(self, reason: str) -> None:
        self._emit(StrangerEvent(reason))

    def on_diverged(self, reason: str) -> None:
        self._emit(DivergedEvent(reason))

    def on_failed(self, reason: str) -> None:
        self._emit(FailedEvent(reason))
        self.failed.set()
