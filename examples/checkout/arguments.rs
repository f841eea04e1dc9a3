//! What the command line says.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::shop::{PARTICIPANTS, Selection};

pub(crate) const HELP: &str = "\
Takes a file of orders through inventory, payment and loyalty, each order wholly or not at all,
and has a second process prove it from the three books.

Usage: checkout [run] [OPTIONS]             places the orders, then audits
       checkout serve --data DIR [OPTIONS]  confirms and cancels for a run in another terminal
       checkout audit --data DIR [OPTIONS]  audits the books of a run

Options:
  --orders FILE      orders, one a row: order,sku,quantity,card,amount_cents,customer,slow_ms
  --stock FILE       opening stock: sku,on_hand
  --cards FILE       card limits: card,limit_cents
  --data DIR         where the books are kept [run: a new directory among the temporary files]; a run on the
                     directory of an earlier one goes on with it, if the store still knows its orders
  --concurrency N    run: orders under way at the same time, 1 to 1024 [16]
  --crash            run: places the orders in a worker process, kills it (SIGKILL) until 5 kills have hit a branch
                     in the middle of confirm or cancel, as the records show, and restarts it each time
  --within SECONDS   with --crash: gives up after this long [120]
  --participants A,B run, serve: confirms and cancels only for these of inventory, payment and loyalty [all].
                     A try always runs in the process that places the order; with this, a run leaves confirm and
                     cancel of the others to processes that `serve` them, and ends when they have done them
  --metrics ADDRESS  run: serves what it measures at http://ADDRESS/metrics, for instance 127.0.0.1:9090 (with port 0,
                     any free one; it is printed), and goes on to when the run is over, until Ctrl-C
  --outcomes FILE    audit: what the run was told, held against the books as well [DIR/outcomes.csv if it is there]
  --help             this text

Transactions are recorded in the Redis of REDIS_URL if it is set; else in a redis-server (or valkey-server) found on
PATH, started privately and stopped at the end; else in memory, where --crash, --participants and serve do not work.

Rows that cannot be read are named by line and left out. Exit code: 0 when the books balance, 1 when they do
not or when the run failed, 2 when the command line is wrong.";

const CONCURRENCY_MAX: usize = 1024;
const CRASH_WITHIN: Duration = Duration::from_secs(120);
const CRASH_SECONDS_MAX: u64 = 24 * 3_600;
const COMMANDS: [&str; 4] = ["run", "worker", "serve", "audit"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Run {
        input: Input,
        data: Option<PathBuf>,
        concurrency: usize,
        finishes: Selection,
        metrics: Option<SocketAddr>,
        crash: Option<Duration>,
    },
    /// The process that a run with `--crash` starts and kills.
    Worker {
        input: Input,
        data: PathBuf,
        concurrency: usize,
    },
    Serve {
        input: Input,
        data: PathBuf,
        participants: Selection,
    },
    Audit {
        input: Input,
        data: PathBuf,
        outcomes: Option<PathBuf>,
    },
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
        let (mut participants, mut crash, mut within, mut metrics) = (None, false, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Value(name) if command.is_none() => {
                    let known = COMMANDS.into_iter().find(|known| name == **known);
                    command = Some(known.ok_or_else(|| Value(name).unexpected())?);
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
                Long("participants") => participants = Some(selection(&parser.value()?.string()?)?),
                Long("metrics") => metrics = Some(parser.value()?.parse()?),
                Long("crash") => crash = true,
                Long("within") => {
                    let seconds: u64 = parser.value()?.parse()?;
                    if !(1..=CRASH_SECONDS_MAX).contains(&seconds) {
                        return Err(format!("--within is {seconds}, outside 1 to {CRASH_SECONDS_MAX}").into());
                    }
                    within = Some(Duration::from_secs(seconds));
                }
                Long("help") | Short('h') => return Ok(Self::Help),
                other => return Err(other.unexpected()),
            }
        }
        let command = command.unwrap_or("run");
        for (given, flag, of) in [
            (outcomes.is_some(), "--outcomes", ["audit"].as_slice()),
            (concurrency.is_some(), "--concurrency", &["run", "worker"]),
            (participants.is_some(), "--participants", &["run", "serve"]),
            (crash, "--crash", &["run"]),
            (within.is_some(), "--within", &["run"]),
            (metrics.is_some(), "--metrics", &["run"]),
        ] {
            if given && !of.contains(&command) {
                return Err(format!("{flag} is not for `{command}`").into());
            }
        }
        if crash && participants.is_some() {
            return Err(
                "--crash and --participants do not go together: the worker runs all participants".into()
            );
        }
        if crash && metrics.is_some() {
            return Err(
                "--crash and --metrics do not go together: the worker is killed, and what it counted with it"
                    .into(),
            );
        }
        if within.is_some() && !crash {
            return Err("--within goes with --crash".into());
        }
        let needed = |data: Option<PathBuf>| data.ok_or_else(|| format!("`{command}` needs --data DIR"));
        let concurrency = concurrency.unwrap_or(16);
        let participants = participants.unwrap_or_else(|| PARTICIPANTS.into());
        Ok(match command {
            "audit" => Self::Audit { input, data: needed(data)?, outcomes },
            "serve" => Self::Serve { input, data: needed(data)?, participants },
            "worker" => Self::Worker { input, data: needed(data)?, concurrency },
            _ => {
                let crash = crash.then(|| within.unwrap_or(CRASH_WITHIN));
                Self::Run { input, data, concurrency, finishes: participants, metrics, crash }
            }
        })
    }
}

fn selection(list: &str) -> Result<Selection, String> {
    let one = |name: &str| {
        let known = PARTICIPANTS.into_iter().find(|known| *known == name.trim());
        known.ok_or_else(|| {
            format!("--participants names `{name}`, which is none of {}", PARTICIPANTS.join(", "))
        })
    };
    list.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_the_files_of_the_folder_are_run() {
        let finishes = Selection::from(PARTICIPANTS);
        let run = Command::Run {
            input: Input::default(),
            data: None,
            concurrency: 16,
            finishes,
            metrics: None,
            crash: None,
        };
        assert_eq!(parse(""), Ok(run));
    }

    #[test]
    fn an_audit_needs_its_books() {
        assert!(parse("audit").unwrap_err().contains("--data"));
        assert!(matches!(parse("audit --data d"), Ok(Command::Audit { outcomes: None, .. })));
    }

    #[test]
    fn a_service_names_its_participants() {
        let served = parse("serve --data d --participants payment,loyalty");
        assert!(matches!(served, Ok(Command::Serve { participants, .. }) if participants.len() == 2));
        assert!(parse("--participants payment,pigeons").unwrap_err().contains("`pigeons`"));
        assert!(parse("serve").unwrap_err().contains("--data"));
        assert!(parse("--crash --participants payment").is_err());
        assert!(parse("serve --data d --crash").is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "--concurrency 0",
            "--concurrency 9999",
            "--concurrency x",
            "--order f",
            "sell",
            "--outcomes f",
            "run run",
            "--metrics here",
            "--crash --metrics 127.0.0.1:0",
            "audit --data d --metrics 127.0.0.1:0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
