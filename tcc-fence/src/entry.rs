//! What a fence answers.

use std::convert::Infallible;

use serde::de::DeserializeOwned;
use tcc_core::Payload;

use crate::error::FenceError;

/// What a fence answers to a phase that asks for entry. A try and a confirm need two arms, a cancel three.
#[derive(Debug)]
#[must_use = "the fence says whether the effect is to be written"]
pub enum Entry<Empty = Infallible> {
    /// Nobody was here before: write the effect, in the same local transaction.
    First(First),
    /// This phase took effect before, and answered this; write nothing.
    AlreadyDone(Answer),
    /// No try of this branch took effect here, and from the commit of this local transaction on, none will. There is
    /// nothing in this database to undo. A cancel that comes again is told the same again.
    ///
    /// It says nothing of effects elsewhere: a try that called another service and then failed left no row. Undo those
    /// whatever the fence says.
    EmptyCancel(Empty),
}

impl<Empty> Entry<Empty> {
    /// Whether the effect is to be written.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        matches!(self, Self::First(_))
    }
}

/// That a cancel found no try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmptyCancel;

impl EmptyCancel {
    pub(crate) const fn here() -> Self {
        Self
    }
}

/// Leave to write the effect, and the place where its answer is kept.
#[derive(Debug)]
pub struct First {
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) place: crate::context::Place,
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) phase: crate::context::Phase,
}

/// What the first run of a phase answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Payload);

impl Answer {
    /// From JSON; one that was not kept is `null`.
    pub(crate) fn kept(json: Option<String>) -> Self {
        Self(Payload::from_json(json.unwrap_or_else(|| "null".to_owned())))
    }

    /// The answer. If none was kept, only a `()` or an `Option` can be read.
    ///
    /// # Errors
    /// When what was kept is no `T`.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, FenceError> {
        Ok(self.0.decode()?)
    }

    /// The JSON text that was kept.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.as_str()
    }
}
