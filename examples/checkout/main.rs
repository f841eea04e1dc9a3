//! Orders through inventory, payment and loyalty, each wholly or not at all, proved from their books.
//!
//! `cargo run --release --example checkout`; README.md beside this file says what to look at.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user on the terminal")]
#![allow(clippy::incompatible_msrv, reason = "the minimum Rust is the libraries'; examples need a newer one")]

mod arguments;
mod audit;
mod books;
mod checkout;
#[cfg(test)]
mod contract;
mod crash;
mod faults;
mod inventory;
mod ledger;
mod loyalty;
mod opening;
mod orders;
mod outcomes;
mod payment;
mod place;
mod progress;
mod prometheus;
mod report;
mod rows;
mod run;
mod serve;
mod server;
mod shop;
mod slip;
mod stop;
mod store;
mod tally;

use std::error::Error;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use arguments::{Command, HELP, Input};
use opening::Opening;
use orders::OrderFile;
use outcomes::Outcomes;
use place::Place;
use report::{Here, Report};
use shop::{PARTICIPANTS, Role, Selection, Shop};
use store::OpenStore;

/// More findings than this are counted, not listed.
const FINDINGS_SHOWN_MAX: usize = 50;

#[tokio::main]
async fn main() -> ExitCode {
    let command = match Command::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("checkout: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let ended = match command {
        Command::Help => {
            println!("{HELP}");
            Ok(true)
        }
        Command::Run { input, data, concurrency, crash: Some(within), .. } => {
            crash_workers(&input, data.as_deref(), concurrency, within).await
        }
        Command::Run { input, data, concurrency, finishes, metrics, crash: None } => {
            place_orders(&input, data.as_deref(), concurrency, finishes, metrics).await
        }
        Command::Worker { input, data, concurrency } => work(&input, &data, concurrency).await,
        Command::Serve { input, data, participants } => serve(&input, &data, participants).await,
        Command::Audit { input, data, outcomes } => audit_books(&input, &data, outcomes.as_deref()).await,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("checkout: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// What is read before anything is begun.
fn read(input: &Input) -> Result<(OrderFile, Opening), Box<dyn Error>> {
    let file = OrderFile::read(&input.orders)?;
    let opening = Opening::read(&input.stock, &input.cards)?;
    if file.orders.is_empty() {
        return Err(format!("no row of {} can be used", input.orders.display()).into());
    }
    Ok((file, opening))
}

fn name_bad_rows(file: &OrderFile, input: &Input) {
    for row in &file.bad_rows {
        eprintln!("{}, line {}: {}", input.orders.display(), row.line, row.reason);
    }
}

/// Whether everything became final and the books balance, as another process finds them.
async fn place_orders(
    input: &Input,
    data: Option<&Path>,
    concurrency: usize,
    finishes: Selection,
    metrics: Option<SocketAddr>,
) -> Result<bool, Box<dyn Error>> {
    let (file, opening) = read(input)?;
    name_bad_rows(&file, input);
    let place = &data.map_or_else(Place::new, Place::open)?;
    let store = OpenStore::open(place).await?;
    let others: Vec<_> = PARTICIPANTS.into_iter().filter(|name| !finishes.contains(name)).collect();
    if !others.is_empty() && !store.survives() {
        return Err(
            "--participants leaves work to other processes, and they cannot share the in-memory store: set \
                    REDIS_URL, or install redis-server (or valkey-server)"
                .into(),
        );
    }
    println!("{}", store.notice());
    println!("Books are kept in {}\n", place.path().display());
    let measured = metrics.map(prometheus::serve).transpose()?;
    if let Some(at) = measured {
        println!("Metrics at http://{at}/metrics\n");
    }
    let role = Role { finishes, places_orders: true, short_leases: false };
    let placing = place_all(&file, &opening, place, &store, &role, concurrency, true);
    let report = unless_stopped(false, placing).await?;
    drop(store);
    println!("{report}");
    if report.unfinished > 0 && !others.is_empty() {
        eprintln!("Is `checkout serve --participants {}` running on the same --data?", others.join(","));
    }
    let balanced = audit_elsewhere(input, place)?;
    if let Some(at) = measured {
        println!("\nMetrics stay at http://{at}/metrics until Ctrl-C.");
        stop::asked(false).await;
    }
    Ok(says_finished(&report) && balanced)
}

async fn place_all(
    file: &OrderFile,
    opening: &Opening,
    place: &Place,
    store: &OpenStore,
    role: &Role,
    concurrency: usize,
    watched: bool,
) -> Result<Report, Box<dyn Error>> {
    let shop = Shop::open(place, store, opening, role).await?;
    let (mut report, outcomes): (Report, Outcomes) = run::run(file, &shop, concurrency, watched).await?;
    let here = shop.close().await;
    report.here = (role.finishes.len() < PARTICIPANTS.len()).then_some(here);
    outcomes::write(&outcomes_file(place.path()), &outcomes)?;
    Ok(report)
}

/// As [`place_orders`], by workers that are killed on the way.
async fn crash_workers(
    input: &Input,
    data: Option<&Path>,
    concurrency: usize,
    within: Duration,
) -> Result<bool, Box<dyn Error>> {
    let (file, _) = read(input)?;
    name_bad_rows(&file, input);
    let place = &data.map_or_else(Place::new, Place::open)?;
    let store = OpenStore::open(place).await?;
    if !store.survives() {
        return Err(
            "--crash is refused on the in-memory store, which would die with the worker: set REDIS_URL, or \
                    install redis-server (or valkey-server)"
                .into(),
        );
    }
    println!("{}", store.notice());
    println!("Books are kept in {}\n", place.path().display());
    let mut worker = std::process::Command::new(std::env::current_exe()?);
    worker.arg("worker").args([OsStr::new("--data"), place.path().as_os_str()]).args(files(input));
    worker.args(["--concurrency", &concurrency.to_string()]);
    let killing = store.store();
    let crashes =
        unless_stopped(false, crash::supervise(&*killing, worker, file.orders.len(), within)).await?;
    println!("{crashes}; every transaction is final.\n");
    drop(store);
    Ok(audit_elsewhere(input, place)?)
}

/// The process that [`crash_workers`] kills.
async fn work(input: &Input, data: &Path, concurrency: usize) -> Result<bool, Box<dyn Error>> {
    let (file, opening) = read(input)?;
    let place = Place::open(data)?;
    let store = OpenStore::open(&place).await?;
    let role = Role { finishes: PARTICIPANTS.into(), places_orders: true, short_leases: true };
    let placing = place_all(&file, &opening, &place, &store, &role, concurrency, false);
    let report = unless_stopped(true, placing).await?;
    println!("\nthe last worker's run:\n{report}");
    Ok(says_finished(&report))
}

async fn serve(input: &Input, data: &Path, participants: Selection) -> Result<bool, Box<dyn Error>> {
    let opening = Opening::read(&input.stock, &input.cards)?;
    let place = Place::open(data)?;
    let store = OpenStore::open(&place).await?;
    println!("{}", store.notice());
    let done = serve::serve(&place, &store, &opening, participants, stop::asked(false)).await?;
    println!("{}", Here(&done));
    Ok(true)
}

/// The work's end, unless this process is asked to stop before.
async fn unless_stopped<T>(
    is_worker: bool,
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    tokio::select! {
        biased;
        () = stop::asked(is_worker) => Err("stopped before the end; the same --data goes on with it".into()),
        ended = work => ended,
    }
}

fn says_finished(report: &Report) -> bool {
    let open = report.parked + report.unfinished;
    if open > 0 {
        eprintln!("Transactions are parked or unfinished: they wait for an operator, or for more time.");
    }
    open == 0
}

fn outcomes_file(data: &Path) -> std::path::PathBuf {
    data.join("outcomes.csv")
}

fn files(input: &Input) -> [&OsStr; 6] {
    [
        OsStr::new("--orders"),
        input.orders.as_os_str(),
        OsStr::new("--stock"),
        input.stock.as_os_str(),
        OsStr::new("--cards"),
        input.cards.as_os_str(),
    ]
}

/// Whether the books balance, as a process finds that has seen nothing of the run.
fn audit_elsewhere(input: &Input, place: &Place) -> std::io::Result<bool> {
    let audit = std::process::Command::new(std::env::current_exe()?)
        .arg("audit")
        .args([OsStr::new("--data"), place.path().as_os_str()])
        .args(files(input))
        .args([OsStr::new("--outcomes"), outcomes_file(place.path()).as_os_str()])
        .stdin(Stdio::null())
        .status()?;
    Ok(audit.success())
}

/// Whether the books balance.
async fn audit_books(input: &Input, data: &Path, outcomes: Option<&Path>) -> Result<bool, Box<dyn Error>> {
    let file = OrderFile::read(&input.orders)?;
    let opening = Opening::read(&input.stock, &input.cards)?;
    let told = outcomes.map_or_else(|| outcomes_file(data), Path::to_owned);
    let outcomes = (outcomes.is_some() || told.exists()).then(|| outcomes::read(&told)).transpose()?;
    let books = ledger::read(data).await?;
    let audit = audit::examine(&file, &opening, &books, outcomes.as_ref());
    if audit.findings.is_empty() {
        println!("The books balance, as process {} finds from them and the input files:", std::process::id());
        print!("{}", audit.totals);
        return Ok(true);
    }
    eprintln!("The books in {} do NOT balance:", data.display());
    for finding in audit.findings.iter().take(FINDINGS_SHOWN_MAX) {
        eprintln!("  {finding}");
    }
    if let Some(more) = audit.findings.len().checked_sub(FINDINGS_SHOWN_MAX).filter(|more| *more > 0) {
        eprintln!("  and {more} more");
    }
    Ok(false)
}

pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        // Some libraries repeat the source in their own text.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}
