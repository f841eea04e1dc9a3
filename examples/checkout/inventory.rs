//! Inventory: holds stock for an order, then sells it or puts it back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};
use tcc_fence::Entry;

use crate::books::{BookError, Books, exactly_one};
use crate::faults::{self, Fault};
use crate::slip::{self, Slip};
use crate::tally::Tally;

pub(crate) const BOOKS: &str = "inventory";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS stock (
        sku      TEXT PRIMARY KEY NOT NULL,
        on_hand  INTEGER NOT NULL CHECK (on_hand >= 0),
        reserved INTEGER NOT NULL CHECK (reserved >= 0),
        sold     INTEGER NOT NULL CHECK (sold >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS reservation (
        gid      TEXT NOT NULL,
        branch   TEXT NOT NULL,
        order_id TEXT NOT NULL,
        sku      TEXT NOT NULL,
        quantity INTEGER NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('held', 'sold', 'released')),
        PRIMARY KEY (gid, branch)
    ) STRICT, WITHOUT ROWID;";

/// Why stock was not held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StockError {
    #[error("{sku} is out of stock: {quantity} wanted")]
    OutOfStock { sku: String, quantity: i64 },
    #[error("stock was not held")]
    Books(#[from] BookError),
}

impl From<sqlx::Error> for StockError {
    fn from(error: sqlx::Error) -> Self {
        Self::Books(error.into())
    }
}

pub(crate) struct Inventory {
    books: Books,
    tally: Arc<Tally>,
}

/// Stock held for an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) left_on_hand: i64,
}

#[tcc::participant(name = "inventory")]
impl Inventory {
    /// Holds stock for an order.
    #[tcc(
        try,
        confirm = confirm_reserve,
        cancel = cancel_reserve,
        timeout = "2s",
        retry(max = 20, base = "50ms", cap = "2s")
    )]
    pub(crate) async fn reserve(
        &self,
        cx: &TryCx,
        order: String,
        sku: String,
        quantity: i64,
    ) -> Result<Hold, StockError> {
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        let held = self.hold(cx, &slip, &sku, quantity).await;
        if let Err(StockError::Books(error)) = &held
            && error.is_too_late()
        {
            self.tally.turn_away();
        }
        Ok(Hold { left_on_hand: held? })
    }

    async fn confirm_reserve(
        &self,
        cx: &ConfirmCx,
        order: String,
        sku: String,
        quantity: i64,
        _hold: Hold,
    ) -> Result<(), PhaseError> {
        self.tally.attempt(BOOKS, cx.attempt());
        let planned = faults::planned(BOOKS, &order, cx.attempt());
        faults::fail_if(planned, Fault::Before, BOOKS)?;
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        self.sell(cx, &slip, &sku, quantity).await?;
        Ok(faults::fail_if(planned, Fault::After, BOOKS)?)
    }

    /// Whatever is known of the try, the fence knows better: it was written with the effect.
    async fn cancel_reserve(
        &self,
        cx: &CancelCx,
        order: String,
        sku: String,
        quantity: i64,
        _hold: TryOutcome<Hold>,
    ) -> Result<(), PhaseError> {
        self.tally.attempt(BOOKS, cx.attempt());
        let planned = faults::planned(BOOKS, &order, cx.attempt());
        faults::fail_if(planned, Fault::Before, BOOKS)?;
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        self.put_back(cx, &slip, &sku, quantity).await?;
        Ok(faults::fail_if(planned, Fault::After, BOOKS)?)
    }
}

impl Inventory {
    pub(crate) async fn open(
        directory: &Path,
        opening: &BTreeMap<String, i64>,
        tally: Arc<Tally>,
    ) -> Result<Self, BookError> {
        let books = Books::open(directory, BOOKS, SCHEMA).await?;
        let mut local = books.begin().await?;
        for (sku, on_hand) in opening {
            sqlx::query(
                "INSERT INTO stock (sku, on_hand, reserved, sold) VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING",
            )
            .bind(sku)
            .bind(on_hand)
            .execute(&mut *local)
            .await?;
        }
        local.commit().await?;
        Ok(Self { books, tally })
    }

    /// Returns what is left on hand.
    async fn hold(&self, cx: &TryCx, slip: &Slip, sku: &str, quantity: i64) -> Result<i64, StockError> {
        let mut local = self.books.begin().await?;
        let first = match slip::enter(&mut local, cx, slip).await? {
            Entry::First(first) => first,
            Entry::AlreadyDone(left) => return Ok(left.get().map_err(BookError::from)?),
        };
        let left: Option<i64> = sqlx::query_scalar(
            "UPDATE stock SET on_hand = on_hand - ?1, reserved = reserved + ?1 WHERE sku = ?2 AND on_hand >= ?1
             RETURNING on_hand",
        )
        .bind(quantity)
        .bind(sku)
        .fetch_optional(&mut *local)
        .await?;
        let Some(left) = left else {
            return Err(StockError::OutOfStock { sku: sku.to_owned(), quantity });
        };
        sqlx::query(
            "INSERT INTO reservation (gid, branch, order_id, sku, quantity, state) VALUES (?, ?, ?, ?, ?, 'held')",
        )
        .bind(&slip.gid)
        .bind(&slip.branch)
        .bind(&slip.order)
        .bind(sku)
        .bind(quantity)
        .execute(&mut *local)
        .await?;
        first.keep(&mut local, &left).await.map_err(BookError::from)?;
        local.commit().await?;
        Ok(left)
    }

    async fn sell(&self, cx: &ConfirmCx, slip: &Slip, sku: &str, quantity: i64) -> Result<(), BookError> {
        let mut local = self.books.begin().await?;
        if !slip::enter(&mut local, cx, slip).await?.is_first() {
            return Ok(());
        }
        let stock = sqlx::query(
            "UPDATE stock SET reserved = reserved - ?1, sold = sold + ?1 WHERE sku = ?2 AND reserved >= ?1",
        )
        .bind(quantity)
        .bind(sku)
        .execute(&mut *local)
        .await?;
        exactly_one(&stock, slip, "reserved stock")?;
        let reservation = sqlx::query("UPDATE reservation SET state = 'sold' WHERE gid = ? AND branch = ?")
            .bind(&slip.gid)
            .bind(&slip.branch)
            .execute(&mut *local)
            .await?;
        exactly_one(&reservation, slip, "the reservation")?;
        Ok(local.commit().await?)
    }

    async fn put_back(&self, cx: &CancelCx, slip: &Slip, sku: &str, quantity: i64) -> Result<(), BookError> {
        let mut local = self.books.begin().await?;
        if slip::enter(&mut local, cx, slip).await?.is_first() {
            let stock = sqlx::query(
                "UPDATE stock SET reserved = reserved - ?1, on_hand = on_hand + ?1 WHERE sku = ?2 AND reserved >= ?1",
            )
            .bind(quantity)
            .bind(sku)
            .execute(&mut *local)
            .await?;
            exactly_one(&stock, slip, "reserved stock")?;
            let reservation =
                sqlx::query("UPDATE reservation SET state = 'released' WHERE gid = ? AND branch = ?")
                    .bind(&slip.gid)
                    .bind(&slip.branch)
                    .execute(&mut *local)
                    .await?;
            exactly_one(&reservation, slip, "the reservation")?;
        }
        // An empty cancel has a fence row of its own to keep.
        Ok(local.commit().await?)
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }
}
