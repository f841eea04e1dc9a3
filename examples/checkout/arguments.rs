//! What the command line says.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

pub(crate) const HELP: &str = "\
Takes a file of orders through inventory, payment and loyalty, each order wholly or not at all,
and has a second process prove it from the three books.

Usage: checkout [run] [OPTIONS]
       checkout audit --data DIR [OPTIONS]

Options:
  --orders FILE      orders, one a row: order,sku,quantity,card,amount_cents,customer,slow_ms
  --stock FILE       opening stock: sku,on_hand
  --cards FILE       card limits: card,limit_cents
  --data DIR         where the books are kept [run: a new directory among the temporary files]
  --concurrency N    run: orders under way at the same time, 1 to 1024 [16]
  --outcomes FILE    audit: what the run was told, held against the books as well
  --help             this text

Rows that cannot be read are named by line and left out. Exit code: 0 when the books balance, 1 when they do
not or when the run failed, 2 when the command line is wrong.";

const CONCURRENCY_MAX: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Run { input: Input, data: Option<PathBuf>, concurrency: usize },
    Audit { input: Input, data: PathBuf, outcomes: Option<PathBuf> },
}

/// The files that say what was ordered and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) orders: PathBuf,
    pub(crate) stock: PathBuf,
    pub(crate) cards: PathBuf,
}

impl Default for Input {
    fn default() -> Self {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/checkout"));
        Self {
            orders: folder.join("orders.csv"),
            stock: folder.join("stock.csv"),
            cards: folder.join("cards.csv"),
        }
    }
}

impl Command {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut command = None;
        let mut input = Input::default();
        let (mut data, mut outcomes, mut concurrency) = (None, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Value(name) if command.is_none() && (name == "run" || name == "audit") => {
                    command = Some(name)
                }
                Long("orders") => input.orders = parser.value()?.into(),
                Long("stock") => input.stock = parser.value()?.into(),
                Long("cards") => input.cards = parser.value()?.into(),
                Long("data") => data = Some(PathBuf::from(parser.value()?)),
                Long("outcomes") => outcomes = Some(PathBuf::from(parser.value()?)),
                Long("concurrency") => {
                    let number: usize = parser.value()?.parse()?;
                    if !(1..=CONCURRENCY_MAX).contains(&number) {
                        return Err(
                            format!("--concurrency is {number}, outside 1 to {CONCURRENCY_MAX}").into()
                        );
                    }
                    concurrency = Some(number);
                }
                Long("help") | Short('h') => return Ok(Self::Help),
                other => return Err(other.unexpected()),
            }
        }
        if command.is_some_and(|name| name == "audit") {
            if concurrency.is_some() {
                return Err("--concurrency is for a run, not for an audit".into());
            }
            let data = data.ok_or("an audit needs --data DIR")?;
            return Ok(Self::Audit { input, data, outcomes });
        }
        if outcomes.is_some() {
            return Err("--outcomes is for an audit, not for a run".into());
        }
        Ok(Self::Run { input, data, concurrency: concurrency.unwrap_or(16) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_the_files_of_the_folder_are_run() {
        assert_eq!(parse(""), Ok(Command::Run { input: Input::default(), data: None, concurrency: 16 }));
    }

    #[test]
    fn an_audit_needs_its_books() {
        assert!(parse("audit").unwrap_err().contains("--data"));
        assert!(matches!(parse("audit --data d"), Ok(Command::Audit { outcomes: None, .. })));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in
            ["--concurrency 0", "--concurrency 9999", "--concurrency x", "--order f", "sell", "--outcomes f"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
