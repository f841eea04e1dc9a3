//! What operators change, and what is kept of it.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    error::InvalidInput,
    gid::Gid,
    name::{ActionName, Name, Ordinal, text_type},
    record::Direction,
    time::Timestamp,
};

/// The longest a [`Why`] may be, in bytes.
pub const WHY_BYTES_MAX: usize = 256;
/// The most pauses that stand at a time.
pub const PAUSES_MAX: usize = 256;
/// The most entries of the audit a shard keeps; the oldest go first.
pub const AUDIT_ENTRIES_MAX: usize = 10_000;
/// The most branches an entry of the audit names.
pub const AUDIT_BRANCHES_MAX: usize = 100;

/// Why an operator changes something: one line of 1 to 256 bytes, without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Why(Arc<str>);

impl Why {
    /// Checks and keeps a reason.
    ///
    /// # Errors
    /// When the text is blank, longer than [`WHY_BYTES_MAX`] or holds a control character.
    pub fn new(text: &str) -> Result<Self, InvalidInput> {
        let fits = text.len() <= WHY_BYTES_MAX && !text.trim().is_empty();
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInput::new("reason", text, "one line of 1 to 256 bytes, without control characters"))
        }
    }
}

text_type!(Why);

/// What a pause covers. As text, an action has an `@` and a participant has none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Every action of a participant.
    Participant(Name),
    /// One version of an action.
    Action(ActionName),
}

impl Scope {
    /// Whether phase two of this action is covered.
    #[must_use]
    pub fn covers(&self, action: &ActionName) -> bool {
        match self {
            Self::Participant(participant) => participant.as_str() == action.participant(),
            Self::Action(paused) => paused == action,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(participant) => participant.fmt(f),
            Self::Action(action) => action.fmt(f),
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        if text.contains('@') { text.parse().map(Self::Action) } else { text.parse().map(Self::Participant) }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// A pause that stands: no process drives phase two of what it covers. Tries go on, and so do decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What it covers.
    pub scope: Scope,
    /// Who paused it.
    pub by: Name,
    /// Why.
    pub why: Why,
    /// Since when, in server time.
    pub since: Timestamp,
}

/// One change an operator made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in server time.
    pub at: Timestamp,
    /// Who.
    pub by: Name,
    /// Why.
    pub why: Why,
    /// What.
    pub changed: Changed,
}

/// What an operator changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// A transaction was decided to be cancelled.
    Cancelled {
        /// The transaction.
        gid: Gid,
    },
    /// Parked branches were set going again.
    Retried {
        /// The transaction.
        gid: Gid,
        /// The first [`AUDIT_BRANCHES_MAX`] of them.
        branches: Vec<Ordinal>,
        /// How many they are.
        count: usize,
    },
    /// A branch was attested to be final.
    Resolved {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// The direction it was driven in.
        direction: Direction,
    },
    /// Phase two was paused.
    Paused(Scope),
    /// Phase two was resumed.
    Resumed(Scope),
}

/// A page of the audit, the newest entry first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Where older ones begin, if there may be any.
    pub next: Option<AuditCursor>,
}

/// A place in a shard's audit, of the store that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCursor(String);

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AuditCursor {
    /// A place, as a store writes it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// As the store wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a process tells of itself while it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The process.
    pub process: Name,
    /// The actions whose phase two it runs.
    pub actions: Vec<ActionName>,
    /// Version of the framework it is built with.
    pub version: String,
    /// When it was last heard, in server time; a store sets it.
    pub heard_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        assert!(Why::new("the bank says it was paid, ticket 17 / ä").is_ok());
        assert!(Why::new(&"w".repeat(WHY_BYTES_MAX)).is_ok());
        for bad in ["", "   ", "two\nlines", "a\u{7f}b", &"w".repeat(WHY_BYTES_MAX + 1)] {
            let error = Why::new(bad).unwrap_err().to_string();
            assert!(error.contains("reason") && error.contains("256 bytes"), "{error}");
        }
    }

    #[test]
    fn a_scope_reads_as_it_is_written() {
        for text in ["inventory", "shop.inventory", "inventory.reserve@1"] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            assert_eq!(matches!(scope, Scope::Action(_)), text.contains('@'));
        }
        for bad in ["", "a b", "inventory@1", "inventory.reserve@x"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_participant_covers_its_actions_and_an_action_only_itself() {
        let action = |text: &str| text.parse::<ActionName>().unwrap();
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        assert!(scope("shop.stock").covers(&action("shop.stock.reserve@2")));
        assert!(!scope("shop").covers(&action("shop.stock.reserve@2")));
        assert!(scope("stock.reserve@1").covers(&action("stock.reserve@1")));
        assert!(!scope("stock.reserve@1").covers(&action("stock.reserve@2")));
    }
}
