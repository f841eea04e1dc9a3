//! The service: one order, three participants, all or nothing.

use std::fmt;

use tcc::{Runtime, TransactionError, Tx, UnknownTry};

use crate::inventory::{Hold, InventoryTcc, StockError};
use crate::loyalty::{LoyaltyTcc, Promise};
use crate::orders::Order;
use crate::payment::{Authorization, PaymentError, PaymentTcc};

/// The transaction's name; with an order's id it makes the business key.
pub(crate) const NAME: &str = "checkout";

pub(crate) struct Checkout {
    runtime: Runtime,
}

/// What a customer is told about an order that goes through.
#[derive(Debug)]
pub(crate) struct Receipt {
    hold: Hold,
    authorization: Authorization,
    promise: Promise,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hold, authorization, promise } = self;
        let (reference, points, left) = (&authorization.reference, promise.points, hold.left_on_hand);
        write!(f, "payment {reference}, {points} points, {left} of the article left")
    }
}

/// Why an order did not go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    OutOfStock,
    Declined,
    /// A try was not heard of in time.
    NotAnswered,
    Other,
}

impl Checkout {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    #[tcc::transaction(name = "checkout", timeout = "30s", key = order.id)]
    pub(crate) async fn place(&self, tx: &Tx, order: Order) -> Result<Receipt, TransactionError> {
        let points = order.points();
        let (hold, authorization, promise) = tcc::try_join!(
            InventoryTcc::new(tx).reserve(order.id.clone(), order.sku, order.quantity),
            PaymentTcc::new(tx).authorize(order.id.clone(), order.card, order.amount_cents, order.slow_ms),
            LoyaltyTcc::new(tx).accrue(order.id, order.customer, points),
        )?;
        Ok(Receipt { hold, authorization, promise })
    }
}

impl Refusal {
    pub(crate) fn of(error: &TransactionError) -> Self {
        if let Some(StockError::OutOfStock { .. }) = error.find() {
            return Self::OutOfStock;
        }
        if let Some(PaymentError::Declined { .. }) = error.find() {
            return Self::Declined;
        }
        if error.find::<UnknownTry>().is_some() { Self::NotAnswered } else { Self::Other }
    }
}
