"""Who should campaign for leadership, and when.

The rule, for a node that votes and reaches a majority directly: if no leader that reaches a majority claims the
highest leadership that is known anywhere, campaign for a higher one. The better a node is connected the sooner it
campaigns, and all nodes rank themselves by the same gossip, so that mostly one of them does.

A claim that no quorum has promised counts only for a limited time, except for its own claimer.

Why it converges, for any fixed set of links: majorities intersect, so two nodes that each reach a majority are at
most two hops apart, and the owner of the highest leadership is seen by every other node that might campaign. Each
campaign raises the highest leadership; once its owner keeps reaching a majority, nobody has a reason to campaign. A
leader that lost its majority is replaced at once, even by nodes that still hear it.
"""

from __future__ import annotations

from random import Random

from paxos.ballot import NOBODY, Leadership
from paxos.connectivity import Connectivity
from paxos.limits import Limits, Timing

ROUND_TRIPS_BETWEEN_RANKS = 2.0
TICKS_BETWEEN_RANKS = 2.0
CALM = 2.0
"""A node that has not campaigned for this many election times may do so at once again."""
GRACE_ELECTIONS, GRACE_ROUND_TRIPS, GRACE_COMMITS = 2.0, 8.0, 3.0
"""How long (the sum of all) a claim counts before a quorum has promised it; for its own claimer, indefinitely. The
commits are those of the claimer, which stores its claim first, and those of a quorum, which then stores promises: each
may have to wait for one that is under way."""
OTHERS_ELECTIONS = 0.25
"""After the network was away, nodes are back within this of each other, the leader among them."""
SLOW_DISK = 2.0
"""A disk that takes this many times as long as a quorum's (and an election time more) is a reason not to campaign."""


class Election:
    def __init__(self, connectivity: Connectivity, timing: Timing, limits: Limits) -> None:
        self._net = connectivity
        self._timing = timing
        self._limits = limits
        self._since: float | None = None
        """Since when there is a reason to campaign."""
        self._jitter = 0.0
        self._claims: dict[Leadership, float] = {}
        """When each claim that is not yet established was first seen."""
        self._waits_until = 0.0
        self._last_campaign = 0.0
        self._tries = 0
        """How often this node campaigned without a calm time in between."""
        self._heard_of: Leadership = NOBODY
        self._observed = self._ranked = self._judged = -1
        """The changes that claims, the highest leadership and the leader were last looked for after."""
        self._highest: Leadership = NOBODY
        self._leader: Leadership = NOBODY

    def outranked(self, leadership: Leadership) -> None:
        """An acceptor rejected a ballot in favour of `leadership`."""
        self._heard_of = max(self._heard_of, leadership)

    def highest(self) -> Leadership:
        """The highest leadership known to have been claimed or promised by any node, dead or alive."""
        if self._ranked != self._net.changes:
            self._ranked = self._net.changes
            states = self._net.states.values()
            self._highest = max(NOBODY, *[each.promised for each in states], *[each.leading for each in states])
        return max(self._heard_of, self._highest)

    def wait_for_others(self, now: float) -> None:
        """This node is connected anew. If the network was away, the leader was, too, and leads on when it is back."""
        self._waits_until = now + OTHERS_ELECTIONS * self._timing.election_s

    @property
    def is_waiting(self) -> bool:
        """There is a reason to campaign."""
        return self._since is not None

    def observe(self, now: float) -> None:
        """Notes when each claim was first seen. Must follow every change of what is known of others."""
        if self._observed == self._net.changes:
            return
        self._observed = self._net.changes
        claims = [each.leading for each in self._net.states.values() if each.leading != NOBODY and not each.established]
        self._claims = {claim: self._claims.get(claim, now) for claim in claims}

    def leader(self, now: float) -> Leadership:
        """The highest leadership claimed by a live node that reaches a majority; NOBODY if there is none.

        A claim that comes to nothing (its claimer's disk hangs, say) must not keep others from campaigning for ever:
        only while there is one, time matters.
        """
        if self._judged != self._net.changes or self._claims:
            self._judged = self._net.changes
            self._leader = self.present_leader(now)
        return self._leader

    def present_leader(self, now: float) -> Leadership:
        """The same, not remembered."""
        claims = (
            each.leading for each in self._net.states.values()
            if each.leading != NOBODY
            and (each.pid == self._net.pid or now - self._claims.get(each.leading, now) <= self._grace(each.pid))
            and self._net.reaches_majority(each.pid)
        )
        return max(claims, default=NOBODY)

    def _grace(self, claimer: int) -> float:
        net = self._net
        commits = net.commit_time(claimer) + net.quorum_commit_time()
        return (GRACE_ELECTIONS * self._timing.election_s + GRACE_ROUND_TRIPS * net.round_trip()
                + GRACE_COMMITS * commits)

    def try_campaign(self, leader: Leadership, now: float, random: Random) -> Leadership | None:
        """Waits for this node's turn while there is a reason to campaign; when it has come, returns the leadership to
        claim. `leader` is what `leader()` returns now. Each claim that is returned counts as a campaign, so ask only to
        go through with it."""
        pid = self._net.pid
        highest = self.highest()
        if leader >= highest != NOBODY or not self._net.reaches_majority(pid) or self._net.outdated():
            self._since = None
            return None
        if highest != NOBODY and now < self._waits_until:
            return None
        if self._since is None:
            self._since = now
            self._jitter = random.random() / 2
        # Allow one round trip for a leader whose claim may still be on its way; two more for each better-placed node.
        step = self._net.round_trip() * ROUND_TRIPS_BETWEEN_RANKS + self._timing.tick_s * TICKS_BETWEEN_RANKS
        wait = self._net.round_trip() + (self._rank() + self._jitter) * step
        if now - self._since < wait + self._back_off(now, step):
            return None
        if not self._net.exchanges_with_majority(now):
            # A node campaigns only if it recently heard from a majority: to one that is being cut off, the leader may
            # seem gone a moment before the others do, and its claim would depose a good leader when the links are back.
            return None
        self._since = None
        self._last_campaign = now
        self._tries += 1
        return (highest[0] + 1, pid)

    def _back_off(self, now: float, step: float) -> float:
        """Two nodes with temporarily different views of the links (each believes that the other has lost its
        majority) would outbid each other repeatedly: so each doubles its wait after every attempt, up to about the time
        that a campaign takes."""
        election_s = self._timing.election_s
        commits = self._net.commit_time(self._net.pid) + self._net.quorum_commit_time()
        if now - self._last_campaign > CALM * election_s + GRACE_COMMITS * commits:
            self._tries = 0
        return min((step + commits) * (2.0 ** min(self._tries, 16) - 1), election_s + GRACE_COMMITS * commits)

    def _rank(self) -> int:
        """How many nodes should campaign before this one."""
        order = sorted((node for node in self._net.fresh if self._net.reaches_majority(node)), key=self._preference)
        return order.index(self._net.pid)

    def _preference(self, node: int) -> tuple[bool, bool, bool, int, int]:
        states = self._net.states
        front = max(states[other].decided_upto for other in self._net.fresh if other in states)
        behind = front - states[node].decided_upto > self._limits.lag
        usual = SLOW_DISK * self._net.quorum_commit_time() + self._timing.election_s
        slow = self._net.commit_time(node) > usual
        return (states[node].leading == NOBODY, behind, slow, -self._net.degree(node), node)
