//! `loyalty.proto`, in Rust.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Request, Response, Status,
    body::Body,
    client::GrpcService,
    codegen::{BoxFuture, Service},
    server::{NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

const PROMISE: &str = "/shop.Loyalty/Promise";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Award {
    #[prost(string, tag = "1")]
    pub(crate) order: String,
    #[prost(string, tag = "2")]
    pub(crate) customer: String,
    #[prost(int64, tag = "3")]
    pub(crate) points: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Promised {
    #[prost(int64, tag = "1")]
    pub(crate) pending: i64,
}

/// The service's side.
#[tonic::async_trait]
pub(crate) trait LoyaltyApi: Send + Sync + 'static {
    async fn promise(&self, request: Request<Award>) -> Result<Response<Promised>, Status>;
}

/// Serves it.
#[derive(Debug)]
pub(crate) struct LoyaltyServer<T>(pub(crate) Arc<T>);

impl<T> Clone for LoyaltyServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for LoyaltyServer<T> {
    const NAME: &'static str = "shop.Loyalty";
}

impl<T: LoyaltyApi> UnaryService<Award> for LoyaltyServer<T> {
    type Response = Promised;
    type Future = BoxFuture<Response<Promised>, Status>;

    fn call(&mut self, request: Request<Award>) -> Self::Future {
        let api = Arc::clone(&self.0);
        Box::pin(async move { api.promise(request).await })
    }
}

impl<T: LoyaltyApi> Service<http::Request<Body>> for LoyaltyServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PROMISE {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        }
        let method = self.clone();
        Box::pin(
            async move { Ok(tonic::server::Grpc::new(ProstCodec::default()).unary(method, request).await) },
        )
    }
}

/// Calls it.
#[derive(Clone, Debug)]
pub(crate) struct LoyaltyClient<C> {
    grpc: tonic::client::Grpc<C>,
}

impl<C> LoyaltyClient<C>
where
    C: GrpcService<Body>,
    C::Error: Into<tonic::codegen::StdError>,
    C::ResponseBody: tonic::codegen::Body<Data = tonic::codegen::Bytes> + Send + 'static,
    <C::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    pub(crate) fn new(channel: C) -> Self {
        Self { grpc: tonic::client::Grpc::new(channel) }
    }

    pub(crate) async fn promise(&mut self, request: Request<Award>) -> Result<Response<Promised>, Status> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(format!("loyalty cannot be reached: {}", error.into())))?;
        let path = http::uri::PathAndQuery::from_static(PROMISE);
        self.grpc.unary(request, path, ProstCodec::default()).await
    }
}
