"""Who should stand for leadership, and when.

The rule, for a node that votes and reaches a majority directly: if no leader that reaches a majority claims the
highest leadership that is known anywhere, stand with a higher one. The better a node is connected the sooner it
stands, and all nodes rank themselves by the same gossip, so that mostly one of them stands.

A claim that no quorum has promised counts for a while only, except for its own claimer.

Why it settles, for any fixed pattern of links: majorities intersect, so two nodes that each reach a majority are at
most two hops apart, and the owner of the highest leadership is seen by every other node that might stand. Each
standing raises the highest leadership; once its owner keeps reaching a majority, nobody has a reason to stand. A
leader that lost its majority is passed over at once, even by nodes that still hear it.
"""

from __future__ import annotations

from random import Random

from paxos.ballot import NOBODY, Leadership
from paxos.connectivity import Connectivity
from paxos.limits import Limits, Timing

ROUND_TRIPS_BETWEEN_RANKS = 2.0
TICKS_BETWEEN_RANKS = 2.0
CALM = 2.0
"""Who did not stand for this many election times may stand at once again."""
GRACE_ELECTIONS, GRACE_ROUND_TRIPS = 2.0, 8.0
"""For so long (the sum of both) a claim counts before a quorum has promised; for its own claimer, without end."""


class Election:
    def __init__(self, connectivity: Connectivity, timing: Timing, limits: Limits) -> None:
        self._net = connectivity
        self._timing = timing
        self._limits = limits
        self._since: float | None = None
        self._jitter = 0.0
        self._claims: dict[Leadership, float] = {}
        """When each claim that isn't established yet was first seen."""
        self._stood = 0.0
        self._tries = 0
        """How often this node stood without a calm time in between."""
        self._heard_of: Leadership = NOBODY

    def outranked(self, leadership: Leadership) -> None:
        """Somebody refused in favour of `leadership`."""
        self._heard_of = max(self._heard_of, leadership)

    def highest(self) -> Leadership:
        """The highest leadership that is known to have been claimed or promised, by anybody, dead or alive."""
        rows = self._net.rows.values()
        return max(self._heard_of, *(row.promised for row in rows), *(row.leading for row in rows), NOBODY)

    def leader(self, now: float) -> Leadership:
        """The highest leadership claimed by a live node that reaches a majority; NOBODY if there is none.

        A claim that comes to nothing (its claimer's disk hangs, say) must not keep others from standing for ever.
        """
        rows = [row for row in self._net.rows.values() if row.leading != NOBODY]
        self._claims = {row.leading: self._claims.get(row.leading, now) for row in rows if not row.established}
        grace = GRACE_ELECTIONS * self._timing.election_s + GRACE_ROUND_TRIPS * self._net.round_trip()
        claims = (
            row.leading for row in rows
            if (row.pid == self._net.pid or now - self._claims.get(row.leading, now) <= grace)
            and self._net.reaches_majority(row.pid)
        )
        return max(claims, default=NOBODY)

    def due(self, now: float, random: Random) -> Leadership | None:
        """The leadership that this node should claim now, or None."""
        pid = self._net.pid
        highest = self.highest()
        if not self._net.reaches_majority(pid) or (highest != NOBODY and self.leader(now) >= highest):
            self._since = None
            return None
        if self._since is None:
            self._since = now
            self._jitter = random.random() / 2
        # A leader whose claim may still be on its way is given one round trip; each better-placed node, two more.
        step = self._net.round_trip() * ROUND_TRIPS_BETWEEN_RANKS + self._timing.tick_s * TICKS_BETWEEN_RANKS
        wait = self._net.round_trip() + (self._rank() + self._jitter) * step
        if now - self._since < wait + self._back_off(now, step):
            return None
        if not self._net.exchanges_with_majority(now):
            # To a node that is cut off the leader may seem gone a moment before the others do. A claim made then would
            # depose a good leader when the links are back.
            return None
        self._since = None
        self._stood = now
        self._tries += 1
        return (highest[0] + 1, pid)

    def _back_off(self, now: float, step: float) -> float:
        """Two nodes whose pictures of the links differ for a while (each believes that the other has lost its
        majority) would outbid each other at every step: so each waits twice as long after every try."""
        if now - self._stood > CALM * self._timing.election_s:
            self._tries = 0
        return min(step * (2.0 ** min(self._tries, 16) - 1), self._timing.election_s)

    def _rank(self) -> int:
        """How many nodes should stand before this one."""
        order = sorted((node for node in self._net.fresh if self._net.reaches_majority(node)), key=self._preference)
        return order.index(self._net.pid)

    def _preference(self, node: int) -> tuple[bool, bool, int, int]:
        row = self._net.rows[node]
        front = max(self._net.rows[other].decided for other in self._net.fresh if other in self._net.rows)
        behind = front - row.decided > self._limits.lag
        return (row.leading == NOBODY, behind, -self._net.degree(node), node)
