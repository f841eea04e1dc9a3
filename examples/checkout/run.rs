//! The run: every order of the file through the checkout, some at the same time, until nothing is left open.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcc::record::Record;
use tcc::{Keyed, Outcome, Runtime, TransactionError, TransactionErrorKind};
use tokio::task::JoinSet;

use crate::checkout::{self, Checkout, Receipt, Refusal};
use crate::orders::OrderFile;
use crate::outcomes::{Ending, Outcomes};
use crate::progress::Progress;
use crate::report::Report;
use crate::shop::Shop;

/// Longer than any retry here takes; what is still open then is reported as unfinished.
const FINAL_WITHIN: Duration = Duration::from_secs(60);

type Answer = Result<Keyed<Receipt>, TransactionError>;

/// Places every order of the file and returns what was told about each. `shop` is left running.
pub(crate) async fn run(
    file: &OrderFile,
    shop: &Shop,
    concurrency: usize,
    watched: bool,
) -> Result<(Report, Outcomes), Box<dyn Error>> {
    let checkout = Arc::new(Checkout::new(shop.runtime.clone()));

    let mut report = Report { rows: file.orders.len(), bad_rows: file.bad_rows.len(), ..Report::default() };
    let mut outcomes = Outcomes::new();
    let started = Instant::now();
    let progress = Progress::of(file.orders.len(), watched);
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

    let open = wait_final(checkout.runtime(), &mut outcomes).await?;
    report.parked = open.parked;
    report.unfinished = open.unfinished;
    report.retries = shop.tally.retries();
    report.turned_away = shop.tally.turned_away();
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
async fn wait_final(runtime: &Runtime, outcomes: &mut Outcomes) -> Result<Open, Box<dyn Error>> {
    let mut waiting: Vec<(&String, &mut Ending)> = outcomes.iter_mut().collect();
    let give_up = Instant::now() + FINAL_WITHIN;
    let mut open = Open::default();
    loop {
        let mut still = Vec::new();
        for (key, ending) in waiting {
            // Without a transaction there is nothing to wait for.
            let Some(outcome) = runtime.outcome_of(checkout::NAME, key).await? else { continue };
            let Some(record) = runtime.record(&outcome.gid).await? else { continue };
            if record.parked() > 0 {
                open.parked += 1;
            } else if !record.state.is_final() || is_tried_here(&record, runtime) {
                still.push((key, ending));
            } else if record.branches.is_empty() {
                *ending = Ending::Untried;
            }
        }
        open.unfinished = still.len();
        if still.is_empty() || Instant::now() >= give_up {
            return Ok(open);
        }
        waiting = still;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a try goes on that was too slow for its transaction: it is still to report, and to be cancelled again.
fn is_tried_here(record: &Record, runtime: &Runtime) -> bool {
    record.initiator == *runtime.process() && record.branches.iter().any(|branch| branch.known.is_none())
}

fn ending_of(outcome: &Outcome) -> Ending {
    match outcome {
        outcome if outcome.is_confirm() => Ending::Confirmed,
        outcome if outcome.is_cancel() => Ending::Cancelled,
        _ => Ending::Unknown,
    }
}
