//! The participants in every order in which crashes, repetitions and late messages can run their handlers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sqlx::SqlitePool;
use tcc::testing::kit;

use crate::inventory::Inventory;
use crate::loyalty::Loyalty;
use crate::payment::Payment;
use crate::tally::Tally;

/// Directories for the books of one participant after another, removed in the end.
struct Shelf {
    root: PathBuf,
    used: AtomicUsize,
}

impl Shelf {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("checkout-contract-{}-{name}", std::process::id()));
        Self { root, used: AtomicUsize::new(0) }
    }

    fn place(&self) -> PathBuf {
        let place = self.root.join(self.used.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir_all(&place).unwrap();
        place
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// What a query shows, as numbers.
async fn seen(pool: &SqlitePool, query: &'static str) -> (i64, i64, i64) {
    sqlx::query_as(query).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn inventory_keeps_every_order() {
    let shelf = Shelf::new("inventory");
    let stock = BTreeMap::from([("tea".to_owned(), 5)]);
    kit::participant(async || {
        Inventory::open(&shelf.place(), &stock, Arc::new(Tally::default())).await.unwrap()
    })
    .call("reserve", &json!({ "order": "A-1", "sku": "tea", "quantity": 2 }))
    .refused("reserve", &json!({ "order": "A-1", "sku": "tea", "quantity": 20 }))
    .check(async |inventory| {
        let query = "SELECT on_hand, reserved, sold FROM stock";
        let held =
            "SELECT COUNT(*), COALESCE(SUM(quantity), 0), 0 FROM reservation WHERE state <> 'released'";
        let pool = inventory.books().pool();
        (seen(pool, query).await, seen(pool, held).await)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn payment_keeps_every_order() {
    let shelf = Shelf::new("payment");
    let cards = BTreeMap::from([("4242".to_owned(), 1_000)]);
    let call = |cents: i64| json!({ "order": "A-1", "card": "4242", "amount_cents": cents, "slow_ms": 2 });
    kit::participant(async || {
        Payment::open(&shelf.place(), &cards, Arc::new(Tally::default())).await.unwrap()
    })
    .call("authorize", &call(300))
    .refused("authorize", &call(3_000))
    .check(async |payment| {
        let query = "SELECT available_cents, held_cents, charged_cents FROM card";
        seen(payment.books().pool(), query).await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn loyalty_keeps_every_order() {
    let shelf = Shelf::new("loyalty");
    kit::participant(async || Loyalty::open(&shelf.place(), Arc::new(Tally::default())).await.unwrap())
        .call("accrue", &json!({ "order": "A-1", "customer": "mia", "points": 7 }))
        .check(async |loyalty| {
            let query = "SELECT COALESCE(SUM(pending), 0), COALESCE(SUM(points), 0), 0 FROM account";
            seen(loyalty.books().pool(), query).await
        })
        .await
        .unwrap();
}
