//! The next command, named.

use std::{env, sync::OnceLock};

use serde::Serialize;

use crate::{args::ConnectionArgs, output::text::quoted};

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

/// Flags that another command needs as well to find the same transactions.
static FLAGS: OnceLock<Vec<String>> = OnceLock::new();

/// Says how this process was called. What the environment says, the next command is told as well; a URL that may hold
/// a password is not repeated.
pub(crate) fn called_with(args: &ConnectionArgs) {
    let said = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut flags = Vec::new();
    if args.url != said("REDIS_URL", "redis://127.0.0.1/") && !args.url.contains('@') {
        flags.extend(["--url".to_owned(), args.url.clone()]);
    }
    if args.namespace.as_str() != said("TCC_NAMESPACE", "tcc") {
        flags.extend(["--namespace".to_owned(), args.namespace.to_string()]);
    }
    let _ = FLAGS.set(flags);
}

/// The command as it is typed.
fn command(arguments: &[&str], changes: bool) -> String {
    let reason = changes.then_some(["--reason", REASON]).into_iter().flatten();
    let flags = FLAGS.get().into_iter().flatten().map(String::as_str);
    let words = flags.chain(arguments.iter().copied()).chain(reason);
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
