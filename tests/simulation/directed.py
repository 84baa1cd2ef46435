"""Which scene catches which mutant: bugs that the swarm takes too long to find, and all that were found in
the core itself (`found-...`), so that they do not return. Each scene passes on the unmodified core (see
test_directed.py), and makes a checker report its mutants.

The scenes are in scenes_*.py, by topic. The bugs found (the last three by review, the others by the simulator):

- `caught_up_candidate`: a candidate that caught up before it was rejected kept preparing from its old position.
- `outranked_by_its_own_past`: a node with a lost disk and a calendar set back was outranked by what it had said before.
- `own_vote_refused`: a leader never resent a batch to its own acceptor.
- `reads_of_an_earlier_incarnation`: a late answer to an earlier incarnation's read
  placed a new one.
- `doubled_answers`: every answer, even a duplicate, caused a new request; the traffic doubled at each step.
- `overtaken_snapshot`: pieces of a snapshot were requested endlessly when its content was already known.
- `same_incarnation_again`: a node that outlived a lost disk took an incarnation that it had used before.
- `refused_by_two_in_turn`: a candidate that was catching up changed its source at every Reject, and never got a whole
  snapshot.
- `cut_off_for_a_while`: a node that was being cut off claimed to lead, and deposed a healthy leader on its return.
- `too_large_for_a_promise`: a Promise was bounded in operations, not in bytes.
- `hanging_disk`: the nodes waited endlessly for a candidate whose disk hung.
- `reads_at_the_barrier`: a read waited for a position that a new leader had inherited, and that was never decided.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation import load
from tests.simulation import scenes_around as around
from tests.simulation import scenes_catching_up as catching_up
from tests.simulation import scenes_changing as changing
from tests.simulation import scenes_digests as comparing
from tests.simulation import scenes_driver as driving
from tests.simulation import scenes_hostile as besieged
from tests.simulation import scenes_leading as leading
from tests.simulation import scenes_lost as losing
from tests.simulation import scenes_membership as joining
from tests.simulation import scenes_proposing as proposing
from tests.simulation import scenes_storage as storing
from tests.simulation import scenes_using as using

STORIES: dict[str, Callable[[], None]] = {
    "window-however-large": load.silent_member,
    "repeated-though-on-its-way": load.thin_load,
    "asks-for-what-is-coming": load.slow_load,
    "word-asked-for": load.slow_load,
    "nothing-urgent": load.slow_load,
    "busy-links-suspected": load.slow_load,
    "batches-however-large": load.small_operations,
    "forwards-repeated-early": load.slow_load,
    "pieces-one-by-one": load.behind_the_log,
    "pieces-repeated": load.behind_the_log,
    "flow-of-former-members": load.members_change,
    "snapshots-however-large": catching_up.log_of_large_operations,
    "kept-however-large": catching_up.log_of_large_operations,
    "held-however-large": catching_up.held_for_long,
    "queue-however-large": catching_up.log_of_large_operations,
    "log-bytes-never-given-back": catching_up.log_of_large_operations,
    "disks-not-counted": leading.slow_disks,
    "commits-not-measured": leading.slow_disks,
    "majority-before-its-promises": leading.slow_disks,
    "votes-counted-twice": proposing.all_comes_twice,
    "promises-counted-twice": proposing.all_comes_twice,
    "stale-accepted-counted": proposing.stale_accepted_counted,
    "stale-promise-counted": proposing.stale_promise_counted,
    "promise-for-another-start-counted": proposing.promise_for_another_start_counted,
    "promises-kept-over-restart": proposing.promises_kept_over_restart,
    "accept-below-promise": proposing.late_words_of_the_replaced,
    "promise-below-promise": proposing.late_words_of_the_replaced,
    "promise-goes-back": proposing.late_words_of_the_replaced,
    "promise-however-long": proposing.too_many_for_a_promise,
    "found-promise-however-large": proposing.too_large_for_a_promise,
    "promise-without-decided": proposing.learns_from_promises,
    "lower-ballot-reproposed": proposing.two_acceptances,
    "any-ballot-reproposed": proposing.two_acceptances,
    "gap-closed": proposing.gap_filled,
    "inherits-too-much": proposing.inherits_too_much,
    "learned-without-watermark": proposing.learned_then_restarted,
    "decide-ignores-leadership": proposing.decide_ignores_leadership,
    "no-dedupe": proposing.decided_twice,
    "promise-behind-the-cut": proposing.promise_behind_the_cut,
    "learns-over-a-gap": catching_up.learns_over_a_gap,
    "snapshot-not-stored": catching_up.snapshot_not_stored,
    "older-snapshot-installed": catching_up.older_snapshot_installed,
    "found-slow-load-is-forgotten": catching_up.snapshot_from_slow_disks,
    "found-configuration-begins-twice": catching_up.snapshot_for_the_leader,
    "snapshots-mixed": catching_up.snapshots_mixed,
    "log-never-cut": catching_up.log_never_cut,
    "no-horizon": catching_up.no_further_than_the_horizon,
    "cut-too-far": catching_up.cut_too_far,
    "found-overtaken-snapshot": catching_up.overtaken_snapshot,
    "found-doubled-answers-ask-twice": catching_up.doubled_answers,
    "found-refusal-changes-source": catching_up.refused_by_two_in_turn,
    "reads-without-quorum": using.reads_without_quorum,
    "higher-leader-confirms": using.higher_leader_confirms,
    "reads-confirmed-by-old-round": using.reads_confirmed_by_old_round,
    "found-reads-at-the-barrier": using.reads_at_the_barrier,
    "reads-before-inheritance": using.reads_before_inheritance,
    "found-reads-of-an-earlier-incarnation": using.reads_of_an_earlier_incarnation,
    "earlier-incarnation-counts": using.earlier_incarnation_counts,
    "found-same-incarnation-again": using.same_incarnation_again,
    "prepares-not-repeated": leading.prepares_not_repeated,
    "found-caught-up-candidate": leading.caught_up_candidate,
    "found-claim-counts-for-ever": leading.hanging_disk,
    "found-cut-off-node-campaigns": leading.cut_off_for_a_while,
    "majority-not-needed": leading.leader_in_a_corner,
    "no-routing": leading.end_of_a_chain,
    "routed-by-the-hop": leading.end_of_a_chain,
    "wiped-node-votes": joining.lost_before_founding,
    "new-node-votes-at-once": joining.lost_before_founding,
    "replaced-disk-votes": leading.lost_disk,
    "lost-disk-never-decided": joining.disks_lost_in_turn,
    "old-disk-votes": joining.old_disk,
    "nobody-remembers": joining.old_disk,
    "start-not-remembered": joining.old_disk_restarted_since,
    "found-old-disk-looks-newer": joining.old_disk_started_twice,
    "memory-not-stored-at-rest": joining.old_disk_restarted_since,
    "vote-not-remembered": joining.old_disk_killed_at_once,
    "old-disk-votes-at-once": joining.old_disk_asked_at_once,
    "found-last-position-remembered": joining.old_disk_with_a_gap,
    "found-older-than-the-founding": joining.older_than_the_founding,
    "goes-on-behind-a-stop-sign": joining.dies_while_it_changes_members,
    "inherited-stop-sign-overrun": joining.dies_while_it_changes_members,
    "late-change-made-again": joining.leaves_and_comes_back,
    "votes-of-strangers-count": joining.replaced_disk_put_back,
    "quorum-of-the-founders": joining.two_of_the_first_three,
    "promises-before-a-stop-sign-count": joining.grows_and_shrinks,
    "any-cluster-counts": joining.speaks_for_another_cluster,
    "found-any-cluster-teaches": joining.stranger_speaks_to_who_has_no_id,
    "found-no-disk-cannot-be-sent": joining.replaced_while_it_is_down,
    "found-reads-where-a-stranger-says": joining.stranger_says_up_to_where_to_read,
    "found-strangers-words-passed-on": joining.stranger_speaks_to_who_has_no_id,
    "found-any-cluster-teaches-old-data": joining.stranger_speaks_to_old_data,
    "found-founded-among-older": changing.first_start_among_older,
    "founded-without-the-missing": changing.founding_waits_for_the_missing,
    "offered-stop-sign-proposed": joining.stop_sign_from_a_user,
    "snapshot-without-configuration": joining.restarted_behind_a_snapshot,
    "learner-votes": leading.lost_disk,
    "found-outranked-by-its-own-past": leading.outranked_by_its_own_past,
    "found-own-vote-refused": leading.own_vote_refused,
    "driver-stores-only-what-is-waited-for": catching_up.snapshot_not_stored,
    "driver-applies-before-it-installs": driving.snapshot_and_decision_together,
    "driver-reads-before-it-applies": driving.read_of_a_fresh_decision,
    "driver-drops-unknown-outcomes": driving.told_although_in_a_snapshot,
    "driver-cuts-behind-what-is-applied": driving.slow_compaction,
    "driver-gives-up-a-snapshot": driving.unreadable_snapshot,
    "driver-serves-on-after-damage": driving.damaged_snapshot,
    "driver-moves-after-it-stopped": driving.leaves_with_writes_under_way,
    "commit-acknowledged-though-it-failed": driving.disk_fails_while_more_waits,
    "commit-goes-on-after-a-failure": driving.disk_fails_while_more_waits,
    "unknown-operation-refused": around.decided_by_a_later_release,
    "unknown-operation-skipped": around.decided_by_a_later_release,
    "newer-operation-proposed": around.some_members_are_older,
    "version-of-the-living-only": around.some_members_are_older,
    "version-forgotten": around.some_members_are_older,
    "version-by-hearsay": around.some_members_are_older,
    "program-names-a-turn": around.the_turn_that_is_meant,
    "prompt-names-a-closed-turn": around.the_turn_that_is_meant,
    "refusal-of-another-turn": around.the_turn_that_is_meant,
    "closed-by-a-snapshot-asked": around.called_off,
    "asked-out-of-office": around.called_off,
    "ranked-when-over": around.called_off,
    "called-off-at-the-llm": around.called_off,
    "thoughts-in-the-answer": around.responses_in_full,
    "cut-answer-chosen": around.responses_in_full,
    "thoughts-proposed-to-old-members": around.responses_in_full,
    "quota-exceeded": around.quotas_are_decided,
    "quota-of-imports-ignored": around.quotas_are_decided,
    "quota-forgets-what-is-dropped": around.quotas_are_decided,
    "quotas-not-stored": around.quotas_are_decided,
    "quotas-not-in-snapshots": around.quotas_are_decided,
    "first-quotas-replace-others": around.quotas_are_decided,
    "quotas-proposed-to-old-members": around.quotas_are_decided,
    "first-quotas-by-anybody": around.quotas_at_a_node,
    "first-quotas-too-early": around.quotas_at_a_node,
    "rate-not-counted": around.quotas_at_a_node,
    "key-forgotten": around.questions_are_asked_once,
    "key-not-stored": around.questions_are_asked_once,
    "key-not-loaded": around.questions_are_asked_once,
    "key-for-any-question": around.questions_are_asked_once,
    "question-begins-half-a-conversation": around.questions_are_asked_once,
    "index-counted-after-deletion": around.questions_are_asked_once,
    "deletion-leaves-rows": around.questions_are_asked_once,
    "deletion-of-another-conversation": around.questions_are_asked_once,
    "asked-for-the-deleted": around.temporary_conversations,
    "expiry-of-what-lasts": around.temporary_conversations,
    "expiry-by-anybody": around.temporary_conversations,
    "key-for-anybody": around.other_servers,
    "half-a-stream-is-an-answer": around.other_servers,
    "no-reason-ends-an-answer": around.other_servers,
    "a-part-as-json-is-an-answer": around.other_servers,
    "commit-read-overtakes": driving.passes_on_what_it_has_not_stored,
    "disk-checksums-ignored": storing.changed_bytes,
    "disk-index-not-checked": storing.changed_bytes,
    "disk-missing-rows-made-up": storing.lost_row,
    "disk-damaged-log-cut": storing.damaged_write_ahead_log,
    "disk-damaged-log-header-trusted": storing.damaged_write_ahead_log,
    "found-log-damaged-at-its-beginning": storing.damaged_write_ahead_log,
    "disk-damaged-file-deleted": storing.damaged_disk_replaced,
    "disk-replacement-may-found": storing.damaged_disk_replaced,
    "restored-without-identities": storing.restored_disks,
    "restored-with-one-id": storing.restored_disks,
    "lost-quorum-not-told": losing.most_disks_are_gone,
    "quorum-lost-too-early": losing.most_disks_are_gone,
    "lost-by-an-older-configuration": losing.away_while_disks_were_replaced,
    "digests-not-told": comparing.wrong_state_stops,
    "wrong-state-goes-on": comparing.wrong_state_stops,
    "digests-only-at-rest": comparing.never_at_rest,
    "digest-below-a-snapshot": comparing.right_behind_a_snapshot,
    "more-than-here-is-a-majority": comparing.wrong_ones_are_more,
    "tie-stops-both": comparing.one_against_one,
    "stops-without-a-word": comparing.wrong_state_stops,
    "tie-not-told": comparing.one_against_one,
    "digest-of-a-disk-that-is-gone": comparing.disk_that_is_gone,
    "no-ceilings": besieged.highest_ballot,
    "ceiling-rises-with-every-frame": besieged.highest_ballot,
    "gossip-above-the-ceiling": besieged.highest_leadership_in_gossip,
    "start-that-no-clock-shows": besieged.latest_of_all_starts,
    "memories-above-the-ceiling": besieged.every_disk_is_old,
    "writes-beyond-number": besieged.every_disk_is_old,
    "words-put-into-mouths": besieged.every_disk_is_another,
    "any-round-trip": besieged.round_trip_of_a_year,
    "forwards-anything": besieged.operations_that_stop_nodes,
    "incarnation-of-no-clock": besieged.incarnation_of_no_clock,
    "taught-by-anybody": besieged.lessons_that_nobody_asked_for,
    "snapshot-of-no-cluster": besieged.lessons_that_nobody_asked_for,
    "unreadable-snapshot-installed": besieged.lessons_that_nobody_asked_for,
    "read-answered-by-anybody": besieged.read_answered_by_another,
    "found-read-beyond-the-log": besieged.read_placed_beyond_the_log,
    "found-version-for-ever": besieged.version_that_nothing_exceeds,
}
"""By mutant."""

MORE: tuple[Callable[[], None], ...] = (
    changing.stop_sign_of_the_dead, changing.removed_with_its_old_disk, changing.added_and_removed_in_one_leadership,
    changing.missed_two_configurations, changing.promised_before_the_configuration,
    joining.votes_for_what_was_stored_before,
)
"""Stories that no single mistake belongs to: attacks that the core withstood."""
