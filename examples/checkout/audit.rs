//! The audit: recomputes from the orders what the three books must hold, and names every row that says otherwise.
//!
//! Each fact stands in two places that a single change cannot keep alike: an effect and its fence row, a balance and
//! the sum of its effects, a transaction's rows in one book and in the next, a settled effect and its order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::ledger::{Balance, Book, Effect, FenceRow};
use crate::opening::Opening;
use crate::orders::{Listed, OrderFile};
use crate::outcomes::{Ending, Outcomes};

pub(crate) struct Audit {
    pub(crate) findings: Vec<String>,
    pub(crate) totals: Totals,
}

/// Sums over the books, for the reader's eye; the findings do not depend on them.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) opening_stock: i128,
    pub(crate) on_hand: i128,
    pub(crate) sold: i128,
    pub(crate) charged_cents: i128,
    pub(crate) points: i128,
    pub(crate) confirmed: usize,
    pub(crate) cancelled: usize,
}

pub(crate) fn examine(
    file: &OrderFile,
    opening: &Opening,
    books: &[Book],
    outcomes: Option<&Outcomes>,
) -> Audit {
    let distinct = file.distinct();
    let orders: HashMap<&str, &Listed> =
        distinct.iter().map(|listed| (listed.order.id.as_str(), *listed)).collect();
    let mut findings = Vec::new();
    for book in books {
        check_effects(book, &orders, &mut findings);
        check_balances(book, opening_of(book, opening), &mut findings);
    }
    let transactions = check_transactions(books, &mut findings);
    check_orders(&distinct, opening, &transactions, outcomes, &mut findings);
    Audit { findings, totals: totals(opening, books, &transactions) }
}

fn opening_of<'a>(book: &Book, opening: &'a Opening) -> Option<&'a BTreeMap<String, i64>> {
    match book.layout.balances {
        "stock" => Some(&opening.stock),
        "card" => Some(&opening.cards),
        _ => None,
    }
}

/// Every effect has its fence row and the other way round, and says what its order says.
fn check_effects(book: &Book, orders: &HashMap<&str, &Listed>, findings: &mut Vec<String>) {
    let layout = book.layout;
    let fences: HashMap<_, _> =
        book.fence.iter().map(|row| ((row.gid.as_str(), row.branch.as_str()), row)).collect();
    let mut with_effect = HashSet::new();
    for effect in &book.effects {
        let mut found = |what: String| findings.push(format!("{}: {what}", effect_row(book, effect)));
        with_effect.insert((effect.gid.as_str(), effect.branch.as_str()));
        match fences.get(&(effect.gid.as_str(), effect.branch.as_str())) {
            None => found("has no fence row".to_owned()),
            Some(fence) => {
                if fence.order != effect.order {
                    found(format!("its fence row names order {}", fence.order));
                }
                let [pending, settled, undone] = layout.states;
                let agrees = match fence.phase.as_str() {
                    "try" => effect.state == pending,
                    "confirm" => effect.state == settled,
                    "cancel" => effect.state == undone,
                    _ => false,
                };
                if !agrees {
                    found(format!("is {}, but its fence row says {}", effect.state, fence.phase));
                }
            }
        }
        match orders.get(effect.order.as_str()) {
            None => found(format!("order {} is not in the orders file", effect.order)),
            Some(listed) => {
                let (subject, amount) = (layout.due)(&listed.order);
                if (effect.subject.as_str(), effect.amount) != (subject, amount) {
                    let line = listed.line;
                    found(format!(
                        "line {line} of the orders file says {amount} for {} {subject}",
                        layout.subject
                    ));
                }
            }
        }
    }
    for fence in &book.fence {
        let mut found = |what: &str| findings.push(format!("{}: {what}", fence_row(book, fence)));
        if fence.branch != layout.branch {
            found(&format!("branches of {} are numbered {}", layout.book, layout.branch));
        }
        if fence.action != layout.action {
            found(&format!("branches of {} are of action {}", layout.book, layout.action));
        }
        let has_effect = with_effect.contains(&(fence.gid.as_str(), fence.branch.as_str()));
        match fence.phase.as_str() {
            "empty" if has_effect => found("bars a try that left a row"),
            "empty" => {}
            "try" => found("was neither confirmed nor cancelled"),
            "confirm" | "cancel" if has_effect => {}
            "confirm" | "cancel" => found(&format!("has no row in table {}", layout.effects)),
            _ => found("is in a phase that does not exist"),
        }
    }
}

