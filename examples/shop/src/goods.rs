//! What the shop has, who its customers are, and what they order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An order, as it comes in through the front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) sku: String,
    pub(crate) quantity: i64,
    pub(crate) card: String,
    pub(crate) amount_cents: i64,
    pub(crate) customer: String,
}

impl Order {
    /// One point for each whole unit of money.
    pub(crate) fn points(&self) -> i64 {
        self.amount_cents / 100
    }
}

/// What orders answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Told {
    Placed,
    Refused {
        why: String,
    },
    /// It is not decided yet, or nobody knows: ask again.
    Open {
        why: String,
    },
}

/// Pieces in stock at the beginning.
pub(crate) const STOCK: [(&str, i64); 4] = [("tea", 10_000), ("milk", 10_000), ("honey", 25), ("unicorn", 0)];
/// Limits of the cards, in cents.
pub(crate) const CARDS: [(&str, i64); 4] =
    [("amber", 50_000_000), ("birch", 50_000_000), ("cedar", 20_000), ("empty", 0)];
/// Their points are counted from nothing; the last is not welcome.
pub(crate) const CUSTOMERS: [&str; 3] = ["ann", "ben", BARRED];
pub(crate) const BARRED: &str = "mallory";

/// What is there at the beginning, by name.
pub(crate) fn opening(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect()
}

/// An order that nothing speaks against.
pub(crate) fn good(id: impl Into<String>) -> Order {
    let id = id.into();
    let order = |sku: &str, quantity, card: &str, customer: &str| Order {
        id: id.clone(),
        sku: sku.to_owned(),
        quantity,
        card: card.to_owned(),
        amount_cents: 1_250 * quantity,
        customer: customer.to_owned(),
    };
    order("tea", 2, "amber", "ann")
}

/// Orders of all kinds: most of them good, some for what is not there, on cards that are declined, or of a customer who
/// is barred, and some for the last of something.
pub(crate) fn assortment(count: usize) -> Vec<Order> {
    let one = |number: usize| {
        let mut order = good(format!("o-{number}"));
        order.quantity = 1 + (number % 4) as i64;
        order.amount_cents = 499 * order.quantity;
        if number % 2 == 1 {
            (order.sku, order.card, order.customer) = ("milk".into(), "birch".into(), "ben".into());
        }
        match number % 12 {
            3 => order.sku = "unicorn".into(),
            5 => order.card = "empty".into(),
            7 => order.customer = BARRED.into(),
            8 => order.sku = "honey".into(),
            9 => order.card = "cedar".into(),
            _ => {}
        }
        order
    };
    (0..count).map(one).collect()
}
