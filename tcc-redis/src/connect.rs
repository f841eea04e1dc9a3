//! Settings of a store, and its connection: looked at before it is used, and made anew when it breaks.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, RedisError, Value, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};
use tcc_core::{
    Name, SHARDS_MAX, Timestamp,
    store::{StoreError, StoreErrorKind},
};

use crate::{
    codec::reply::Values,
    history::History,
    keys::{FIXED, Keys},
    preflight::{self, Durability, Risk, Warning},
    scripts::{Clock, Function, Library},
    store::RedisStore,
    trouble::{ends_connection, store_error},
};

/// Everything a store is configured with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) address: Address,
    pub(crate) keys: Keys,
    pub(crate) library: Library,
    pub(crate) durability: Option<Durability>,
    pub(crate) accepted: BTreeSet<Risk>,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) history: History,
    pub(crate) given_time: Option<GivenTime>,
    /// Taken as it is, by a tool: nothing is looked at but its schema.
    pub(crate) attached: bool,
}

impl Settings {
    /// A call of a function that needs the time.
    pub(crate) fn timed_call<'a>(
        &self,
        function: Function,
        keys: impl ExactSizeIterator<Item = &'a String>,
    ) -> Call {
        let mut call = Call::new(&self.library, function, keys);
        if let Some(time) = &self.given_time {
            call.argument(time.load(std::sync::atomic::Ordering::Relaxed));
        }
        call
    }
}

/// Time in a test's hand.
pub(crate) type GivenTime = Arc<std::sync::atomic::AtomicU64>;

/// What is known of a server from its URL, without secrets.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) shown: String,
    pub(crate) leaves_the_machine: bool,
    pub(crate) encrypted: bool,
    pub(crate) has_password: bool,
}

impl Address {
    fn of(client: &Client) -> Self {
        let info = client.get_connection_info();
        let (host, encrypted) = match info.addr() {
            ConnectionAddr::Tcp(host, _) => (Some(host), false),
            ConnectionAddr::TcpTls { host, .. } => (Some(host), true),
            _ => (None, false),
        };
        let local = |host: &String| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        Self {
            shown: info.addr().to_string(),
            leaves_the_machine: host.is_some_and(|host| !local(host)),
            encrypted,
            has_password: info.redis_settings().password().is_some(),
        }
    }
}

/// Configures a [`RedisStore`].
///
/// ```no_run
/// # async fn connect() -> Result<(), tcc_core::store::StoreError> {
/// use tcc_redis::{Durability, RedisStore};
///
/// let store = RedisStore::builder("redis://127.0.0.1/")
///     .namespace("shop-staging")
///     .durability(Durability::EverySecond)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisStoreBuilder {
    url: String,
    namespace: String,
    shards: u16,
    durability: Option<Durability>,
    accepted: BTreeSet<Risk>,
    connect_timeout: Duration,
    call_timeout: Duration,
    history: History,
    given_time: Option<GivenTime>,
    attached: bool,
    #[cfg(feature = "testing")]
    frozen: Option<std::path::PathBuf>,
}

impl fmt::Debug for RedisStoreBuilder {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("namespace", &self.namespace)
            .field("shards", &self.shards)
            .field("durability", &self.durability)
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}