/// Nothing is pending, what is settled is the sum of its effects, and what was there at the start is still there.
fn check_balances(book: &Book, opening: Option<&BTreeMap<String, i64>>, findings: &mut Vec<String>) {
    let layout = book.layout;
    let mut settled: BTreeMap<&str, i128> = BTreeMap::new();
    for effect in &book.effects {
        let amount = if effect.state == layout.states[1] { effect.amount } else { 0 };
        *settled.entry(&effect.subject).or_default() += amount;
    }
    let mut seen = HashSet::new();
    for balance in &book.balances {
        let mut found = |what: String| findings.push(format!("{}: {what}", balance_row(book, balance)));
        seen.insert(balance.subject.as_str());
        if balance.pending != 0 {
            found(format!("{} still {}", balance.pending, layout.states[0]));
        }
        let due = settled.get(balance.subject.as_str()).copied();
        if balance.settled != due.unwrap_or(0) {
            let (what, table) = (layout.states[1], layout.effects);
            found(format!(
                "{} {what}, but the rows in table {table} add up to {}",
                balance.settled,
                due.unwrap_or(0)
            ));
        }
        match (opening, balance.free) {
            (Some(opening), Some(free)) => match opening.get(&balance.subject) {
                None => found("is not in the opening file".to_owned()),
                Some(start) if free + balance.pending + balance.settled != i128::from(*start) => {
                    let (pending, settled) = (balance.pending, balance.settled);
                    found(format!(
                        "{free} left + {pending} {} + {settled} {} is not the opening {start}",
                        layout.states[0], layout.states[1]
                    ));
                }
                Some(_) => {}
            },
            _ if due.is_none() => found(format!("has no row in table {}", layout.effects)),
            _ => {}
        }
    }
    let expected =
        opening.into_iter().flat_map(|opening| opening.keys().map(String::as_str)).chain(settled.into_keys());
    for subject in expected.collect::<BTreeSet<_>>() {
        if !seen.contains(subject) {
            findings.push(format!(
                "{}.db, table {}: the row of {subject} is missing",
                layout.book, layout.balances
            ));
        }
    }
}

/// What the fences of all books say about one transaction.
struct Transaction<'a> {
    order: &'a str,
    confirmed: bool,
}

/// Every transaction left one fence row in each book, all about one order, all confirmed or none.
fn check_transactions<'a>(
    books: &'a [Book],
    findings: &mut Vec<String>,
) -> BTreeMap<&'a str, Transaction<'a>> {
    let mut rows: BTreeMap<&str, Vec<(&Book, &FenceRow)>> = BTreeMap::new();
    for book in books {
        for fence in &book.fence {
            rows.entry(&fence.gid).or_default().push((book, fence));
        }
    }
    let mut transactions = BTreeMap::new();
    for (gid, rows) in rows {
        let named = || rows.iter().map(|(book, fence)| fence_row(book, fence)).collect::<Vec<_>>().join("; ");
        for book in books {
            if !rows.iter().any(|(other, _)| other.layout.book == book.layout.book) {
                findings.push(format!(
                    "{}.db, table tcc_fence: no row for transaction {gid} ({})",
                    book.layout.book,
                    named()
                ));
            }
        }
        let confirmed = rows.iter().filter(|(_, fence)| fence.phase == "confirm").count();
        if confirmed != 0 && confirmed != books.len() {
            findings.push(format!("transaction {gid} is confirmed in part: {}", named()));
        }
        let orders: BTreeSet<&str> = rows.iter().map(|(_, fence)| fence.order.as_str()).collect();
        if orders.len() != 1 {
            findings.push(format!("transaction {gid} is about several orders: {}", named()));
        }
        if let Some(order) = orders.first() {
            transactions.insert(gid, Transaction { order, confirmed: confirmed == books.len() });
        }
    }
    transactions
}

