//! What must have come of a branch, told from what was committed in which order; written without a look at the rules.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Try,
    Confirm,
    Cancel,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Try => "try",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }
}

/// What a fence was heard to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    First,
    AlreadyDone(u64),
    EmptyCancel,
    TooLate,
    Contradiction,
}

/// The effects of one branch that are committed, with what each of them answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Branch {
    pub(crate) effects: BTreeMap<Kind, u64>,
    /// A cancel was committed that had nothing to undo.
    pub(crate) barred: bool,
}

impl Branch {
    pub(crate) fn expected(&self, kind: Kind) -> Heard {
        let done = |kind| self.effects.get(&kind).copied();
        match kind {
            _ if done(kind).is_some() => Heard::AlreadyDone(done(kind).unwrap()),
            Kind::Try if self.barred => Heard::TooLate,
            Kind::Try => Heard::First,
            Kind::Cancel if self.barred => Heard::EmptyCancel,
            Kind::Cancel if done(Kind::Confirm).is_some() => Heard::Contradiction,
            Kind::Cancel if done(Kind::Try).is_some() => Heard::First,
            Kind::Cancel => Heard::EmptyCancel,
            Kind::Confirm if done(Kind::Cancel).is_some() => Heard::Contradiction,
            Kind::Confirm if done(Kind::Try).is_some() => Heard::First,
            Kind::Confirm => Heard::Contradiction,
        }
    }

    pub(crate) fn committed(&mut self, kind: Kind, heard: Heard, answer: u64) {
        match heard {
            Heard::First => {
                let before = self.effects.insert(kind, answer);
                assert_eq!(before, None, "a second effect of {kind:?}");
            }
            Heard::EmptyCancel => self.barred = true,
            Heard::AlreadyDone(_) | Heard::TooLate | Heard::Contradiction => {}
        }
        let has = |kind| self.effects.contains_key(&kind);
        assert!(!(has(Kind::Confirm) && has(Kind::Cancel)), "confirmed and cancelled");
        assert!(!(self.barred && has(Kind::Try)), "a try took effect though its cancel found none");
        assert!(has(Kind::Try) || !has(Kind::Confirm) && !has(Kind::Cancel), "ended without a try");
    }
}