impl RedisStoreBuilder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "tcc".into(),
            shards: 1,
            durability: None,
            accepted: BTreeSet::new(),
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(3),
            history: History::default(),
            given_time: None,
            attached: false,
            #[cfg(feature = "testing")]
            frozen: None,
        }
    }

    /// Sets the namespace, which keeps applications and environments on one Redis apart: 1 to 128 of
    /// `[A-Za-z0-9._-]`. Default `tcc`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the number of shards, 1 to [`SHARDS_MAX`]. Default 1.
    ///
    /// One is right for one Redis, which runs one function at a time whatever their number. More spread a
    /// namespace over the nodes of a cluster, at the price of one blocking connection per shard and process.
    /// The number is written at first start and cannot be changed afterwards.
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards;
        self
    }

    /// Accepts this durability, or states it where Redis hides its configuration. Unless it is set,
    /// [`Durability::Always`] is demanded and checked.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Accepts a risk that is refused otherwise.
    pub fn accept(mut self, risk: Risk) -> Self {
        self.accepted.insert(risk);
        self
    }

    /// Sets how long connecting may take. Default 2 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long one call may take before its outcome counts as unknown. Default 3 s; keep it below the
    /// runtime's `store_timeout`.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets how much of each transaction's history is kept. Default: the latest 64 entries.
    pub fn history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    pub(crate) fn attached(mut self) -> Self {
        self.attached = true;
        self
    }

    /// Takes the time from a test's hand.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn given_time(mut self, time: GivenTime) -> Self {
        self.given_time = Some(time);
        self
    }

    /// Calls the library of the version that was frozen in this directory.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn frozen_library(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.frozen = Some(directory.into());
        self
    }

    /// Connects, and looks whether this Redis keeps what the store promises.
    ///
    /// # Errors
    /// [`StoreErrorKind::Misconfigured`] with what to change, or [`StoreErrorKind::Unavailable`] when Redis
    /// cannot be reached.
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        let settings = self.settings()?;
        let link = Link::new(settings);
        link.connection().await?;
        Ok(RedisStore::new(link))
    }

    pub(crate) fn settings(self) -> Result<Settings, StoreError> {
        let refused = |message: String| StoreError::new(StoreErrorKind::Misconfigured, message);
        let client = Client::open(self.url.as_str()).map_err(|error| {
            refused(
                "the URL cannot be read; it must look like redis://user:password@host:6379/0, or rediss://… with the \
                 feature `tls`"
                    .to_owned(),
            )
            .with_source(error)
        })?;
        // Small commands must not wait for the acknowledgement of those before them.
        let info = client.get_connection_info().clone();
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(store_error)?;
        let namespace = Name::new(&self.namespace)
            .map_err(|error| refused("the namespace is refused".into()).with_source(error))?;
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(refused(format!("`shards` is {}; it must be 1 to {SHARDS_MAX}", self.shards)));
        }
        let clock = if self.given_time.is_some() { Clock::Given } else { Clock::Server };
        #[cfg(feature = "testing")]
        let library = match &self.frozen {
            None => Library::from_environment(clock),
            Some(directory) => Library::frozen(clock, directory)
                .map_err(|error| refused("the frozen library cannot be read".into()).with_source(error))?,
        };
        #[cfg(not(feature = "testing"))]
        let library = Library::new(clock);
        Ok(Settings {
            address: Address::of(&client),
            client,
            keys: Keys::new(namespace, self.shards),
            library,
            durability: self.durability,
            accepted: self.accepted,
            connect_timeout: self.connect_timeout,
            call_timeout: self.call_timeout,
            history: self.history,
            given_time: self.given_time,
            attached: self.attached,
        })
    }
}

/// The connection that all calls share. One that breaks is replaced by the next call, and carries none
/// before the server behind it was looked at: it may be another one, or another configuration.
///
/// The client's own connection manager would hand out the new connection at once, so it is not used.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) settings: Settings,
    state: Mutex<State>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    connection: Option<MultiplexedConnection>,
    warnings: Vec<Warning>,
    /// How many attempts to connect have ended, and how the last one failed.
    attempts: u64,
    failure: Option<StoreError>,
}

/// A connection, and which one it is.
type Numbered = (u64, MultiplexedConnection);

