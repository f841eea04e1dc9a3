//! Crash points: every call a workload makes of its store and its queues, and every run of a handler, is
//! struck with every fault there is, one at a time.
//!
//! The points are what a first, undisturbed run is seen to do: [`record`]. A seed makes the run with a strike
//! the same up to the struck call, so that each point is met again: [`strike`].

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Report,
    executor::WORLD,
    finish, nemesis,
    participants::Mishap,
    plan::{DRIVE_LEASE, Deployed, Plan},
    world::World,
};
use crate::gid::Gid;

pub use super::workload::Workload;

/// How long a struck process stands still: every lease it holds runs out.
/// For how long nothing of a process gets through: its leases run out, and a handler that is slow ends later.
pub(super) const FADED: Duration = Duration::from_secs(2 * DRIVE_LEASE.as_secs());
/// How long others have to finish before everything final is forgotten, and the clock step that does it.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_millis(500);
pub(super) const FORGOTTEN_STEP_MS: i64 = 3_600_000;
pub(super) const PAUSE: Duration = Duration::from_secs(4 * DRIVE_LEASE.as_secs());

/// What befalls a call. *Before* is before the store or the participant hears of it, *after* is after it took
/// effect and before its caller hears of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say it")]
pub enum Strike {
    CrashBefore,
    CrashAfter,
    /// Not applied, and its caller is told an error.
    Refused,
    /// Applied, and its caller is told an error.
    Lost,
    /// Not applied, and its caller hears nothing.
    SwallowedBefore,
    /// Applied, and its caller hears nothing.
    SwallowedAfter,
    /// The process stands still for longer than its leases.
    PausedBefore,
    PausedAfter,
    /// Applied twice in a row.
    Twice,
    /// Applied once more, when everything has long ended.
    TwiceLate,
    /// The last write is lost, although it was acknowledged, as by a failover.
    LosesOne,
    /// The last few writes are lost.
    LosesSome,
    /// Its answer comes late, and nothing of its process gets through for a while after it.
    Fades,
    /// Applied; its caller hears nothing, and before it asks again, what was final then is forgotten.
    Forgotten,
}

impl Strike {
    /// Every strike there is.
    pub const ALL: [Self; 14] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Refused,
        Self::Lost,
        Self::SwallowedBefore,
        Self::SwallowedAfter,
        Self::PausedBefore,
        Self::PausedAfter,
        Self::Twice,
        Self::TwiceLate,
        Self::LosesOne,
        Self::LosesSome,
        Self::Fades,
        Self::Forgotten,
    ];

    /// How many writes are lost.
    pub(super) fn writes_lost(self) -> Option<usize> {
        match self {
            Self::LosesOne => Some(1),
            Self::LosesSome => Some(3),
            _ => None,
        }
    }

    /// Whether it befalls requests only, and not waiting for messages.
    fn is_of_requests(self) -> bool {
        matches!(
            self,
            Self::SwallowedBefore
                | Self::SwallowedAfter
                | Self::LosesOne
                | Self::LosesSome
                | Self::Fades
                | Self::Forgotten
        )
    }

    /// Whether it waits for the call's answer.
    fn is_after(self) -> bool {
        matches!(
            self,
            Self::CrashAfter
                | Self::Lost
                | Self::SwallowedAfter
                | Self::PausedAfter
                | Self::LosesOne
                | Self::LosesSome
                | Self::Fades
                | Self::Forgotten
        )
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// How the processes share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Deployment {
    /// One process does everything, and is started again when it died.
    One,
    /// Another process hosts the same participants.
    Two,
    /// The initiator only tries; another process confirms and cancels.
    Elsewhere,
}

impl Deployment {
    /// Every deployment there is.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Elsewhere];

    fn processes(self) -> Vec<Deployed> {
        let initiator = Deployed::whole(true);
        match self {
            Self::One => vec![initiator],
            Self::Two => vec![initiator, Deployed::whole(false)],
            Self::Elsewhere => {
                vec![Deployed { tries_only: true, ..initiator }, Deployed::whole(false)]
            }
        }
    }
}

/// A run to be made: the same scene gives the same run to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scene {
    /// What is done.
    pub workload: Workload,
    /// Who does it.
    pub deployment: Deployment,
    /// In which order tasks run, and how long messages take.
    pub seed: u64,
}

/// What a call is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Store,
    Queue,
    Handler,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its place among the calls of its run, from 0.
    pub number: usize,
    /// The process that made it, and the number of its life.
    pub process: String,
    /// What was called.
    pub call: &'static str,
    /// The transaction it was about.
    pub gid: Option<Gid>,
    kind: Kind,
    answered: bool,
}

impl Point {
    /// Every strike that can befall it.
    #[must_use]
    pub fn strikes(&self) -> Vec<Strike> {
        let fits = |strike: &Strike| match self.kind {
            Kind::Store => true,
            // Who waits for messages cannot tell that none come any more.
            Kind::Queue => !strike.is_of_requests(),
            Kind::Handler => matches!(strike, Strike::CrashBefore | Strike::CrashAfter),
        };
        let met = |strike: &Strike| self.answered || !strike.is_after() && !self.only_answered(*strike);
        Strike::ALL.into_iter().filter(fits).filter(met).collect()
    }

    /// Messages are delivered twice when they come.
    fn only_answered(&self, strike: Strike) -> bool {
        self.kind == Kind::Queue && matches!(strike, Strike::Twice | Strike::TwiceLate)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {} {}", self.number, self.process, self.call)
    }
}

