//! Payment: holds an amount on a card, then charges it or lets it go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tcc::{CancelCx, ConfirmCx, PhaseError, TryCx, TryOutcome};

use crate::books::{BookError, Books, exactly_one};
use crate::faults::{self, Fault};
use crate::slip::{self, Slip};
use crate::tally::Tally;

pub(crate) const BOOKS: &str = "payment";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS card (
        card            TEXT PRIMARY KEY NOT NULL,
        available_cents INTEGER NOT NULL CHECK (available_cents >= 0),
        held_cents      INTEGER NOT NULL CHECK (held_cents >= 0),
        charged_cents   INTEGER NOT NULL CHECK (charged_cents >= 0)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS charge (
        gid          TEXT NOT NULL,
        branch       TEXT NOT NULL,
        order_id     TEXT NOT NULL,
        card         TEXT NOT NULL,
        amount_cents INTEGER NOT NULL,
        state        TEXT NOT NULL CHECK (state IN ('held', 'charged', 'released')),
        PRIMARY KEY (gid, branch)
    ) STRICT, WITHOUT ROWID;";

/// Why a card was not authorised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    #[error("the card was declined for {amount_cents} cents")]
    Declined { amount_cents: i64 },
    #[error("the card was not authorised")]
    Books(#[from] BookError),
}

impl From<sqlx::Error> for PaymentError {
    fn from(error: sqlx::Error) -> Self {
        Self::Books(error.into())
    }
}

pub(crate) struct Payment {
    books: Books,
    tally: Arc<Tally>,
}

/// An amount held on a card.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Authorization {
    pub(crate) reference: String,
}

#[tcc::participant(name = "payment")]
impl Payment {
    /// Holds an amount on a card. The bank takes `slow_ms`: half of it before the amount is held, so that a cancel
    /// can overtake it, and half after, so that an amount can be held that nobody hears of in time.
    #[tcc(
        try,
        confirm = confirm_authorize,
        cancel = cancel_authorize,
        timeout = "1500ms",
        retry(max = 20, base = "50ms", cap = "2s")
    )]
    pub(crate) async fn authorize(
        &self,
        cx: &TryCx,
        order: String,
        #[tcc(redact)] card: String,
        amount_cents: i64,
        slow_ms: u64,
    ) -> Result<Authorization, PaymentError> {
        let half = Duration::from_millis(slow_ms) / 2;
        tokio::time::sleep(half).await;
        let held = self.hold(cx, &Slip::new(cx.gid(), cx.branch(), order), &card, amount_cents).await;
        if let Err(PaymentError::Books(error)) = &held
            && error.is_too_late()
        {
            self.tally.turn_away();
        }
        tokio::time::sleep(half).await;
        held.map(|()| Authorization { reference: cx.idempotency_key() })
    }

    async fn confirm_authorize(
        &self,
        cx: &ConfirmCx,
        order: String,
        card: String,
        amount_cents: i64,
        _slow_ms: u64,
        _authorization: Authorization,
    ) -> Result<(), PhaseError> {
        self.tally.attempt(BOOKS, cx.attempt());
        let planned = faults::planned(BOOKS, &order, cx.attempt());
        faults::fail_if(planned, Fault::Before, BOOKS)?;
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        self.charge(cx, &slip, &card, amount_cents).await?;
        Ok(faults::fail_if(planned, Fault::After, BOOKS)?)
    }

    async fn cancel_authorize(
        &self,
        cx: &CancelCx,
        order: String,
        card: String,
        amount_cents: i64,
        _slow_ms: u64,
        _authorization: TryOutcome<Authorization>,
    ) -> Result<(), PhaseError> {
        self.tally.attempt(BOOKS, cx.attempt());
        let planned = faults::planned(BOOKS, &order, cx.attempt());
        faults::fail_if(planned, Fault::Before, BOOKS)?;
        let slip = Slip::new(cx.gid(), cx.branch(), order);
        self.let_go(cx, &slip, &card, amount_cents).await?;
        Ok(faults::fail_if(planned, Fault::After, BOOKS)?)
    }
}

