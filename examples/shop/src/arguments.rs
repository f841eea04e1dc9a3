//! What the command line says.

use std::{ffi::OsString, path::PathBuf};

use lexopt::prelude::*;

use crate::place::Service;

pub(crate) const HELP: &str = "\
Orders, inventory (PostgreSQL), payment (SQLite) and loyalty (gRPC, Redis): four services that take each order
together or not at all, whoever is killed meanwhile.

Usage: shop [run] [OPTIONS]    starts all, sends orders through the front, kills services in the middle, checks all books
       shop kills [OPTIONS]    kills each service at each phase (try, decided, confirm, cancel), checks all books
       shop audit --data DIR   checks all books once more, of a run on databases that are still there
       shop stores             starts a private Redis and a private PostgreSQL, says their URLs, and stops them with ^C
       shop orders|inventory|payment|loyalty --data DIR    is one service of a run

Options:
  --orders N   run: orders sent [120]
  --kills N    run: services killed on the way [8]
  --each N     kills: kills of each service at each phase [1]
  --data DIR   where SQLite and the private Redis have their files, to be kept [a new directory, gone at the end]
  --help       this text

REDIS_URL and DATABASE_URL name the Redis (7.0 or later, appendfsync always) and the PostgreSQL; without them private
ones are started, from redis-server or valkey-server, and initdb, postgres and pg_ctl. A run keeps to a schema and to
keys of its own, and removes them at the end, unless --data is given.
SHOP_CONTEXT_KEY is the secret that the services share; a run makes one up, and a service alone needs that of its run.
SHOP_HOLD=PHASE:ORDER holds a service at a phase of orders whose id begins so, to be killed there.

Exit code: 0 when all books balance, 1 when not or when the run failed, 2 when the command line is wrong.";

const COUNT_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Run { orders: usize, kills: usize, data: Option<PathBuf> },
    Kills { each: usize, data: Option<PathBuf> },
    Audit { data: PathBuf },
    Stores { data: Option<PathBuf> },
    Serve { service: Service, data: PathBuf },
}

impl Command {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(arguments);
        let (mut command, mut data) = (None, None);
        let (mut orders, mut kills, mut each) = (None, None, None);
        while let Some(argument) = parser.next()? {
            match argument {
                Value(name) if command.is_none() => command = Some(name.string()?),
                Long("orders") => orders = Some(count("--orders", 1, parser.value()?)?),
                Long("kills") => kills = Some(count("--kills", 0, parser.value()?)?),
                Long("each") => each = Some(count("--each", 1, parser.value()?)?),
                Long("data") => data = Some(PathBuf::from(parser.value()?)),
                Long("help") | Short('h') => return Ok(Self::Help),
                other => return Err(other.unexpected()),
            }
        }
        let command = command.unwrap_or_else(|| "run".into());
        for (given, flag, of) in [
            (orders.is_some(), "--orders", "run"),
            (kills.is_some(), "--kills", "run"),
            (each.is_some(), "--each", "kills"),
        ] {
            if given && command != of {
                return Err(format!("{flag} is not for `{command}`").into());
            }
        }
        if let Some(service) = Service::ALL.into_iter().find(|service| service.name() == command) {
            let data = data.ok_or_else(|| format!("`{command}` needs --data DIR, that of a run"))?;
            return Ok(Self::Serve { service, data });
        }
        match command.as_str() {
            "run" => Ok(Self::Run { orders: orders.unwrap_or(120), kills: kills.unwrap_or(8), data }),
            "kills" => Ok(Self::Kills { each: each.unwrap_or(1), data }),
            "audit" => Ok(Self::Audit { data: data.ok_or("`audit` needs --data DIR, that of a run")? }),
            "stores" => Ok(Self::Stores { data }),
            _ => Err(format!("there is no command `{command}`").into()),
        }
    }
}

fn count(flag: &str, least: usize, value: OsString) -> Result<usize, lexopt::Error> {
    let number: usize = value.parse()?;
    if (least..=COUNT_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{flag} is {number}, outside {least} to {COUNT_MAX}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn one_command_without_arguments_is_a_run() {
        assert_eq!(parse(""), Ok(Command::Run { orders: 120, kills: 8, data: None }));
        assert_eq!(parse("kills --each 5"), Ok(Command::Kills { each: 5, data: None }));
        let serve = Command::Serve { service: Service::Payment, data: "d".into() };
        assert_eq!(parse("payment --data d"), Ok(serve));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "payment",
            "audit",
            "sell",
            "--orders 0",
            "--orders x",
            "--kills 99999",
            "kills --orders 3",
            "run run",
            "--each 1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
