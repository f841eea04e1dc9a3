//! What a seed stands for: who takes part, what goes wrong, and how often.

use std::time::Duration;

use super::random::Random;
use crate::machine::BELL_CAP;

/// The two participants. Each keeps its books in a database of its own.
pub(super) const BANKS: [&str; 2] = ["north", "south"];
/// Accounts of each bank. The last is all but empty, so that debits of it are refused.
pub(super) const ACCOUNTS: usize = 4;

/// A fault that the simulator makes, or that it saw come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Fault {
    RequestRefused,
    RequestSwallowed,
    RequestDelayed,
    RequestDuplicated,
    DuplicateAfterTheEnd,
    RequestsReordered,
    AnswerLost,
    AnswerSwallowed,
    AnswerDelayed,
    StoreFull,
    BellLost,
    BellDuplicated,
    BellDelayed,
    BellsFailed,
    OutageRefusing,
    OutageSilent,
    OutageDeaf,
    Partition,
    ClockForward,
    ClockBackward,
    Crash,
    CrashInHandler,
    Restart,
    Shutdown,
    Pause,
    WritesLost,
    TryRefused,
    TryRefusedAfterEffect,
    TryPanicked,
    TryHung,
    TrySlow,
    PhaseFailedBeforeEffect,
    PhaseFailedAfterEffect,
    PhasePanicked,
    PhaseHung,
    PhaseSlow,
    PhaseOngoing,
    PhaseParked,
    PayloadUnreadable,
}

impl Fault {
    /// Every fault there is.
    pub const ALL: [Self; 39] = [
        Self::RequestRefused,
        Self::RequestSwallowed,
        Self::RequestDelayed,
        Self::RequestDuplicated,
        Self::DuplicateAfterTheEnd,
        Self::RequestsReordered,
        Self::AnswerLost,
        Self::AnswerSwallowed,
        Self::AnswerDelayed,
        Self::StoreFull,
        Self::BellLost,
        Self::BellDuplicated,
        Self::BellDelayed,
        Self::BellsFailed,
        Self::OutageRefusing,
        Self::OutageSilent,
        Self::OutageDeaf,
        Self::Partition,
        Self::ClockForward,
        Self::ClockBackward,
        Self::Crash,
        Self::CrashInHandler,
        Self::Restart,
        Self::Shutdown,
        Self::Pause,
        Self::WritesLost,
        Self::TryRefused,
        Self::TryRefusedAfterEffect,
        Self::TryPanicked,
        Self::TryHung,
        Self::TrySlow,
        Self::PhaseFailedBeforeEffect,
        Self::PhaseFailedAfterEffect,
        Self::PhasePanicked,
        Self::PhaseHung,
        Self::PhaseSlow,
        Self::PhaseOngoing,
        Self::PhaseParked,
        Self::PayloadUnreadable,
    ];
}

/// How often a fault is made, in ten thousand chances.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    pub(super) request: u32,
    pub(super) delay: u32,
    pub(super) duplicate: u32,
    pub(super) answer: u32,
    pub(super) full: u32,
    pub(super) bell: u32,
    pub(super) tries: u32,
    pub(super) phases: u32,
    pub(super) parks: u32,
    pub(super) suicide: u32,
    pub(super) unreadable: u32,
}

/// How often the world itself fails: the mean time between two such faults.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    pub(super) crash: Option<Duration>,
    pub(super) shutdown: Option<Duration>,
    pub(super) pause: Option<Duration>,
    pub(super) outage: Option<Duration>,
    pub(super) clock: Option<Duration>,
    /// The last acknowledged writes are lost, as by a failover to a replica that lags.
    pub(super) failover: Option<Duration>,
}

/// A process as it is deployed.
#[derive(Clone, Debug)]
pub(super) struct Deployed {
    pub(super) banks: Vec<&'static str>,
    /// Its confirms and cancels are left to other processes.
    pub(super) tries_only: bool,
    /// It runs the previous release, which knows version 1 of every action and not version 2.
    pub(super) old: bool,
    /// It begins transactions; else it is a worker.
    pub(super) initiates: bool,
}

impl Deployed {
    /// A process of the newest release that hosts everything.
    pub(super) fn whole(initiates: bool) -> Self {
        Self { banks: BANKS.to_vec(), tries_only: false, old: false, initiates }
    }
}

/// Limits that are sometimes tight.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) open: usize,
    pub(super) drives: usize,
    pub(super) branches: u32,
    pub(super) concurrency: usize,
}

/// What befalls every handler of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curse {
    Fails,
    /// It takes its process with it.
    Kills,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shards: u16,
    pub(super) processes: Vec<Deployed>,
    pub(super) transactions: u64,
    /// How long faults are made.
    pub(super) span: Duration,
    /// Whether the second bank keeps fences; the first always does.
    pub(super) fenced: bool,
    pub(super) retention: Duration,
    pub(super) poll_micros_max: u64,
    pub(super) limits: Limits,
    /// What every confirm and cancel of one account does while faults are made.
    pub(super) cursed: Option<(usize, Curse)>,
    pub(super) rates: Rates,
    pub(super) troubles: Troubles,
}

