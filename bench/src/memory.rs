//! What a transaction takes in Redis, while it is open and after its end.

use std::time::Duration;

use crate::{
    BenchError,
    server::{Durability, Server},
    work::{self, Shape},
};

/// So many that what Redis holds beside them does not matter.
const TRANSACTIONS: usize = 9_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of Redis' memory for each transaction, its indexes included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    /// With its branches tried, undecided.
    pub(crate) live: f64,
    /// Final and retained.
    pub(crate) finished: f64,
}

/// Opens transactions, looks, ends them, and looks again.
pub(crate) async fn measure(shape: Shape) -> Result<Bytes, BenchError> {
    let mut server = Server::start(Durability::Off).await?;
    let runtime = work::runtime(&server.url, Durability::Off, shape).await?;
    // What the first transaction brings with it is there for all.
    work::one(&runtime, shape).await?;
    let before = used(&mut server).await?;
    let mut open = Vec::with_capacity(TRANSACTIONS);
    for _ in 0..TRANSACTIONS {
        open.push(work::tried(&runtime, shape).await?);
    }
    let live = used(&mut server).await? - before;
    for open in open {
        open.commit().await?.wait(PATIENCE).await?;
    }
    let finished = used(&mut server).await? - before;
    runtime.shutdown().await;
    let each = |bytes: f64| bytes / TRANSACTIONS as f64;
    Ok(Bytes { live: each(live), finished: each(finished) })
}

/// Waits until buffers are given back.
async fn used(server: &mut Server) -> Result<f64, BenchError> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.info("memory", "used_memory").await
}
