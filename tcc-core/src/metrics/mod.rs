//! What a runtime measures, under which names.
//!
//! With the feature `metrics`, each runtime hands these to the recorder of the `metrics` facade that is installed when
//! it starts. Handles are made then, once for each action, so that counting is an addition. Labels come from closed sets,
//! from the actions of the program, and from its first [`NAMES_MAX`] names of transactions: never from an id.

mod instrument;
mod meter;

pub(crate) use meter::{Meter, StoreCall, Tally, outcome_of};

use crate::record::TransactionState;

/// Names of transactions that get a label of their own in a process; the others share [`OTHER`].
pub const NAMES_MAX: usize = 64;
/// The label of transactions whose name came after [`NAMES_MAX`] others.
pub const OTHER: &str = "other";

/// Bounds, in seconds, for the histograms of a recorder that asks for some: from a call of the store to a recovery.
pub const BUCKETS_SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// What is measured, and how to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub kind: MetricKind,
    /// What it counts in.
    pub unit: MetricUnit,
    /// The labels each of its series has.
    pub labels: &'static [&'static str],
    /// What it says.
    pub meaning: &'static str,
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows, in each process on its own: sum over processes.
    Counter,
    /// Every process says the same of the shared store: take the maximum over processes.
    Gauge,
    /// A distribution, in each process on its own: sum its buckets over processes.
    Histogram,
}

/// What a metric counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricUnit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
}

macro_rules! table {
    ($($ident:ident: $kind:ident, $unit:ident, $name:literal, [$($label:literal),*], $meaning:literal;)*) => {
        $(pub(crate) const $ident: Metric = Metric {
            name: $name,
            kind: MetricKind::$kind,
            unit: MetricUnit::$unit,
            labels: &[$($label),*],
            meaning: $meaning,
        };)*

        /// Every metric there is.
        pub const METRICS: &[Metric] = &[$($ident),*];
    };
}

table! {
    BEGUN: Counter, Count, "tcc_transactions_begun_total", ["transaction"],
        "Transactions begun here.";
    DECIDED: Counter, Count, "tcc_transactions_decided_total", ["decision", "reason"],
        "Decisions that came about here, or were learned by the initiator, and why.";
    FINISHED: Counter, Count, "tcc_transactions_finished_total", ["transaction", "outcome"],
        "Transactions whose last branch became final here.";
    DURATION: Histogram, Seconds, "tcc_transaction_duration_seconds", ["transaction", "outcome"],
        "From the begin of a transaction until its last branch became final here.";
    OPEN: Gauge, Count, "tcc_open_transactions", ["state"],
        "Transactions in the store that are not final.";
    OLDEST: Gauge, Seconds, "tcc_oldest_transaction_age_seconds", ["state"],
        "Age of the oldest transaction in the store that is not final; 0 without one.";
    PARKED: Gauge, Count, "tcc_parked_branches", ["cause"],
        "Branches in the store that wait for an operator.";
    UNREADABLE: Gauge, Count, "tcc_unreadable_records", [],
        "Open transactions in the store whose record cannot be read.";
    COMPLETE: Gauge, Count, "tcc_survey_complete", [],
        "1 if the latest look at the store saw every open transaction; 0 if there are more than `survey_max`, and the four gauges before say at least.";
    CALLS: Counter, Count, "tcc_branch_calls_total", ["action", "phase", "outcome"],
        "Handlers that ended here: try `succeeded`, `refused` or `unknown`; confirm and cancel `done`, `failed`, `ongoing`, `parked`, `released` or `lost`.";
    CALL_DURATION: Histogram, Seconds, "tcc_branch_duration_seconds", ["action", "phase"],
        "How long handlers ran here.";
    RETRIES: Counter, Count, "tcc_branch_retries_total", ["action", "phase"],
        "Handlers of confirm and cancel that ran here as second or later attempt.";
    DUPLICATES: Counter, Count, "tcc_duplicate_calls_total", ["action"],
        "Calls made a second time, and answered from the record of the first.";
    EMPTY_CANCELS: Counter, Count, "tcc_empty_cancels_total", ["action"],
        "Cancels that ended well here without knowing whether their try had an effect.";
    LATE_TRIES: Counter, Count, "tcc_late_tries_total", ["action"],
        "Tries that ended here after the decision.";
    RECOVERY_LAG: Histogram, Seconds, "tcc_recovery_lag_seconds", [],
        "How long a timer had run out when a sweep here decided a transaction or rang for its branches.";
    STORE_DURATION: Histogram, Seconds, "tcc_store_call_duration_seconds", ["operation"],
        "How long calls of the store took from here.";
    STORE_ERRORS: Counter, Count, "tcc_store_errors_total", ["operation", "kind"],
        "Calls of the store from here that failed, each sending of a repeated call on its own.";
    ALARMS: Counter, Count, "tcc_alarms_total", ["alarm", "outcome"],
        "Alarms handed to the notifier here, `told` or `failed`.";
}

/// The states that are counted.
pub(crate) const STATES: [TransactionState; 3] =
    [TransactionState::Trying, TransactionState::Confirming, TransactionState::Cancelling];
