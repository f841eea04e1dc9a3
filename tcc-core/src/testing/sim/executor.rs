//! Runs tasks one poll at a time, in an order and at times that a seed decides.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::future::BoxFuture;

use super::random::Random;
use crate::seam::{Seam, panic_text};

/// One life of a process. A process that is started again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process(usize);

/// What is no process: the network, the clients' patience, the faults.
pub(super) const WORLD: Process = Process(0);

/// One poll in so many is of a task that nobody woke.
const SPURIOUS: u64 = 100;

type Task = BoxFuture<'static, ()>;
type Ready = Arc<Mutex<Vec<usize>>>;

/// Tasks, timers and virtual time.
pub(super) struct Executor {
    now_us: AtomicU64,
    ready: Ready,
    state: Mutex<State>,
    dice: Mutex<Random>,
    /// The longest a poll takes; time moves on by as much.
    poll_micros_max: u64,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<usize, Slot>,
    spawned: usize,
    timers: BTreeMap<(u64, u64), Waker>,
    timed: u64,
    lives: Vec<Life>,
    polls: u64,
    panics: Vec<String>,
}

struct Slot {
    process: Process,
    /// Away while it is polled.
    task: Option<Task>,
    alarm: Arc<Alarm>,
}

struct Life {
    name: String,
    alive: bool,
    paused: bool,
    /// Tasks that would run if the process were not paused.
    held: Vec<usize>,
}