/// Every order has one transaction, is confirmed only if it could be, and ended as the run was told.
fn check_orders(
    distinct: &[&Listed],
    opening: &Opening,
    transactions: &BTreeMap<&str, Transaction<'_>>,
    outcomes: Option<&Outcomes>,
    findings: &mut Vec<String>,
) {
    let mut by_order: HashMap<&str, Vec<(&str, bool)>> = HashMap::new();
    for (gid, transaction) in transactions {
        by_order.entry(transaction.order).or_default().push((gid, transaction.confirmed));
    }
    for listed in distinct {
        let order = &listed.order;
        let mut found =
            |what: String| findings.push(format!("order {} (line {}): {what}", order.id, listed.line));
        let ending = outcomes.map(|outcomes| outcomes.get(&order.id).copied().unwrap_or(Ending::Unknown));
        let Some(transactions) = by_order.remove(order.id.as_str()) else {
            if !matches!(ending, Some(Ending::Unknown | Ending::Untried)) {
                found("left no trace in the books".to_owned());
            }
            continue;
        };
        if transactions.len() > 1 {
            let gids: Vec<_> = transactions.iter().map(|(gid, _)| *gid).collect();
            found(format!("has several transactions: {}", gids.join(", ")));
        }
        let confirmed = transactions.iter().filter(|(_, confirmed)| *confirmed).count();
        if confirmed > 1 {
            found("was charged more than once".to_owned());
        }
        let stock = opening.stock.get(&order.sku).copied().unwrap_or(0);
        let limit = opening.cards.get(&order.card).copied().unwrap_or(0);
        if confirmed > 0 && (order.quantity > stock || order.amount_cents > limit) {
            found("is confirmed, though neither stock nor card ever allowed it".to_owned());
        }
        match ending {
            Some(Ending::Confirmed) if confirmed == 0 => {
                found("was reported as confirmed, but is not".to_owned())
            }
            Some(Ending::Cancelled) if confirmed > 0 => {
                found("was reported as cancelled, but is confirmed".to_owned())
            }
            Some(Ending::Untried) => found("was reported as never tried, but is in the books".to_owned()),
            _ => {}
        }
    }
    for (order, transactions) in by_order {
        for (gid, _) in transactions {
            findings
                .push(format!("transaction {gid} is about order {order}, which is not in the orders file"));
        }
    }
}

fn totals(opening: &Opening, books: &[Book], transactions: &BTreeMap<&str, Transaction<'_>>) -> Totals {
    let mut totals =
        Totals { opening_stock: opening.stock.values().copied().map(i128::from).sum(), ..Totals::default() };
    for book in books {
        let settled: i128 = book.balances.iter().map(|balance| balance.settled).sum();
        match book.layout.balances {
            "stock" => {
                totals.sold = settled;
                totals.on_hand = book.balances.iter().filter_map(|balance| balance.free).sum();
            }
            "card" => totals.charged_cents = settled,
            _ => totals.points = settled,
        }
    }
    totals.confirmed = transactions.values().filter(|transaction| transaction.confirmed).count();
    totals.cancelled = transactions.len() - totals.confirmed;
    totals
}

fn effect_row(book: &Book, effect: &Effect) -> String {
    let (layout, Effect { gid, branch, order, subject, amount, state }) = (book.layout, effect);
    format!(
        "{}.db, table {}, row {gid}/{branch} (order {order}, {} {subject}, {} {amount}, {state})",
        layout.book, layout.effects, layout.subject, layout.amount
    )
}

fn fence_row(book: &Book, fence: &FenceRow) -> String {
    let FenceRow { gid, branch, order, action, phase } = fence;
    format!("{}.db, table tcc_fence, row {gid}/{branch} (order {order}, {action}, {phase})", book.layout.book)
}

fn balance_row(book: &Book, balance: &Balance) -> String {
    format!("{}.db, table {}, row {}", book.layout.book, book.layout.balances, balance.subject)
}
