//! For tonic: joining in a service, and calling from a client.
//!
//! A server takes [`JoinLayer`](crate::JoinLayer) by `Server::builder().layer(..)`, a client is made over a channel
//! with [`CallLayer`](crate::CallLayer) around it.

use tcc_core::{Joined, RemoteCall};
use tonic::{Code, Request, Status};

use crate::{GrpcCode, InboundCall, Outbound, Refused};

/// Joins the transaction a request belongs to.
///
/// # Errors
/// A status, as the table of the crate's front page says.
pub async fn joined<T>(request: &Request<T>) -> Result<Joined, Status> {
    let call = request.extensions().get::<InboundCall>().cloned().ok_or(Refused::NoLayer)?;
    Ok(call.join().await?)
}

/// Makes a request a call of a transaction.
pub trait InTransaction {
    /// The same request, as this call. The client it is sent by needs [`CallLayer`](crate::CallLayer).
    #[must_use]
    fn in_transaction(self, call: &RemoteCall) -> Self;
}

impl<T> InTransaction for Request<T> {
    fn in_transaction(mut self, call: &RemoteCall) -> Self {
        self.extensions_mut().insert(Outbound(call.clone()));
        self
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let code = match refused.grpc_code() {
            GrpcCode::InvalidArgument => Code::InvalidArgument,
            GrpcCode::DeadlineExceeded => Code::DeadlineExceeded,
            GrpcCode::NotFound => Code::NotFound,
            GrpcCode::ResourceExhausted => Code::ResourceExhausted,
            GrpcCode::FailedPrecondition => Code::FailedPrecondition,
            GrpcCode::Internal => Code::Internal,
            GrpcCode::Unavailable => Code::Unavailable,
            GrpcCode::Unauthenticated => Code::Unauthenticated,
        };
        Self::new(code, refused.to_string())
    }
}
