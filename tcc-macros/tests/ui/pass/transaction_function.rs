//! A free function as a transaction, generic and with a runtime of its own.

#[path = "support/mod.rs"]
mod support;

use std::fmt::Display;
use support::start;
use tcc::{Runtime, TransactionError, TransactionErrorKind, Tx};

/// Its attributes, generics and conditions stay.
#[tcc::transaction(name = "print", runtime = runtime, timeout = "5s")]
#[inline]
pub async fn print<T, const N: usize>(
    tx: &Tx,
    runtime: &Runtime,
    parts: [T; N],
) -> Result<String, TransactionError>
where
    T: Display,
{
    #![allow(clippy::needless_return)]
    assert_eq!(tx.name().to_string(), "print");
    return Ok(parts.map(|part| part.to_string()).join("-"));
}

#[tcc::transaction(name = "nested", runtime = runtime.clone())]
async fn nested(_tx: &Tx, runtime: Runtime) -> Result<String, TransactionError> {
    print(&runtime, [1]).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let runtime = start(|builder| builder).await;
    assert_eq!(print(&runtime, [1, 2]).await.unwrap(), "1-2");
    let error = nested(runtime).await.unwrap_err();
    assert_eq!(error.kind(), TransactionErrorKind::Nested);
}
