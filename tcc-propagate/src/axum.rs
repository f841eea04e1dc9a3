//! For axum: an extractor of the transaction a request belongs to.

use std::ops::Deref;

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use tcc_core::Joined;

use crate::{InboundCall, Refused};

/// The transaction a request belongs to, joined: `InventoryTcc::new(&tx)`. It needs [`JoinLayer`](crate::JoinLayer)
/// around the routes. `Option<JoinedTx>` takes requests that belong to none as well.
#[derive(Clone, Debug)]
pub struct JoinedTx(pub Joined);

impl Deref for JoinedTx {
    type Target = Joined;

    fn deref(&self) -> &Joined {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for JoinedTx {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        inbound(parts)?.join().await.map(Self)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for JoinedTx {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Refused> {
        let call = inbound(parts)?;
        if call.is_in_transaction() { call.join().await.map(Self).map(Some) } else { Ok(None) }
    }
}

fn inbound(parts: &Parts) -> Result<InboundCall, Refused> {
    parts.extensions.get::<InboundCall>().cloned().ok_or(Refused::NoLayer)
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let causes = std::iter::successors(Some(&self as &dyn std::error::Error), |error| error.source());
        let text: Vec<String> = causes.map(ToString::to_string).collect();
        (self.status(), text.join(": ")).into_response()
    }
}