impl Link {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, state: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.state().warnings.clone()
    }

    fn current(&self) -> Option<Numbered> {
        let state = self.state();
        state.connection.clone().map(|connection| (state.generation, connection))
    }

    /// The connection, made anew if need be. Callers that wait for the same attempt share its outcome.
    pub(crate) async fn connection(&self) -> Result<Numbered, StoreError> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let attempts = self.state().attempts;
        let _alone = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        {
            let state = self.state();
            if let Some(failure) = state.failure.clone().filter(|_| state.attempts > attempts) {
                return Err(failure);
            }
        }
        let made = self.make().await;
        let mut state = self.state();
        state.attempts += 1;
        match made {
            Ok((connection, warnings)) => {
                state.generation += 1;
                state.connection = Some(connection.clone());
                state.warnings = warnings;
                state.failure = None;
                Ok((state.generation, connection))
            }
            Err(error) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn make(&self) -> Result<(MultiplexedConnection, Vec<Warning>), StoreError> {
        let mut connection = self.open(self.settings.call_timeout).await?;
        let warnings = preflight::check(&mut connection, &self.settings).await?;
        Ok((connection, warnings))
    }

    /// A connection of its own, which nothing has been looked at through.
    pub(crate) async fn open(&self, response_timeout: Duration) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(response_timeout));
        self.settings.client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| {
            let shown = &self.settings.address.shown;
            let error = store_error(error);
            StoreError::new(error.kind(), format!("no connection to {shown}: {error}")).with_source(error)
        })
    }

    /// Says that a connection failed a call like this.
    pub(crate) fn failed(&self, generation: u64, error: &RedisError) {
        if ends_connection(error) {
            let mut state = self.state();
            if state.generation == generation {
                state.connection = None;
            }
        }
    }

    /// Calls a function of the library.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value, StoreError> {
        let (generation, mut connection) = self.connection().await?;
        call.send(&mut connection, &self.settings.library).await.map_err(|error| {
            self.failed(generation, &error);
            store_error(error)
        })
    }

    /// The time of a shard, and its transactions whose timer has run out.
    pub(crate) async fn look(&self, shard: u16, max: usize) -> Result<(Timestamp, Vec<String>), StoreError> {
        let declared: Vec<String> = FIXED.iter().map(|suffix| self.settings.keys.of(shard, suffix)).collect();
        let mut call = self.settings.timed_call(Function::Look, declared.iter());
        let answer = self.call(call.argument(max)).await?;
        let mut values = Values::new(answer)?;
        Ok((values.moment()?, values.list(Values::text)?))
    }

    /// Sends a command that only reads.
    pub(crate) async fn read<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let (generation, mut connection) = self.connection().await?;
        command.query_async(&mut connection).await.map_err(|error| {
            self.failed(generation, &error);
            store_error(error)
        })
    }

    /// Sends commands that only read, in one round trip.
    pub(crate) async fn query<T: redis::FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, StoreError> {
        let (generation, mut connection) = self.connection().await?;
        pipeline.query_async(&mut connection).await.map_err(|error| {
            self.failed(generation, &error);
            store_error(error)
        })
    }
}

/// A call of a function of the library.
#[derive(Debug)]
pub(crate) struct Call {
    function: Function,
    command: redis::Cmd,
}

impl Call {
    /// With no arguments yet.
    pub(crate) fn new<'a>(
        library: &Library,
        function: Function,
        keys: impl ExactSizeIterator<Item = &'a String>,
    ) -> Self {
        let mut command = redis::cmd("FCALL");
        command.arg(library.name(function)).arg(keys.len());
        keys.for_each(|key| {
            command.arg(key);
        });
        Self { function, command }
    }

    pub(crate) fn argument(&mut self, argument: impl redis::ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// Loads the library first if Redis does not know it. Where it is too full for that, what finishes
    /// something is called as a script.
    pub(crate) async fn send(
        &self,
        connection: &mut MultiplexedConnection,
        library: &Library,
    ) -> Result<Value, RedisError> {
        match self.command.query_async(connection).await {
            Err(error) if is_unknown_function(&error) => {}
            answer => return answer,
        }
        match load(connection, library).await {
            Ok(()) => self.command.query_async(connection).await,
            Err(error) => match library.script(self.function).filter(|_| error.code() == Some("OOM")) {
                Some(script) => self.as_script(&script).query_async(connection).await,
                None => Err(error),
            },
        }
    }

    fn as_script(&self, script: &str) -> redis::Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script);
        // What the function is called comes after the command, and its keys after that.
        for argument in self.command.args_iter().skip(2) {
            if let redis::Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}

/// Loads the library. Its name tells its text, so that one that is there already is this one.
pub(crate) async fn load(
    connection: &mut MultiplexedConnection,
    library: &Library,
) -> Result<(), RedisError> {
    match redis::cmd("FUNCTION").arg("LOAD").arg(&library.text).exec_async(connection).await {
        Err(error) if error.detail().is_some_and(|detail| detail.contains("already exists")) => Ok(()),
        loaded => loaded,
    }
}

/// Whether Redis does not know the function: its library was never loaded, or was flushed.
pub(crate) fn is_unknown_function(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("Function not found"))
}
