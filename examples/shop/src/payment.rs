//! Payment: holds an amount on a card, then charges it or lets it go. An axum service on SQLite.

use axum::{Json, Router, routing::post};
use serde::{Deserialize, Serialize};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome, propagate::axum::JoinedTx};
use tcc_fence::enter;

use crate::{
    Failure,
    books::{BookError, Books, TryFailure, exactly_one},
    goods::CARDS,
    hold::{Holds, Phase},
    place::{Place, Service},
    serve::{self, Answer},
};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS card (
        card      TEXT PRIMARY KEY NOT NULL,
        available INTEGER NOT NULL CHECK (available >= 0),
        held      INTEGER NOT NULL CHECK (held >= 0),
        charged   INTEGER NOT NULL CHECK (charged >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS charge (
        order_id TEXT PRIMARY KEY NOT NULL,
        card     TEXT NOT NULL,
        cents    INTEGER NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('held', 'charged', 'released'))
    ) STRICT, WITHOUT ROWID;";

/// What is asked of payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bill {
    pub(crate) order: String,
    pub(crate) card: String,
    pub(crate) cents: i64,
}

pub(crate) struct Payment {
    books: Books,
    holds: Holds,
}

#[tcc::participant(name = "payment")]
impl Payment {
    #[tcc(try, confirm = charge, cancel = let_go, timeout = "5s", retry(max = 50, base = "50ms", cap = "1s"))]
    async fn authorize(&self, cx: &TryCx, bill: Bill) -> Result<(), TryFailure> {
        let mut local = self.books.begin().await?;
        if !enter(&mut local, cx).await?.is_first() {
            return Ok(());
        }
        let held = sqlx::query(
            "UPDATE card SET available = available - ?1, held = held + ?1 WHERE card = ?2 AND available >= ?1",
        )
        .bind(bill.cents)
        .bind(&bill.card)
        .execute(&mut *local)
        .await?;
        if held.rows_affected() == 0 {
            return Err(TryFailure::Refused(format!("the card {} is declined", bill.card)));
        }
        sqlx::query("INSERT INTO charge (order_id, card, cents, state) VALUES (?, ?, ?, 'held')")
            .bind(&bill.order)
            .bind(&bill.card)
            .bind(bill.cents)
            .execute(&mut *local)
            .await?;
        local.commit().await?;
        self.holds.at(Phase::Try, &bill.order).await;
        Ok(())
    }

    async fn charge(&self, cx: &ConfirmCx, bill: Bill, _held: ()) -> Result<(), PhaseError> {
        let mut local = self.books.begin().await?;
        if enter(&mut local, cx).await?.is_first() {
            let charged =
                sqlx::query("UPDATE card SET held = held - ?1, charged = charged + ?1 WHERE card = ?2");
            let charged = charged.bind(bill.cents).bind(&bill.card).execute(&mut *local).await?;
            exactly_one(charged.rows_affected(), "the card")?;
            let moved =
                sqlx::query("UPDATE charge SET state = 'charged' WHERE order_id = ? AND state = 'held'");
            exactly_one(moved.bind(&bill.order).execute(&mut *local).await?.rows_affected(), "the charge")?;
        }
        local.commit().await?;
        self.holds.at(Phase::Confirm, &bill.order).await;
        Ok(())
    }

    async fn let_go(&self, cx: &CancelCx, bill: Bill, _held: TryOutcome<()>) -> Result<(), PhaseError> {
        let mut local = self.books.begin().await?;
        if enter(&mut local, cx).await?.is_first() {
            let back =
                sqlx::query("UPDATE card SET held = held - ?1, available = available + ?1 WHERE card = ?2");
            let back = back.bind(bill.cents).bind(&bill.card).execute(&mut *local).await?;
            exactly_one(back.rows_affected(), "the card")?;
            let moved =
                sqlx::query("UPDATE charge SET state = 'released' WHERE order_id = ? AND state = 'held'");
            exactly_one(moved.bind(&bill.order).execute(&mut *local).await?.rows_affected(), "the charge")?;
        }
        local.commit().await?;
        self.holds.at(Phase::Cancel, &bill.order).await;
        Ok(())
    }
}

impl Payment {
    pub(crate) async fn open(place: &Place, holds: Holds) -> Result<Self, BookError> {
        let books = Books::open(place, Service::Payment, TABLES).await?;
        for (card, limit) in CARDS {
            sqlx::query("INSERT INTO card VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING")
                .bind(card)
                .bind(limit)
                .execute(&books.pool)
                .await?;
        }
        Ok(Self { books, holds })
    }
}

async fn authorize(tx: JoinedTx, Json(bill): Json<Bill>) -> Answer<()> {
    PaymentTcc::new(&tx).authorize(bill).await.map(Json).map_err(serve::refusal)
}

pub(crate) async fn run(place: &Place, holds: Holds) -> Result<(), Failure> {
    let payment = Payment::open(place, holds.clone()).await?;
    let runtime = serve::runtime(place, &holds, payment).await?;
    serve::http(place, Service::Payment, runtime, Router::new().route("/authorize", post(authorize))).await
}
