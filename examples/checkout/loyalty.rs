//! Loyalty: promises points to a customer, then awards or drops them.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

use crate::books::{BookError, Books, exactly_one};
use crate::faults::{self, Fault};
use crate::slip::{self, Slip};
use crate::tally::Tally;

pub(crate) const BOOKS: &str = "loyalty";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS account (
        customer TEXT PRIMARY KEY NOT NULL,
        pending  INTEGER NOT NULL CHECK (pending >= 0),
        points   INTEGER NOT NULL CHECK (points >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS award (
        gid      TEXT NOT NULL,
        branch   TEXT NOT NULL,
        order_id TEXT NOT NULL,
        customer TEXT NOT NULL,
        points   INTEGER NOT NULL,
        state    TEXT NOT NULL CHECK (state IN ('pending', 'awarded', 'dropped')),
        PRIMARY KEY (gid, branch)
    ) STRICT, WITHOUT ROWID;";

/// Why points were not promised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoyaltyError {
    #[error("no points were promised")]
    Books(#[from] BookError),
}

impl From<sqlx::Error> for LoyaltyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Books(error.into())
    }
}

pub(crate) struct Loyalty {
    books: Books,
    tally: Arc<Tally>,
}

/// Points promised to a customer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) points: i64,
}

#[tcc::participant(name = "loyalty")]
impl Loyalty {
    /// Promises points to a customer.
    #[tcc(
        try,
        confirm = confirm_accrue,
        cancel = cancel_accrue,
        timeout = "2s",
        retry(max = 20, base = "50ms", cap = "2s")
    )]
    pub(crate) async fn accrue(
        &self,
        cx: &TryCx,
        order: String,
        customer: String,
        points: i64,
    ) -> Result<Promise, LoyaltyError> {
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        let promised = self.promise(cx, &slip, &customer, points).await;
        if let Err(LoyaltyError::Books(error)) = &promised
            && error.is_too_late()
        {
            self.tally.turn_away();
        }
        promised.map(|()| Promise { points })
    }

    async fn confirm_accrue(
        &self,
        cx: &ConfirmCx,
        order: String,
        customer: String,
        points: i64,
        _promise: Promise,
    ) -> Result<(), PhaseError> {
        self.tally.attempt(BOOKS, cx.attempt());
        let planned = faults::planned(BOOKS, &order, cx.attempt());
        faults::fail_if(planned, Fault::Before, BOOKS)?;
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        self.award(cx, &slip, &customer, points).await?;
        Ok(faults::fail_if(planned, Fault::After, BOOKS)?)
    }

    async fn cancel_accrue(
        &self,
        cx: &CancelCx,
        order: String,
        customer: String,
        points: i64,
        _promise: TryOutcome<Promise>,
    ) -> Result<(), PhaseError> {
        self.tally.attempt(BOOKS, cx.attempt());
        let planned = faults::planned(BOOKS, &order, cx.attempt());
        faults::fail_if(planned, Fault::Before, BOOKS)?;
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        self.drop_points(cx, &slip, &customer, points).await?;
        Ok(faults::fail_if(planned, Fault::After, BOOKS)?)
    }
}

impl Loyalty {
    pub(crate) async fn open(directory: &Path, tally: Arc<Tally>) -> Result<Self, BookError> {
        Ok(Self { books: Books::open(directory, BOOKS, SCHEMA).await?, tally })
    }

    async fn promise(
        &self,
        cx: &TryCx,
        slip: &Slip,
        customer: &str,
        points: i64,
    ) -> Result<(), LoyaltyError> {
        let mut local = self.books.begin().await?;
        if !slip::enter(&mut local, cx, slip).await?.is_first() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO account (customer, pending, points) VALUES (?1, ?2, 0)
             ON CONFLICT (customer) DO UPDATE SET pending = pending + ?2",
        )
        .bind(customer)
        .bind(points)
        .execute(&mut *local)
        .await?;
        sqlx::query(
            "INSERT INTO award (gid, branch, order_id, customer, points, state) VALUES (?, ?, ?, ?, ?, 'pending')",
        )
        .bind(&slip.gid)
        .bind(&slip.branch)
        .bind(&slip.order)
        .bind(customer)
        .bind(points)
        .execute(&mut *local)
        .await?;
        Ok(local.commit().await?)
    }

    async fn award(&self, cx: &ConfirmCx, slip: &Slip, customer: &str, points: i64) -> Result<(), BookError> {
        let mut local = self.books.begin().await?;
        if !slip::enter(&mut local, cx, slip).await?.is_first() {
            return Ok(());
        }
        let account = sqlx::query(
            "UPDATE account SET pending = pending - ?1, points = points + ?1 WHERE customer = ?2 AND pending >= ?1",
        )
        .bind(points)
        .bind(customer)
        .execute(&mut *local)
        .await?;
        exactly_one(&account, slip, "the points promised")?;
        let award = sqlx::query("UPDATE award SET state = 'awarded' WHERE gid = ? AND branch = ?")
            .bind(&slip.gid)
            .bind(&slip.branch)
            .execute(&mut *local)
            .await?;
        exactly_one(&award, slip, "the award")?;
        Ok(local.commit().await?)
    }

    async fn drop_points(
        &self,
        cx: &CancelCx,
        slip: &Slip,
        customer: &str,
        points: i64,
    ) -> Result<(), BookError> {
        let mut local = self.books.begin().await?;
        if slip::enter(&mut local, cx, slip).await?.is_first() {
            let account = sqlx::query(
                "UPDATE account SET pending = pending - ?1 WHERE customer = ?2 AND pending >= ?1",
            )
            .bind(points)
            .bind(customer)
            .execute(&mut *local)
            .await?;
            exactly_one(&account, slip, "the points promised")?;
            let award = sqlx::query("UPDATE award SET state = 'dropped' WHERE gid = ? AND branch = ?")
                .bind(&slip.gid)
                .bind(&slip.branch)
                .execute(&mut *local)
                .await?;
            exactly_one(&award, slip, "the award")?;
        }
        Ok(local.commit().await?)
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }
}
