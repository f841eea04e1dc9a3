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
//! | the deadline has passed | 504 | `DEADLINE_EXCEEDED` |
//! | the store knows no such transaction: another store's, or forgotten | 404 | `NOT_FOUND` |
//! | the transaction is decided | 409 | `FAILED_PRECONDITION` |
//! | too many open transactions, shutting down, the store does not answer | 503 | `UNAVAILABLE` |
//! | the server has no [`JoinLayer`] | 500 | `INTERNAL` |
//!
//! A refusal carries no `tcc-branches`: an earlier sending of the same call may have made some.
//!
//! A context is not signed. Whoever can call a service can name any transaction whose id they know, and so make it cancel;
//! they cannot make it confirm what its initiator did not hear of. Let only your own services call what joins.

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
