//! Settings and limits of a runtime.

use std::time::Duration;

use tokio::sync::Semaphore;

use crate::{name::Name, runtime::StartError};

/// Settings and limits of a runtime. Every one has a default and a setter on the builder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Name of this process, unique among those that share the store.
    pub process: Option<Name>,
    /// A transaction's deadline where it sets none. Default 30 s.
    pub timeout: Duration,
    /// The initiator's lease: its death is acted on when it has run out. Default 5 s.
    pub lease: Duration,
    /// The lease of a claimed branch. Default 10 s.
    pub drive_lease: Duration,
    /// How long a final record is kept. Default 24 h.
    pub retention: Duration,
    /// For how long fences may be asked about a branch after its end. Default 1 h.
    pub replay_window: Duration,
    /// The most transactions this process has open at a time; beginning another is refused. Default 10,000.
    pub open_max: usize,
    /// The most branch groups driven at a time in this process. Default 256.
    pub drives_max: usize,
    /// Whether this process claims phase two with its own decisions, instead of sending messages for all of
    /// it. Default true.
    pub phase_two_inline: bool,
    /// The most branches of a transaction. Default 1,000.
    pub branches_max: u32,
    /// The most bytes of one payload. Default 256 KiB.
    pub payload_bytes_max: usize,
    /// The most bytes of all payloads of a transaction. Default 4 MiB.
    pub transaction_payload_bytes_max: usize,
    /// How often timers are looked at. Default 500 ms.
    pub sweep_interval: Duration,
    /// The most transactions looked after in one sweep of a shard. Default 128.
    pub sweep_max: usize,
    /// How long one call of the store may take before its outcome counts as unknown. Default 5 s.
    pub store_timeout: Duration,
    /// How long a decision is pursued while the store does not answer. Default 30 s.
    pub decide_patience: Duration,
    /// For how long processes hand on a branch whose action version none of them knows before it is
    /// parked. Default 10 min.
    pub unhandled_limit: Duration,
    /// How long a shutdown waits for work in flight before it hands the rest over. Default 10 s.
    pub grace: Duration,
    /// How many open transactions are looked through at start for actions nobody here can serve.
    /// Default 1,000.
    pub start_check_max: usize,
    /// How many events wait for a slow subscriber. Default 1,024.
    pub events_max: usize,
    /// How often what is open in the store is looked at, for gauges and alarms. Default 15 s; zero never does.
    pub survey_interval: Duration,
    /// The most transactions read in one such look; the next goes on where it ended. Default 1,000.
    pub survey_max: usize,
    /// A transaction that is not decided this long after its deadline, or not final this long after its decision, is
    /// stuck, and told as an alarm. Default 5 min.
    pub stuck_after: Duration,
    /// A branch with this many attempts is stuck however young it is. Default 10.
    pub stuck_attempts: u32,
    /// An alarm that was told and still stands is told again after this long. Default 7 days.
    pub alarm_repeat: Duration,
}

/// For how long a fence must remember a branch after it was confirmed or cancelled.
///
/// Only a runtime makes one, by [`Runtime::fence_retention`](crate::Runtime::fence_retention), and confirm and cancel
/// are told it. It is the retention of records: the runtime refuses to start, or to begin a transaction, unless that
/// covers the transaction's deadline, the longest hard limit of a try and [`Config::replay_window`], so that whatever
/// may still ask a fence asks before this time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FenceRetention(Duration);

impl FenceRetention {
    /// The time, counted from the fence's last change.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            process: None,
            timeout: Duration::from_secs(30),
            lease: Duration::from_secs(5),
            drive_lease: Duration::from_secs(10),
            retention: Duration::from_secs(24 * 3_600),
            replay_window: Duration::from_secs(3_600),
            open_max: 10_000,
            drives_max: 256,
            phase_two_inline: true,
            branches_max: 1_000,
            payload_bytes_max: 256 * 1_024,
            transaction_payload_bytes_max: 4 * 1_024 * 1_024,
            sweep_interval: Duration::from_millis(500),
            sweep_max: 128,
            store_timeout: Duration::from_secs(5),
            decide_patience: Duration::from_secs(30),
            unhandled_limit: Duration::from_secs(600),
            grace: Duration::from_secs(10),
            start_check_max: 1_000,
            events_max: 1_024,
            survey_interval: Duration::from_secs(15),
            survey_max: 1_000,
            stuck_after: Duration::from_secs(300),
            stuck_attempts: 10,
            alarm_repeat: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

impl Config {
    pub(crate) fn check(&self, hard_limit: Duration) -> Result<(), StartError> {
        let (short, day) = (Duration::from_millis(1), Duration::from_secs(24 * 3_600));
        for (field, value, long) in [
            // Longer ones need a longer retention, which is looked at below.
            ("timeout", self.timeout, Duration::MAX),
            ("lease", self.lease, day),
            ("drive_lease", self.drive_lease, day),
            ("sweep_interval", self.sweep_interval, day),
            ("store_timeout", self.store_timeout, day),
        ] {
            if !(short..=long).contains(&value) {
                let rule = if value < short { "at least 1 ms" } else { "at most 24 h" };
                return Err(StartError::Setting { field, rule: rule.into() });
            }
        }
        for (field, value) in [
            ("open_max", self.open_max),
            ("drives_max", self.drives_max),
            ("branches_max", self.branches_max as usize),
            ("payload_bytes_max", self.payload_bytes_max),
            ("transaction_payload_bytes_max", self.transaction_payload_bytes_max),
            ("sweep_max", self.sweep_max),
            ("events_max", self.events_max),
            ("survey_max", self.survey_max),
            ("stuck_attempts", self.stuck_attempts as usize),
        ] {
            if value == 0 {
                return Err(StartError::Setting { field, rule: "at least 1".into() });
            }
        }
        if self.branches_max > u32::from(u16::MAX) {
            return Err(StartError::Setting { field: "branches_max", rule: "at most 65,535".into() });
        }
        let needed = self.retention_needed(self.timeout, hard_limit);
        if self.retention < needed {
            let rule = format!(
                "at least {needed:?}: the timeout, the longest hard limit of a try and the replay window"
            );
            return Err(StartError::Setting { field: "retention", rule });
        }
        Ok(())
    }

    pub(crate) fn open_permits(&self) -> usize {
        self.open_max.min(Semaphore::MAX_PERMITS)
    }

    pub(crate) fn fence_retention(&self) -> FenceRetention {
        FenceRetention(self.retention)
    }

    /// The shortest retention under which nothing late can find its record gone (rule 13).
    pub(crate) fn retention_needed(&self, timeout: Duration, hard_limit: Duration) -> Duration {
        timeout.saturating_add(hard_limit).saturating_add(self.replay_window)
    }
}
