"""The acceptor, the memory of the cluster (Lamport, *Paxos Made Simple*, section 2.2).

It answers Prepare and Accept, and never goes back on a promise. A reply leaves only when what it vouches for is on
disk. A node that may not vote stores what it hears, and answers nothing.
"""

from __future__ import annotations

from paxos.ballot import Ballot
from paxos.effects import Effects
from paxos.limits import Limits
from paxos.log import Log
from paxos.messages import Accept, Accepted, Behind, Confirm, Confirmed, Outranked, Prepare, Promise
from paxos.voter_registry import VoterRegistry


class Acceptor:
    def __init__(
        self, promised: Ballot, log: Log, registry: VoterRegistry, limits: Limits, effects: Effects
    ) -> None:
        self.promised = promised
        self._log = log
        self._registry = registry
        self._limits = limits
        self._effects = effects

    def promise(self, ballot: Ballot) -> bool:
        """Raises the promise to `ballot` if it is a higher leadership; true if it did."""
        if ballot.leadership > self.promised.leadership:
            self.promised = self._effects.to_persist().promised = ballot
            return True
        return False

    def prepare(self, sender: int, message: Prepare) -> bool:
        """Phase 1b; true if the promise rose.

        A proposer that is behind is told so instead of being sent half of the log: a leader knows (nearly) all that is
        decided.
        """
        if not self._registry.votes:
            return False
        ballot, log = message.ballot, self._log
        if ballot.leadership < self.promised.leadership:
            self._effects.send_after_persist(sender, Outranked(ballot, self.promised))
            return False
        rose = self.promise(ballot)
        if self._cannot_show_all_from(ballot.op_num):
            self._effects.send_after_persist(sender, Behind(ballot, log.decided_upto))
        else:
            promise = Promise(ballot, log.entries_from(ballot.op_num), log.decided_upto, self._registry.vouches_as)
            self._effects.send_after_persist(sender, promise)
        return rose

    def _cannot_show_all_from(self, start: int) -> bool:
        """Part of what is decided from `start` on is cut off, or it is too much for one Promise."""
        log, limits = self._log, self._limits
        return (start <= log.compacted or log.decided_upto - start + 1 > limits.lag
                or log.decided_bytes(start) > limits.lag_bytes)

    def accept(self, sender: int, message: Accept) -> bool:
        """Phase 2b; true if the promise rose.

        Does not reply to an Accept so far ahead that storing it would let the log grow without bound.
        """
        ballot, operations = message.ballot, message.operations
        if ballot.leadership < self.promised.leadership:
            self._answer(sender, Outranked(ballot, self.promised))
            return False
        log, limits = self._log, self._limits
        if ballot.op_num < self._registry.since:
            return False  # All of that is decided. Its proposer, of an earlier configuration, learns it by catching up.
        last = ballot.op_num + len(operations) - 1
        beyond = last > log.decided_upto + limits.horizon or log.open_bytes > limits.horizon_bytes
        if not operations or (beyond and last > log.decided_upto):
            return False
        rose = self.promise(ballot)
        entries = log.accept(ballot.leadership, ballot.op_num, operations)
        if entries:
            self._effects.to_persist().entries.extend(entries)
        self._answer(sender, Accepted(ballot, len(operations), self._registry.vouches_as))
        return rose

    def _answer(self, sender: int, reply: Accepted | Outranked) -> None:
        if self._registry.votes:
            self._effects.send_after_persist(sender, reply)

    def confirm(self, sender: int, message: Confirm) -> None:
        """Says whether anything higher was promised; nothing changes, so nothing has to be stored before."""
        if not self._registry.votes:
            return
        if message.ballot.leadership < self.promised.leadership:
            self._effects.send(sender, Outranked(message.ballot, self.promised))
        else:
            self._effects.send(sender, Confirmed(message.ballot, message.count, self._registry.vouches_as))
