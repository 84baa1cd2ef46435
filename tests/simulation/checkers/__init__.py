"""Invariants, one per file; each observes the cluster from outside, after every step.

Other rules are checked once per run: by the history checker (linearizability), and by the liveness phase (everything
pending gets decided in time, no more elections once the links do not change). See scenario.py.
"""

from __future__ import annotations

from tests.simulation.checkers.acknowledged import Acknowledged
from tests.simulation.checkers.agreement import Agreement
from tests.simulation.checkers.bounds import Bounds
from tests.simulation.checkers.chosen import Chosen
from tests.simulation.checkers.digests import Digests
from tests.simulation.checkers.durable import Durability
from tests.simulation.checkers.encoded import Encoded
from tests.simulation.checkers.gossip import Gossip
from tests.simulation.checkers.inherited import Inherited
from tests.simulation.checkers.leaderships import Leaderships
from tests.simulation.checkers.once import ExactlyOnce
from tests.simulation.checkers.placed import Placed
from tests.simulation.checkers.served import Served
from tests.simulation.checkers.situations import Situations
from tests.simulation.checkers.states import EqualStates
from tests.simulation.checkers.stopped import Stopped
from tests.simulation.checkers.voters import Voters
from tests.simulation.world import Observer


def all_checkers() -> list[Observer]:
    return [
        Durability(), Voters(), Leaderships(), Inherited(), Chosen(), Agreement(), ExactlyOnce(), EqualStates(),
        Acknowledged(), Bounds(), Gossip(), Stopped(), Served(), Placed(), Digests(), Encoded(), Situations(),
    ]
