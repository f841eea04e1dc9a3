//! Measures the framework against what Redis itself can do.

mod floor;
mod measure;
mod server;
mod work;

use std::{process::ExitCode, time::Duration};

use server::{Durability, Server};
use work::Shape;

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

#[tokio::main]
#[allow(clippy::print_stderr, reason = "a program for the terminal")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}: {error:?}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
async fn run() -> Result<(), BenchError> {
    let mut side = "both".to_owned();
    let mut durability = Durability::Off;
    let mut concurrency = 64_usize;
    let mut seconds = 3.0_f64;
    let mut url = None;
    let mut shape = Shape::default();
    let mut parser = lexopt::Parser::from_env();
    let usage = |error: lexopt::Error| BenchError::Usage(error.to_string());
    while let Some(argument) = parser.next().map_err(usage)? {
        use lexopt::{Arg::Long, ValueExt};
        match argument {
            Long("side") => side = parser.value().map_err(usage)?.string().map_err(usage)?,
            Long("durability") => {
                let name = parser.value().map_err(usage)?.string().map_err(usage)?;
                durability = Durability::of(&name)
                    .ok_or_else(|| BenchError::Usage(format!("no durability `{name}`")))?;
            }
            Long("concurrency") => concurrency = parser.value().map_err(usage)?.parse().map_err(usage)?,
            Long("seconds") => seconds = parser.value().map_err(usage)?.parse().map_err(usage)?,
            Long("url") => url = Some(parser.value().map_err(usage)?.string().map_err(usage)?),
            Long("queued") => shape.queued = true,
            Long("history") => shape.history = true,
            Long("sequence") => shape.in_sequence = true,
            Long("branches") => shape.branches = parser.value().map_err(usage)?.parse().map_err(usage)?,
            other => return Err(usage(other.unexpected())),
        }
    }
    let mut server = match &url {
        Some(url) => Server::at(url).await?,
        None => Server::start(durability).await?,
    };
    let length = Duration::from_secs_f64(seconds);
    if side != "tcc" {
        let run = floor::run(&mut server, concurrency, length, shape.payload_bytes).await?;
        println!("floor {}", serde_json::to_string(&run)?);
        server.empty().await?;
    }
    if side != "floor" {
        let run = work::run(&mut server, durability, concurrency, length, shape).await?;
        println!("tcc   {}", serde_json::to_string(&run)?);
    }
    Ok(())
}
