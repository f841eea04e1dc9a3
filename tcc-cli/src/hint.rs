//! The next command, named.

use serde::Serialize;

use crate::output::text::quoted;

/// What stands for the operator's own words in a command that a hint names.
const REASON: &str = "...";

/// What to do next, and the command for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hint {
    pub(crate) words: String,
    pub(crate) command: String,
    /// Another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otherwise: Option<Box<Hint>>,
}

impl Hint {
    /// A command that changes nothing.
    pub(crate) fn new(words: impl Into<String>, arguments: &[&str]) -> Self {
        Self { words: words.into(), command: command(arguments, false), otherwise: None }
    }

    /// A command that changes something, and needs a reason.
    pub(crate) fn changing(words: impl Into<String>, arguments: &[&str]) -> Self {
        Self { words: words.into(), command: command(arguments, true), otherwise: None }
    }

    /// The same, with another way.
    pub(crate) fn or_changing(mut self, words: &str, arguments: &[&str]) -> Self {
        self.otherwise = Some(Box::new(Self::changing(words, arguments)));
        self
    }
}

/// The command as it is typed. What this one was told by flags and not by the environment, it does not repeat: a URL
/// may hold a password.
fn command(arguments: &[&str], changes: bool) -> String {
    let words =
        arguments.iter().copied().chain(changes.then_some(["--reason", REASON]).into_iter().flatten());
    std::iter::once("tccctl".to_owned()).chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_typed_as_it_stands() {
        let hint = Hint::changing("", &["retry", "01kaj", "--branch", "02"]);
        assert_eq!(hint.command, "tccctl retry 01kaj --branch 02 --reason ...");
    }
}
