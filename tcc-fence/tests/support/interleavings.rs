//! Two connections run the phases of one branch in a random order, step by step, and every answer and effect is held
//! to what was committed.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use sqlx::Pool;
use tokio::{sync::oneshot, time::timeout};

use super::{
    LONG, Random,
    actor::{Actor, Again, Begin, Run},
    gid,
    oracle::{Branch, Heard, Kind},
};
use crate::Db;

const CASES: u64 = 10_000;

/// In how many of them one connection must really have waited for the other.
const WAITED_MIN: usize = 1_000;

/// How often a run is run again that the database has put off.
const AGAIN_MAX: usize = 50;

/// What is special about a database.
pub(crate) trait Bench {
    /// Statements that begin a local transaction, at the isolation levels there are, the default first.
    const BEGINS: &'static [Begin];

    /// Returns when it is known that this connection waits for the other one's lock; false, if this time nobody looked.
    async fn waits(&mut self, lane: usize) -> bool;
}

/// What happened in all cases.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    runs: usize,
    /// Cases in which one connection waited for the other's lock, as the database said before that one was told to end.
    waited: usize,
    /// Runs that the database put off.
    again: usize,
    heard: BTreeMap<&'static str, usize>,
    /// What must be in the database.
    effects: BTreeMap<(String, String), i64>,
}

/// Plays 10,000 cases and compares what they left in the database.
pub(crate) async fn prove<B: Bench>(
    bench: &mut B,
    connections: [<Db as sqlx::Database>::Connection; 2],
    pool: &Pool<Db>,
) {
    let began = Instant::now();
    let tally = run(bench, &connections.map(Actor::start), 0..CASES).await;
    let written: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT gid, kind, count(*) FROM effect GROUP BY gid, kind")
            .fetch_all(pool)
            .await
            .unwrap();
    let written = written.into_iter().map(|(gid, kind, count)| ((gid, kind), count)).collect();
    assert_eq!(tally.effects, written, "the effects committed are those in the database, once each");
    tally.assert_reached(began);
}

async fn run<B: Bench>(bench: &mut B, lanes: &[Actor; 2], seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let mut case = Case::new::<B>(seed);
        let ended = timeout(LONG, case.play(bench, lanes, &mut tally)).await;
        assert!(ended.is_ok(), "seed {seed} did not end in {LONG:?}: {:#?}", case.log);
        tally.cases += 1;
        for kind in case.branch.effects.keys() {
            tally.effects.insert((gid(seed).to_string(), kind.as_str().to_owned()), 1);
        }
    }
    tally
}

enum Lane {
    /// Runs its next one, if there is one.
    Idle,
    /// Has asked for entry and was not answered yet.
    Entering(Run, oneshot::Receiver<Result<Heard, Again>>),
    /// Was let in, or turned away, and its local transaction is open.
    Inside(Run, Heard),
}

struct Case {
    random: Random,
    branch: Branch,
    queues: [VecDeque<Run>; 2],
    lanes: [Lane; 2],
    log: Vec<String>,
    again: usize,
    waited: bool,
}

impl Case {
    fn new<B: Bench>(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut queues: [VecDeque<Run>; 2] = Default::default();
        // How the transaction went: cancelled, confirmed after a try that was heard, or contradicted.
        let way = random.below(10);
        let mut answer = 0;
        let mut add = |random: &mut Random, lane: usize, kind| {
            answer += 1;
            let begin =
                if random.percent(25) { B::BEGINS[random.below(B::BEGINS.len())] } else { B::BEGINS[0] };
            let reads_first = random.percent(15);
            queues[lane].push_back(Run { number: seed, kind, answer, begin, reads_first });
        };
        let kinds: &[Kind] = match way {
            0..6 => &[Kind::Try, Kind::Cancel],
            6..9 => &[Kind::Try, Kind::Confirm],
            _ => &[Kind::Try, Kind::Confirm, Kind::Cancel],
        };
        if way >= 6 && random.percent(90) {
            add(&mut random, 0, Kind::Try);
        }
        for kind in kinds {
            let lane = random.below(2);
            add(&mut random, lane, *kind);
        }
        for _ in 0..random.below(3) {
            let (lane, kind) = (random.below(2), kinds[random.below(kinds.len())]);
            add(&mut random, lane, kind);
        }
        for queue in &mut queues {
            for _ in 0..queue.len() {
                let (one, other) = (random.below(queue.len()), random.below(queue.len()));
                queue.swap(one, other);
            }
        }
        let (branch, lanes) = (Branch::default(), [Lane::Idle, Lane::Idle]);
        Self { random, branch, queues, lanes, log: Vec::new(), again: 0, waited: false }
    }

