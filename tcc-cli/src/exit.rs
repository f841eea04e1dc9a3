//! What can go wrong, and the exit code it ends with. `docs/src/tccctl.md` lists them.

use std::{error::Error, fmt, io};

use tcc_core::{
    Gid,
    machine::Refusal,
    store::{StoreError, StoreErrorKind},
};

/// What was done or found, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Done = 0,
    /// `doctor` found something, or a part of a bulk change failed.
    Findings = 1,
    Usage = 2,
    NotFound = 3,
    Ambiguous = 4,
    Refused = 5,
    Unreachable = 6,
    Misfit = 7,
    Unreadable = 8,
    Other = 9,
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads the output any more.
    Closed,
    /// The output cannot be written.
    Output(io::Error),
    /// The store failed.
    Store(StoreError),
    /// The store refused a change of this transaction.
    Refused { gid: Gid, refusal: Refusal },
    /// Anything that says itself what it is.
    Said { code: Code, words: String },
}

pub(crate) type Outcome<T = Code> = Result<T, Failure>;

impl Failure {
    pub(crate) fn said(code: Code, words: impl Into<String>) -> Self {
        Self::Said { code, words: words.into() }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            // Whoever closes a pipe has seen enough.
            Self::Closed => Code::Done,
            Self::Output(_) => Code::Other,
            Self::Store(error) => match error.kind() {
                StoreErrorKind::Unavailable => Code::Unreachable,
                StoreErrorKind::Misconfigured | StoreErrorKind::Full => Code::Misfit,
                StoreErrorKind::Corrupt => Code::Unreadable,
                _ => Code::Other,
            },
            Self::Refused { refusal: Refusal::NotFound | Refusal::NoSuchBranch(_), .. } => Code::NotFound,
            Self::Refused { .. } => Code::Refused,
            Self::Said { code, .. } => *code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the output was closed"),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
            Self::Store(error) => {
                chain(f, error)?;
                // Inside a function, Redis does not say which command it denies.
                if error.kind() == StoreErrorKind::Misconfigured
                    && error.to_string().contains("denies this user")
                {
                    f.write_str("; `tccctl acl` prints what is needed")?;
                }
                Ok(())
            }
            Self::Refused { gid, refusal } => write!(f, "{gid}: {refusal}; see `tccctl show {gid}`"),
            Self::Said { words, .. } => f.write_str(words),
        }
    }
}

/// An error and its causes, each said once.
fn chain(f: &mut fmt::Formatter<'_>, error: &dyn Error) -> fmt::Result {
    let mut said = error.to_string();
    f.write_str(&said)?;
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            write!(f, ": {text}")?;
            said = text;
        }
        cause = error.source();
    }
    Ok(())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let error = StoreError::new(StoreErrorKind::Unavailable, "no connection: refused")
            .with_source(io::Error::other("refused"))
            .clone();
        assert_eq!(Failure::from(error).to_string(), "no connection: refused");
        let error =
            StoreError::new(StoreErrorKind::Misconfigured, "denied").with_source(io::Error::other("NOPERM"));
        let failure = Failure::from(error);
        assert_eq!((failure.to_string().as_str(), failure.code()), ("denied: NOPERM", Code::Misfit));
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.code(), Code::Done);
    }
}
