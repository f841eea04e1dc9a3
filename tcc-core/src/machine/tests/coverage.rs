//! Every transition and every refusal is a named case. `variants` does not compile when one is added and
//! not listed there; this fails when one is listed there and has no case, or its case never reaches it.

use std::collections::BTreeSet;

use super::{
    begin, claim, close, commit, decide, ending, late, lease, operate, park, register, report, scene, sweep,
};
use crate::{
    machine::Transition as T,
    record::{
        Direction::{Cancel, Confirm},
        ParkCause, Reason,
    },
    testing::variants,
};

const TRANSITIONS: &[(T, fn())] = &[
    (T::Begun, begin::a_begin_makes_an_empty_record_with_lease_and_deadline),
    (T::BegunAgain, begin::rule_14_a_repeated_begin_is_answered_as_the_first_whatever_happened_since),
    (T::KeyTaken, begin::rule_15_a_key_that_is_taken_leads_to_the_first_transaction),
    (
        T::KeyTakenOver,
        begin::rule_15_the_key_of_a_cancelled_transaction_can_begin_again_if_the_transaction_says_so,
    ),
    (T::Created, register::rule_03_a_first_registration_creates_the_record),
    (T::Registered, register::rule_03_a_branch_is_recorded_with_its_arguments_before_its_try),
    (T::RegisteredAgain, register::rule_16_a_call_made_twice_is_one_branch_with_one_outcome),
    (T::RegisteredElsewhere, register::rule_16_only_the_first_run_of_a_call_tries_it),
    (T::Reported, report::a_try_that_ends_before_the_decision_is_tried_or_refused),
    (T::ReportedLate, late::rule_06c_an_outcome_that_comes_before_its_cancel_is_told_to_it),
    (T::Reopened, late::rule_06c_a_late_outcome_of_any_kind_reopens_its_branch_once),
    (T::ReportedAgain, report::rule_14_a_repeated_report_changes_nothing),
    (T::ReportConflict, report::the_first_word_of_a_try_stands),
    (T::ReportLost, report::a_report_of_a_branch_that_was_lost_says_so_and_the_others_count),
    (
        T::Decided(Confirm, Reason::Committed),
        commit::a_commit_of_tries_that_all_succeeded_and_were_heard_confirms,
    ),
    (T::Decided(Cancel, Reason::Aborted), decide::an_aborting_initiator_cancels),
    (T::Decided(Cancel, Reason::Panicked), decide::a_panicking_initiator_cancels),
    (T::Decided(Cancel, Reason::Dropped), decide::a_dropped_initiator_cancels),
    (
        T::Decided(Cancel, Reason::DeadlinePassed),
        sweep::rule_01_a_transaction_is_cancelled_at_its_deadline_though_its_initiator_lives,
    ),
    (
        T::Decided(Cancel, Reason::InitiatorLost),
        sweep::rule_12_a_transaction_whose_initiator_died_is_cancelled_when_its_lease_ends,
    ),
    (T::Decided(Cancel, Reason::Operator), decide::an_operator_cancels),
    (
        T::Decided(Cancel, Reason::UnnamedBranch),
        commit::rule_04_a_commit_that_does_not_name_every_branch_cancels,
    ),
    (
        T::Decided(Cancel, Reason::UnknownOutcome),
        commit::rule_04_a_commit_of_an_unheard_outcome_cancels_even_if_the_record_knows_it,
    ),
    (
        T::Decided(Cancel, Reason::OutcomeConflict),
        commit::rule_04_a_commit_that_contradicts_the_record_cancels,
    ),
    (
        T::Decided(Cancel, Reason::LostBranch),
        commit::rule_04_a_commit_of_a_branch_the_record_lost_cancels_and_names_it,
    ),
    (T::Decided(Cancel, Reason::PendingCall), decide::rule_16_an_initiator_with_a_pending_call_cancels),
    (T::DecidedBefore, decide::rule_01_and_invariant_02_the_second_decision_learns_the_first),
    (T::Tombstone, decide::rule_05_the_record_of_a_cancelled_transaction_is_the_tombstone),
    (T::ClaimedInline, decide::rule_11_a_decision_claims_for_its_caller_and_rings_for_the_rest),
    (T::Claimed, claim::a_claim_takes_what_its_participant_has_and_tells_all_a_drive_needs),
    (T::ClaimedAgain, claim::rule_11_the_same_token_gets_the_same_answer),
    (T::ClaimedAround, claim::a_claim_leaves_what_is_paused_and_its_message),
    (T::ClaimedNothing, claim::rule_11_and_invariant_04_a_leased_branch_is_not_claimed_until_its_lease_ends),
    (T::Renewed, lease::a_renewed_claim_lasts_longer),
    (T::RenewedTooLate, lease::a_claim_that_is_closed_or_anothers_is_not_renewed),
    (T::KeptAlive, lease::rule_12_an_initiator_that_lives_prolongs_its_lease),
    (T::Completed(Confirm), close::a_finished_drive_makes_its_branch_final_in_its_direction),
    (T::Completed(Cancel), close::a_finished_drive_makes_its_branch_final_in_its_direction),
    (T::CompletedLate(Confirm), close::rule_11_a_completion_is_accepted_from_a_stale_epoch),
    (T::CompletedLate(Cancel), close::rule_11_a_completion_is_accepted_from_a_stale_epoch),
    (
        T::CompletedUnaware,
        late::rule_11_a_drive_that_finishes_knowing_less_than_the_record_drives_again_at_once,
    ),
    (T::CompletedAgain, close::a_final_branch_that_is_finished_again_stays_as_it_is),
    (T::Failed, close::rule_10_a_failed_attempt_is_rescheduled_and_stays_counted),
    (T::Ongoing, close::rule_10_an_ongoing_handler_is_asked_again_and_spends_no_attempt),
    (T::Released, close::a_released_branch_waits_for_another_and_spends_no_attempt),
    (T::HandedOn, close::rule_10_an_unknown_action_is_handed_on_through_due_never_straight_back),
    (T::Parked(ParkCause::AttemptsExhausted), park::rule_10_a_branch_out_of_attempts_is_parked),
    (T::Parked(ParkCause::OngoingTooLong), park::rule_10_a_branch_ongoing_for_too_long_is_parked),
    (T::Parked(ParkCause::Handler), park::rule_10_a_branch_is_parked_when_its_handler_says_so),
    (T::Parked(ParkCause::Undecodable), park::rule_10_a_branch_whose_payload_cannot_be_decoded_is_parked),
    (T::Parked(ParkCause::UnknownAction), park::rule_10_a_branch_nobody_knows_the_action_of_is_parked),
    (T::ClosedAgain, close::rule_11_an_epoch_is_closed_once_and_a_repeat_gets_the_first_answer),
    (T::Rung, sweep::rule_08_a_message_nobody_took_is_rung_again_in_growing_intervals),
    (T::Ended(Confirm), ending::invariant_05_a_transaction_ends_when_its_last_branch_is_final),
    (T::Ended(Cancel), ending::invariant_05_a_cancelled_transaction_ends_cancelled),
    (T::SweptEarly, sweep::a_sweep_that_comes_early_does_nothing),
    (T::SweptIdle, sweep::a_sweep_of_what_needs_nobody_does_nothing),
    (T::Redriven, park::a_redriven_branch_is_driven_again_in_its_direction),
    (
        T::Resolved(Confirm),
        operate::an_operator_attests_a_parked_branch_and_the_last_one_ends_the_transaction,
    ),
    (T::Resolved(Cancel), operate::each_branch_is_attested_in_its_own_direction),
    (T::ResolvedAgain, operate::a_repeated_change_is_kept_once),
];

