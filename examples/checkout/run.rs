//! The run: every order of the file through the checkout, some at the same time, until nothing is left open.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcc::{Keyed, Outcome, Runtime, TransactionError, TransactionErrorKind};
use tokio::task::JoinSet;

use crate::books::Books;
use crate::checkout::{self, Checkout, Receipt, Refusal};
use crate::inventory::Inventory;
use crate::loyalty::Loyalty;
use crate::opening::Opening;
use crate::orders::OrderFile;
use crate::outcomes::{Ending, Outcomes};
use crate::payment::Payment;
use crate::progress::Progress;
use crate::report::Report;
use crate::store;
use crate::tally::Tally;

/// Longer than any retry here takes; what is still open then is reported as unfinished.
const FINAL_WITHIN: Duration = Duration::from_secs(60);

type Answer = Result<Keyed<Receipt>, TransactionError>;

/// Keeps books in `directory` and returns what was told about each order.
pub(crate) async fn run(
    file: &OrderFile,
    opening: &Opening,
    directory: &Path,
    concurrency: usize,
) -> Result<(Report, Outcomes), Box<dyn Error>> {
    let tally = Arc::new(Tally::default());
    let inventory = Inventory::open(directory, &opening.stock, Arc::clone(&tally)).await?;
    let payment = Payment::open(directory, &opening.cards, Arc::clone(&tally)).await?;
    let loyalty = Loyalty::open(directory, Arc::clone(&tally)).await?;
    let books = [inventory.books(), payment.books(), loyalty.books()].map(Books::clone);
    let runtime = Runtime::builder()
        .store(store::open())
        .participant(inventory)
        .participant(payment)
        .participant(loyalty)
        .start()
        .await?;
    let checkout = Arc::new(Checkout::new(runtime));

    let mut report = Report { rows: file.orders.len(), bad_rows: file.bad_rows.len(), ..Report::default() };
    let mut outcomes = Outcomes::new();
    let started = Instant::now();
    let progress = Progress::of(file.orders.len());
    let mut under_way: JoinSet<(String, Answer)> = JoinSet::new();
    for listed in &file.orders {
        if under_way.len() >= concurrency
            && let Some(ended) = under_way.join_next().await
        {
            take(ended?, &mut report, &mut outcomes);
            progress.advance();
        }
        let (checkout, order) = (Arc::clone(&checkout), listed.order.clone());
        under_way.spawn(async move { (order.id.clone(), checkout.place(order).await) });
    }
    while let Some(ended) = under_way.join_next().await {
        take(ended?, &mut report, &mut outcomes);
        progress.advance();
    }
    drop(progress);
    report.took = started.elapsed();

    let open = wait_final(checkout.runtime(), outcomes.keys()).await?;
    report.parked = open.parked;
    report.unfinished = open.unfinished;
    checkout.runtime().shutdown().await;
    for books in books {
        books.close().await;
    }
    report.retries = tally.retries();
    report.turned_away = tally.turned_away();
    Ok((report, outcomes))
}

fn take((order, answer): (String, Answer), report: &mut Report, outcomes: &mut Outcomes) {
    let ending = match answer {
        Ok(Keyed::First(receipt)) => {
            report.confirmed += 1;
            report.first_receipt.get_or_insert_with(|| format!("{order}: {receipt}"));
            Ending::Confirmed
        }
        Ok(Keyed::Repeated(outcome)) => {
            report.repeated += 1;
            ending_of(&outcome)
        }
        Err(error) => match error.kind() {
            TransactionErrorKind::Aborted | TransactionErrorKind::Cancelled(_) => {
                match Refusal::of(&error) {
                    Refusal::OutOfStock => report.out_of_stock += 1,
                    Refusal::Declined => report.declined += 1,
                    Refusal::NotAnswered => report.not_answered += 1,
                    Refusal::Other => report.other += 1,
                }
                Ending::Cancelled
            }
            _ => {
                report.unknown += 1;
                Ending::Unknown
            }
        },
    };
    // A repeat may be answered before its first run is, but never otherwise than it.
    outcomes.entry(order).and_modify(|known| *known = known.or(ending)).or_insert(ending);
}

#[derive(Default)]
struct Open {
    parked: usize,
    unfinished: usize,
}

/// Answers come with the decision; phase two may go on after them, and a shutdown would leave its retries undone.
async fn wait_final(
    runtime: &Runtime,
    orders: impl Iterator<Item = &String>,
) -> Result<Open, Box<dyn Error>> {
    let mut keys: Vec<&String> = orders.collect();
    let give_up = Instant::now() + FINAL_WITHIN;
    let mut open = Open::default();
    loop {
        let mut waiting = Vec::new();
        for key in keys {
            match runtime.outcome_of(checkout::NAME, key).await? {
                Some(outcome) if outcome.parked > 0 => open.parked += 1,
                Some(outcome) if !outcome.is_final() => waiting.push(key),
                // Without a transaction there is nothing to wait for.
                _ => {}
            }
        }
        open.unfinished = waiting.len();
        if waiting.is_empty() || Instant::now() >= give_up {
            return Ok(open);
        }
        keys = waiting;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ending_of(outcome: &Outcome) -> Ending {
    match outcome {
        outcome if outcome.is_confirm() => Ending::Confirmed,
        outcome if outcome.is_cancel() => Ending::Cancelled,
        _ => Ending::Unknown,
    }
}
