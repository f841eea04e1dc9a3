//! `tccctl completions`: what a shell completes.

use clap::CommandFactory;

use crate::{args::Cli, exit::Code, exit::Outcome, output::Screen};

pub(crate) fn run(screen: &mut Screen, shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tccctl", &mut text);
    screen.text(&text)?;
    screen.flush()?;
    Ok(Code::Done)
}
