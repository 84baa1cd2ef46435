"""Small-scope exhaustion: every state that three nodes can get into with two competing proposers and two operations; or
with one change of the members, or one lost disk, in the midst of that.

    python -m tests.simulation.exhaustive            the scopes of whose states the test knows the number, about 1.3
                                                     million; some it leaves to this
    python -m tests.simulation.exhaustive --all      larger ones too: about 15 million, some 10 minutes and 2.5 GB

The nodes are real `Replica`s with a clock that does not move. Breadth first, from one initial state, every order of
these steps is tried until nothing new is found:

- a message that was ever sent is delivered. Messages are not taken out of the network by that: one may be delivered
  any number of times (duplication), in any order (reordering), much later, or never (loss);
- a proposer campaigns for one of the leaderships that the scope allows it, if its own promise is lower;
- a proposer that campaigns or leads is handed one of its operations;
- the mortal node's oldest pending write reaches its disk, and only then the messages that vouch for it are sent;
- a leader proposes another configuration, where the scope has one: at any time, or once it has heard that a node has
  lost its disk;
- the losable node dies and loses its disk, once; it starts with an empty one, and any node may tell it, whenever it
  knows more, all that it knows to be decided;
- the mortal node dies, once, with all its writes that have not reached the disk yet, and starts again from its disk.

States are distinguished by everything that a node knows, in memory, on disk and on the way to it, and by the messages
that still matter. Two reductions, both without loss. Only of a node that may die does it matter when its writes reach
the disk: a late write of another is the same as a slow message. And a message that can never change its receiver
again, nor make it say anything (a promise for a candidacy that is over), is no part of the state; that it changes
nothing is checked whenever one is left out.

In every state: one operation at most is chosen at a position (a quorum has accepted it under one leadership, counted
in the messages ever sent); what a node knows to be decided was chosen; a sender of a promise or acceptance has
it on disk; and in every step: no promise falls, no decision is forgotten.

Not covered: repetition after a timeout (with messages that stay in the network it adds nothing), who campaigns when
(the scope allows it at any time), catching up by Fetch and snapshot, heartbeats, reads, more than one message per turn
of a node, Outranked (it only tells its receiver to campaign for a higher leadership, which the scope allows anyway).
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from paxos.ballot import Leadership
from paxos.messages import (
    Accept,
    Accepted,
    Configuration,
    Decide,
    Fetch,
    Forward,
    Learn,
    Operation,
    Prepare,
    Promise,
)
from tests.simulation.founding import CLUSTER
from tests.simulation.small_scope import (
    NEW_DISK,
    NODES,
    Carried,
    Facts,
    NodeState,
    Sent,
    Violation,
    canonical,
    check_decided,
    check_step,
    check_vouched,
    chosen,
    crash,
    deliver,
    facts,
    load,
    lose_disk,
    stand,
    stop,
    write,
)
from tests.simulation.transcript import message_words


class Scope(msgspec.Struct, frozen=True):
    """The limits of a search."""

    leaderships: tuple[Leadership, ...]
    operations: tuple[tuple[int, int], ...] = ((1, 1), (2, 2))
    """(proposer, operation) pairs: which operation is handed to which proposer."""
    mortal: int | None = None
    """The node that may die, once, at any moment."""
    members: tuple[int, ...] = NODES
    """Of the first configuration."""
    following: tuple[int, ...] = ()
    """The members of the next one, if any is proposed."""
    losable: int | None = None
    """The node that may lose its disk, once, at any moment; the next configuration names its new one."""

    @property
    def first(self) -> Configuration:
        return Configuration(1, CLUSTER, {pid: pid for pid in self.members}, 1)

    @property
    def second(self) -> Configuration:
        members = {pid: NEW_DISK if pid == self.losable else pid for pid in self.following or self.members}
        return Configuration(2, CLUSTER, members)

    def __str__(self) -> str:
        leaderships = " ".join(f"<{seq},{pid}>" for seq, pid in self.leaderships)
        operations = " ".join(f"{name} at {proposer}" for proposer, name in self.operations)
        told = f"leaderships {leaderships}; operations {operations}; {self.mortal or 'nobody'} may die"
        if self.following:
            told += f"; members {self.members} become {self.following}"
        return told + (f"; {self.losable} may lose its disk" if self.losable else "")


DUEL: tuple[Leadership, ...] = ((1, 1), (1, 2))
COUNTER: tuple[Leadership, ...] = (*DUEL, (2, 1))
"""The first proposer comes back above the second."""
EACH_AT_BOTH = ((1, 1), (1, 2), (2, 1), (2, 2))

BRIEF_SCOPES = (Scope(DUEL, ((1, 1),), mortal=1), Scope(DUEL, ((2, 2),), mortal=3))
"""The proposer that is replaced, and who only votes, may die, with one operation."""
SCOPES = (Scope(DUEL, mortal=1), Scope(DUEL, mortal=2), Scope(DUEL, mortal=3), Scope(COUNTER))
LARGE_SCOPES = (Scope(DUEL, EACH_AT_BOTH), Scope(COUNTER, mortal=2))
SHRINKING = Scope(DUEL, (), following=(1, 2))
GROWING = Scope(DUEL, ((2, 2),), members=(1, 2), following=(1, 2, 3))
RECOVERING = Scope(DUEL, (), losable=3)
MEMBERS_SCOPES = (SHRINKING, GROWING, RECOVERING)
"""One reconfiguration; one recovery of a lost disk."""
LARGE_MEMBERS_SCOPES = (Scope(DUEL, ((2, 2),), following=(1, 2)), Scope(COUNTER, (), following=(1, 2)),
                        Scope(DUEL, ((2, 2),), losable=3))


# ---- The search

WIDTH = 20
NODE_MASK = (1 << WIDTH) - 1
NODES_MASK = (1 << 3 * WIDTH) - 1
NETWORK = 3 * WIDTH
"""A state is one number: three node states of WIDTH bits, and from here on a bit for each message sent."""


class StateTable:
    """All states of one node met so far, as numbers, and where its steps lead."""

    def __init__(self, pid: int, search: Search) -> None:
        self.pid = pid
        self._search = search
        self._numbers: dict[Any, int] = {}
        self._stored: list[bytes] = []
        self._spare: tuple[int, NodeState] | None = None
        """The node as it was loaded last, if the step that it took has changed nothing."""
        self.facts: list[Facts] = []
        self.steps = 0
        """Steps worked out by running the node."""
        self._moves: dict[int, tuple[tuple[int, int], ...]] = {}
        self._deliveries: dict[tuple[int, int], tuple[int, int]] = {}
        self._memo: dict[tuple[int, int], tuple[tuple[int, int, int], ...]] = {}
        self._dead: dict[tuple[int, int], int] = {}
        scope = search.scope
        self.add(NodeState(pid, pid == scope.mortal, scope.losable, scope.members))

    def __len__(self) -> int:
        return len(self._stored)

    def add(self, state: NodeState) -> int:
        key = canonical([state.replica, state.disk, state.mortal, state.losable, state.pending])
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._stored)
            self._stored.append(pickle.dumps(state, pickle.HIGHEST_PROTOCOL))
            self.facts.append(facts(state))
        return number

    def _load(self, number: int) -> NodeState:
        self.steps += 1
        spare, self._spare = self._spare, None
        return spare[1] if spare is not None and spare[0] == number else load(self._stored[number])

    def _done(self, before: int, state: NodeState, sent: list[Sent], died: bool = False) -> tuple[int, int]:
        after = self.add(state)
        check_step(self.facts[before], self.facts[after], died)
        if after == before:
            self._spare = before, state
        return after, self._search.bits(sent)

    def dead(self, number: int, inbox: int) -> int:
        """Those of `inbox` that can never change this node again, nor make it say anything: see `_is_dead`."""
        known = self._dead.get((number, inbox))
        if known is None:
            known = 0
            rest = inbox
            while rest:
                bit = rest & -rest
                rest ^= bit
                if self._is_dead(number, self._search.messages[bit.bit_length() - 1][2]):
                    if self._delivery(number, bit) != (number, 0):
                        raise AssertionError("what was taken for dead is not")
                    known |= bit
            self._dead[number, inbox] = known
        return known

    def _is_dead(self, number: int, message: Carried) -> bool:
        """What is on disk only grows, so that what follows from it alone, stays so."""
        now = self.facts[number]
        if isinstance(message, Learn):
            return message.decided_upto <= now.surely_decided
        if isinstance(message, Fetch):
            return False
        leadership = message.ballot.leadership
        if isinstance(message, Prepare):
            return now.sure_promise > leadership
        if isinstance(message, Promise):
            return now.sure_promise >= leadership and now.candidate != message.ballot
        if isinstance(message, Decide):
            return message.ballot.op_num <= now.surely_decided
        return False

    def moves(self, number: int, inbox: int) -> tuple[tuple[int, int, int], ...]:
        """(next state, which messages to keep, messages sent) of every step in a state with `inbox` to be delivered."""
        known = self._memo.get((number, inbox))
        if known is None:
            found = dict.fromkeys(self._own_moves(number))
            rest = inbox
            while rest:
                bit = rest & -rest
                rest ^= bit
                found[self._delivery(number, bit)] = None
            known = self._memo[number, inbox] = tuple(
                (after, ~self.dead(after, inbox), sent) for after, sent in found if (after, sent) != (number, 0)
            )
        return known

    def _delivery(self, number: int, bit: int) -> tuple[int, int]:
        known = self._deliveries.get((number, bit))
        if known is None:
            sender, _, message = self._search.messages[bit.bit_length() - 1]
            state = self._load(number)
            known = self._deliveries[number, bit] = self._done(
                number, state, deliver(state, sender, message, self._search.scope.second))
        return known

    def _own_moves(self, number: int) -> tuple[tuple[int, int], ...]:
        known = self._moves.get(number)
        if known is None:
            known = self._moves[number] = tuple(self._try_own(number))
        return known

    def _try_own(self, number: int) -> Iterator[tuple[int, int]]:
        now = self.facts[number]
        if now.pending:
            state = self._load(number)
            yield self._done(number, state, write(state))
        if now.mortal:
            state = self._load(number)
            yield self._done(number, state, crash(state), died=True)
        if now.losable:
            state = self._load(number)
            yield self._done(number, state, lose_disk(state), died=True)
        if self._search.scope.following and now.leads and not now.stopping:
            state = self._load(number)
            yield self._done(number, state, stop(state, self._search.scope.second))
        for leadership in self._search.scope.leaderships:
            if leadership[1] == self.pid and leadership > now.promised and now.votes:
                state = self._load(number)
                yield self._done(number, state, stand(state, leadership))
        for proposer, name in self._search.scope.operations:
            operation = Operation(name, 1, 1, b"")
            if proposer == self.pid and (now.leads or now.candidate) and operation not in now.held:
                state = self._load(number)
                yield self._done(number, state, deliver(state, self.pid, Forward([operation])))


class Search:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.messages: list[Sent] = []
        self._bits: dict[Any, int] = {}
        self._inbox = dict.fromkeys(NODES, 0)
        self._votes = 0
        self._vouched = dict.fromkeys(NODES, 0)
        self.tables = [StateTable(pid, self) for pid in NODES]
        self.levels: list[int] = []
        """The number of states at each distance from the first."""
        self.state = 0
        """The one under examination."""
        self._chosen: dict[int, dict[int, Operation]] = {}
        self._sound: dict[tuple[int, int, int], dict[int, Operation]] = {}

    def bits(self, sent: list[Sent]) -> int:
        """The bits of these messages; new ones get the next."""
        mask = 0
        for sender, to, message in sent:
            key = (sender, to, canonical(message))
            bit = self._bits.get(key)
            if bit is None:
                bit = self._bits[key] = 1 << len(self.messages)
                self.messages.append((sender, to, message))
                self._inbox[to] |= bit
                if isinstance(message, Accept | Accepted):
                    self._votes |= bit
                if isinstance(message, Promise | Accepted):
                    self._vouched[sender] |= bit
            mask |= bit
        return mask

    def named(self, mask: int) -> list[Sent]:
        return [sent for number, sent in enumerate(self.messages) if mask >> number & 1]

    def run(self, parents: dict[int, int] | None = None) -> int:
        """Explores all; returns the number of distinct states. Raises Violation.

        `parents` is filled with one way to each state; without it a state takes about 150 bytes.
        """
        seen = {0}
        frontier = [0]
        while frontier:
            self.levels.append(len(frontier))
            following: list[int] = []
            for state in frontier:
                self.state = state
                self._check(state)
                for after in self.successors(state):
                    if after not in seen:
                        seen.add(after)
                        following.append(after)
                        if parents is not None:
                            parents[after] = state
            frontier = following
        return len(seen)

    def successors(self, state: int) -> Iterator[int]:
        network = state >> NETWORK
        inboxes = self._inbox
        for index, table in enumerate(self.tables):
            shift = index * WIDTH
            number = state >> shift & NODE_MASK
            rest = state & NODES_MASK ^ (number << shift)
            for after, keep, sent in table.moves(number, network & inboxes[table.pid]):
                nodes = rest | after << shift
                carried = network & keep
                new = sent & ~carried
                yield nodes | (carried | self._alive(nodes, new) if new else carried) << NETWORK

    def _alive(self, nodes: int, sent: int) -> int:
        """Those that can still change their receivers."""
        for place, receiver in enumerate(self.tables):
            mine = sent & self._inbox[receiver.pid]
            if mine:
                sent &= ~receiver.dead(nodes >> place * WIDTH & NODE_MASK, mine)
        return sent

    def told(self, before: int, after: int) -> str:
        """What happened between two states, in words."""
        changed = [table for place, table in enumerate(self.tables) if (before ^ after) >> place * WIDTH & NODE_MASK]
        sent = self.named((after & ~before) >> NETWORK)
        words = "; ".join(f"{one} -> {other} {message_words(message)}" for one, other, message in sent)
        who = ", ".join(f"{table.pid} takes a step" for table in changed) or "a message is answered again"
        return f"{who}{': ' + words if words else ''}"

    def _check(self, state: int) -> None:
        network = state >> NETWORK
        votes = network & self._votes
        choice = self._chosen.get(votes)
        if choice is None:
            choice = self._chosen[votes] = chosen(self.named(votes), self.scope.first)
        for index, table in enumerate(self.tables):
            number = state >> index * WIDTH & NODE_MASK
            now = table.facts[number]
            vouched = network & self._vouched[table.pid]
            key = (index, number, vouched)
            only_if_chosen = self._sound.get(key)
            if only_if_chosen is None:
                messages = [message for _, _, message in self.named(vouched)]
                only_if_chosen = self._sound[key] = check_vouched(now, messages)
            for position, operation in only_if_chosen.items():
                if choice.get(position) != operation:
                    raise Violation(f"node {table.pid} accepted at {position}, but its disk holds {operation}")
            if now.decided:
                check_decided(now, choice)


def story(scope: Scope) -> list[str]:
    """A shortest way to the first violation, step by step; empty if there is none."""
    search = Search(scope)
    parents: dict[int, int] = {}
    try:
        search.run(parents)
    except AssertionError as violation:
        path = [search.state]
        while path[-1]:
            path.append(parents[path[-1]])
        path.reverse()
        steps = [search.told(before, after) for before, after in pairwise(path)]
        return [*steps, f"then: {violation}"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.exhaustive", description="Every reachable state.")
    parser.add_argument("--all", action="store_true", help="larger scopes too")
    options = parser.parse_args()
    total = 0
    larger = LARGE_MEMBERS_SCOPES + LARGE_SCOPES if options.all else ()
    for scope in BRIEF_SCOPES + SCOPES + MEMBERS_SCOPES + larger:
        began = time.perf_counter()
        search = Search(scope)
        try:
            states = search.run()
        except AssertionError:
            print(f"{scope}: VIOLATED", *story(scope), sep="\n  ")
            return 1
        total += states
        node_states = sum(map(len, search.tables))
        print(f"{states:10,} states, {len(search.levels) - 1} steps deep, {node_states:,} "
              f"node states, {len(search.messages)} messages, {time.perf_counter() - began:.0f} s: {scope}", flush=True)
    print(f"{total:10,} states in all; every one sound")
    return 0


if __name__ == "__main__":
    sys.exit(main())