    async fn play<B: Bench>(&mut self, bench: &mut B, actors: &[Actor; 2], tally: &mut Tally) {
        while let Some(lane) = self.choose() {
            match std::mem::replace(&mut self.lanes[lane], Lane::Idle) {
                Lane::Idle => {
                    let run = self.queues[lane].pop_front().expect("a lane is chosen for what it has to do");
                    self.log.push(format!("{lane} enters: {run:?}"));
                    let hear = actors[lane].enter(run).await;
                    self.lanes[lane] = Lane::Entering(run, hear);
                    if matches!(self.lanes[1 - lane], Lane::Inside(..)) {
                        self.meet(bench, lane, tally).await;
                    }
                }
                Lane::Entering(run, mut hear) => {
                    let other = 1 - lane;
                    let heard = match &mut self.lanes[other] {
                        // Both have asked at once: one of them is let in, and the other waits.
                        Lane::Entering(rival, heard) => {
                            select(&mut hear, heard).await.map_err(|heard| (*rival, heard))
                        }
                        _ => Ok((&mut hear).await.expect("the connection is there")),
                    };
                    match heard {
                        Ok(heard) => self.hear(lane, run, heard, tally),
                        Err((rival, heard)) => {
                            self.lanes[lane] = Lane::Entering(run, hear);
                            self.hear(other, rival, heard, tally);
                        }
                    }
                    for waiting in [0, 1] {
                        if matches!(self.lanes[waiting], Lane::Entering(..))
                            && matches!(self.lanes[1 - waiting], Lane::Inside(..))
                        {
                            self.meet(bench, waiting, tally).await;
                        }
                    }
                }
                Lane::Inside(run, heard) => {
                    let refused = matches!(heard, Heard::TooLate | Heard::Contradiction);
                    // A handler that failed, or whose process died.
                    let commit = !refused && !self.random.percent(12);
                    self.log.push(format!("{lane} ends: commit {commit}"));
                    // What the other does when this ends must find it as it will be.
                    let before = self.branch.clone();
                    if commit {
                        self.branch.committed(run.kind, heard, run.answer);
                    }
                    let ended = actors[lane].end(commit).await.await.expect("the connection is there");
                    if let Err(Again(why)) = ended {
                        self.branch = before;
                        self.put_off(lane, run, &why, tally);
                    }
                }
            }
        }
        tally.waited += usize::from(self.waited);
    }

    /// A lane with something to do; none when all is done. While one is inside, the other cannot be heard.
    fn choose(&mut self) -> Option<usize> {
        let ready = |lane: usize| match self.lanes[lane] {
            Lane::Idle => !self.queues[lane].is_empty(),
            Lane::Entering(..) => !matches!(self.lanes[1 - lane], Lane::Inside(..)),
            Lane::Inside(..) => true,
        };
        match (ready(0), ready(1)) {
            (true, true) => Some(self.random.below(2)),
            (true, false) => Some(0),
            (false, true) => Some(1),
            (false, false) => None,
        }
    }

