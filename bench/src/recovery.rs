//! From the crash of a worker in the middle of phase two to the end of all it had begun.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use tcc::{RedisStore, store::Store};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    BenchError,
    scenarios::Figure,
    server::{Durability, Server},
    work::{self, Shape},
};

/// Begun at a time.
const TOGETHER: usize = 256;
const PATIENCE: Duration = Duration::from_secs(180);
/// What a stalled worker says when all its transactions are in phase two.
const READY: &str = "ready";

/// Another process, `bench stall`, takes so many transactions into phase two and is killed; this one finishes them.
pub(crate) async fn measure(transactions: usize) -> Result<Figure, BenchError> {
    let server = Server::start(Durability::Off).await?;
    let survivor = work::runtime(&server.url, Durability::Off, Shape::default()).await?;
    let mut worker = Command::new(std::env::current_exe()?)
        .args(["stall", "--url", &server.url, "--transactions", &transactions.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let told = worker.stdout.take().map(|out| BufReader::new(out).lines());
    let mut told = told.ok_or_else(|| BenchError::Loop("the worker has no output".into()))?;
    match timeout(PATIENCE, told.next_line()).await {
        Ok(Ok(Some(line))) if line == READY => {}
        other => return Err(BenchError::Loop(format!("the worker did not get ready: {other:?}"))),
    }
    let store = RedisStore::builder(&server.url).durability(Durability::Off.promised()).connect().await?;
    let held = left(&store).await?;
    worker.kill().await?;
    let killed = Instant::now();
    while left(&store).await? > 0 {
        if killed.elapsed() > PATIENCE {
            return Err(BenchError::Loop("the survivor did not finish in time".into()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = killed.elapsed().as_secs_f64();
    survivor.shutdown().await;
    let lease_s = work::STALLED_LEASE.as_secs_f64();
    Ok(Figure::Recovery { scenario: "a worker killed in phase two", transactions: held, lease_s, seconds })
}

/// Transactions that someone must look after.
async fn left(store: &RedisStore) -> Result<u64, BenchError> {
    let mut left = 0;
    for shard in 0..store.shards() {
        left += store.inspect().counts(shard, &[]).await?.timers;
    }
    Ok(left)
}

/// Takes transactions into phase two, whose handlers never return, says so, and waits to be killed.
#[allow(clippy::print_stdout, reason = "the other process reads it")]
pub(crate) async fn stall(url: &str, transactions: usize) -> Result<(), BenchError> {
    let runtime = work::stalled_runtime(url, transactions).await?;
    let mut begun = 0;
    while begun < transactions {
        let some = TOGETHER.min(transactions - begun);
        let decided = (0..some).map(|_| async {
            work::tried(&runtime, Shape::default()).await?.commit().await?;
            Ok::<_, BenchError>(())
        });
        futures_util::future::try_join_all(decided).await?;
        begun += some;
    }
    println!("{READY}");
    std::future::pending().await
}
