"""A node's events. `origin` is the node where an operation was submitted."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from api.base import Event
from api.conversation import Poll


class ReadyEvent(Event, frozen=True, tag="ready"):
    node: int
    llm: str
    """Which LLM it asks, and why that one."""


class ConnectedEvent(Event, frozen=True, tag="connected"):
    """The node reaches the network, or what it runs on instead."""

    to: Literal["etcd"] | UnsetType = UNSET
    """Omitted for the network."""


class DisconnectedEvent(Event, frozen=True, tag="disconnected"):
    reason: str
    to: Literal["etcd"] | UnsetType = UNSET
    """As of `connected`."""


class RefusedEvent(Event, frozen=True, tag="refused"):
    """The network refuses this node; or the node refuses this client."""

    reason: str


class MembersEvent(Event, frozen=True, kw_only=True, tag="members"):
    """The members have changed, or differ from the nodes that the configuration file lists: what was decided counts."""

    node: int
    cluster: str
    """Its id."""
    number: int
    """Of the configuration."""
    members: list[int]
    configured: list[int]
    """The nodes in the file."""
    text: str


class RemovedEvent(Event, frozen=True, tag="removed"):
    """The members have decided that this node is none of them any more: it leaves."""

    node: int


class StrangerEvent(Event, frozen=True, tag="stranger"):
    """A node of another cluster speaks as one of this cluster's; nothing that it says counts."""

    reason: str


class DivergedEvent(Event, frozen=True, tag="diverged"):
    """Nodes that applied the same operations have different conversations. This node is not known to be wrong."""

    reason: str


class QuorumLostEvent(Event, frozen=True, tag="quorum_lost"):
    """So many voters have lost their disks that nothing can be decided any more."""

    lost: tuple[int, ...]
    voters: int
    reason: str


class LearnerEvent(Event, frozen=True, tag="learner"):
    """This node's disk is new: it follows without a vote until the members have decided to count it again."""

    node: int


class FailedEvent(Event, frozen=True, tag="failed"):
    """The node stops."""

    error: str


class LeaderEvent(Event, frozen=True, tag="leader"):
    """The node sees another leader, or none."""

    leader: int | None


class ExplainEvent(Event, frozen=True, tag="explain"):
    """One step of the protocol, in words."""

    phase: str
    ballot: tuple[int, int, int] | None
    text: str


class ExplainingEvent(Event, frozen=True, tag="explaining"):
    """From here on the network has this node explain each step of the protocol, or does not any more."""

    on: bool


class CreatedEvent(Event, frozen=True, tag="created"):
    context: str
    origin: int


class DeletedEvent(Event, frozen=True, tag="deleted"):
    """The conversation is there no more."""

    context: str
    origin: int


class UndeletedEvent(Event, frozen=True, tag="undeleted"):
    """The conversation was deleted, and is there again."""

    context: str
    origin: int


class RestoredEvent(Event, frozen=True, tag="restored"):
    """A conversation was imported, with turns up to this one."""

    context: str
    turn: int | None
    origin: int


class SystemEvent(Event, frozen=True, tag="system"):
    """LLMs are told this `text` before the questions of the conversation; empty: what each node tells its own."""

    context: str
    text: str
    origin: int


class AutoEvent(Event, frozen=True, tag="auto"):
    """From here on the nodes choose by themselves in the conversation, as soon as all answers to a query are in; or
    they do not any more."""

    context: str
    on: bool
    origin: int


class TitledEvent(Event, frozen=True, tag="titled"):
    """Users call the conversation so from here on; empty: by its context id alone."""

    context: str
    title: str
    origin: int


class RenamedEvent(Event, frozen=True, tag="renamed"):
    """The conversation is called `name` from here on."""

    context: str
    name: str
    origin: int


class ForkedEvent(Event, frozen=True, tag="forked"):
    """A conversation began with the turns of `source`, up to this one; null: with none."""

    context: str
    source: str
    turn: int | None
    origin: int


class QueryEvent(Event, frozen=True, tag="query"):
    context: str
    turn: int
    origin: int
    text: str


class AskEvent(Event, frozen=True, tag="ask"):
    context: str
    turn: int
    origin: int
    text: str


class ProgressEvent(Event, frozen=True, tag="progress"):
    """The LLM of a node has begun with its answer, or, with `synth`, with the synthesis, or has so many tokens of it.
    Only who asked is told."""

    context: str
    turn: int
    node: int
    state: Literal["thinking", "writing"]
    tokens: int | UnsetType = UNSET
    synth: Literal[True] | UnsetType = UNSET


