//! Redis comes back from an older backup, and the participants' databases do not: what `docs/src/restore.md` tells of
//! participants with a fence.

#![cfg(all(feature = "sqlite", feature = "redis"))]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

#[path = "../../tcc-redis/tests/support/server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod server;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use server::Server;
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tcc::{
    CancelCx, ConfirmCx, Gid, Keyed, OpenTransaction, PhaseError, RedisStore, Runtime, TryCx, TryOutcome,
    record::{Direction, ParkCause, Record, TransactionState},
};
use tcc_fence::{Entry, FenceError, create_table, enter};

const PAGE: &str = include_str!("../../docs/src/restore.md");
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);
/// Files of a small Redis.
const FILES_MAX: usize = 100;

#[derive(Debug, thiserror::Error)]
enum SaleError {
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Keeps a line for each effect that took place.
#[derive(Clone)]
struct Inventory {
    pool: SqlitePool,
    /// Confirms fail.
    closed: Arc<AtomicBool>,
}

impl Inventory {
    async fn new() -> Self {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        create_table(&pool).await.unwrap();
        sqlx::raw_sql("CREATE TABLE effects (sku TEXT, what TEXT)").execute(&pool).await.unwrap();
        Self { pool, closed: Arc::default() }
    }

    /// What took place with an article, in its order.
    async fn effects(&self, sku: &str) -> Vec<String> {
        let effects = sqlx::query_scalar("SELECT what FROM effects WHERE sku = ? ORDER BY rowid").bind(sku);
        effects.fetch_all(&self.pool).await.unwrap()
    }

    async fn runtime(&self, url: &str, process: &str) -> Runtime {
        let short = Duration::from_millis(500);
        Runtime::builder()
            .store(RedisStore::connect(url).await.unwrap())
            .process(process.parse().unwrap())
            .lease(Duration::from_secs(2))
            .drive_lease(Duration::from_secs(2))
            .sweep_interval(Duration::from_millis(20))
            .grace(short)
            .participant(self.clone())
            .start()
            .await
            .unwrap()
    }
}

/// One effect, and the fence, in one local transaction.
macro_rules! once {
    ($inventory:expr, $cx:expr, $sku:expr, $what:literal) => {{
        let mut local = $inventory.pool.begin().await?;
        if let Entry::First(_) = enter(&mut local, $cx).await? {
            let effect = sqlx::query("INSERT INTO effects VALUES (?, ?)").bind($sku).bind($what);
            effect.execute(&mut *local).await?;
        }
        local.commit().await?;
        Ok(())
    }};
}

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = sell, cancel = put_back, retry(max = 1000, base = "50ms", cap = "50ms"))]
    async fn reserve(&self, cx: &TryCx, sku: String) -> Result<(), SaleError> {
        once!(self, cx, sku, "held")
    }

    async fn sell(&self, cx: &ConfirmCx, sku: String, _held: ()) -> Result<(), PhaseError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(PhaseError::retry("the shop is closed"));
        }
        once!(self, cx, sku, "sold")
    }

    async fn put_back(&self, cx: &CancelCx, sku: String, _held: TryOutcome<()>) -> Result<(), PhaseError> {
        once!(self, cx, sku, "put back")
    }
}

/// Begun and tried.
async fn tried(runtime: &Runtime, sku: &str) -> OpenTransaction {
    let open = runtime.transaction("sale").begin().await.unwrap();
    InventoryTcc::new(&open).reserve(sku.to_owned()).await.unwrap();
    open
}

async fn sell(runtime: &Runtime, order: &str) -> Keyed<()> {
    let sale = runtime.transaction("sale").key(order);
    sale.run(async |tx| Ok(InventoryTcc::new(tx).reserve(order.to_owned()).await?)).await.unwrap()
}

