//! Making and starting a runtime.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Runtime, Shared, Suspect, TraceContext,
    calls::in_time,
    registry::{Offer, Registry},
    survey::WAITING_MAX,
};
use crate::{
    action::Action,
    alarm::Notifier,
    config::Config,
    context_key::ContextKey,
    error::InvalidInput,
    event::Event,
    metrics::{Meter, StoreCall},
    name::{ActionName, Name},
    participant::Participant,
    seam::{Seam, ServerClock, Task, TokioSeam},
    store::{Store, StoreError},
};

/// Why a runtime did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No store was given.
    #[error("no store was given; call `Runtime::builder().store(..)`")]
    NoStore,
    /// There is no Tokio runtime to spawn on.
    #[error("there is no Tokio runtime here; start inside one, for instance under `#[tokio::main]`")]
    NoTokio,
    /// The store does not answer.
    #[error("the store does not answer")]
    Store(#[from] StoreError),
    /// A setting is out of its range.
    #[error("setting `{field}` is refused: it must be {rule}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its rule.
        rule: String,
    },
    /// A name is refused.
    #[error(transparent)]
    Name(InvalidInput),
    /// Two participants have one name.
    #[error(
        "participant `{0}` is registered twice; register the second with `participant_as(\"another-name\", ..)`"
    )]
    ParticipantTwice(Name),
    /// Two actions have one wire name.
    #[error("action `{0}` is registered twice; give one of them another name or version")]
    ActionTwice(ActionName),
    /// Phase two of a participant was left to other processes that is not registered here at all.
    #[error(
        "`tries_only` names participant `{0}`, which is not registered; register it too, or leave both out"
    )]
    TriesOnlyUnknown(Name),
}

/// Makes a runtime.
#[must_use = "a builder does nothing until it is started"]
pub struct RuntimeBuilder {
    store: Option<Arc<dyn Store>>,
    seam: Option<Arc<dyn Seam>>,
    offers: Vec<Offer>,
    tries_only: Vec<String>,
    config: Config,
    stopping: CancellationToken,
    trace_context: Option<TraceContext>,
    context_key: Option<ContextKey>,
    notifier: Option<Arc<dyn Notifier>>,
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("store", &self.store)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        $($(#[$doc])*
        pub fn $field(mut self, value: $type) -> Self {
            self.config.$field = value;
            self
        })*
    };
}

impl RuntimeBuilder {
    pub(super) fn new() -> Self {
        Self {
            store: None,
            seam: None,
            offers: Vec::new(),
            tries_only: Vec::new(),
            config: Config::default(),
            stopping: CancellationToken::new(),
            trace_context: None,
            context_key: None,
            notifier: None,
        }
    }

    /// Where transactions are recorded.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Hosts a participant under the name its attribute gives.
    pub fn participant<P: Participant>(self, participant: P) -> Self {
        self.participant_as(P::NAME, participant)
    }

    /// Hosts a participant under another name: one type under two names is two participants.
    pub fn participant_as<P: Participant>(self, name: impl Into<String>, participant: P) -> Self {
        self.shared_participant(name, Arc::new(participant))
    }

    /// Hosts a participant the caller keeps a share of.
    pub fn shared_participant<P: Participant>(mut self, name: impl Into<String>, value: Arc<P>) -> Self {
        let actions = P::actions(&value);
        let value: Arc<dyn Any + Send + Sync> = value;
        self.offers.push(Offer { name: name.into(), value: Some(value), actions });
        self
    }

    /// Hosts a participant that is made of actions alone, to be called by wire name.
    pub fn actions(
        mut self,
        participant: impl Into<String>,
        actions: impl IntoIterator<Item = Action>,
    ) -> Self {
        let actions = actions.into_iter().collect();
        self.offers.push(Offer { name: participant.into(), value: None, actions });
        self
    }

    /// Runs only the tries of a hosted participant here, and leaves its confirms and cancels to other
    /// processes that host it: the decision sends them a message. Nothing of it is final before one of
    /// them has run.
    pub fn tries_only(mut self, participant: impl Into<String>) -> Self {
        self.tries_only.push(participant.into());
        self
    }

    /// Names this process in the records it writes. By default a random name.
    pub fn process(mut self, name: Name) -> Self {
        self.config.process = Some(name);
        self
    }

