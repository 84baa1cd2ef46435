"""Who votes is decided in the log: a *stop-sign* ends one configuration, and its decision starts the next.

A configuration governs the positions from `since` on, up to and including that of the next stop-sign. Every quorum for
a position is one of the configuration that governs it. A leader proposes nothing behind a stop-sign until it is
decided; then it asks for promises again, now of the next configuration's members. So whoever proposes for a position
knows all that is decided before it, and with it the one configuration that counts there. (Lamport, Malkhi and Zhou,
*Reconfiguring a State Machine*, 2010; the stop-sign is that of Ng, Haridi and Carbone, *Omni-Paxos*, EuroSys 2023.)

Since everything that an earlier configuration governs is decided when a later one starts, it does not matter there
what a lost disk has promised: a member comes back with a new identity, by a configuration that names it.

Configuration 0 is the one before a cluster is founded: its members are those of the configuration file (and, on disks
of release 0.1.0, all that were met). A new cluster decides configuration 1 before anything else; one with data of
release 0.1.0 works on in configuration 0 until no member runs that release any more.
"""

from __future__ import annotations

from random import Random

import msgspec

from paxos.messages import Configuration, Operation

CLUSTER_BITS = 62
CLUSTER_LEAST = 1 << CLUSTER_BITS
_STOP_SIGN = 1
"""The incarnation of a stop-sign, where a no-op has 0."""

_encoder = msgspec.msgpack.Encoder()


class _Named(Configuration, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Nothing else stands beside it: how much of that a node can look into would differ from node to node."""


_decoder = msgspec.msgpack.Decoder(_Named)


def new_cluster(random: Random) -> int:
    """The id of a cluster that is being founded. Ids are of equal length on the wire, and never 0."""
    return CLUSTER_LEAST + random.getrandbits(CLUSTER_BITS)


def stop_sign(following: Configuration) -> Operation:
    """The operation whose decision starts `following`."""
    return Operation(0, _STOP_SIGN, 0, _encoder.encode(following))


def is_stop_sign(operation: Operation) -> bool:
    return operation.pid == 0 and bool(operation.payload)


def read_stop_sign(operation: Operation) -> Configuration | None:
    """The configuration that a stop-sign names; None for any other operation, or one that names none."""
    if not is_stop_sign(operation):
        return None
    try:
        following = _decoder.decode(operation.payload)
    except (msgspec.MsgspecError, ValueError):
        return None
    if not following.members or 0 in following.members:
        return None
    return Configuration(*msgspec.structs.astuple(following))


def following(current: Configuration | None, operation: Operation, position: int) -> Configuration | None:
    """The configuration that governs what comes behind `operation`, decided at `position`. Of two stop-signs that
    would end the same configuration the first one counts, and the other is like a no-op. The cluster stays the same."""
    named = read_stop_sign(operation)
    number, cluster = (0, 0) if current is None else (current.number, current.cluster)
    if named is None or named.number != number + 1 or (number and named.cluster != cluster):
        return current
    return msgspec.structs.replace(named, since=position + 1)
