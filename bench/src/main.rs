//! Measures the framework against what Redis itself can do.

mod arguments;
mod compare;
mod floor;
mod measure;
mod memory;
mod recovery;
mod report;
mod scenarios;
mod server;
mod work;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use arguments::{Arguments, Command, HELP, Side};
use compare::Plan;
use server::{Durability, Server};

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Server(String),
    #[error("a closed loop failed: {0}")]
    Loop(String),
    #[error("a file could not be read or written")]
    Io(#[from] std::io::Error),
    #[error("Redis failed a call of the benchmark's own")]
    Redis(#[from] redis::RedisError),
    #[error("the store could not be opened")]
    Store(#[from] tcc::store::StoreError),
    #[error("the runtime did not start")]
    Start(#[from] tcc::StartError),
    #[error("a transaction failed")]
    Transaction(#[from] tcc::TransactionError),
    #[error("a try failed")]
    Try(#[from] tcc::TryError<std::convert::Infallible>),
    #[error("a service could not be called")]
    Call(#[from] tcc::NotRun),
    #[error("a service did not join")]
    Join(#[from] tcc::JoinError),
    #[error("a try failed: {0}")]
    Abort(String),
    #[error("a result could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl From<tcc::Abort> for BenchError {
    fn from(abort: tcc::Abort) -> Self {
        Self::Abort(format!("{abort:?}"))
    }
}

#[tokio::main(worker_threads = 1)]
#[allow(clippy::print_stderr, reason = "a program for the terminal")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
            eprintln!("bench: {error}");
            while let Some(why) = cause {
                eprintln!("  because {why}");
                cause = why.source();
            }
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn run() -> Result<(), BenchError> {
    let arguments = Arguments::read()?;
    match arguments.command {
        Command::Help => println!("{HELP}"),
        Command::Compare => {
            let plan = if arguments.quick { Plan::QUICK } else { Plan::FULL };
            let durabilities = match arguments.durability {
                Some(durability) => vec![durability],
                None => Durability::ALL.to_vec(),
            };
            let concurrencies = match arguments.concurrency {
                Some(concurrency) => vec![concurrency],
                None => compare::concurrencies().to_vec(),
            };
            compare::compare(plan, &durabilities, &concurrencies, |row| report::row(row, arguments.json))
                .await?;
        }
        Command::Scenarios => {
            let plan = if arguments.quick { Plan::QUICK } else { Plan::FULL };
            scenarios::all(plan, |figure| report::figure(figure, arguments.json)).await?;
        }
        Command::Once => once(&arguments).await?,
        Command::Stall => {
            let url =
                arguments.url.as_deref().ok_or_else(|| BenchError::Usage("stall needs --url".into()))?;
            recovery::stall(url, arguments.transactions).await?;
        }
    }
    Ok(())
}

/// One run of each side, or of the side that is named; for profilers.
#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn once(arguments: &Arguments) -> Result<(), BenchError> {
    let durability = arguments.durability.unwrap_or(Durability::Off);
    let concurrency = arguments.concurrency.unwrap_or(64);
    let length = arguments.length;
    let mut server = match &arguments.url {
        Some(url) => Server::at(url).await?,
        None => Server::start(durability).await?,
    };
    if arguments.side != Some(Side::Tcc) {
        let run = floor::run(&mut server, concurrency, length, arguments.shape.payload_bytes).await?;
        println!("floor {}", serde_json::to_string(&run)?);
        server.empty().await?;
    }
    if arguments.side != Some(Side::Floor) {
        let run = work::run(&mut server, durability, concurrency, length, arguments.shape).await?;
        println!("tcc   {}", serde_json::to_string(&run)?);
    }
    Ok(())
}
