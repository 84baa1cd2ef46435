"""Messages between the orchestrator and one node: tagged records, MessagePack in frames of kind CONTROL.

    orchestrator -> node   Challenge, then Welcome or Refused; later Crash, Label, PeerUp, PeerDown, Refused
    node -> orchestrator   Hello; later Report
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from net.frames import CONTROL, FrameError, encode_frame

VERSION = 1
"""The version of frames and of these records; both sides must have the same."""

HANDSHAKE_S = 5.0
"""A handshake that takes longer is aborted, by either side."""

NODE_MIN, NODE_MAX = 1, 65535
NONCE_SIZE = 32

NodeId: TypeAlias = Annotated[int, msgspec.Meta(ge=NODE_MIN, le=NODE_MAX)]
ClusterName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Nonce: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=NONCE_SIZE, max_length=NONCE_SIZE)]
Proof: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=64)]
ShortText: TypeAlias = Annotated[str, msgspec.Meta(max_length=80)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
ProcessId: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
"""As large as any system makes it: a larger one could not even be asked about."""
ClusterId: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""0: none yet, or not told. Release 0.1.0 knows of none."""


class Refusal(StrEnum):
    """Why a connection is refused."""

    VERSION = "version"
    CLUSTER = "cluster"
    SECRET = "secret"
    UNKNOWN = "unknown"
    """No node of this number in the orchestrator's config."""
    DUPLICATE = "duplicate"
    """Another process with this number is connected."""
    PROTOCOL = "protocol"
    """Invalid bytes."""


class Challenge(msgspec.Struct, frozen=True, tag=True):
    """The orchestrator's first message. `authenticate`: it has a secret and wants to see that the node knows it."""

    nonce: Nonce
    cluster: ClusterName
    authenticate: bool
    version: int = VERSION


class Hello(msgspec.Struct, frozen=True, tag=True):
    """`process` is the node's process id on its own host. See net/auth.py for `proof`."""

    cluster: ClusterName
    node: NodeId
    process: ProcessId
    incarnation: Count
    nonce: Nonce
    proof: Proof
    version: int = VERSION
    hints: bool = False
    """The node knows frames of kind HINT. Release 0.1.0 says nothing of them, and does not."""
    cluster_id: ClusterId = 0
    urgent: bool = False
    """The same of frames of kind URGENT."""
    labels: bool = False
    """The node knows the message Label. Release 0.1.0 would hang up."""


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """The node is accepted. `proof` answers the node's nonce; `peers` are the nodes connected and reachable now."""

    proof: Proof
    peers: Annotated[list[NodeId], msgspec.Meta(max_length=NODE_MAX)]
    hints: bool = False
    urgent: bool = False
    """As in `Hello`, of the orchestrator."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The orchestrator closes this connection; `reason` is a sentence for people."""

    code: Refusal
    reason: Annotated[str, msgspec.Meta(max_length=500)]


class Crash(msgspec.Struct, frozen=True, tag=True):
    """Die at once, without flushing anything."""


class Label(msgspec.Struct, frozen=True, tag=True):
    """Whether messages of the protocol come in LABELLED frames from now on: the operator wants to see them."""

    on: bool


class PeerUp(msgspec.Struct, frozen=True, tag=True):
    """That node has connected. Nothing depends on its arrival."""

    node: NodeId


class PeerDown(msgspec.Struct, frozen=True, tag=True):
    """That node's connection has closed. Nothing depends on its arrival."""

    node: NodeId


class Report(msgspec.Struct, frozen=True, tag=True):
    """A node's status for the operator."""

    role: ShortText
    leader: NodeId | None
    ballot: tuple[Count, Count, Count]
    decided: Count
    applied: Count
    queued: Count
    digest: ShortText
    cluster_id: ClusterId = 0
    configuration: Count = 0
    """The number of the configuration in force."""
    members: Annotated[list[NodeId], msgspec.Meta(max_length=NODE_MAX)] = []
    """As decided by it."""
    lost: Annotated[list[NodeId], msgspec.Meta(max_length=NODE_MAX)] = []
    """Those that have lost their disks, if no quorum of the others can form."""
    asking: Count = 0
    """Requests that the node's LLM works on."""


FromOrchestrator: TypeAlias = Challenge | Welcome | Refused | Crash | Label | PeerUp | PeerDown
FromNode: TypeAlias = Hello | Report

_T = TypeVar("_T")

_encoder = msgspec.msgpack.Encoder()
_from_orchestrator: msgspec.msgpack.Decoder[FromOrchestrator] = msgspec.msgpack.Decoder(FromOrchestrator)
_from_node: msgspec.msgpack.Decoder[FromNode] = msgspec.msgpack.Decoder(FromNode)


def control_frame(src: int, dst: int, message: FromOrchestrator | FromNode) -> bytes:
    return encode_frame(CONTROL, src, dst, _encoder.encode(message))


def from_orchestrator(payload: bytes | memoryview) -> FromOrchestrator:
    """Raises FrameError for anything but an orchestrator's message."""
    return _decode(_from_orchestrator, payload)


def from_node(payload: bytes | memoryview) -> FromNode:
    """Raises FrameError for anything but a node's message to its orchestrator."""
    return _decode(_from_node, payload)


def _decode(decoder: msgspec.msgpack.Decoder[_T], payload: bytes | memoryview) -> _T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"an invalid control message: {error}") from error
