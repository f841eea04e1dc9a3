//! Why a fence gave no entry.

use tcc_core::{ActionName, BoxError, Contradiction, DecodeError, EncodeError, Gid, Ordinal};

use crate::context::{Asked, Place};

/// Why a fence gave no entry. Roll the local transaction back: `?` does, as it drops it.
///
/// In a confirm or cancel, `?` makes of it what is right: a contradiction parks the branch, anything else is tried
/// again (see [`PhaseError`](tcc_core::PhaseError)). The same holds for an error type of your own that has it among its
/// sources.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// A try whose cancel was here before it. Nothing may take effect.
    #[error("the try of {action} in {gid}/{branch} came after its cancel")]
    TooLate {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// Its action.
        action: ActionName,
    },
    /// The row says the opposite of what its branch is to do. A person must look.
    #[error("the fence of {gid}/{branch} contradicts its {phase}")]
    Contradiction {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// The phase that asked: `try`, `confirm` or `cancel`.
        phase: &'static str,
        /// What the row says.
        source: Contradiction,
    },
    /// The database failed, or another local transaction won: a deadlock, a serialization failure, a lock that was
    /// waited for too long. The same phase may be run again.
    #[error("the fence of {gid}/{branch} could not be asked")]
    Database {
        /// The transaction.
        gid: Gid,
        /// The branch.
        branch: Ordinal,
        /// The driver's error.
        source: BoxError,
    },
    /// The table could not be made, or cleaned.
    #[error("the table of fences could not be looked after")]
    Table(#[source] BoxError),
    /// An answer that JSON cannot hold.
    #[error("the answer cannot be kept")]
    Unkept(#[from] EncodeError),
    /// An answer that was kept is not what is asked for.
    #[error("the answer that was kept cannot be read")]
    Unreadable(#[from] DecodeError),
    /// An answer that is too large.
    #[error(
        "the answer takes {bytes} bytes; the limit `ANSWER_BYTES_MAX` is {max}; keep a reference instead"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A key that lies in another slot than the fence; nothing was sent.
    #[error("the key {key:?} is not in the slot of {tag}; put {tag} into its name")]
    OtherSlot {
        /// The key.
        key: String,
        /// The hash tag of the fence.
        tag: String,
    },
    /// A hash tag that is empty or holds a brace; nothing was sent.
    #[error("{0:?} cannot be a hash tag: it is empty or holds a brace")]
    Tag(String),
    /// The effect was written, and its answer could not be kept: a repetition is answered with none.
    #[error("the effect was written, and its answer could not be kept: {0}")]
    AnswerLost(String),
    /// The effect's script refused: it wrote nothing, and the fence neither.
    #[error("{0}")]
    Refused(String),
}

impl FenceError {
    /// Whether the same phase may fare better when it is run again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Table(_))
    }

    /// Whether this is a try that came after its cancel.
    #[must_use]
    pub const fn is_too_late(&self) -> bool {
        matches!(self, Self::TooLate { .. })
    }

    pub(crate) fn too_late(asked: &Asked<'_>) -> Self {
        Self::TooLate { gid: asked.gid.clone(), branch: asked.branch, action: asked.action.clone() }
    }

    pub(crate) fn contradiction(asked: &Asked<'_>, what: impl Into<String>) -> Self {
        let (gid, branch, phase) = (asked.gid.clone(), asked.branch, asked.phase.as_str());
        Self::Contradiction { gid, branch, phase, source: Contradiction::new(what) }
    }

    pub(crate) fn database(place: &Place, source: impl Into<BoxError>) -> Self {
        Self::Database { gid: place.gid.clone(), branch: place.branch, source: source.into() }
    }
}
