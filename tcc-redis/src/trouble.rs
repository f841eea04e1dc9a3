//! What the client's errors mean to the runtime.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use tcc_core::store::{StoreError, StoreErrorKind};

/// The error as the store's, with what to do.
pub(crate) fn store_error(error: RedisError) -> StoreError {
    let (kind, advice) = meaning(&first(&error));
    StoreError::new(kind, advice).with_source(error)
}

/// What went wrong first: the error of a pipeline has no code, and its answers have.
pub(crate) fn first(error: &RedisError) -> RedisError {
    let answers = error.clone().into_server_errors();
    answers.and_then(|answers| Some(answers.first()?.1.clone().into())).unwrap_or_else(|| error.clone())
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
    let error = first(error);
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

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{Value, parse_redis_value};

    use super::*;

    /// As the server answers.
    fn answered(line: &str) -> RedisError {
        let answer = parse_redis_value(format!("-{line}\r\n").as_bytes());
        answer.and_then(Value::extract_error).expect_err("an error")
    }

    fn broken(kind: io::ErrorKind, text: &str) -> RedisError {
        io::Error::new(kind, text.to_owned()).into()
    }

    #[test]
    fn every_error_is_told_with_what_to_do() {
        use StoreErrorKind::{Corrupt, Full, Misconfigured, Unavailable};
        let denied = "ERR The user executing the script can't run this command or subcommand";
        let trust = "invalid peer certificate: UnknownIssuer";
        let cases = [
            (answered("OOM command not allowed"), Full, "`maxmemory`"),
            (answered("WRONGTYPE Operation against a key"), Corrupt, "another type"),
            (answered("NOPERM this user has no permissions"), Misconfigured, "denies"),
            (answered(denied), Misconfigured, "denies"),
            (answered("NOAUTH Authentication required."), Misconfigured, "password"),
            (answered("WRONGPASS invalid username"), Misconfigured, "password"),
            ((ErrorKind::AuthenticationFailed, "no").into(), Misconfigured, "password"),
            (answered("MOVED 3999 127.0.0.1:6381"), Misconfigured, "cluster"),
            (answered("ASK 3999 127.0.0.1:6381"), Misconfigured, "cluster"),
            (answered("CROSSSLOT Keys in request"), Misconfigured, "cluster"),
            (answered("READONLY You can't write"), Unavailable, "replica;"),
            (answered("MISCONF Redis is configured"), Unavailable, "disk"),
            (answered("NOREPLICAS Not enough good replicas"), Unavailable, "min-replicas-to-write"),
            (answered("LOADING Redis is loading"), Unavailable, "loading"),
            ((ErrorKind::InvalidClientConfig, "no").into(), Misconfigured, "`tls`"),
            (broken(io::ErrorKind::Other, trust), Misconfigured, "SSL_CERT_FILE"),
            (answered("ERR peer certificate"), Unavailable, "could not be reached"),
            (broken(io::ErrorKind::TimedOut, "late"), Unavailable, "in time"),
            (broken(io::ErrorKind::ConnectionRefused, "no"), Unavailable, "refuses connections"),
            (broken(io::ErrorKind::Other, "strange"), Unavailable, "could not be reached"),
            (answered("ERR strange"), Unavailable, "could not be reached"),
        ];
        for (error, kind, advice) in cases {
            let told = store_error(error);
            assert_eq!(told.kind(), kind, "{told:?}");
            assert!(told.to_string().contains(advice), "{advice} is missing in: {told}");
        }
        let inside = failure("-OOM command not allowed when used memory > 'maxmemory'.");
        assert_eq!((inside.kind(), failure("OOM").kind()), (Full, Full));
        assert_eq!(failure("-NOPERM this user has no permissions").kind(), Misconfigured);
    }

    #[test]
    fn what_a_connection_does_not_survive_ends_it_and_nothing_else_does() {
        for error in [
            broken(io::ErrorKind::Other, "strange"),
            broken(io::ErrorKind::TimedOut, "late"),
            broken(io::ErrorKind::ConnectionReset, "gone"),
            (ErrorKind::Parse, "no answer").into(),
            (ErrorKind::AuthenticationFailed, "no").into(),
            answered("READONLY You can't write"),
            answered("NOAUTH Authentication required."),
            answered("MASTERDOWN Link with MASTER is down"),
        ] {
            assert!(ends_connection(&error), "{error:?}");
        }
        for line in ["ERR strange", "OOM no", "WRONGTYPE no", "NOPERM no", "MISCONF no", "LOADING soon"] {
            assert!(!ends_connection(&answered(line)), "{line}");
        }
    }
}