/// The most writes that a failover loses.
pub(super) const WRITES_LOST_MAX: usize = 12;
pub(super) const LEASE: Duration = Duration::from_secs(2);
pub(super) const DRIVE_LEASE: Duration = Duration::from_secs(3);
pub(super) const STORE_TIMEOUT: Duration = Duration::from_millis(900);
pub(super) const DECIDE_PATIENCE: Duration = Duration::from_secs(4);
pub(super) const SWEEP: Duration = Duration::from_millis(400);
pub(super) const GRACE: Duration = Duration::from_millis(1_500);
pub(super) const UNHANDLED_LIMIT: Duration = Duration::from_secs(5);
pub(super) const TIMEOUT: Duration = Duration::from_secs(6);
pub(super) const REPLAY_WINDOW: Duration = Duration::from_secs(30);
pub(super) const TRY_TIMEOUT: Duration = Duration::from_millis(700);
pub(super) const TRY_HARD_LIMIT: Duration = Duration::from_secs(9);
pub(super) const PHASE_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const ONGOING_LIMIT: Duration = Duration::from_secs(4);
pub(super) const ATTEMPTS_MAX: u32 = 6;
pub(super) const RETRY_BASE: Duration = Duration::from_millis(60);
pub(super) const RETRY_CAP: Duration = Duration::from_secs(3);
/// The latest a request is repeated by the network.
pub(super) const DUPLICATE_AFTER_MAX: Duration = Duration::from_secs(40);

/// How long after the last fault everything must be final or parked: every wait that the settings
/// above allow one after another, several times over.
pub(super) const LIVENESS: Duration = Duration::from_secs(10 * BELL_CAP.as_secs());

impl Plan {
    pub(super) fn of(dice: &mut Random) -> Self {
        // Calm seeds find what faults would hide; in some only one kind of thing goes wrong.
        let wild = *dice.pick(&[0, 1, 1, 2, 4]);
        let kinds = *dice.pick(&[3_000, 6_000, 10_000]);
        let mut rate = |most: u64| match dice.chance(kinds) {
            true => (dice.between(most / 4, most) * wild / 2) as u32,
            false => 0,
        };
        let rates = Rates {
            request: rate(800),
            delay: rate(2_000),
            duplicate: rate(1_500),
            answer: rate(800),
            full: rate(200),
            bell: rate(5_000),
            tries: rate(2_500),
            phases: rate(3_500),
            parks: rate(400),
            suicide: rate(250),
            unreadable: rate(600),
        };
        let mut trouble = |seconds: u64| match wild > 0 && dice.chance(kinds / 2) {
            true => Some(Duration::from_secs(dice.between(seconds, seconds * 4) / wild)),
            false => None,
        };
        let mut troubles = Troubles {
            crash: trouble(8),
            shutdown: trouble(20),
            pause: trouble(5),
            outage: trouble(12),
            clock: trouble(12),
            failover: None,
        };
        // What is promised only without it must be put to the proof in most seeds.
        if wild > 0 && dice.chance(1_200) {
            troubles.failover = Some(Duration::from_secs(dice.between(4, 12)));
        }
        let short = dice.chance(3_000);
        if short && wild > 0 {
            // Steps of the clock make records go while late tries still run.
            troubles.clock = Some(Duration::from_secs(4));
        }
        Self {
            shards: *dice.pick(&[1, 1, 2, 5]),
            processes: processes(dice),
            transactions: dice.between(5, 24),
            span: dice.millis(8_000, 30_000),
            fenced: dice.chance(5_000),
            retention: if short { RETENTION_LEAST } else { Duration::from_secs(86_400) },
            poll_micros_max: *dice.pick(&[8, 8, 8, 400]),
            limits: Limits {
                open: *dice.pick(&[2, 10_000, 10_000]),
                drives: *dice.pick(&[1, 3, 256, 256]),
                branches: *dice.pick(&[3, 1_000, 1_000, 1_000]),
                concurrency: *dice.pick(&[1, 2, 64]),
            },
            cursed: (wild > 0 && dice.chance(1_500)).then(|| {
                (dice.below(ACCOUNTS as u64 - 1) as usize, *dice.pick(&[Curse::Fails, Curse::Kills]))
            }),
            rates,
            troubles,
        }
    }

    /// Nothing goes wrong by itself.
    pub(super) fn calm(processes: Vec<Deployed>) -> Self {
        Self {
            shards: 1,
            processes,
            transactions: 1,
            span: Duration::from_secs(2),
            fenced: false,
            retention: RETENTION_LEAST,
            poll_micros_max: 8,
            limits: Limits { open: 100, drives: 100, branches: 100, concurrency: 64 },
            cursed: None,
            rates: Rates::default(),
            troubles: Troubles::default(),
        }
    }

    /// Whether leases hold: nothing makes a process overlook that its time is up.
    pub(super) fn leases_hold(&self) -> bool {
        self.troubles.pause.is_none() && self.troubles.clock.is_none()
    }
}

/// No retention may be shorter (rule 13).
const RETENTION_LEAST: Duration =
    Duration::from_secs(TIMEOUT.as_secs() + TRY_HARD_LIMIT.as_secs() + REPLAY_WINDOW.as_secs() + 15);

fn processes(dice: &mut Random) -> Vec<Deployed> {
    let upgrading = dice.chance(3_000);
    let mut all = vec![Deployed::whole(true)];
    for _ in 0..dice.between(1, 3) {
        let banks = match dice.below(4) {
            0 => vec![BANKS[0]],
            1 => vec![BANKS[1]],
            _ => BANKS.to_vec(),
        };
        all.push(Deployed {
            banks,
            tries_only: dice.chance(1_000),
            old: upgrading && dice.chance(6_000),
            initiates: dice.chance(6_000),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_seeds_are_calm_and_some_are_wild() {
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::of(&mut Random::new(seed))).collect();
        let calm = |plan: &&Plan| plan.rates.request + plan.rates.tries + plan.rates.phases == 0;
        assert!((20..150).contains(&plans.iter().filter(calm).count()));
        assert!(plans.iter().any(|plan| plan.troubles.crash.is_some() && plan.rates.answer > 1_000));
    }
}
