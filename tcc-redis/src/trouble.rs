//! What the client's errors mean to the runtime.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tcc_core::store::{StoreError, StoreErrorKind};

/// The error as the store's, with what to do.
pub(crate) fn store_error(error: RedisError) -> StoreError {
    let (kind, advice) = meaning(&error);
    StoreError::new(kind, advice).with_source(error)
}

/// What Redis answered to a command inside a function, as an error of the store.
pub(crate) fn failure(text: &str) -> StoreError {
    let (code, detail) = text.split_once(' ').unwrap_or((text, ""));
    let code = code.trim_start_matches('-').to_owned();
    store_error(redis::make_extension_error(code, Some(detail.to_owned())))
}

/// Whether the connection is of no use any more: it is gone, silent, or leads to a server that takes no
/// writes.
pub(crate) fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_timeout()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Parse | ErrorKind::AuthenticationFailed)
        || matches!(error.code(), Some("READONLY" | "NOAUTH" | "MASTERDOWN"))
}

fn meaning(error: &RedisError) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind::{Corrupt, Full, Misconfigured, Unavailable};
    match (error.kind(), error.code().unwrap_or_default()) {
        (_, "OOM") => (
            Full,
            "Redis is at its `maxmemory` and begins nothing; work in flight goes on. Raise `maxmemory`, or shorten \
             the retention of finished transactions",
        ),
        (_, "WRONGTYPE") => {
            (Corrupt, "a key of the namespace has another type; see it with `TYPE`, and rename or delete it")
        }
        _ if is_denied(error) => {
            (Misconfigured, "Redis denies this user a command or key; grant it with `ACL SETUSER`")
        }
        (ErrorKind::AuthenticationFailed, _) | (_, "NOAUTH" | "WRONGPASS") => (
            Misconfigured,
            "Redis refuses user or password; set both in the URL: redis://user:password@host:port/",
        ),
        (_, "MOVED" | "ASK" | "CROSSSLOT") => (
            Misconfigured,
            "this Redis is part of a cluster that spreads the namespace over several nodes; connect to a single node",
        ),
        (_, "READONLY") => {
            (Unavailable, "Redis takes no writes: it became a replica; the next call connects anew")
        }
        (_, "MISCONF") => {
            (Unavailable, "Redis cannot write to its disk and refuses writes; see its log, and free space")
        }
        (_, "NOREPLICAS") => (Unavailable, "Redis misses the replicas that `min-replicas-to-write` asks for"),
        (_, "LOADING") => (Unavailable, "Redis is loading its data and does not answer yet"),
        (ErrorKind::InvalidClientConfig, _) => (
            Misconfigured,
            "the connection's settings are refused; an encrypted `rediss://` URL needs the feature `tls`",
        ),
        _ if is_untrusted(error) => (
            Misconfigured,
            "the server's certificate is not trusted here; add its authority to the system's certificates, or name it in \
             the environment variable SSL_CERT_FILE",
        ),
        _ if error.is_timeout() => (Unavailable, "Redis did not answer in time"),
        _ if error.is_connection_refusal() => {
            (Unavailable, "Redis refuses connections; is it running, and the URL right?")
        }
        _ => (Unavailable, "Redis could not be reached or did not answer"),
    }
}

/// Whether the server's certificate was refused. The encryption says so in its text only.
fn is_untrusted(error: &RedisError) -> bool {
    error.is_io_error() && error.to_string().contains("peer certificate")
}

/// Whether the user lacks a permission. Inside a function Redis says so without the code it has outside.
fn is_denied(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
        || error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.detail().is_some_and(|detail| detail.contains("user executing the script can't"))
}
