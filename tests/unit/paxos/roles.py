"""Single roles, and what they have done outside after a step."""

from __future__ import annotations

from paxos.acceptor import Acceptor
from paxos.ballot import BOTTOM, Ballot
from paxos.effects import Effects
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Accept, AnyMessage, Confirm, Operation, Prepare
from paxos.output import Durable, Persist, VoterStatus
from paxos.voter_registry import VoterRegistry

ME = 9
"""The node whose role it is."""
ASKER = 1


def op(number: int, pid: int = 2, incarnation: int = 1) -> Operation:
    return Operation(pid, incarnation, number, b"%d.%d" % (pid, number))


def acceptor(
    promised: Ballot = BOTTOM, log: Log | None = None, limits: Limits | None = None,
    voter_status: VoterStatus = VoterStatus.VOTER,
) -> Acceptor:
    effects = Effects(ME)
    registry = VoterRegistry(ME, (1, 2, 3, ME), Durable(109, 1, voter_status, roster={ME: 109}), effects)
    return Acceptor(promised, Log() if log is None else log, registry, limits or Limits(), effects)


def answer(one: Acceptor, message: Prepare | Accept | Confirm) -> tuple[AnyMessage | None, Persist]:
    """What it answers, if anything, and what it has on disk before that."""
    match message:
        case Prepare():
            rose = one.prepare(ASKER, message)
        case Accept():
            rose = one.accept(ASKER, message)
        case Confirm():
            one.confirm(ASKER, message)
            rose = False
    out = one._effects.take()
    persist = out.persist or Persist()
    assert rose == (persist.promised is not None), "a promise that rises is stored"
    replies = [*out.send_now, *out.send_after_persist]
    assert all(to == ASKER for to, _ in replies) and len(replies) <= 1
    return replies[0][1] if replies else None, persist