async fn until(runtime: &Runtime, gid: &Gid, what: &str, so: impl Fn(&Record) -> bool) -> Record {
    let started = Instant::now();
    loop {
        let record = runtime.record(gid).await.unwrap().unwrap();
        if so(&record) {
            return record;
        }
        assert!(started.elapsed() < LONG, "waited in vain until {what}: {record:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_state(runtime: &Runtime, gid: &Gid, state: TransactionState) {
    until(runtime, gid, &format!("{gid} is {state}"), |record| record.state == state).await;
}

async fn until_parked(runtime: &Runtime, gid: &Gid) -> Record {
    until(runtime, gid, "a branch is parked", |record| record.branches[0].parked.is_some()).await
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (number, entry) in fs::read_dir(from).unwrap().enumerate() {
        assert!(number < FILES_MAX, "{} is no folder of a small Redis", from.display());
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_redis_restored_from_a_backup_does_with_fences_what_the_page_says() {
    let mut server = Server::start().await;
    let inventory = Inventory::new().await;
    let runtime = inventory.runtime(&server.url(), "before").await;

    // At the backup: two undecided, two decided to be confirmed and not through with it.
    let sold = tried(&runtime, "undecided, then sold").await;
    let put_back = tried(&runtime, "undecided, then put back").await;
    let [sold_gid, put_back_gid] = [&sold, &put_back].map(|open| open.gid().clone());
    inventory.closed.store(true, Ordering::SeqCst);
    let decided = tried(&runtime, "decided").await;
    let forgotten = tried(&runtime, "decided, its fence forgotten").await;
    let [decided_gid, forgotten_gid] = [&decided, &forgotten].map(|open| open.gid().clone());
    decided.commit().await.unwrap();
    forgotten.commit().await.unwrap();
    let (files, backup) = (server.directory().join("appendonlydir"), server.directory().join("backup"));
    copy(&files, &backup);

    // After it, all of them end, one is begun and sold, and one is begun and in flight.
    sold.commit().await.unwrap();
    inventory.closed.store(false, Ordering::SeqCst);
    put_back.cancel().await.unwrap();
    for gid in [&sold_gid, &decided_gid, &forgotten_gid] {
        until_state(&runtime, gid, TransactionState::Confirmed).await;
    }
    until_state(&runtime, &put_back_gid, TransactionState::Cancelled).await;
    assert!(matches!(sell(&runtime, "later").await, Keyed::First(())));
    assert!(matches!(sell(&runtime, "later").await, Keyed::Repeated(_)));
    let orphan = tried(&runtime, "in flight").await;
    let orphan_gid = orphan.gid().clone();
    // Its process dies with it.
    server.kill();
    std::mem::forget(orphan);
    runtime.shutdown().await;

    let forget = sqlx::query("DELETE FROM tcc_fence WHERE gid = ?").bind(forgotten_gid.as_str());
    forget.execute(&inventory.pool).await.unwrap();
    fs::remove_dir_all(&files).unwrap();
    copy(&backup, &files);
    server.restart().await;
    let runtime = inventory.runtime(&server.url(), "after").await;

    let record = until_parked(&runtime, &sold_gid).await;
    assert_eq!(record.decision.unwrap().direction, Direction::Cancel);
    assert_eq!(record.branches[0].parked.unwrap().cause, ParkCause::Handler);
    let error = record.branches[0].last_error.clone().unwrap();
    assert!(error.contains("contradicts its cancel") && PAGE.contains("contradicts the fence"), "{error}");
    until_state(&runtime, &put_back_gid, TransactionState::Cancelled).await;
    until_state(&runtime, &decided_gid, TransactionState::Confirmed).await;
    let record = until_parked(&runtime, &forgotten_gid).await;
    assert_eq!(record.decision.unwrap().direction, Direction::Confirm);
    for (sku, effects) in [
        ("undecided, then sold", ["held", "sold"]),
        ("undecided, then put back", ["held", "put back"]),
        ("decided", ["held", "sold"]),
        ("decided, its fence forgotten", ["held", "sold"]),
    ] {
        assert_eq!(inventory.effects(sku).await, effects, "{sku}: nothing happens twice");
    }

    // What the backup does not know is run again, and what it holds is found by the page's words.
    assert_eq!(runtime.record(&orphan_gid).await.unwrap(), None);
    let sql = PAGE.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let open: Vec<(String, String, String, i64)> =
        sqlx::query_as(sql).fetch_all(&inventory.pool).await.unwrap();
    let open: Vec<_> = open.iter().map(|(gid, branch, action, _)| [gid.as_str(), branch, action]).collect();
    assert_eq!(open, [[orphan_gid.as_str(), "01", "inventory.reserve@1"]]);
    assert_eq!(inventory.effects("in flight").await, ["held"]);
    assert!(matches!(sell(&runtime, "later").await, Keyed::First(())));
    let later = inventory.effects("later").await;
    assert_eq!(later.iter().filter(|what| *what == "held").count(), 2, "the key ran again");
    runtime.shutdown().await;
}
