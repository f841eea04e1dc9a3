//! What the command line says. Flags win over the environment.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tcc_core::{
    BusinessKey, Name, Ordinal, Scope,
    record::{Direction, TransactionState},
};
use tcc_redis::Durability;

/// Sees stuck transactions of the TCC framework in Redis, and puts them right.
#[derive(Debug, Parser)]
#[command(name = "tccctl", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Data goes to standard output, words to standard error.

Exit codes: 0 done, 1 doctor found something or part of a bulk change failed, 2 wrong command line, 3 not found,
4 ambiguous, 5 refused, 6 Redis not reached, 7 Redis refuses or does not fit, 8 unreadable record, 9 other.";

/// How Redis is reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Redis: redis://user:password@host:port/db
    #[arg(
        long,
        global = true,
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1/"
    )]
    pub(crate) url: String,
    /// Namespace of the transactions
    #[arg(long, short, global = true, env = "TCC_NAMESPACE", default_value = "tcc")]
    pub(crate) namespace: Name,
    /// How long one call of Redis may take, such as 3s or 500ms
    #[arg(long, global = true, env = "TCC_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "3s")]
    pub(crate) timeout: Duration,
}

/// How answers look.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct LookArgs {
    /// Form of the answer
    #[arg(long, short, global = true, env = "TCC_OUTPUT", value_enum, default_value_t = Form::Table)]
    pub(crate) output: Form,
    /// When to colour; NO_COLOR is heeded by auto
    #[arg(long, global = true, env = "TCC_COLOR", value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Columns of a table; those of COLUMNS or the terminal unless set, and 80 where there is neither
    #[arg(long, global = true, value_name = "COLUMNS")]
    pub(crate) width: Option<u16>,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List transactions, those that are open unless a filter says otherwise
    List(ListArgs),
    /// Show one transaction: its branches, what happened, and what to do next
    Show(ShowArgs),
    /// Count transactions, queues and processes
    Stats,
    /// List the processes that listen
    Nodes,
    /// Set parked branches going again
    Retry(RetryArgs),
    /// Cancel transactions of which nothing is decided
    Cancel(CancelArgs),
    /// Attest that a branch was finished by hand, in the direction it is driven
    Resolve(ResolveArgs),
    /// Hold back the confirms and cancels of a participant or action
    Pause(PauseArgs),
    /// Let a paused participant or action go on
    Resume(PauseArgs),
    /// List what is paused
    Paused,
    /// List what operators changed: who, when, what, why
    Audit(AuditArgs),
    /// Look at the server and for inconsistencies
    Doctor(DoctorArgs),
    /// Print the Redis user that services and operators need, and no more
    Acl(AclArgs),
    /// Show success, refusal and recovery from a crash on a private Redis
    Demo(DemoArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Which transactions.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only those that need somebody to go on: parked, unreadable, paused, hostless or overdue
    #[arg(long)]
    pub(crate) stuck: bool,
    /// Only those that wait for an operator
    #[arg(long)]
    pub(crate) parked: bool,
    /// Only in this state; may be repeated
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Vec<TransactionState>,
    /// Only of this name
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// Only with this business key; needs --name
    #[arg(long, requires = "name")]
    pub(crate) key: Option<BusinessKey>,
    /// Only with a branch of this participant
    #[arg(long)]
    pub(crate) participant: Option<Name>,
    /// Only begun longer ago than this, such as 5m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// Only begun more recently than this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) younger_than: Option<Duration>,
}

impl Filter {
    /// Whether it filters at all.
    pub(crate) fn is_set(&self) -> bool {
        let Self { stuck, parked, state, name, key, participant, older_than, younger_than } = self;
        *stuck
            || *parked
            || !state.is_empty()
            || name.is_some()
            || key.is_some()
            || participant.is_some()
            || older_than.is_some()
            || younger_than.is_some()
    }
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// At the most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Go on where the answer before ended, which it named
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Its id, or how it begins
    pub(crate) gid: String,
    /// Look again until it is over, and print what happens
    #[arg(long)]
    pub(crate) follow: bool,
    /// With --follow: no longer than this
    #[arg(long = "for", value_name = "TIME", value_parser = duration, default_value = "1h")]
    pub(crate) for_at_most: Duration,
    /// Print every event, not one line a branch
    #[arg(long)]
    pub(crate) events: bool,
    /// Print arguments and results as well; redacted arguments stay hidden
    #[arg(long)]
    pub(crate) payloads: bool,
}

