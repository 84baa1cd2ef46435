"""Of what surrounds the core: tests of the store, the session, the responder and of versions, told as stories, so that
mutants of these are hunted, too. Each mutant has a process of its own, which imports only the tests that it needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from kvstore.operations import Cancel, Query
from tests.simulation.observer import Violation


def story(tell: Callable[[], None]) -> Callable[[], None]:
    """What pytest reports of a test is no Exception."""

    @wraps(tell)
    def told() -> None:
        import pytest

        try:
            tell()
        except pytest.fail.Exception as failure:
            raise Violation(str(failure)) from failure

    return told


@story
def decided_by_a_later_release() -> None:
    from tests.unit.engine import test_driver as driver
    from tests.unit.kvstore import test_store as store

    store.test_what_a_later_release_decided_is_neither_carried_out_nor_refused(b"\x92\x63\xa1x")
    driver.test_it_stops_before_a_decided_operation_that_it_does_not_know()


@story
def some_members_are_older() -> None:
    import pytest

    from tests.unit.engine import test_paxos as engine
    from tests.unit.paxos import test_operations_version as versions

    versions.test_of_a_node_that_never_spoke_the_lowest_is_assumed()
    versions.test_what_was_heard_is_kept_and_goes_to_the_disk_when_it_changes()
    versions.test_only_its_own_word_counts_of_a_node_that_is_heard()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patches:
        engine.test_what_a_member_does_not_know_is_not_proposed(Path(folder), patches)


@story
def the_turn_that_is_meant() -> None:
    from tests.unit.server import test_session as session

    session.test_a_program_means_the_turn_that_is_open_when_its_command_is_decided()
    session.test_a_prompt_names_only_an_open_turn_and_hears_what_is_true_now()


@story
def called_off() -> None:
    from tests.unit.server import test_responder as responder

    responder.LIMIT_S = 5.0  # which its mutant reaches
    responder.test_what_a_snapshot_has_closed_is_not_asked()
    responder.test_a_leader_that_lost_office_asks_nothing_more()
    responder.test_what_is_asked_again_or_over_is_called_off()


@story
def responses_in_full() -> None:
    from tests.unit.kvstore import test_operations as operations
    from tests.unit.llm import test_thoughts as thoughts
    from tests.unit.server import test_responses_in_full as in_full

    thoughts.test_a_reply_is_its_answer()
    in_full.test_a_cut_answer_is_marked_and_chosen_only_explicitly()
    operations.test_every_kind_of_operation_has_a_release()


@story
def quotas_are_decided() -> None:
    from tests.unit.kvstore import test_quotas as quotas

    quotas.test_a_full_cluster_refuses_conversations_and_says_the_way_out()
    quotas.test_a_full_conversation_takes_no_further_turn_and_finishes_the_last(Query)
    quotas.test_an_import_is_measured_as_a_whole()
    quotas.test_all_conversations_together_have_a_quota_and_what_is_deleted_gives_its_bytes_back()
    quotas.test_what_is_larger_than_a_new_quota_stays_and_answers_can_be_asked_again()
    quotas.test_quotas_are_in_snapshots_and_refuse_the_same_afterwards()
    quotas.test_the_first_quotas_never_replace_decided_ones()


@story
def questions_are_asked_once() -> None:
    from tests.unit.kvstore import test_ask_once as once

    once.test_a_repeated_question_gets_the_turn_that_there_is()
    once.test_a_key_means_one_question()
    once.test_the_history_makes_a_new_conversation_and_nothing_else()
    once.test_a_question_that_a_quota_forbids_begins_no_conversation()
    once.test_a_deleted_conversation_is_gone_and_its_name_free()
    once.test_nothing_is_left_of_what_was_temporary()
    once.test_nobody_proposes_them_while_a_member_does_not_know_them()


@story
def conversations_are_renamed_and_forked() -> None:
    from tests.unit.kvstore import test_forks as forks

    forks.test_another_name_changes_nothing_else()
    forks.test_a_name_that_is_taken_or_an_open_question_is_in_the_way()
    forks.test_a_fork_has_the_closed_turns_and_goes_its_own_way()
    forks.test_keys_stay_with_the_conversation_that_they_were_given_to()
    forks.test_a_fork_counts_against_the_quotas()


@story
def system_prompts_are_decided() -> None:
    from tests.unit.kvstore import test_system_prompts as prompts

    prompts.test_it_is_replaced_taken_away_and_forked()
    prompts.test_its_text_counts_against_the_quotas()
    prompts.test_an_import_brings_it_and_the_title()
    prompts.test_llms_are_told_in_place_of_what_nodes_tell()


@story
def nodes_choose_by_themselves() -> None:
    from tests.unit.kvstore import test_auto as stored
    from tests.unit.server import test_auto_choice as led
    from tests.unit.server import test_responder as responder

    responder.LIMIT_S = 5.0  # which its mutants reach
    stored.test_it_is_decided_for_a_conversation_and_its_forks()
    stored.test_once_for_each_time_that_a_question_is_asked()
    stored.test_not_once_users_choose_again_nor_what_the_leader_answers()
    led.test_when_all_that_are_there_have_answered()
    led.test_a_new_leader_says_what_the_old_one_did_not()
    led.test_what_was_refused_and_is_due_again_is_said_again()


@story
def answers_are_regenerated() -> None:
    from tests.unit.kvstore import test_regenerate as stored
    from tests.unit.server import test_regenerate as led

    stored.test_the_former_answer_stands_until_another_one_is_in()
    stored.test_it_stays_if_something_else_comes_first(Query("c", "and?"))
    led.test_the_leader_is_asked_even_if_its_answer_stands(leads_before=False)


@story
def syntheses() -> None:
    from tests.unit.kvstore import test_synthesis as stored
    from tests.unit.llm import test_synthesis as asked
    from tests.unit.server import test_responder as responder
    from tests.unit.server import test_synthesis as led

    responder.LIMIT_S = 5.0  # which its mutants reach
    stored.test_only_the_one_that_is_awaited_counts()
    stored.test_a_named_node_alone_writes_it()
    for first in stored.CALLING_OFF:
        stored.test_what_comes_first_calls_it_off(first)
    stored.test_it_goes_with_what_it_was_made_out_of()
    stored.test_nodes_rank_it_if_it_is_in_and_it_wins_no_tie()
    stored.test_it_is_no_witness_for_the_answers_that_it_is_made_out_of()
    stored.test_where_nodes_choose_by_themselves_they_wait_for_it()
    stored.test_a_fork_has_it()
    stored.test_an_import_has_it()
    stored.test_rows_that_no_operations_lead_to_are_none()
    asked.test_what_becomes_of_it()
    asked.test_no_answer_ends_the_marks_that_it_stands_between()
    asked.test_of_long_answers_as_much_is_shown_as_there_is_room_for()
    led.test_the_leader_is_asked(leads_before=False)
    led.test_the_leader_ends_one_that_is_awaited_from_a_node_which_is_not_there()
    led.test_another_leader_leaves_that_to_the_leader()


@story
def deletions_are_undone() -> None:
    from tests.unit.kvstore import test_deleted as deleted

    deleted.test_what_was_deleted_comes_back_as_it_was()
    deleted.test_another_one_of_its_name_is_not_touched()
    deleted.test_it_counts_against_no_quota_until_it_is_back()
    deleted.test_it_is_kept_for_so_many_operations()
    deleted.test_what_is_not_kept_any_more_leaves_no_place_that_another_conversation_has()


@story
def temporary_conversations() -> None:
    from tests.unit.server import test_asked_once as asked_once
    from tests.unit.server import test_responder as responder

    responder.LIMIT_S = 5.0  # which its mutant reaches
    asked_once.test_a_deletion_ends_what_the_llm_was_asked()
    for leader in (2, 4):
        asked_once.test_the_leader_deletes_what_is_temporary_and_old(leader)


@story
def namesakes() -> None:
    from tests.simulation import test_ask as simulated
    from tests.unit.kvstore import test_namesakes as stored
    from tests.unit.server import test_asked_once as asked_once
    from tests.unit.server import test_responder as responder
    from tests.unit.server import test_responses_in_full as in_full
    from tests.unit.server import test_session as session

    responder.LIMIT_S = 5.0  # which its mutant reaches
    for before, operation in stored.CASES:
        stored.test_what_is_late_is_refused(before, operation)
    in_full.test_what_some_member_does_not_know_is_left_out()
    session.test_what_was_meant_for_a_deleted_conversation_does_nothing_to_its_namesake("cancel c1", Cancel("c1", 1))
    asked_once.test_what_is_asked_after_a_deletion_is_no_repetition(is_seen=False)
    responder.test_the_leader_ends_a_poll_when_all_that_are_there_have_voted()
    simulated.test_a_late_answer_counts_in_no_namesake()


@story
def quotas_at_a_node() -> None:
    from tests.unit.server import test_quotas as node_quotas

    node_quotas.test_the_leader_proposes_the_first_quotas_once_it_knows_that_there_are_none()
    node_quotas.test_a_node_takes_so_many_bytes_a_minute_from_all_its_users()


@story
def other_servers() -> None:
    from tests.unit.llm import test_answer_shapes as shapes
    from tests.unit.llm import test_body_parser as body_parser
    from tests.unit.llm import test_settings as settings

    settings.test_the_usual_variables_are_for_the_providers_own_host("http://127.0.0.1:8000/v1", False)
    shapes.test_a_stream_that_stops_is_no_answer()
    shapes.test_where_it_says_why_it_ended("finish_reason")
    body_parser.test_a_value_by_itself([])
