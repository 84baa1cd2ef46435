"""Ballots `<seq_num, pid, op_num>`.

`(seq_num, pid)` identifies one leadership and orders all of them; `op_num` is the log position that a ballot refers to
(the "slot" of *Paxos Made Moderately Complex*). Two ballots of one leadership differ only in `op_num`, so code that
asks "who outranks whom" compares leaderships, never whole ballots.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from paxos.bounds import Count, Pid, Position

Leadership: TypeAlias = tuple[Count, Pid]
"""(seq_num, pid): at most one node ever acts for a given leadership."""

NOBODY: Leadership = (0, 0)
"""The lowest leadership, used instead of None: outranked by every leadership that a node can claim."""


class Ballot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A leadership and a log position.

    In Prepare, `op_num` is the first position that the proposer does not know to be decided; in Accept, the position of
    the first operation; in Decide, the last position known to be decided.
    """

    seq_num: Count
    pid: Pid
    op_num: Position

    @property
    def leadership(self) -> Leadership:
        return (self.seq_num, self.pid)

    def at(self, op_num: int) -> Ballot:
        """The same leadership with another position."""
        return Ballot(self.seq_num, self.pid, op_num)

    def __str__(self) -> str:
        return f"<{self.seq_num},{self.pid},{self.op_num}>"


def ballot(leadership: Leadership, op_num: int = 0) -> Ballot:
    """The ballot of `leadership` for position `op_num`."""
    return Ballot(leadership[0], leadership[1], op_num)


BOTTOM = ballot(NOBODY)