/// Who changes something and why; both are recorded.
#[derive(Args, Clone, Debug)]
pub(crate) struct Why {
    /// Why; recorded with the change
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Who; recorded with the change. Unless said, user@host
    #[arg(long, env = "TCC_OPERATOR", value_name = "NAME")]
    pub(crate) who: Option<String>,
}

/// Which transactions a change is for: some by id, or all that a filter finds.
#[derive(Args, Clone, Debug)]
pub(crate) struct Selection {
    /// Ids, or how they begin; `-` reads them from standard input
    #[arg(value_name = "GID")]
    pub(crate) gids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// With filters: do it. Without, only what would be done is listed
    #[arg(long)]
    pub(crate) yes: bool,
    /// With filters: more than so many are refused
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// At the most so many changes a second
    #[arg(long, default_value_t = 20, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
}

#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Only this branch, such as 02; may be repeated
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Vec<Ordinal>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Args, Debug)]
pub(crate) struct ResolveArgs {
    /// The transaction's id, or how it begins
    pub(crate) gid: String,
    /// The branch, such as 02
    #[arg(long)]
    pub(crate) branch: Ordinal,
    /// What was done by hand
    #[arg(long = "as", value_enum)]
    pub(crate) done: Attested,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// What was done by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attested {
    /// Its effect was made final.
    Confirmed,
    /// Its effect was undone.
    Cancelled,
}

impl Attested {
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Confirmed => Direction::Confirm,
            Self::Cancelled => Direction::Cancel,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct PauseArgs {
    /// A participant such as inventory, or an action such as inventory.reserve@1
    pub(crate) scope: Scope,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Only of this transaction
    #[arg(long)]
    pub(crate) gid: Option<String>,
    /// At the most so many, the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Transactions looked at, at the most
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) limit: u32,
    /// What a service accepts or states about durability
    #[arg(long, env = "TCC_DURABILITY", value_enum)]
    pub(crate) durability: Option<Accepted>,
}

/// What a service accepts about durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accepted {
    /// Nothing acknowledged may be lost.
    Always,
    /// The last second may be.
    EverySecond,
    /// Anything may be.
    Volatile,
}

impl Accepted {
    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::Always => Durability::Always,
            Self::EverySecond => Durability::EverySecond,
            Self::Volatile => Durability::Volatile,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct AclArgs {
    /// Name of the Redis user
    #[arg(long, default_value = "tcc")]
    pub(crate) user: Name,
    /// Its password; better put in afterwards, where no list of processes shows it
    #[arg(long, hide = true, default_value = crate::commands::acl::PASSWORD)]
    pub(crate) password: String,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Play this part of the demo, as one of its processes
    #[arg(long, hide = true, value_enum, requires = "books")]
    pub(crate) part: Option<Part>,
    /// Where the demo's participants keep their books
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) books: Option<PathBuf>,
}

/// What a process of the demo does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Places an order that can be filled.
    Order,
    /// Places one whose card is declined.
    Declined,
    /// Places one and hangs in the confirm of its payment.
    Hanging,
    /// Places none, and finishes what others left.
    Serve,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Declined => "declined",
            Self::Hanging => "hanging",
            Self::Serve => "serve",
        }
    }

    /// The business key of the order it places.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Order => "order-1",
            Self::Declined => "order-2",
            Self::Hanging | Self::Serve => "order-3",
        }
    }
}

fn state(text: &str) -> Result<TransactionState, String> {
    const ALL: [TransactionState; 5] = [
        TransactionState::Trying,
        TransactionState::Confirming,
        TransactionState::Confirmed,
        TransactionState::Cancelling,
        TransactionState::Cancelled,
    ];
    let names = || ALL.map(|state| state.to_string()).join(", ");
    ALL.into_iter().find(|state| state.to_string() == text).ok_or_else(|| format!("it is one of {}", names()))
}

/// A number and its unit, without which it counts seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time is a number and one of ms, s, m, h, d, such as 90s".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        let parsed =
            ["90", "90s", "15m", "2h", "1d", "250ms"].map(|text| duration(text).unwrap().as_millis());
        assert_eq!(parsed, [90_000, 90_000, 900_000, 7_200_000, 86_400_000, 250]);
        for wrong in ["", "s", "1w", "-1s", "1.5s", "99999999999999999999d", "9999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
