"""The acceptor: the memory of the cluster (Lamport, *Paxos Made Simple*, section 2.2).

It answers Prepare and Accept, and never goes back on a promise. What it returns for a reply may only leave once what
it returns for the disk is there; the replica puts the two into one Output to make it so.
"""

from __future__ import annotations

from paxos.ballot import Ballot
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Accept, Accepted, Confirm, Confirmed, Entry, Prepare, Promise, Reject


class Acceptor:
    def __init__(self, promised: Ballot, log: Log, limits: Limits) -> None:
        self.promised = promised
        self.log = log
        self._limits = limits

    def promise(self, ballot: Ballot) -> bool:
        """Raises the promise to `ballot` if it is a higher leadership; true if there is something new to store."""
        if ballot.leadership > self.promised.leadership:
            self.promised = ballot
            return True
        return False

    def prepare(self, message: Prepare) -> tuple[Promise | Reject, bool]:
        """Phase 1b. Returns the reply, and whether a new promise must be stored before it leaves.

        A proposer that is behind is told so instead of being sent half of the log: whoever leads knows (nearly) all
        that is decided.
        """
        ballot, log = message.ballot, self.log
        if ballot.leadership < self.promised.leadership:
            return self._reject(ballot), False
        fresh = self.promise(ballot)
        start = ballot.op_num
        if (start <= log.compacted or log.decided - start + 1 > self._limits.lag
                or log.decided_bytes(start) > self._limits.lag_bytes):
            return self._reject(ballot), fresh
        return Promise(ballot, log.entries_from(start), log.decided), fresh

    def accept(self, message: Accept) -> tuple[Accepted | Reject | None, bool, list[Entry]]:
        """Phase 2b. Returns the reply, whether the promise rose, and the entries to store before the reply leaves.

        No reply at all to an Accept so far ahead that storing it would let the log grow without bound.
        """
        ballot, operations = message.ballot, message.operations
        if ballot.leadership < self.promised.leadership:
            return self._reject(ballot), False, []
        last = ballot.op_num + len(operations) - 1
        beyond = last > self.log.decided + self._limits.horizon or self.log.open_bytes > self._limits.horizon_bytes
        if not operations or (beyond and last > self.log.decided):
            return None, False, []
        fresh = self.promise(ballot)
        entries = self.log.accept(ballot.leadership, ballot.op_num, operations)
        return Accepted(ballot, len(operations)), fresh, entries

    def confirm(self, message: Confirm) -> Confirmed | Reject:
        """Says whether anything higher was promised; nothing changes, so nothing needs to be stored."""
        if message.ballot.leadership < self.promised.leadership:
            return self._reject(message.ballot)
        return Confirmed(message.ballot, message.count)

    def _reject(self, ballot: Ballot) -> Reject:
        return Reject(ballot, self.promised, self.log.decided)
