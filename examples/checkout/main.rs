//! Orders through inventory, payment and loyalty, each wholly or not at all, proved from their books.
//!
//! `cargo run --release --example checkout`; README.md beside this file says what to look at.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user on the terminal")]

mod arguments;
mod audit;
mod books;
mod checkout;
mod faults;
mod fence;
mod inventory;
mod ledger;
mod loyalty;
mod opening;
mod orders;
mod outcomes;
mod payment;
mod progress;
mod report;
mod rows;
mod run;
mod store;
mod tally;

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::SystemTime;

use arguments::{Command, HELP, Input};
use opening::Opening;
use orders::OrderFile;

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
        Command::Run { input, data, concurrency } => run_orders(&input, data, concurrency).await,
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

/// Whether the books balance after the run, as another process finds them.
async fn run_orders(
    input: &Input,
    data: Option<PathBuf>,
    concurrency: usize,
) -> Result<bool, Box<dyn Error>> {
    let file = OrderFile::read(&input.orders)?;
    let opening = Opening::read(&input.stock, &input.cards)?;
    for row in &file.bad_rows {
        eprintln!("{}, line {}: {}", input.orders.display(), row.line, row.reason);
    }
    if file.orders.is_empty() {
        return Err(format!("no row of {} can be used", input.orders.display()).into());
    }
    let directory = data.map_or_else(new_directory, |directory| {
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    })?;
    println!("{}", store::NOTICE);
    println!("Books are kept in {}\n", directory.display());

    let (report, outcomes) = run::run(&file, &opening, &directory, concurrency).await?;
    println!("{report}");
    let outcomes_path = directory.join("outcomes.csv");
    outcomes::write(&outcomes_path, &outcomes)?;

    let audit = std::process::Command::new(std::env::current_exe()?)
        .arg("audit")
        .args([OsStr::new("--data"), directory.as_os_str()])
        .args([OsStr::new("--orders"), input.orders.as_os_str()])
        .args([OsStr::new("--stock"), input.stock.as_os_str()])
        .args([OsStr::new("--cards"), input.cards.as_os_str()])
        .args([OsStr::new("--outcomes"), outcomes_path.as_os_str()])
        .stdin(Stdio::null())
        .status()?;
    if report.parked + report.unfinished > 0 {
        eprintln!("Transactions are parked or unfinished: they wait for an operator, or for more time.");
    }
    Ok(audit.success() && report.parked + report.unfinished == 0)
}

fn new_directory() -> std::io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("tcc-checkout-{}-{}", std::process::id(), now.as_millis());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir(&directory)?;
    Ok(directory)
}

/// Whether the books balance.
async fn audit_books(input: &Input, data: &Path, outcomes: Option<&Path>) -> Result<bool, Box<dyn Error>> {
    let file = OrderFile::read(&input.orders)?;
    let opening = Opening::read(&input.stock, &input.cards)?;
    let outcomes = outcomes.map(outcomes::read).transpose()?;
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

fn chain(error: &dyn Error) -> String {
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