    /// The lane has asked while the other is inside: it must wait, unless it is put off.
    async fn meet<B: Bench>(&mut self, bench: &mut B, lane: usize, tally: &mut Tally) {
        let Lane::Entering(run, mut hear) = std::mem::replace(&mut self.lanes[lane], Lane::Idle) else {
            return;
        };
        let answer = tokio::select! {
            biased;
            answer = &mut hear => Ok(answer.expect("the connection is there")),
            waits = bench.waits(lane) => Err(waits),
        };
        match answer {
            Err(waits) => {
                self.log.push(format!("{lane} waits"));
                self.waited |= waits;
                self.lanes[lane] = Lane::Entering(run, hear);
            }
            Ok(Err(Again(why))) => self.put_off(lane, run, &why, tally),
            Ok(Ok(heard)) => panic!("{run:?} heard {heard:?} while another was inside: {:#?}", self.log),
        }
    }

    fn hear(&mut self, lane: usize, run: Run, heard: Result<Heard, Again>, tally: &mut Tally) {
        let heard = match heard {
            Ok(heard) => heard,
            Err(Again(why)) => return self.put_off(lane, run, &why, tally),
        };
        self.log.push(format!("{lane} hears: {heard:?}"));
        let expected = self.branch.expected(run.kind);
        assert_eq!(heard, expected, "{run:?} with {:?}: {:#?}", self.branch, self.log);
        tally.runs += 1;
        *tally.heard.entry(name(run.kind, heard)).or_default() += 1;
        self.lanes[lane] = Lane::Inside(run, heard);
    }

    fn put_off(&mut self, lane: usize, run: Run, why: &str, tally: &mut Tally) {
        self.log.push(format!("{lane} is to try again: {why}"));
        (self.again, tally.again) = (self.again + 1, tally.again + 1);
        assert!(self.again < AGAIN_MAX, "put off for ever: {:#?}", self.log);
        self.queues[lane].push_front(run);
        self.lanes[lane] = Lane::Idle;
    }
}

/// The answer that comes first; an error, if it is the other's.
async fn select<T>(one: &mut oneshot::Receiver<T>, other: &mut oneshot::Receiver<T>) -> Result<T, T> {
    tokio::select! {
        biased;
        answer = one => Ok(answer.expect("the connection is there")),
        answer = other => Err(answer.expect("the connection is there")),
    }
}

fn name(kind: Kind, heard: Heard) -> &'static str {
    match (kind, heard) {
        (Kind::Try, Heard::First) => "try first",
        (Kind::Try, Heard::AlreadyDone(_)) => "try already done",
        (Kind::Try, Heard::TooLate) => "try too late",
        (Kind::Confirm, Heard::First) => "confirm first",
        (Kind::Confirm, Heard::AlreadyDone(_)) => "confirm already done",
        (Kind::Confirm, Heard::Contradiction) => "confirm contradicted",
        (Kind::Cancel, Heard::First) => "cancel first",
        (Kind::Cancel, Heard::AlreadyDone(_)) => "cancel already done",
        (Kind::Cancel, Heard::EmptyCancel) => "cancel empty",
        (Kind::Cancel, Heard::Contradiction) => "cancel contradicted",
        _ => "impossible",
    }
}

impl Tally {
    /// What every database must reach in its normal run.
    fn assert_reached(&self, began: Instant) {
        let Self { cases, runs, waited, again, heard, effects } = self;
        println!(
            "{cases} interleavings, {runs} runs, {waited} waited for the other's lock, {again} put off, {} effects, {:?}: {heard:?}",
            effects.len(),
            Duration::from_millis(began.elapsed().as_millis() as u64)
        );
        assert!(*cases as u64 >= CASES && *waited >= WAITED_MIN, "{cases} interleavings, {waited} waited");
        for name in [
            "try first",
            "try already done",
            "try too late",
            "confirm first",
            "confirm already done",
            "confirm contradicted",
            "cancel first",
            "cancel already done",
            "cancel empty",
            "cancel contradicted",
        ] {
            assert!(heard.get(name).is_some_and(|count| *count >= 100), "{name} was hardly met: {heard:?}");
        }
        assert!(!heard.contains_key("impossible"));
    }
}
