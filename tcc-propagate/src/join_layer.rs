//! The server's side: what a request carries is kept for its handler, and what came of it is told in the answer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::{Request, Response};
use tcc_core::{CallAnswer, CallContext, Joined, Runtime};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    headers::{self, ContextError},
    refused::Refused,
};

/// Lets requests join the transactions they belong to. It refuses nothing by itself: a handler that asks to join is
/// told why it cannot, and one that does not ask is served as ever.
///
/// An answer to a request with a valid context tells the branches made for it in `tcc-branches`, unless joining was
/// asked for and failed. A transaction that such a request's handler begins, instead of joining, is refused.
#[derive(Clone, Debug)]
pub struct JoinLayer {
    runtime: Runtime,
}

impl JoinLayer {
    /// Joins by this runtime.
    #[must_use]
    pub fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }
}

impl<S> Layer<S> for JoinLayer {
    type Service = JoinService<S>;

    fn layer(&self, inner: S) -> JoinService<S> {
        JoinService { inner, runtime: self.runtime.clone() }
    }
}

/// What [`JoinLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct JoinService<S> {
    inner: S,
    runtime: Runtime,
}

/// The call a request is, found among its extensions.
#[derive(Clone)]
pub struct InboundCall {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    context: Result<CallContext, ContextError>,
    joining: Mutex<Joining>,
}

enum Joining {
    NotAsked,
    /// Asked for, and under way, failed or given up.
    Asked,
    Joined(Joined),
}

impl fmt::Debug for InboundCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundCall").field("context", &self.inner.context).finish_non_exhaustive()
    }
}

impl InboundCall {
    fn new(runtime: Runtime, context: Result<CallContext, ContextError>) -> Self {
        Self { inner: Arc::new(Inner { runtime, context, joining: Mutex::new(Joining::NotAsked) }) }
    }

    /// Whether the request carries any part of a context.
    #[must_use]
    pub fn is_in_transaction(&self) -> bool {
        !matches!(self.inner.context, Err(ContextError::Absent))
    }

    /// Joins the transaction; asked again, it gives the same.
    ///
    /// # Errors
    /// When the request carries no context that can be taken, or its transaction cannot be joined.
    pub async fn join(&self) -> Result<Joined, Refused> {
        let context = self.inner.context.clone()?;
        {
            let mut joining = self.joining();
            if let Joining::Joined(joined) = &*joining {
                return Ok(joined.clone());
            }
            *joining = Joining::Asked;
        }
        let joined = self.inner.runtime.join(context).await?;
        let mut joining = self.joining();
        // Two that ask at once must not be two runs of the call.
        if let Joining::Joined(first) = &*joining {
            return Ok(first.clone());
        }
        *joining = Joining::Joined(joined.clone());
        Ok(joined)
    }

    fn joining(&self) -> std::sync::MutexGuard<'_, Joining> {
        self.inner.joining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the caller is to be told; nothing if that is not known.
    fn answer(&self) -> Option<CallAnswer> {
        match (&*self.joining(), &self.inner.context) {
            (Joining::Joined(joined), _) => Some(joined.finish()),
            (Joining::NotAsked, Ok(_)) => Some(CallAnswer::default()),
            (Joining::NotAsked, Err(_)) | (Joining::Asked, _) => None,
        }
    }
}

impl<S, B, R> Service<Request<B>> for JoinService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let context = headers::read(request.headers());
        let call = InboundCall::new(self.runtime.clone(), context);
        request.extensions_mut().insert(call.clone());
        let served = self.inner.call(request);
        let Ok(context) = call.inner.context.clone() else { return Box::pin(served) };
        Box::pin(async move {
            let mut response = context.scope(served).await?;
            // Only we can tell: what a handler passes on from elsewhere is another call's.
            response.headers_mut().remove(headers::BRANCHES);
            if let Some(answer) = call.answer() {
                headers::write_answer(&answer, response.headers_mut());
            }
            Ok(response)
        })
    }
}
