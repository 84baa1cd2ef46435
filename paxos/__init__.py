"""Multi-Paxos as pure code: messages in, messages out. No socket, clock, thread, file or LLM may be imported here.

`__all__` is the public surface: a driver needs nothing else. Outside paxos/, import these names from here or from the
module that defines them, and nothing that is not named here, except for the messages and `is_urgent` of
paxos/messages.py, `ballot` of paxos/ballot.py, and by tests that look inside.
"""

from __future__ import annotations

from paxos.ballot import BOTTOM, NOBODY, Ballot, Leadership
from paxos.ceilings import USUAL_INCARNATION
from paxos.configuration import new_cluster
from paxos.limits import Limits, Timing
from paxos.messages import AnyMessage, Entry, Operation, Snapshot
from paxos.output import Applied, Divergence, Durable, Output, Persist, VoterStatus
from paxos.replica import QueueFull, Replica, Status
from paxos.sessions import Sessions

__all__ = [
    "BOTTOM",
    "NOBODY",
    "USUAL_INCARNATION",
    "AnyMessage",
    "Applied",
    "Ballot",
    "Divergence",
    "Durable",
    "Entry",
    "Leadership",
    "Limits",
    "Operation",
    "Output",
    "Persist",
    "QueueFull",
    "Replica",
    "Sessions",
    "Snapshot",
    "Status",
    "Timing",
    "VoterStatus",
    "new_cluster",
]
