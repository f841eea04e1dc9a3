//! The three books as the audit reads them: opened read-only, row by row, with nothing of what wrote them.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::books::Books;
use crate::orders::Order;

/// Where one book keeps what, and what an order must have written in it.
pub(crate) struct Layout {
    pub(crate) book: &'static str,
    pub(crate) balances: &'static str,
    pub(crate) effects: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) amount: &'static str,
    /// The names of an effect that is pending, settled or undone.
    pub(crate) states: [&'static str; 3],
    /// Every checkout calls its participants in the same order, and each of them by one action.
    pub(crate) action: &'static str,
    pub(crate) branch: &'static str,
    pub(crate) due: fn(&Order) -> (&str, i128),
    select_balances: &'static str,
    select_effects: &'static str,
}

pub(crate) const LAYOUTS: [Layout; 3] = [
    Layout {
        book: "inventory",
        balances: "stock",
        effects: "reservation",
        subject: "sku",
        amount: "quantity",
        states: ["held", "sold", "released"],
        action: "inventory.reserve@1",
        branch: "01",
        due: |order| (&order.sku, order.quantity.into()),
        select_balances: "SELECT sku, on_hand, reserved, sold FROM stock",
        select_effects: "SELECT gid, branch, order_id, sku, quantity, state FROM reservation",
    },
    Layout {
        book: "payment",
        balances: "card",
        effects: "charge",
        subject: "card",
        amount: "amount_cents",
        states: ["held", "charged", "released"],
        action: "payment.authorize@1",
        branch: "02",
        due: |order| (&order.card, order.amount_cents.into()),
        select_balances: "SELECT card, available_cents, held_cents, charged_cents FROM card",
        select_effects: "SELECT gid, branch, order_id, card, amount_cents, state FROM charge",
    },
    Layout {
        book: "loyalty",
        balances: "account",
        effects: "award",
        subject: "customer",
        amount: "points",
        states: ["pending", "awarded", "dropped"],
        action: "loyalty.accrue@1",
        branch: "03",
        due: |order| (&order.customer, order.points().into()),
        select_balances: "SELECT customer, NULL, pending, points FROM account",
        select_effects: "SELECT gid, branch, order_id, customer, points, state FROM award",
    },
];

/// What one article, card or customer has. Wide, so that no altered row can overflow a sum.
#[derive(Clone, Debug)]
pub(crate) struct Balance {
    pub(crate) subject: String,
    /// Points come from nowhere, so an account has none.
    pub(crate) free: Option<i128>,
    pub(crate) pending: i128,
    pub(crate) settled: i128,
}

/// What one branch did to a balance.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) gid: String,
    pub(crate) branch: String,
    pub(crate) order: String,
    pub(crate) subject: String,
    pub(crate) amount: i128,
    pub(crate) state: String,
}

/// A row of the fence with its slip. Where one of them is missing, `none` stands for what it says.
#[derive(Clone, Debug)]
pub(crate) struct FenceRow {
    pub(crate) gid: String,
    pub(crate) branch: String,
    pub(crate) order: String,
    pub(crate) action: String,
    pub(crate) phase: String,
}

const FENCE: &str = "
    SELECT coalesce(tcc_fence.gid, slip.gid), coalesce(tcc_fence.branch, slip.branch), coalesce(order_id, 'none'),
           coalesce(action, 'none'), coalesce(phase, 'none')
    FROM tcc_fence FULL JOIN slip ON slip.gid = tcc_fence.gid AND slip.branch = tcc_fence.branch";

pub(crate) struct Book {
    pub(crate) layout: &'static Layout,
    pub(crate) balances: Vec<Balance>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) fence: Vec<FenceRow>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the books of {book} in {}", path.display())]
pub(crate) struct LedgerError {
    book: &'static str,
    path: PathBuf,
    source: sqlx::Error,
}

pub(crate) async fn read(directory: &Path) -> Result<Vec<Book>, LedgerError> {
    let mut books = Vec::with_capacity(LAYOUTS.len());
    for layout in &LAYOUTS {
        let path = Books::path(directory, layout.book);
        let book = read_book(layout, &path).await;
        books.push(book.map_err(|source| LedgerError { book: layout.book, path, source })?);
    }
    Ok(books)
}

async fn read_book(layout: &'static Layout, path: &Path) -> Result<Book, sqlx::Error> {
    let mut file = SqliteConnectOptions::new().filename(path).read_only(true).connect().await?;
    let balances = sqlx::query_as::<_, (String, Option<i64>, i64, i64)>(layout.select_balances)
        .fetch_all(&mut file)
        .await?
        .into_iter()
        .map(|(subject, free, pending, settled)| Balance {
            subject,
            free: free.map(i128::from),
            pending: pending.into(),
            settled: settled.into(),
        })
        .collect();
    let effects = sqlx::query_as::<_, (String, String, String, String, i64, String)>(layout.select_effects)
        .fetch_all(&mut file)
        .await?
        .into_iter()
        .map(|(gid, branch, order, subject, amount, state)| Effect {
            gid,
            branch,
            order,
            subject,
            amount: amount.into(),
            state,
        })
        .collect();
    let fence = sqlx::query_as::<_, (String, String, String, String, String)>(FENCE)
        .fetch_all(&mut file)
        .await?
        .into_iter()
        .map(|(gid, branch, order, action, phase)| FenceRow { gid, branch, order, action, phase })
        .collect();
    file.close().await?;
    Ok(Book { layout, balances, effects, fence })
}