const REFUSALS: &[(&str, fn())] = &[
    ("NotFound", register::rule_03_a_missing_record_is_unknown_to_a_later_registration),
    ("TooLateToCreate", begin::rule_03_nothing_begins_at_its_deadline_or_after),
    ("GidTaken", begin::a_gid_of_another_process_or_name_is_refused),
    ("AlreadyDecided", register::rule_06a_rule_07_and_invariant_07_nothing_is_registered_after_the_decision),
    ("DeadlinePassed", register::no_branch_is_added_at_the_deadline_or_after),
    ("CallMismatch", register::rule_16_a_call_id_with_another_action_or_other_arguments_is_refused),
    ("TooManyBranches", register::a_record_takes_no_more_branches_than_allowed),
    ("TooManyPayloadBytes", register::a_record_takes_no_more_bytes_of_payloads_than_allowed),
    ("NotDecided", claim::nothing_is_claimed_before_the_decision),
    ("NoSuchBranch", close::a_branch_the_record_does_not_hold_cannot_be_closed),
    ("WrongDirection", close::invariant_03_a_drive_in_the_other_direction_is_refused),
    ("StaleEpoch", close::rule_11_failing_rescheduling_and_parking_are_not_accepted_from_a_stale_epoch),
    ("NotParked", park::a_redrive_of_what_is_not_parked_is_refused),
    ("WouldFlip", operate::rule_01_an_operator_never_turns_a_decision_round),
    ("BranchLeased", operate::a_branch_that_a_process_drives_is_not_attested),
];

#[test]
fn every_transition_is_a_named_case() {
    let named: BTreeSet<_> = TRANSITIONS.iter().map(|(transition, _)| *transition).collect();
    assert_eq!(named, variants::transitions());
    for (transition, case) in TRANSITIONS {
        assert!(scene::reached(*case).0.contains(transition), "the case of {transition:?} does not reach it");
    }
}

#[test]
fn every_refusal_is_a_named_case() {
    let named: BTreeSet<_> = REFUSALS.iter().map(|(refusal, _)| *refusal).collect();
    assert_eq!(named, variants::refusals());
    for (refusal, case) in REFUSALS {
        assert!(scene::reached(*case).1.contains(refusal), "the case of {refusal} does not reach it");
    }
}
