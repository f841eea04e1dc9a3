//! Why a request was not let into its transaction, as a status.

use http::StatusCode;
use tcc_core::JoinError;

use crate::headers::ContextError;

/// Why a request was not let into its transaction.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Its headers are no context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The transaction cannot be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The server does not look for contexts.
    #[error(
        "the server has no `JoinLayer`: without one a request cannot join, and its answer tells no branches"
    )]
    NoLayer,
}

/// A gRPC status code, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "gRPC defines them")]
pub enum GrpcCode {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.codes().0
    }

    /// The gRPC status code.
    #[must_use]
    pub fn grpc_code(&self) -> GrpcCode {
        self.codes().1
    }

    fn codes(&self) -> (StatusCode, GrpcCode) {
        match self {
            Self::Context(ContextError::Oversized { .. }) => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, GrpcCode::ResourceExhausted)
            }
            Self::Context(ContextError::Expired) | Self::Join(JoinError::Expired(_)) => {
                (StatusCode::GATEWAY_TIMEOUT, GrpcCode::DeadlineExceeded)
            }
            Self::Context(_) => (StatusCode::BAD_REQUEST, GrpcCode::InvalidArgument),
            Self::Join(JoinError::NotKnown(_)) => (StatusCode::NOT_FOUND, GrpcCode::NotFound),
            Self::Join(JoinError::Decided { .. }) => (StatusCode::CONFLICT, GrpcCode::FailedPrecondition),
            // Not 401: it must name a way to log in, and whoever gets it asks a person or a token service for one. gRPC's
            // `PERMISSION_DENIED` is for callers that are known.
            Self::Join(JoinError::Unsealed(_) | JoinError::WrongSeal(_)) => {
                (StatusCode::FORBIDDEN, GrpcCode::Unauthenticated)
            }
            Self::Join(_) => (StatusCode::SERVICE_UNAVAILABLE, GrpcCode::Unavailable),
            Self::NoLayer => (StatusCode::INTERNAL_SERVER_ERROR, GrpcCode::Internal),
        }
    }
}
