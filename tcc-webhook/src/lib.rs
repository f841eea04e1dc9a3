//! Tells alarms of the TCC framework to a URL: JSON, signed, retried, off the execution path.
//!
//! ```no_run
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! use tcc_core::{MemoryStore, Runtime};
//! use tcc_webhook::Webhook;
//!
//! let webhook = Webhook::builder("http://alerts.internal/tcc", "a secret of 16 bytes or more").build()?;
//! let runtime = Runtime::builder().store(MemoryStore::new()).notifier(webhook).start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each alarm is a `POST` whose body is described in `docs/src/being-told.md`, with the headers
//!
//! - `tcc-alarm-id`: the alarm's id, the same whenever it is told again: receivers keep it to tell repetitions apart;
//! - `tcc-signature`: `t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>" in hexadecimal>`, checked by [`verify`].
//!
//! Any 2xx answer counts as told. No answer, 408, 429 and 5xx are tried again, a few times; what is not told then is
//! told again a minute later or more, by any process that has a notifier, for as long as the alarm stands.

mod signature;
mod webhook;

/// The HTTP client that an `https://` URL needs, from the `reqwest` whose features choose its TLS.
pub use reqwest::Client;
pub use signature::{Unverified, verify};
pub use webhook::{Webhook, WebhookBuilder, WebhookError};

/// The header that carries an alarm's id.
pub const ALARM_ID: &str = "tcc-alarm-id";
/// The header that carries the signature.
pub const SIGNATURE: &str = "tcc-signature";
/// What `schema` says in every body.
pub const SCHEMA: &str = "tcc.alarm.v1";
