//! The trace context that travels with calls and is kept with branches.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::error::InvalidInput;

/// The longest a `traceparent` may be, in bytes; that of version 00 takes 55.
const TRACE_PARENT_BYTES_MAX: usize = 128;
/// How long a kept one is, in bytes.
const KEPT_BYTES: usize = 55;
/// What version 00 of `traceparent` looks like: version, trace, parent, flags.
const TRACE_PARENT_PARTS: [usize; 4] = [2, 32, 16, 2];

/// A W3C `traceparent`, carried as it came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceParent(Arc<str>);

impl TraceParent {
    /// Checks and keeps a `traceparent`.
    ///
    /// # Errors
    /// When it is not one: its version is `ff`, or it does not begin as version 00 does, or its trace or parent is
    /// all zeros, or it has more than 128 bytes.
    pub fn new(text: &str) -> Result<Self, InvalidInput> {
        if is_trace_parent(text) {
            Ok(Self(text.into()))
        } else {
            let rule = "a W3C traceparent, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
            Err(InvalidInput::new("traceparent", text, rule))
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a branch keeps it: trace, parent and flags, in the form of version 00, 55 bytes long.
    #[must_use]
    pub fn kept(&self) -> Self {
        match self.0.get(2..KEPT_BYTES) {
            Some(rest) if self.0.len() > KEPT_BYTES || !self.0.starts_with("00") => {
                Self(format!("00{rest}").into())
            }
            _ => self.clone(),
        }
    }
}

fn is_trace_parent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = text.splitn(TRACE_PARENT_PARTS.len() + 1, '-').collect();
    let Some((known, more)) = parts.split_at_checked(TRACE_PARENT_PARTS.len()) else { return false };
    let fits = known.iter().zip(TRACE_PARENT_PARTS).all(|(part, length)| part.len() == length && hex(part));
    let zeros = |part: &str| part.bytes().all(|byte| byte == b'0');
    // Versions to come may say more at the end.
    let ends = more.is_empty() || known[0] != "00";
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    text.len() <= TRACE_PARENT_BYTES_MAX
        && fits
        && known[0] != "ff"
        && !zeros(known[1])
        && !zeros(known[2])
        && ends
        && visible
}

impl FromStr for TraceParent {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        Self::new(text)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TraceParent {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        Self::new(&text)
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_keeps_to_the_standard() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let good = format!("00-{trace}-{parent}-01");
        assert_eq!(TraceParent::new(&good).unwrap().as_str(), good);
        assert!(TraceParent::new(&format!("01-{trace}-{parent}-01-more")).is_ok());
        for bad in [
            String::new(),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("01-{trace}-{parent}-01-a b"),
            format!("01-{trace}-{parent}-01-{}", "x".repeat(128)),
        ] {
            assert!(TraceParent::new(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_branch_keeps_what_all_versions_say() {
        let plain = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(plain.len(), KEPT_BYTES);
        for version in
            [plain, &plain.replacen("00", "cc", 1), &format!("{}-more", plain.replacen("00", "01", 1))]
        {
            assert_eq!(TraceParent::new(version).unwrap().kept().as_str(), plain);
        }
    }
}