struct Alarm {
    task: usize,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Executor {
    pub(super) fn new(dice: Random, poll_micros_max: u64) -> Arc<Self> {
        let world = Life { name: "world".into(), alive: true, paused: false, held: Vec::new() };
        let state = State { lives: vec![world], ..State::default() };
        Arc::new(Self {
            now_us: AtomicU64::new(0),
            ready: Ready::default(),
            state: Mutex::new(state),
            dice: Mutex::new(dice),
            poll_micros_max,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_micros(self.now_us.load(Ordering::SeqCst))
    }

    pub(super) fn polls(&self) -> u64 {
        self.state().polls
    }

    /// Messages of tasks that panicked where nobody caught it.
    pub(super) fn panics(&self) -> Vec<String> {
        self.state().panics.clone()
    }

    pub(super) fn start_process(&self, name: String) -> Process {
        let mut state = self.state();
        state.lives.push(Life { name, alive: true, paused: false, held: Vec::new() });
        Process(state.lives.len() - 1)
    }

    pub(super) fn name(&self, process: Process) -> String {
        self.state().lives[process.0].name.clone()
    }

    pub(super) fn is_alive(&self, process: Process) -> bool {
        self.state().lives[process.0].alive
    }

    /// Ends a process at once: none of its tasks is polled again, and what their destructors spawn
    /// never runs.
    pub(super) fn kill(&self, process: Process) {
        let tasks: Vec<Task> = {
            let mut state = self.state();
            let life = &mut state.lives[process.0];
            life.alive = false;
            life.held.clear();
            let dead: Vec<usize> =
                state.tasks.iter().filter(|(_, slot)| slot.process == process).map(|(id, _)| *id).collect();
            dead.into_iter().filter_map(|id| state.tasks.remove(&id)?.task).collect()
        };
        // Destructors reach back into the executor.
        drop(tasks);
    }

    /// Ends everything. Tasks hold the executor, so that it would never be freed otherwise.
    pub(super) fn finish(&self) {
        let lives = self.state().lives.len();
        for life in 0..lives {
            self.kill(Process(life));
        }
    }

    /// Stops or continues a process, as a debugger or a long collection of garbage would.
    pub(super) fn pause(&self, process: Process, paused: bool) {
        let mut state = self.state();
        let life = &mut state.lives[process.0];
        life.paused = paused;
        if !paused {
            let held = std::mem::take(&mut life.held);
            drop(state);
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(held);
        }
    }

    pub(super) fn spawn(&self, process: Process, task: Task) {
        let alarm = {
            let mut state = self.state();
            if !state.lives[process.0].alive {
                drop(state);
                // Its destructor may spawn again.
                drop(task);
                return;
            }
            state.spawned += 1;
            let id = state.spawned;
            let alarm =
                Arc::new(Alarm { task: id, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
            state.tasks.insert(id, Slot { process, task: Some(task), alarm: Arc::clone(&alarm) });
            alarm
        };
        alarm.wake();
    }

    /// Polls one task, or moves time on to the next timer. False if there is nothing left to do.
    pub(super) fn step(&self) -> bool {
        self.fire();
        match self.choose() {
            Some((id, task, alarm)) => {
                self.poll(id, task, alarm);
                true
            }
            None => {
                let next = self.state().timers.keys().next().map(|(at, _)| *at);
                if let Some(at) = next {
                    self.now_us.fetch_max(at, Ordering::SeqCst);
                }
                next.is_some()
            }
        }
    }

    fn fire(&self) {
        let now = self.now_us.load(Ordering::SeqCst);
        let fired = {
            let mut state = self.state();
            match state.timers.first_key_value() {
                Some(((at, _), _)) if *at <= now => {}
                _ => return,
            }
            let later = state.timers.split_off(&(now + 1, 0));
            std::mem::replace(&mut state.timers, later)
        };
        for waker in fired.into_values() {
            waker.wake();
        }
    }

    fn choose(&self) -> Option<(usize, Task, Arc<Alarm>)> {
        loop {
            let id = {
                let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
                if ready.is_empty() {
                    return None;
                }
                if self.draw().is_multiple_of(SPURIOUS) {
                    let alarm = self.any();
                    if let Some(id) = alarm.filter(|alarm| !alarm.queued.swap(true, Ordering::SeqCst)) {
                        ready.push(id.task);
                    }
                }
                let place = (self.draw() % ready.len() as u64) as usize;
                ready.swap_remove(place)
            };
            let mut guard = self.state();
            let state = &mut *guard;
            let Some(slot) = state.tasks.get_mut(&id) else { continue };
            let life = &mut state.lives[slot.process.0];
            if life.paused {
                life.held.push(id);
                continue;
            }
            let Some(task) = slot.task.take() else { continue };
            state.polls += 1;
            return Some((id, task, Arc::clone(&slot.alarm)));
        }
    }

    /// Any task at all.
    fn any(&self) -> Option<Arc<Alarm>> {
        let state = self.state();
        let least = (self.draw() % (state.spawned as u64 + 1)) as usize;
        state.tasks.range(least..).next().map(|(_, slot)| Arc::clone(&slot.alarm))
    }

    fn poll(&self, id: usize, mut task: Task, alarm: Arc<Alarm>) {
        alarm.queued.store(false, Ordering::SeqCst);
        let waker = Waker::from(alarm);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
        self.now_us.fetch_add(1 + self.draw() % self.poll_micros_max, Ordering::SeqCst);
        let mut state = self.state();
        match polled {
            Ok(Poll::Pending) => {
                // Gone if the task's process was killed by the task itself.
                if let Some(slot) = state.tasks.get_mut(&id) {
                    slot.task = Some(task);
                    return;
                }
            }
            Ok(Poll::Ready(())) => {
                state.tasks.remove(&id);
            }
            Err(panic) => {
                state.panics.push(panic_text(&*panic));
                state.tasks.remove(&id);
            }
        }
        drop(state);
        drop(task);
    }

    pub(super) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        let at = self.now().saturating_add(duration).as_micros();
        Sleep { executor: Arc::clone(self), at: u64::try_from(at).unwrap_or(u64::MAX - 1), timer: None }
    }
}

/// Waits for a moment of virtual time.
pub(super) struct Sleep {
    executor: Arc<Executor>,
    at: u64,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.executor.now_us.load(Ordering::SeqCst) >= self.at {
            return Poll::Ready(());
        }
        let executor = Arc::clone(&self.executor);
        let mut state = executor.state();
        let number = *self.timer.get_or_insert_with(|| {
            state.timed += 1;
            state.timed
        });
        state.timers.insert((self.at, number), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.timer {
            self.executor.state().timers.remove(&(self.at, number));
        }
    }
}

/// The seam of one process: all that reaches its runtime comes through here.
pub(super) struct ProcessSeam {
    executor: Arc<Executor>,
    process: Process,
    dice: Mutex<Random>,
}

impl ProcessSeam {
    pub(super) fn new(executor: Arc<Executor>, process: Process, dice: Random) -> Self {
        Self { executor, process, dice: Mutex::new(dice) }
    }
}

impl fmt::Debug for ProcessSeam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessSeam").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Seam for ProcessSeam {
    fn elapsed(&self) -> Duration {
        self.executor.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(self.executor.sleep(duration))
    }

    fn random(&self) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.executor.spawn(self.process, task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(executor: &Executor) {
        while executor.step() {}
    }

    #[test]
    fn time_moves_from_timer_to_timer() {
        let executor = Executor::new(Random::new(1), 8);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3_600, 1, 60] {
            let (seen, inside) = (Arc::clone(&seen), Arc::clone(&executor));
            let work = async move {
                inside.sleep(Duration::from_secs(seconds)).await;
                seen.lock().unwrap().push(inside.now().as_secs());
            };
            executor.spawn(WORLD, Box::pin(work));
        }
        run(&executor);
        assert_eq!(*seen.lock().unwrap(), [1, 60, 3_600]);
    }

    #[test]
    fn a_killed_process_runs_nothing_more() {
        struct SpawnsWhenDropped(Arc<Executor>, Process);
        impl Drop for SpawnsWhenDropped {
            fn drop(&mut self) {
                self.0.spawn(self.1, Box::pin(async { panic!("it ran after its death") }));
            }
        }
        let executor = Executor::new(Random::new(1), 8);
        let process = executor.start_process("p".into());
        let (inside, guard) = (Arc::clone(&executor), SpawnsWhenDropped(Arc::clone(&executor), process));
        let work = async move {
            inside.sleep(Duration::from_secs(1)).await;
            drop(guard);
        };
        executor.spawn(process, Box::pin(work));
        executor.step();
        executor.kill(process);
        run(&executor);
        assert!(executor.panics().is_empty() && executor.now() < Duration::from_secs(1));
    }

    #[test]
    fn a_paused_process_goes_on_where_it_was() {
        let executor = Executor::new(Random::new(1), 8);
        let process = executor.start_process("p".into());
        let ended = Arc::new(AtomicBool::new(false));
        let (inside, tell) = (Arc::clone(&executor), Arc::clone(&ended));
        let work = async move {
            inside.sleep(Duration::from_secs(1)).await;
            tell.store(true, Ordering::SeqCst);
        };
        executor.spawn(process, Box::pin(work));
        executor.step();
        executor.pause(process, true);
        run(&executor);
        assert!(!ended.load(Ordering::SeqCst));
        executor.pause(process, false);
        run(&executor);
        assert!(ended.load(Ordering::SeqCst));
    }
}