class WritingEvent(Event, frozen=True, tag="writing"):
    """An answer that a node's LLM is writing: from character `offset` on (counted in code points), it reads `text`,
    as far as it is known. It is not decided, may be taken back, and comes only in streams that ask for it. Of the
    synthesis, `node` is 0."""

    context: str
    turn: int
    node: int
    offset: int
    text: str


class CandidateEvent(Event, frozen=True, kw_only=True, tag="candidate"):
    """The answer of a node to a query, or the `error` that says why there is none: `have` of `of` are in now."""

    context: str
    turn: int
    node: int
    have: int
    of: int
    text: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    model: str
    seconds: float
    seen: int | UnsetType = UNSET
    before: int | UnsetType = UNSET
    cut: Literal["time", "tokens"] | UnsetType = UNSET
    cut_at: float | UnsetType = UNSET
    tokens_in: int | UnsetType = UNSET
    tokens_out: int | UnsetType = UNSET


class AnswerEvent(Event, frozen=True, kw_only=True, tag="answer"):
    """The leader's answer to an ask. With an `error`, the next node is asked, until all `of` them have been (`have` of
    them have answered or failed now)."""

    context: str
    turn: int
    node: int
    have: int | UnsetType = UNSET
    of: int | UnsetType = UNSET
    text: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    model: str
    seconds: float
    seen: int | UnsetType = UNSET
    before: int | UnsetType = UNSET
    cut: Literal["time", "tokens"] | UnsetType = UNSET
    cut_at: float | UnsetType = UNSET
    tokens_in: int | UnsetType = UNSET
    tokens_out: int | UnsetType = UNSET


class ChosenEvent(Event, frozen=True, kw_only=True, tag="chosen"):
    """The answer of `node` stands; with a `poll`, the nodes chose it."""

    context: str
    turn: int
    origin: int
    poll: Poll | UnsetType = UNSET
    node: int


class NoChoiceEvent(Event, frozen=True, tag="no_choice"):
    """A poll is over in which no node could rank the answers."""

    context: str
    turn: int
    origin: int
    poll: Poll


class CancelledEvent(Event, frozen=True, tag="cancelled"):
    context: str
    turn: int
    origin: int


class RetriedEvent(Event, frozen=True, tag="retried"):
    """An open question is sent again, to all nodes or to `node` only."""

    context: str
    turn: int
    origin: int
    node: int | None


class RegeneratedEvent(Event, frozen=True, tag="regenerated"):
    """The leader is asked for another answer to an `ask`. An event `answer` brings it; with an `error`, the former one
    stays. So it does, without an event, if another question comes first."""

    context: str
    turn: int
    origin: int


class SynthEvent(Event, frozen=True, tag="synth"):
    """An LLM is asked for a synthesis of the answers `out_of` these nodes: that of node `by`, or, if that is null, the
    leader's. An event `synthesis` brings it, unless it is called off by a choice, a poll, a cancellation or because one
    of these answers is asked for again."""

    context: str
    turn: int
    origin: int
    by: int | None
    out_of: list[int]


class SynthesisEvent(Event, frozen=True, kw_only=True, tag="synthesis"):
    """The synthesis, which can be chosen by the number 0 now; or an `error` that says why there is none, and nothing
    has changed."""

    context: str
    turn: int
    by: int
    out_of: list[int]
    text: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    model: str
    seconds: float
    seen: int | UnsetType = UNSET
    before: int | UnsetType = UNSET
    cut: Literal["time", "tokens"] | UnsetType = UNSET
    cut_at: float | UnsetType = UNSET
    tokens_in: int | UnsetType = UNSET
    tokens_out: int | UnsetType = UNSET


class PollEvent(Event, frozen=True, tag="poll"):
    """The nodes are ranking the answers."""

    context: str
    turn: int
    origin: int


class RankingEvent(Event, frozen=True, kw_only=True, tag="ranking"):
    """How a node ranks the answers, best first, or why it abstains."""

    context: str
    turn: int
    node: int
    order: list[int] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    model: str


class OperationRefusedEvent(Event, frozen=True, tag="operation_refused"):
    """Another user's operation was refused; reported after `verbose` only."""

    command: str
    context: str
    origin: int
    error: str


class GapEvent(Event, frozen=True, tag="gap"):
    """In a stream of events: those of positions up to this one are not here any more, or never were, because a snapshot
    brought what they are about. What they changed is in the conversations."""

    upto: int


class ClosingEvent(Event, frozen=True, tag="closing"):
    """The end of a stream of events: the node leaves. The stream can be continued at any node."""

    reason: str
