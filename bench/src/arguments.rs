//! What the command line says.

use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::{BenchError, server::Durability, work::Shape};

pub(crate) const HELP: &str = "\
bench compare [--json] [--quick] [--durability off|everysec|always] [--concurrency N]
    The framework against the floor on a private Redis, alternated: every durability and concurrency in
    12 minutes, or in 2 with --quick. Needs two free cores.
bench scenarios [--json] [--quick]
    Shapes of work against each other: tries in sequence, business keys, queued phase two, two workers, services that
    joined, history, many branches, large payloads, memory, a worker killed in phase two, a million open transactions.
bench once [--side tcc|floor] [--durability D] [--concurrency N] [--seconds S] [--url redis://…]
        [--branches N] [--payload BYTES] [--sequence] [--keyed] [--joined] [--queued] [--history]
    One run, for profilers. A Redis named by --url is used as it is, and left as it is then.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Compare,
    Scenarios,
    Once,
    /// Of `scenarios`: the worker that is killed.
    Stall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Tcc,
    Floor,
}

#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) command: Command,
    pub(crate) json: bool,
    pub(crate) quick: bool,
    pub(crate) durability: Option<Durability>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) side: Option<Side>,
    pub(crate) length: Duration,
    pub(crate) url: Option<String>,
    pub(crate) shape: Shape,
    pub(crate) transactions: usize,
}

impl Arguments {
    pub(crate) fn read() -> Result<Self, BenchError> {
        Self::parse(Parser::from_env())
            .map_err(|error| BenchError::Usage(format!("{error}; see bench --help")))
    }

    fn parse(mut parser: Parser) -> Result<Self, lexopt::Error> {
        let mut arguments = Self {
            command: Command::Help,
            json: false,
            quick: false,
            durability: None,
            concurrency: None,
            side: None,
            length: Duration::from_secs(3),
            url: None,
            shape: Shape::default(),
            transactions: 1,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Value(command) => {
                    arguments.command = match command.string()?.as_str() {
                        "compare" => Command::Compare,
                        "scenarios" => Command::Scenarios,
                        "once" => Command::Once,
                        "stall" => Command::Stall,
                        other => return Err(format!("no command `{other}`").into()),
                    }
                }
                Arg::Long("help") | Arg::Short('h') => {
                    arguments.command = Command::Help;
                    return Ok(arguments);
                }
                Arg::Long("json") => arguments.json = true,
                Arg::Long("quick") => arguments.quick = true,
                Arg::Long("durability") => {
                    let name = parser.value()?.string()?;
                    let durability = Durability::of(&name);
                    arguments.durability = Some(
                        durability
                            .ok_or_else(|| format!("no durability `{name}`: off, everysec or always"))?,
                    );
                }
                Arg::Long("concurrency") => arguments.concurrency = Some(at_least_one(&mut parser)?),
                Arg::Long("side") => {
                    arguments.side = Some(match parser.value()?.string()?.as_str() {
                        "tcc" => Side::Tcc,
                        "floor" => Side::Floor,
                        other => return Err(format!("no side `{other}`: tcc or floor").into()),
                    });
                }
                Arg::Long("seconds") => {
                    arguments.length = Duration::from_secs(at_least_one(&mut parser)? as u64)
                }
                Arg::Long("url") => arguments.url = Some(parser.value()?.string()?),
                Arg::Long("branches") => arguments.shape.branches = at_least_one(&mut parser)?,
                Arg::Long("payload") => arguments.shape.payload_bytes = at_least_one(&mut parser)?,
                Arg::Long("transactions") => arguments.transactions = at_least_one(&mut parser)?,
                Arg::Long("sequence") => arguments.shape.in_sequence = true,
                Arg::Long("keyed") => arguments.shape.keyed = true,
                Arg::Long("joined") => arguments.shape.joined = true,
                Arg::Long("queued") => arguments.shape.queued = true,
                Arg::Long("history") => arguments.shape.history = true,
                other => return Err(other.unexpected()),
            }
        }
        Ok(arguments)
    }
}

fn at_least_one(parser: &mut Parser) -> Result<usize, lexopt::Error> {
    let number: usize = parser.value()?.parse()?;
    if number == 0 { Err("a number must be at least 1".into()) } else { Ok(number) }
}