    /// Begins a graceful shutdown when this token is cancelled.
    pub fn shutdown_on(mut self, token: &CancellationToken) -> Self {
        self.stopping = token.child_token();
        self
    }

    /// Tells this of what is parked or stuck in the store, whichever process works on it. One process or more should
    /// have a notifier; each alarm is told by one of them.
    pub fn notifier(mut self, notifier: impl Notifier) -> Self {
        self.notifier = Some(Arc::new(notifier));
        self
    }

    /// Asks this for the W3C `traceparent` of the span that is current, once for every try, inside the span of the
    /// try: it is kept with the branch and told to its confirm and cancel, whichever process runs them. What is no
    /// `traceparent` is left out. It is the bridge to OpenTelemetry, and must not block.
    pub fn trace_context(mut self, current: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.trace_context = Some(Arc::new(current));
        self
    }

    /// Seals the contexts of calls that leave, and joins nothing whose context is not sealed with a secret of this key:
    /// neither what was altered on its way, nor what a stranger made up. All services of a transaction need it, or none.
    /// Without it nothing is sealed, and seals that come are not looked at.
    pub fn context_key(mut self, key: ContextKey) -> Self {
        self.context_key = Some(key);
        self
    }

    /// Replaces every setting at once.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Takes time, randomness and tasks from elsewhere than Tokio and the operating system, for
    /// simulation.
    pub fn seam(mut self, seam: Arc<dyn Seam>) -> Self {
        self.seam = Some(seam);
        self
    }

    settings! {
        /// A transaction's deadline where it sets none.
        timeout: Duration,
        /// The initiator's lease: its death is acted on when it has run out.
        lease: Duration,
        /// The lease of a claimed branch.
        drive_lease: Duration,
        /// How long a final record is kept.
        retention: Duration,
        /// For how long fences may be asked about a branch after its end.
        replay_window: Duration,
        /// The most transactions this process has open at a time.
        open_max: usize,
        /// The most branch groups driven at a time in this process.
        drives_max: usize,
        /// The most branches of a transaction.
        branches_max: u32,
        /// Whether a transaction decided here is confirmed or cancelled here at once (the default), or by
        /// message like any other work, which this process may or may not be the one to take.
        phase_two_inline: bool,
        /// The most bytes of one payload.
        payload_bytes_max: usize,
        /// The most bytes of all payloads of a transaction.
        transaction_payload_bytes_max: usize,
        /// How often timers are looked at.
        sweep_interval: Duration,
        /// How long one call of the store may take before its outcome counts as unknown.
        store_timeout: Duration,
        /// How long a decision is pursued while the store does not answer.
        decide_patience: Duration,
        /// For how long processes hand on a branch whose action version none of them knows.
        unhandled_limit: Duration,
        /// How long a shutdown waits for work in flight before it hands the rest over.
        grace: Duration,
        /// How often what is open in the store is looked at, for gauges and alarms; zero never does.
        survey_interval: Duration,
        /// The most transactions read in one such look.
        survey_max: usize,
        /// What is not decided this long after its deadline, or not final this long after its decision, is stuck.
        stuck_after: Duration,
        /// A branch with this many attempts is stuck however young it is.
        stuck_attempts: u32,
        /// An alarm that was told and still stands is told again after this long.
        alarm_repeat: Duration,
    }

