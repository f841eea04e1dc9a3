//! `tccctl`: sees stuck transactions of the TCC framework in Redis, and puts them right.
//!
//! Data goes to standard output, words to standard error. `docs/src/tccctl.md` tells of formats and exit codes.

mod args;
mod change;
mod commands;
mod connect;
mod demo;
mod exit;
mod find;
mod hint;
mod lookup;
mod operator;
mod output;
mod situation;
mod timeline;
mod view;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Command},
    commands::{acl, audit, cancel, completions, doctor, list, nodes, pause, resolve, retry, show, stats},
    exit::{Code, Failure, Outcome},
    output::{Screen, paint::Tone},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut screen = Screen::new(&cli.look);
    hint::called_with(&cli.connection);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli, &mut screen)),
        Err(error) => Err(Failure::Output(error)),
    };
    let outcome = outcome.and_then(|code| screen.flush().map(|()| code));
    let code = outcome.unwrap_or_else(|failure| {
        if !matches!(failure, Failure::Closed) {
            screen.say(Tone::Bad, format!("tccctl: {failure}"));
        }
        failure.code()
    });
    ExitCode::from(code as u8)
}

async fn run(cli: &Cli, screen: &mut Screen) -> Outcome {
    match &cli.command {
        Command::Acl(args) => return acl::run(screen, &cli.connection.namespace, args),
        Command::Completions { shell } => return completions::run(screen, *shell),
        Command::Demo(args) => return commands::demo::run(screen, &cli.connection, args).await,
        _ => {}
    }
    let store = &connect::attach(&cli.connection).await?;
    match &cli.command {
        Command::List(args) => list::run(store, screen, args).await,
        Command::Show(args) => show::run(store, screen, args).await,
        Command::Stats => stats::run(store, screen).await,
        Command::Nodes => nodes::run(store, screen).await,
        Command::Retry(args) => retry::run(store, screen, args).await,
        Command::Cancel(args) => cancel::run(store, screen, args).await,
        Command::Resolve(args) => resolve::run(store, screen, args).await,
        Command::Pause(args) => pause::pause(store, screen, args).await,
        Command::Resume(args) => pause::resume(store, screen, args).await,
        Command::Paused => pause::paused(store, screen).await,
        Command::Audit(args) => audit::run(store, screen, args).await,
        Command::Doctor(args) => doctor::run(store, screen, &cli.connection, args).await,
        Command::Acl(_) | Command::Completions { .. } | Command::Demo(_) => Ok(Code::Done),
    }
}
