//! Killing the process that does the work, again and again, where it hurts: in the middle of phase two.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tcc::record::Direction;
use tcc::store::{Store, StoreError};
use tcc::{ActionName, Gid, Ordinal};

/// Kills that count, before the worker may finish.
pub(crate) const KILLS: usize = 5;
/// How often records are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// A worker is left in peace for at most this long, so that kills come at all stages of the work; and for no longer
/// than half a millisecond an order, so that there is work left for the next.
const PEACE_MS_MAX: u64 = 400;
/// Open transactions looked through at a time.
const PAGE: usize = 100;
const OPEN_MAX: usize = 5_000;

/// A worker's claim of a branch: the claim's number tells it from every other.
type Claim = (Gid, Ordinal, u64);

struct Claimed {
    action: ActionName,
    direction: Direction,
    attempts: u32,
}

pub(crate) struct Crashes {
    pub(crate) counted: usize,
    /// Kills after which no record showed anything in the middle of phase two.
    pub(crate) missed: usize,
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kills in the middle of phase two", self.counted)?;
        match self.missed {
            0 => Ok(()),
            missed => write!(f, " (and {missed} that hit nothing there, not counted)"),
        }
    }
}

/// Runs workers and kills them until enough kills count, then lets the last one finish the work.
pub(crate) async fn supervise(
    store: &dyn Store,
    mut worker: Command,
    orders: usize,
    within: Duration,
) -> Result<Crashes, Box<dyn Error>> {
    let give_up = Instant::now() + within;
    let mut crashes = Crashes { counted: 0, missed: 0 };
    let mut known: BTreeSet<Claim> = claims(store, &BTreeSet::new(), usize::MAX).await?.into_keys().collect();
    while crashes.counted < KILLS {
        let mut running = Worker::start(&mut worker)?;
        until_claimed(store, &known, &mut running, &crashes, give_up).await?;
        tokio::time::sleep(peace(orders)).await;
        until_claimed(store, &known, &mut running, &crashes, give_up).await?;
        let id = running.kill()?;
        // Only claims that no earlier kill left behind: each is one that this worker will never report on.
        let left = claims(store, &known, usize::MAX).await?;
        match left.first_key_value() {
            None => crashes.missed += 1,
            Some(((gid, ordinal, _), claimed)) => {
                crashes.counted += 1;
                let Claimed { action, direction, attempts } = claimed;
                let more = match left.len() - 1 {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                println!(
                    "kill {}: worker {id}, in attempt {attempts} of the {direction} of {gid}/{ordinal} {action}{more}",
                    crashes.counted
                );
            }
        }
        known.extend(left.into_keys());
    }

    let mut last = Worker::start(&mut worker)?;
    loop {
        if let Some(ended) = last.ended()? {
            if !ended.success() {
                return Err(format!("the last worker failed with {ended} after {crashes}").into());
            }
            break;
        }
        if Instant::now() >= give_up {
            return Err(format!("given up after {within:?}: {crashes}, but the work is not finished").into());
        }
        tokio::time::sleep(LOOK_EVERY * 10).await;
    }
    for shard in 0..store.shards() {
        if let Some(gid) = store.open(shard, None, 1).await?.first() {
            return Err(format!("{gid} is not final, although the last worker has finished").into());
        }
    }
    Ok(crashes)
}

async fn until_claimed(
    store: &dyn Store,
    known: &BTreeSet<Claim>,
    worker: &mut Worker,
    crashes: &Crashes,
    give_up: Instant,
) -> Result<(), Box<dyn Error>> {
    loop {
        if !claims(store, known, 1).await?.is_empty() {
            return Ok(());
        }
        if let Some(ended) = worker.ended()? {
            let why = if ended.success() { "the orders were done" } else { "the worker failed" };
            return Err(format!("{why} ({ended}) after {crashes} of {KILLS}; give it more orders").into());
        }
        if Instant::now() >= give_up {
            return Err(format!("given up after {crashes} of {KILLS}: the time is over").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Branches in the middle of phase two: claimed, and their claim not reported on, whether its lease runs or has run out.
/// No more than `enough` and only claims that are not `known`.
async fn claims(
    store: &dyn Store,
    known: &BTreeSet<Claim>,
    enough: usize,
) -> Result<BTreeMap<Claim, Claimed>, StoreError> {
    let mut claims = BTreeMap::new();
    for shard in 0..store.shards() {
        let (mut after, mut looked) = (None, 0);
        while looked < OPEN_MAX {
            let page = store.open(shard, after.as_ref(), PAGE).await?;
            for gid in &page {
                let Some(record) = store.load(gid).await? else { continue };
                for (ordinal, branch) in record.branches() {
                    let Some(direction) = branch.state.open_direction() else { continue };
                    let claim = (gid.clone(), ordinal, branch.epoch);
                    let is_open = branch.claim.is_some_and(|claim| claim.closed.is_none());
                    if is_open && !known.contains(&claim) {
                        let claimed =
                            Claimed { action: branch.action.clone(), direction, attempts: branch.attempts };
                        claims.insert(claim, claimed);
                    }
                }
                // What was seen first may be reported on while the rest is looked at.
                if claims.len() >= enough {
                    return Ok(claims);
                }
            }
            looked += page.len();
            if page.len() < PAGE {
                break;
            }
            after = page.into_iter().next_back();
        }
    }
    Ok(claims)
}

fn peace(orders: usize) -> Duration {
    let max_ms = (orders as u64 / 2).clamp(1, PEACE_MS_MAX);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(u64::from(now.subsec_micros()) % max_ms)
}

/// A worker process. It does not outlive this handle, nor, by the pipe it reads, this process.
struct Worker(Child);

impl Worker {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        Ok(Self(command.stdin(Stdio::piped()).spawn()?))
    }

    fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// `SIGKILL`, by its process id, which it gives back.
    fn kill(mut self) -> std::io::Result<u32> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(self.0.id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
