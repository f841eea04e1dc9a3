//! What a fence answers, from what was asked and what its row says: the one place in Rust where that stands. The
//! script for Redis states it a second time (`redis/fence.lua`).

use crate::context::{Asked, Phase};

/// A row as it was found.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub(crate) action: String,
    pub(crate) phase: String,
    pub(crate) try_answer: Option<String>,
    pub(crate) answer: Option<String>,
}

/// What the row comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The phase is to take effect now.
    First,
    /// It took effect before, and answered this.
    AlreadyDone(Option<String>),
    /// A cancel whose try left no row, now or when it ran first.
    EmptyCancel,
    /// A try whose cancel was here before it.
    TooLate,
    /// What the row says cannot be if this phase is right.
    Contradiction(String),
}

/// Judges by the row that stood there; nothing, if this phase is the first to ask about the branch. A repetition is
/// looked for before anything else.
pub(crate) fn judge(asked: &Asked<'_>, row: Option<Row>) -> Verdict {
    let Some(row) = row else {
        return match asked.phase {
            Phase::Try => Verdict::First,
            Phase::Cancel => Verdict::EmptyCancel,
            Phase::Confirm => Verdict::Contradiction(
                "no try of it took effect here, or its row was deleted too early".to_owned(),
            ),
        };
    };
    if row.action != asked.action.as_str() {
        return Verdict::Contradiction(format!(
            "its row is one of action {}, and {} asks",
            row.action, asked.action
        ));
    }
    match (asked.phase, row.phase.as_str()) {
        (Phase::Try, "try" | "confirm" | "cancel") => Verdict::AlreadyDone(row.try_answer),
        (Phase::Try, "empty") => Verdict::TooLate,
        (Phase::Confirm, "confirm") | (Phase::Cancel, "cancel") => Verdict::AlreadyDone(row.answer),
        (Phase::Cancel, "empty") => Verdict::EmptyCancel,
        (Phase::Confirm | Phase::Cancel, "try") => Verdict::First,
        (Phase::Confirm, "empty") => Verdict::Contradiction("it was cancelled before any try".to_owned()),
        (Phase::Confirm, "cancel") => Verdict::Contradiction("it was cancelled".to_owned()),
        (Phase::Cancel, "confirm") => Verdict::Contradiction("it was confirmed".to_owned()),
        (_, other) => Verdict::Contradiction(format!("its row is in phase {other:?}, which does not exist")),
    }
}

#[cfg(test)]
mod tests {
    use tcc_core::{ActionName, Gid, Ordinal, Timestamp};

    use super::*;

    /// A database whose check was switched off.
    #[test]
    fn a_phase_that_does_not_exist_is_a_contradiction() {
        let gid = Gid::new(Timestamp::from_millis(1), 1, 0);
        let action: ActionName = "stock.reserve@1".parse().expect("a name");
        for phase in [Phase::Try, Phase::Confirm, Phase::Cancel] {
            let branch = Ordinal::from_index(0);
            let asked = Asked { gid: &gid, branch, action: &action, phase, epoch: 1, retention: None };
            let row =
                Row { action: action.to_string(), phase: "done".into(), try_answer: None, answer: None };
            let Verdict::Contradiction(what) = judge(&asked, Some(row)) else { panic!("{phase:?}") };
            assert_eq!(what, "its row is in phase \"done\", which does not exist");
        }
    }
}
