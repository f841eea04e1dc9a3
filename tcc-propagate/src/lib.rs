//! Carries transactions of the TCC framework from service to service, over the HTTP or gRPC they already speak.
//!
//! A call of another service carries the transaction's [context](tcc_core::CallContext) in headers, and its answer
//! carries the branches it made:
//!
//! | header | of | holds |
//! |---|---|---|
//! | `tcc-gid` | request | the transaction's id |
//! | `tcc-name` | request | its name |
//! | `tcc-call` | request | the id of the call, the same for every repetition of it |
//! | `tcc-deadline-ms` | request | what is left until the transaction's deadline, in milliseconds |
//! | `tcc-seal` | request | the seal of the four above, if the services share a key: 64 hexadecimal digits |
//! | `traceparent` | request | the W3C trace, if there is one; carried as it is |
//! | `tcc-branches` | answer | the branches made for the call, and their outcomes ([`CallAnswer`](tcc_core::CallAnswer)) |
//!
//! A service that is called joins: it makes its typed clients from what it joined, its branches stand in the same
//! record, and it cannot decide. All services of a transaction share one store and namespace.
//!
//! A call without its answer, be it a timeout or a gateway's own 502, forbids commit: nobody knows what the service
//! reserved. Repeat the same [`RemoteCall`](tcc_core::RemoteCall), which makes no second branch, or cancel.
//!
//! # What is where
//!
//! | | |
//! |---|---|
//! | [`headers`] | plain functions over [`http::HeaderMap`], for every other client and server |
//! | [`JoinLayer`] | a tower layer for servers: axum, tonic, hyper |
//! | [`CallLayer`] | a tower layer for clients: tonic's channel, hyper's client |
//! | [`axum::JoinedTx`] | an extractor (feature `axum`) |
//! | [`reqwest::Client`] | a client that hands a transaction on, and only to hosts it may go to (feature `reqwest`) |
//! | [`tonic`] | joining in a tonic service, and calling from one (feature `tonic`) |
//!
//! # What is refused, and how
//!
//! | why | HTTP | gRPC |
//! |---|---|---|
//! | no context, a part of it missing, repeated or malformed | 400 | `INVALID_ARGUMENT` |
//! | a part longer than it can be | 431 | `RESOURCE_EXHAUSTED` |
//! | under a context key: no seal, or one that does not fit | 403 | `UNAUTHENTICATED` |
//! | the deadline has passed | 504 | `DEADLINE_EXCEEDED` |
//! | the store knows no such transaction: another store's, or forgotten | 404 | `NOT_FOUND` |
//! | the transaction is decided | 409 | `FAILED_PRECONDITION` |
//! | too many open transactions, shutting down, the store does not answer | 503 | `UNAVAILABLE` |
//! | the server has no [`JoinLayer`] | 500 | `INTERNAL` |
//!
//! A refusal carries no `tcc-branches`: an earlier sending of the same call may have made some.
//!
//! # Who is believed
//!
//! Without a key, whoever can call a service can name any transaction whose id they know, and so make it cancel; they
//! cannot make it confirm what its initiator did not hear of. Give every runtime the same
//! [`context_key`](tcc_core::RuntimeBuilder::context_key), and none joins what was made up or altered on its way:
//!
//! ```
//! # async fn start(secret: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! let key = tcc_core::ContextKey::new(secret)?; // 32 random bytes or more, the same in every service
//! let runtime = tcc_core::Runtime::builder().store(tcc_core::MemoryStore::new()).context_key(key).start().await?;
//! # let _ = runtime;
//! # Ok(())
//! # }
//! ```
//!
//! It needs no key at any layer. The refusal is 403 and not 401, because 401 has to name a way to log in, and clients
//! and gateways answer it by asking a person or a token service for one; in gRPC it is `UNAUTHENTICATED`, because
//! `PERMISSION_DENIED` is for callers that are known.
//!
//! A seal covers what names the call, and no more: not the request's body, not `traceparent`, which proxies rewrite, and
//! not the answer. Whoever reads a sealed context on its way can send the same one again until the transaction is decided.
//! So let services that join speak TLS, or be reached by your own services only, key or no key.

#[cfg(feature = "axum")]
pub mod axum;
mod call_layer;
pub mod headers;
mod hosts;
mod join_layer;
mod refused;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "tonic")]
pub mod tonic;

pub use call_layer::{CallLayer, CallService, Outbound};
pub use hosts::{AllowedHosts, InvalidHost};
pub use join_layer::{InboundCall, JoinLayer, JoinService};
pub use refused::{GrpcCode, Refused};

/// The code in the guide is compiled like any other.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/add-a-branch-to-an-axum-service.md")]
struct Guide;
