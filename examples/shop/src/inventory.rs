//! Inventory: holds stock for an order, then sells it or puts it back. An axum service on PostgreSQL.

use axum::{Json, Router, routing::post};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome, propagate::axum::JoinedTx};
use tcc_fence::{Entry, enter};

use crate::{
    Failure,
    books::{BookError, TryFailure, exactly_one, postgres},
    goods::STOCK,
    hold::{Holds, Phase},
    place::{Place, Service},
    serve::{self, Answer},
};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS stock (
        sku     text   PRIMARY KEY,
        on_hand bigint NOT NULL CHECK (on_hand >= 0),
        held    bigint NOT NULL CHECK (held >= 0),
        sold    bigint NOT NULL CHECK (sold >= 0)
    );
    CREATE TABLE IF NOT EXISTS reservation (
        order_id text   PRIMARY KEY,
        sku      text   NOT NULL,
        quantity bigint NOT NULL,
        state    text   NOT NULL CHECK (state IN ('held', 'sold', 'released'))
    );";

/// What is asked of inventory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) order: String,
    pub(crate) sku: String,
    pub(crate) quantity: i64,
}

/// Stock held for an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) left: i64,
}

pub(crate) struct Inventory {
    pool: PgPool,
    holds: Holds,
}

#[tcc::participant(name = "inventory")]
impl Inventory {
    #[tcc(try, confirm = sell, cancel = put_back, timeout = "5s", retry(max = 50, base = "50ms", cap = "1s"))]
    async fn reserve(&self, cx: &TryCx, wanted: Wanted) -> Result<Held, TryFailure> {
        let mut local = self.pool.begin().await?;
        let first = match enter(&mut local, cx).await? {
            Entry::First(first) => first,
            Entry::AlreadyDone(held) => return Ok(held.get()?),
        };
        let left: Option<i64> = sqlx::query_scalar(
            "UPDATE stock SET on_hand = on_hand - $1, held = held + $1 WHERE sku = $2 AND on_hand >= $1
             RETURNING on_hand",
        )
        .bind(wanted.quantity)
        .bind(&wanted.sku)
        .fetch_optional(&mut *local)
        .await?;
        // Dropping `local` takes the fence back.
        let left = left.ok_or_else(|| TryFailure::Refused(format!("{} is out of stock", wanted.sku)))?;
        sqlx::query("INSERT INTO reservation (order_id, sku, quantity, state) VALUES ($1, $2, $3, 'held')")
            .bind(&wanted.order)
            .bind(&wanted.sku)
            .bind(wanted.quantity)
            .execute(&mut *local)
            .await?;
        let held = Held { left };
        first.keep(&mut local, &held).await?;
        local.commit().await?;
        self.holds.at(Phase::Try, &wanted.order).await;
        Ok(held)
    }

    async fn sell(&self, cx: &ConfirmCx, wanted: Wanted, _held: Held) -> Result<(), PhaseError> {
        let mut local = self.pool.begin().await?;
        if enter(&mut local, cx).await?.is_first() {
            let sold = sqlx::query("UPDATE stock SET held = held - $1, sold = sold + $1 WHERE sku = $2");
            let sold = sold.bind(wanted.quantity).bind(&wanted.sku).execute(&mut *local).await?;
            exactly_one(sold.rows_affected(), "the stock")?;
            let moved =
                sqlx::query("UPDATE reservation SET state = 'sold' WHERE order_id = $1 AND state = 'held'");
            let moved = moved.bind(&wanted.order).execute(&mut *local).await?;
            exactly_one(moved.rows_affected(), "the reservation")?;
        }
        local.commit().await?;
        self.holds.at(Phase::Confirm, &wanted.order).await;
        Ok(())
    }

    /// Whatever is known of the try, the fence knows better: it was written with the effect.
    async fn put_back(
        &self,
        cx: &CancelCx,
        wanted: Wanted,
        _held: TryOutcome<Held>,
    ) -> Result<(), PhaseError> {
        let mut local = self.pool.begin().await?;
        if enter(&mut local, cx).await?.is_first() {
            let back =
                sqlx::query("UPDATE stock SET held = held - $1, on_hand = on_hand + $1 WHERE sku = $2");
            let back = back.bind(wanted.quantity).bind(&wanted.sku).execute(&mut *local).await?;
            exactly_one(back.rows_affected(), "the stock")?;
            let moved = sqlx::query(
                "UPDATE reservation SET state = 'released' WHERE order_id = $1 AND state = 'held'",
            );
            let moved = moved.bind(&wanted.order).execute(&mut *local).await?;
            exactly_one(moved.rows_affected(), "the reservation")?;
        }
        // An empty cancel has a row to leave, too.
        local.commit().await?;
        self.holds.at(Phase::Cancel, &wanted.order).await;
        Ok(())
    }
}

impl Inventory {
    pub(crate) async fn open(place: &Place, holds: Holds) -> Result<Self, BookError> {
        let pool = postgres(place).await?;
        let schema = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", place.name);
        sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await?;
        tcc_fence::create_table(&pool).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        for (sku, on_hand) in STOCK {
            sqlx::query("INSERT INTO stock VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING")
                .bind(sku)
                .bind(on_hand)
                .execute(&pool)
                .await?;
        }
        Ok(Self { pool, holds })
    }
}

/// The handler: the branch is added to the transaction of whoever called.
async fn reserve(tx: JoinedTx, Json(wanted): Json<Wanted>) -> Answer<Held> {
    InventoryTcc::new(&tx).reserve(wanted).await.map(Json).map_err(serve::refusal)
}

pub(crate) async fn run(place: &Place, holds: Holds) -> Result<(), Failure> {
    let inventory = Inventory::open(place, holds.clone()).await?;
    let runtime = serve::runtime(place, &holds, inventory).await?;
    serve::http(place, Service::Inventory, runtime, Router::new().route("/reserve", post(reserve))).await
}

/// Removes what a run left in PostgreSQL.
pub(crate) async fn forget(place: &Place) -> Result<(), BookError> {
    let pool = postgres(place).await?;
    let schema = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", place.name);
    sqlx::raw_sql(AssertSqlSafe(schema)).execute(&pool).await?;
    pool.close().await;
    Ok(())
}