impl Payment {
    pub(crate) async fn open(
        directory: &Path,
        limits: &BTreeMap<String, i64>,
        tally: Arc<Tally>,
    ) -> Result<Self, BookError> {
        let books = Books::open(directory, BOOKS, SCHEMA).await?;
        let mut local = books.begin().await?;
        for (card, limit_cents) in limits {
            sqlx::query(
                "INSERT INTO card (card, available_cents, held_cents, charged_cents) VALUES (?, ?, 0, 0)
                 ON CONFLICT DO NOTHING",
            )
            .bind(card)
            .bind(limit_cents)
            .execute(&mut *local)
            .await?;
        }
        local.commit().await?;
        Ok(Self { books, tally })
    }

    async fn hold(&self, cx: &TryCx, slip: &Slip, card: &str, amount_cents: i64) -> Result<(), PaymentError> {
        let mut local = self.books.begin().await?;
        if !slip::enter(&mut local, cx, slip).await?.is_first() {
            return Ok(());
        }
        let held = sqlx::query(
            "UPDATE card SET available_cents = available_cents - ?1, held_cents = held_cents + ?1
             WHERE card = ?2 AND available_cents >= ?1",
        )
        .bind(amount_cents)
        .bind(card)
        .execute(&mut *local)
        .await?;
        if held.rows_affected() == 0 {
            return Err(PaymentError::Declined { amount_cents });
        }
        sqlx::query(
            "INSERT INTO charge (gid, branch, order_id, card, amount_cents, state) VALUES (?, ?, ?, ?, ?, 'held')",
        )
        .bind(&slip.gid)
        .bind(&slip.branch)
        .bind(&slip.order)
        .bind(card)
        .bind(amount_cents)
        .execute(&mut *local)
        .await?;
        Ok(local.commit().await?)
    }

    async fn charge(
        &self,
        cx: &ConfirmCx,
        slip: &Slip,
        card: &str,
        amount_cents: i64,
    ) -> Result<(), BookError> {
        let mut local = self.books.begin().await?;
        if !slip::enter(&mut local, cx, slip).await?.is_first() {
            return Ok(());
        }
        let balance = sqlx::query(
            "UPDATE card SET held_cents = held_cents - ?1, charged_cents = charged_cents + ?1
             WHERE card = ?2 AND held_cents >= ?1",
        )
        .bind(amount_cents)
        .bind(card)
        .execute(&mut *local)
        .await?;
        exactly_one(&balance, slip, "the amount held")?;
        let charge = sqlx::query("UPDATE charge SET state = 'charged' WHERE gid = ? AND branch = ?")
            .bind(&slip.gid)
            .bind(&slip.branch)
            .execute(&mut *local)
            .await?;
        exactly_one(&charge, slip, "the charge")?;
        Ok(local.commit().await?)
    }

    async fn let_go(
        &self,
        cx: &CancelCx,
        slip: &Slip,
        card: &str,
        amount_cents: i64,
    ) -> Result<(), BookError> {
        let mut local = self.books.begin().await?;
        if slip::enter(&mut local, cx, slip).await?.is_first() {
            let balance = sqlx::query(
                "UPDATE card SET held_cents = held_cents - ?1, available_cents = available_cents + ?1
                 WHERE card = ?2 AND held_cents >= ?1",
            )
            .bind(amount_cents)
            .bind(card)
            .execute(&mut *local)
            .await?;
            exactly_one(&balance, slip, "the amount held")?;
            let charge = sqlx::query("UPDATE charge SET state = 'released' WHERE gid = ? AND branch = ?")
                .bind(&slip.gid)
                .bind(&slip.branch)
                .execute(&mut *local)
                .await?;
            exactly_one(&charge, slip, "the charge")?;
        }
        Ok(local.commit().await?)
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }
}

#[cfg(test)]
mod tests {
    use tcc::{ActionName, Config, Gid, Ordinal, Timestamp};
    use tcc_core::testing::contexts::{cancel_cx, confirm_cx, try_cx};
    use tcc_fence::FenceError;

    use super::*;

    struct Till {
        payment: Payment,
        directory: std::path::PathBuf,
    }

    impl Till {
        async fn open(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("checkout-till-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let limits = BTreeMap::from([("visa".to_owned(), 1000)]);
            Self { payment: Payment::open(&directory, &limits, Arc::default()).await.unwrap(), directory }
        }

        /// Available, held, charged.
        async fn card(&self) -> (i64, i64, i64) {
            sqlx::query_as("SELECT available_cents, held_cents, charged_cents FROM card")
                .fetch_one(self.payment.books.pool())
                .await
                .unwrap()
        }

        async fn fence(&self) -> Vec<String> {
            sqlx::query_scalar("SELECT phase FROM tcc_fence")
                .fetch_all(self.payment.books.pool())
                .await
                .unwrap()
        }
    }

