//! Four services, four databases, one transaction: `cargo run -p shop`. README.md beside `src` says what to look at.

#![cfg(unix)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user on the terminal")]

mod arguments;
mod audit;
mod books;
mod fleet;
mod goods;
mod hold;
mod inventory;
mod key;
mod kills;
mod loyalty;
mod orders;
mod payment;
mod place;
mod postgres;
mod push;
#[path = "../../checkout/server.rs"]
mod redis_server;
mod run;
mod serve;
#[path = "../../checkout/stop.rs"]
mod stop;
mod stores;

use std::{error::Error, path::Path, process::ExitCode};

use arguments::{Command, HELP};
use hold::Holds;
use place::{Directory, Place, Service};
use stores::Stores;

/// Why a command failed.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let command = match Command::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("shop: {error}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match obey(command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("shop: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn obey(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Help => {
            println!("{HELP}");
            Ok(true)
        }
        Command::Serve { service, data } => serve(service, &data).await.map(|()| true),
        Command::Stores { data } => {
            let directory = Directory::new(data.as_deref())?;
            let stores = Stores::open(&directory.path).await?;
            println!("REDIS_URL={}\nDATABASE_URL={}", stores.redis_url, stores.postgres_url);
            serve::asked_to_stop().await;
            Ok(true)
        }
        Command::Audit { data } => run::audit(&data).await,
        Command::Run { orders, kills, data } => {
            run::started(data.as_deref(), async |place| run::run(place, orders, kills).await).await
        }
        Command::Kills { each, data } => {
            run::started(data.as_deref(), async |place| kills::run(place, each).await).await
        }
    }
}

async fn serve(service: Service, data: &Path) -> Result<(), Failure> {
    let (place, holds) = (Place::open(data)?, Holds::from_env()?);
    match service {
        Service::Orders => orders::run(&place, holds).await,
        Service::Inventory => inventory::run(&place, holds).await,
        Service::Payment => payment::run(&place, holds).await,
        Service::Loyalty => loyalty::run(&place, holds).await,
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        // Some libraries repeat the source in their own text.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        next = source.source();
    }
    text
}