/// Which point of which scene is struck how; as text, what replays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aim {
    /// The run.
    pub scene: Scene,
    /// The point's number.
    pub number: usize,
    /// The strike.
    pub strike: Strike,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scene { workload, deployment, seed } = self.scene;
        write!(f, "{workload:?}/{deployment:?}/{seed}/{}/{}", self.number, self.strike)
    }
}

impl FromStr for Aim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        fn one<T: fmt::Debug + Copy>(all: &[T], name: &str) -> Result<T, String> {
            let found = all.iter().copied().find(|one| format!("{one:?}") == name);
            found.ok_or_else(|| format!("{name} is none of {all:?}"))
        }
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        let [workload, deployment, seed, point, strike] = text.split('/').collect::<Vec<_>>()[..] else {
            return Err(format!("{text} is not workload/deployment/seed/point/strike"));
        };
        let scene = Scene {
            workload: one(&Workload::ALL, workload)?,
            deployment: one(&Deployment::ALL, deployment)?,
            seed: number(seed)?,
        };
        Ok(Self { scene, number: number(point)? as usize, strike: one(&Strike::ALL, strike)? })
    }
}

/// Runs a scene undisturbed, and tells what it came to and every call it made.
#[must_use]
pub fn record(scene: Scene) -> (Report, Vec<Point>) {
    let (report, state) = run(scene, None);
    (report, state.points)
}

/// Runs a scene with one of its points struck, and tells whether the strike hit.
#[must_use]
pub fn strike(aim: Aim) -> (Report, bool) {
    let (report, state) = run(aim.scene, Some((aim.number, aim.strike)));
    (report, state.hit)
}

fn run(scene: Scene, aim: Option<(usize, Strike)>) -> (Report, State) {
    let plan = Plan::calm(scene.deployment.processes());
    let (tries, phases) = scene.workload.mishaps();
    let state = State { tries, phases, ..State::default() };
    let script = Script { workload: scene.workload, aim, state: Mutex::new(state) };
    let world = World::scripted(scene.seed, plan, script);
    for place in 0..world.plan.processes.len() {
        world.executor.spawn(WORLD, Box::pin(nemesis::watch(Arc::clone(&world), place)));
    }
    let report = finish(scene.seed, &world);
    let state = world.script.as_ref().map(|script| std::mem::take(&mut *script.state()));
    (report, state.unwrap_or_default())
}

/// What a scripted world does, and where it is struck.
pub(super) struct Script {
    pub(super) workload: Workload,
    aim: Option<(usize, Strike)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    begun: bool,
    hit: bool,
    points: Vec<Point>,
    /// What befalls the next tries and the next confirms and cancels.
    tries: Vec<Mishap>,
    phases: Vec<(Mishap, bool)>,
}

/// A call under way.
pub(super) struct Call {
    number: usize,
    pub(super) strike: Option<Strike>,
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, kind: Kind, process: String, call: &'static str, gid: Option<&Gid>) -> Call {
        let mut state = self.state();
        let number = state.points.len();
        state.points.push(Point { number, process, call, gid: gid.cloned(), kind, answered: false });
        let strike = self.aim.filter(|(aimed, _)| *aimed == number).map(|(_, strike)| strike);
        state.hit |= strike.is_some_and(|strike| !strike.is_after());
        Call { number, strike }
    }

    /// A call of the store.
    pub(super) fn call(&self, process: String, call: &'static str, gid: Option<&Gid>) -> Call {
        self.note(Kind::Store, process, call, gid)
    }

    /// A call of the queues.
    pub(super) fn wait(&self, process: String) -> Call {
        self.note(Kind::Queue, process, "next", None)
    }

    /// A run of a handler.
    pub(super) fn handler(&self, process: String, call: &'static str, gid: &Gid) -> Call {
        self.note(Kind::Handler, process, call, Some(gid))
    }

    /// A call took effect.
    pub(super) fn answered(&self, call: &Call) {
        let mut state = self.state();
        state.points[call.number].answered = true;
        state.hit |= call.strike.is_some();
    }

    /// Whether a process that starts does the work: once, unless a user would try again.
    pub(super) fn begins(&self) -> bool {
        let begun = std::mem::replace(&mut self.state().begun, true);
        !begun || self.workload.is_repeated()
    }

    /// Whether the work is not begun yet.
    pub(super) fn is_ahead(&self) -> bool {
        !self.state().begun
    }

    /// Whether no strike makes a process overlook the end of its lease.
    pub(super) fn leases_hold(&self) -> bool {
        !matches!(self.aim, Some((_, Strike::PausedBefore | Strike::PausedAfter | Strike::Forgotten)))
    }

    pub(super) fn try_mishap(&self) -> Option<Mishap> {
        let mut state = self.state();
        if state.tries.is_empty() { None } else { Some(state.tries.remove(0)) }
    }

    /// What befalls a confirm or cancel, and whether after its effect.
    pub(super) fn phase_mishap(&self) -> Option<(Mishap, bool)> {
        let mut state = self.state();
        if state.phases.is_empty() { None } else { Some(state.phases.remove(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_read_back_from_its_text() {
        let scene = Scene { workload: Workload::Parked, deployment: Deployment::Elsewhere, seed: 3 };
        let aim = Aim { scene, number: 17, strike: Strike::TwiceLate };
        assert_eq!(aim.to_string(), "Parked/Elsewhere/3/17/TwiceLate");
        assert_eq!(aim.to_string().parse(), Ok(aim));
        assert!("Parked/Elsewhere/3/17".parse::<Aim>().unwrap_err().contains("workload/deployment"));
        assert!("Parked/Elsewhere/3/17/Twise".parse::<Aim>().unwrap_err().contains("TwiceLate"));
    }
}