    /// Starts the runtime: checks settings and names, asks the store, looks for actions in flight that
    /// nobody here can serve, and begins to work.
    ///
    /// # Errors
    /// When something given is refused or the store does not answer; nothing runs then.
    pub async fn start(self) -> Result<Runtime, StartError> {
        let store = self.store.ok_or(StartError::NoStore)?;
        let seam = match self.seam {
            Some(seam) => seam,
            None => Arc::new(TokioSeam::current().ok_or(StartError::NoTokio)?),
        };
        let config = self.config;
        let registry = Registry::of(self.offers, &self.tries_only)?;
        config.check(registry.hard_limit())?;
        let process = match &config.process {
            Some(process) => process.clone(),
            None => Name::new(&format!("p{:016x}", seam.random())).map_err(StartError::Name)?,
        };
        let mut now = Vec::new();
        for shard in 0..store.shards() {
            now.push(in_time(&*seam, config.store_timeout, store.now(shard)).await?);
        }
        let (suspects, suspected) = match &self.notifier {
            Some(_) => Some(mpsc::channel(WAITING_MAX)).unzip(),
            None => (None, None),
        };
        let shared = Arc::new(Shared {
            clock: ServerClock::new(Arc::clone(&seam), now),
            drives: Arc::new(Semaphore::new(config.drives_max.min(Semaphore::MAX_PERMITS))),
            open: Arc::new(Semaphore::new(config.open_permits())),
            leases: Mutex::new(BTreeMap::new()),
            endings: Arc::default(),
            commits: Default::default(),
            events: broadcast::channel(config.events_max).0,
            accepting: AtomicBool::new(true),
            stopping: self.stopping,
            handing_over: CancellationToken::new(),
            stopped: CancellationToken::new(),
            tracker: TaskTracker::new(),
            driving: TaskTracker::new(),
            unhandled: Mutex::new(Vec::new()),
            trace_context: self.trace_context,
            context_key: self.context_key,
            meter: Meter::new(registry.action_names()),
            suspects,
            store,
            seam,
            config,
            process,
            registry,
            pauses: super::pauses::Pauses::default(),
        });
        shared.look_at_pauses().await?;
        let unhandled = shared.unhandled_in_flight().await?;
        for (gid, action) in &unhandled {
            tracing::warn!(%gid, %action, "an action in flight cannot be served by this process; keep its version, or let it read the old payload");
            shared.emit(|| Event::Unhandled { gid: gid.clone(), action: action.clone() });
        }
        *shared.unhandled.lock().unwrap_or_else(PoisonError::into_inner) = unhandled;
        shared.work(self.notifier.zip(suspected));
        let stop = Arc::new(shared.stopping.clone().drop_guard());
        Ok(Runtime { shared, _stop: stop })
    }
}

impl Shared {
    /// Begins the background tasks, and the one that ends them.
    fn work(self: &Arc<Self>, tells: Option<(Arc<dyn Notifier>, mpsc::Receiver<Suspect>)>) {
        let seam = &*self.seam;
        let participants = self.registry.finished_here();
        let reader =
            (!participants.is_empty()).then(|| Task::spawn(seam, Arc::clone(self).read_bells(participants)));
        let sweeper = Task::spawn(seam, Arc::clone(self).sweep());
        let keeper = Task::spawn(seam, Arc::clone(self).keep_leases());
        let surveys = tells.is_some() || cfg!(feature = "metrics");
        let survey = (surveys && !self.config.survey_interval.is_zero())
            .then(|| Task::spawn(seam, Arc::clone(self).survey()));
        let teller =
            tells.map(|(notifier, found)| Task::spawn(seam, Arc::clone(self).tell_alarms(notifier, found)));
        let takers = [reader, Some(sweeper), survey, teller].into_iter().flatten().collect();
        self.seam.spawn(Box::pin(Arc::clone(self).stop(takers, keeper)));
    }

    /// Branches in flight whose participant is hosted here and whose action version is not, among the
    /// first open transactions of each shard.
    async fn unhandled_in_flight(&self) -> Result<Vec<(crate::gid::Gid, ActionName)>, StoreError> {
        const PAGE: usize = 100;
        let mut unhandled = Vec::new();
        for shard in 0..self.store.shards() {
            let mut after = None;
            let mut looked = 0;
            while looked < self.config.start_check_max {
                let page = self.read(StoreCall::Open, self.store.open(shard, after.as_ref(), PAGE)).await?;
                for gid in &page {
                    // One unreadable record must not keep a process from starting.
                    let Ok(Some(record)) = self.load(gid).await else { continue };
                    let open = record.branches.into_iter().filter(|branch| !branch.state.is_final());
                    let foreign = open
                        .filter(|branch| self.registry.finishes(branch.action.participant()))
                        .filter(|branch| self.registry.action(&branch.action).is_none());
                    let foreign: BTreeSet<ActionName> = foreign.map(|branch| branch.action).collect();
                    unhandled.extend(foreign.into_iter().map(|action| (gid.clone(), action)));
                }
                looked += page.len();
                if page.len() < PAGE {
                    break;
                }
                after = page.into_iter().next_back();
            }
        }
        Ok(unhandled)
    }
}