    impl Drop for Till {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    fn gid() -> Gid {
        Gid::new(Timestamp::from_millis(1), 1, 0)
    }

    fn branch() -> Ordinal {
        Ordinal::from_index(1)
    }

    fn action() -> ActionName {
        "payment.authorize@1".parse().unwrap()
    }

    fn slip() -> Slip {
        Slip::new(&gid(), branch(), "O-1".to_owned())
    }

    /// The phases of one branch, as its handlers run them.
    impl Payment {
        async fn tried(&self, amount_cents: i64) -> Result<(), PaymentError> {
            self.hold(&try_cx(&gid(), branch(), &action()), &slip(), "visa", amount_cents).await
        }

        async fn confirmed(&self, amount_cents: i64) -> Result<(), BookError> {
            let cx = confirm_cx(&gid(), branch(), &action(), 1, &Config::default());
            self.charge(&cx, &slip(), "visa", amount_cents).await
        }

        async fn cancelled(&self, amount_cents: i64) -> Result<(), BookError> {
            let cx = cancel_cx(&gid(), branch(), &action(), 1, &Config::default());
            self.let_go(&cx, &slip(), "visa", amount_cents).await
        }
    }

    #[tokio::test]
    async fn a_repeated_confirm_charges_once() {
        let till = Till::open("confirm").await;
        till.payment.tried(300).await.unwrap();
        assert_eq!(till.card().await, (700, 300, 0));
        till.payment.confirmed(300).await.unwrap();
        till.payment.confirmed(300).await.unwrap();
        assert_eq!(till.card().await, (700, 0, 300));
    }

    #[tokio::test]
    async fn a_cancel_that_comes_again_knowing_more_lets_go_once() {
        let till = Till::open("cancel").await;
        till.payment.tried(300).await.unwrap();
        till.payment.cancelled(300).await.unwrap();
        till.payment.cancelled(300).await.unwrap();
        assert_eq!(till.card().await, (1000, 0, 0));
    }

    #[tokio::test]
    async fn a_try_after_its_cancel_holds_nothing() {
        let till = Till::open("suspension").await;
        till.payment.cancelled(300).await.unwrap();
        assert_eq!(till.fence().await, ["empty"]);
        let refused = till.payment.tried(300).await.unwrap_err();
        assert!(matches!(&refused, PaymentError::Books(error) if error.is_too_late()), "{refused}");
        till.payment.cancelled(300).await.unwrap();
        assert_eq!((till.card().await, till.fence().await), ((1000, 0, 0), vec!["empty".to_owned()]));
    }

    #[tokio::test]
    async fn a_declined_try_leaves_no_fence_and_its_cancel_lets_go_of_nothing() {
        let till = Till::open("declined").await;
        let refused = till.payment.tried(1001).await.unwrap_err();
        assert!(matches!(refused, PaymentError::Declined { .. }), "{refused}");
        assert!(till.fence().await.is_empty());
        till.payment.cancelled(1001).await.unwrap();
        assert_eq!(till.card().await, (1000, 0, 0));
    }

    fn is_contradiction(error: &BookError) -> bool {
        matches!(error, BookError::Fence(FenceError::Contradiction { .. }))
    }

    #[tokio::test]
    async fn a_fence_of_the_other_direction_is_a_contradiction() {
        let till = Till::open("contradiction").await;
        let untried = till.payment.confirmed(300).await.unwrap_err();
        assert!(is_contradiction(&untried), "{untried}");
        till.payment.tried(300).await.unwrap();
        till.payment.confirmed(300).await.unwrap();
        let confirmed = till.payment.cancelled(300).await.unwrap_err();
        assert!(is_contradiction(&confirmed), "{confirmed}");
        assert_eq!(till.card().await, (700, 0, 300));
    }

    #[tokio::test]
    async fn books_that_are_opened_again_are_as_they_were() {
        let till = Till::open("again").await;
        till.payment.tried(300).await.unwrap();
        let limits = BTreeMap::from([("visa".to_owned(), 1000)]);
        let again = Payment::open(&till.directory, &limits, Arc::default()).await.unwrap();
        again.confirmed(300).await.unwrap();
        assert_eq!(till.card().await, (700, 0, 300));
    }
}
