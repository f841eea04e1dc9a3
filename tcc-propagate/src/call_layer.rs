//! The client's side: a request that is a call of a transaction carries its context, and its answer is taken in.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tcc_core::RemoteCall;
use tower_layer::Layer;
use tower_service::Service;

use crate::headers;

/// Puts the context of a call into requests that name one by [`Outbound`] among their extensions, and takes in the
/// answer. Every other request goes as it is.
///
/// Put it around one connection, as it is around tonic's channel; a client that follows redirects below it carries the
/// context wherever it is led.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallLayer;

/// Names the call that a request is.
#[derive(Clone, Debug)]
pub struct Outbound(pub RemoteCall);

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner }
    }
}

/// What [`CallLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct CallService<S> {
    inner: S,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S, B, R> Service<Request<B>> for CallService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = request.extensions_mut().remove::<Outbound>().map(|outbound| outbound.0);
        if let Some(call) = &call
            && let Err(error) = headers::write(call, request.headers_mut())
        {
            return Box::pin(async move { Err(error.into()) });
        }
        let sent = self.inner.call(request);
        Box::pin(async move {
            let response = sent.await.map_err(Into::into)?;
            if let Some(call) = &call {
                headers::take_answer(call, response.headers());
            }
            Ok(response)
        })
    }
}
