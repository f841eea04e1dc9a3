//! Whether a Redis keeps what this store promises: looked at on every new connection, before it is used.

use std::{
    collections::BTreeMap,
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use redis::aio::MultiplexedConnection;
use tcc_core::{
    Timestamp,
    store::{StoreError, StoreErrorKind},
};

use crate::{
    codec::reply::Values,
    connect::{Call, Settings, is_unknown_function, load},
    keys::Keys,
    scripts::Function,
    trouble::store_error,
};

/// Version of the layout of keys and records; a namespace with a newer one is refused.
pub(crate) const SCHEMA: u32 = 1;
/// A clock further from this process's is worth a warning.
const CLOCK_APART_MS: u64 = 1_000;

/// How much of what Redis acknowledged survives the loss of its process or power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Anything may be lost: no append-only file, or one that is written when the system pleases.
    Volatile,
    /// The last second may be lost: `appendfsync everysec`. An acknowledged begin or decision with it.
    EverySecond,
    /// Nothing is lost: `appendfsync always`. The default, and what the framework's promises need.
    Always,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volatile => "volatile",
            Self::EverySecond => "every second",
            Self::Always => "always",
        })
    }
}

/// What a user may take upon themselves by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Risk {
    /// A `maxmemory-policy` that evicts: records of transactions in flight may vanish when memory is full.
    Eviction,
}

/// What is worth knowing of a Redis and no reason to refuse it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Which.
    pub kind: WarningKind,
    /// What it means and what to change.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// The connection leaves this machine unencrypted.
    NoTls,
    /// The default user has no password.
    NoPassword,
    /// A failover may lose what was acknowledged.
    NoReplicaPromise,
    /// Redis may take all memory there is.
    NoMemoryLimit,
    /// Its clock and this process's are apart.
    ClockApart,
    /// Its configuration is hidden: the durability is taken from the user's word.
    DurabilityUnchecked,
    /// A risk was accepted by name.
    RiskAccepted,
}

/// Looks at a fresh connection's server; gives back what is worth knowing, or why it is refused.
pub(crate) async fn check(
    connection: &mut MultiplexedConnection,
    settings: &Settings,
) -> Result<Vec<Warning>, StoreError> {
    if settings.attached {
        return Ok(Vec::new());
    }
    let mut look = Look { info: info(connection).await?, config: None, warnings: Vec::new() };
    features(connection, &look).await?;
    if matches!(look.info("role"), "slave" | "replica") {
        return Err(refused("this Redis is a replica and takes no writes; connect to its primary"));
    }
    look.config = config(connection).await?;
    look.eviction(settings)?;
    look.durability(settings)?;
    permissions(connection, settings).await?;
    namespace(connection, settings).await?;
    look.replicas();
    look.exposure(connection, settings).await?;
    look.clock(connection).await?;
    for warning in &look.warnings {
        tracing::warn!(kind = ?warning.kind, "{warning}");
    }
    Ok(look.warnings)
}

fn refused(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, message)
}

async fn info(connection: &mut MultiplexedConnection) -> Result<BTreeMap<String, String>, StoreError> {
    let text: String =
        redis::cmd("INFO").query_async(connection).await.map_err(|error| match error.code() {
            Some("NOPERM") => denied("INFO").with_source(error),
            _ => store_error(error),
        })?;
    let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn denied(command: &str) -> StoreError {
    refused(format!(
        "Redis denies this user {command}; grant it with `ACL SETUSER <user> +{}` (the keys needed are ~{{<namespace>:*)",
        command.to_lowercase().replace(' ', "|")
    ))
}

/// Functions came with Redis 7.0; whether there are any is tried, so that Valkey and others are judged by what
/// they do.
async fn features(connection: &mut MultiplexedConnection, look: &Look) -> Result<(), StoreError> {
    let probe = redis::cmd("FCALL").arg("tcc_probe").arg(0).query_async::<redis::Value>(connection).await;
    match probe {
        Ok(_) => Ok(()),
        Err(error) if is_unknown_function(&error) => Ok(()),
        Err(error) if error.code() == Some("NOPERM") => Err(denied("FCALL").with_source(error)),
        Err(error) if error.is_io_error() || error.is_timeout() => Err(store_error(error)),
        Err(error) => {
            let version = look.info.get("redis_version").map_or("unknown", String::as_str);
            let message = format!(
                "this server (version {version}) knows no functions (FCALL); Redis 7.0 or later, or Valkey, is needed"
            );
            Err(refused(message).with_source(error))
        }
    }
}

/// The configuration, if it is not hidden.
async fn config(
    connection: &mut MultiplexedConnection,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg("maxmemory-policy").arg("maxmemory").arg("appendonly").arg("appendfsync");
    get.arg("min-replicas-to-write");
    match get.query_async::<BTreeMap<String, String>>(connection).await {
        Ok(config) if config.contains_key("appendonly") => Ok(Some(config)),
        Ok(_) => Ok(None),
        Err(error) if error.is_io_error() || error.is_timeout() => Err(store_error(error)),
        Err(_) => Ok(None),
    }
}

async fn permissions(connection: &mut MultiplexedConnection, settings: &Settings) -> Result<(), StoreError> {
    // Loaded already, it may be flushed later, and must be loaded again then. A full Redis loads none, which
    // matters only if this one is not there.
    match load(connection, &settings.library).await {
        Err(error) if error.code() == Some("NOPERM") => {
            return Err(denied("FUNCTION LOAD").with_source(error));
        }
        Err(error) if error.code() == Some("OOM") => {}
        loaded => loaded.map_err(store_error)?,
    }
    for shard in [0, settings.keys.shards() - 1] {
        let key = settings.keys.of(shard, "rehearsal");
        let tried = Call::new(&settings.library, Function::Rehearse, [key].iter());
        let tried = tried.send(connection, &settings.library).await.map_err(|error| {
            if error.code() == Some("NOPERM") {
                denied("FCALL").with_source(error)
            } else {
                store_error(error)
            }
        })?;
        let mut tried = Values::new(tried)?;
        let command = tried.text()?;
        if command != "ok" {
            let cause = tried.text()?;
            let needed =
                format!("this store needs {command} on keys of its namespace, and Redis said: {cause}");
            return Err(if cause.contains("NOPERM") || cause.contains("can't") {
                denied(&command).with_source(needed)
            } else {
                refused(needed)
            });
        }
    }
    Ok(())
}

/// Writes the namespace's meta data at first start, and refuses another configuration (rule 17).
async fn namespace(connection: &mut MultiplexedConnection, settings: &Settings) -> Result<(), StoreError> {
    let keys = &settings.keys;
    let meta = keys.of(0, "meta");
    let mut call = Call::new(&settings.library, Function::Namespace, [meta].iter());
    call.argument(SCHEMA).argument(keys.shards()).argument(local_time().to_string());
    let found = call.send(connection, &settings.library).await.map_err(store_error)?;
    let mut found = Values::new(found)?;
    let unreadable = |_| refused(format!("`{}` cannot be read; see it with HGETALL", keys.of(0, "meta")));
    let schema: u32 = found.text().map_err(unreadable)?.parse().unwrap_or(u32::MAX);
    let shards: u32 = found.text().map_err(unreadable)?.parse().unwrap_or(u32::MAX);
    check_schema(keys, schema)?;
    if shards != u32::from(keys.shards()) {
        return Err(refused(format!(
            "namespace `{}` has {shards} shards, and this process is configured for {}; set `.shards({shards})`, or \
             choose another namespace",
            keys.namespace(),
            keys.shards()
        )));
    }
    Ok(())
}

pub(crate) fn check_schema(keys: &Keys, schema: u32) -> Result<(), StoreError> {
    if schema <= SCHEMA {
        return Ok(());
    }
    Err(refused(format!(
        "namespace `{}` was written by a newer version (schema {schema}, this one knows {SCHEMA}); upgrade this process",
        keys.namespace()
    )))
}

#[allow(clippy::disallowed_methods, reason = "compared with the server's clock, for a warning")]
fn local_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What a server says of itself.
struct Look {
    info: BTreeMap<String, String>,
    config: Option<BTreeMap<String, String>>,
    warnings: Vec<Warning>,
}

impl Look {
    fn info(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    /// A setting, or what `INFO` says of it where the configuration is hidden.
    fn setting(&self, name: &str, info: &str) -> &str {
        let set = self.config.as_ref().and_then(|config| config.get(name));
        set.map_or_else(|| self.info(info), String::as_str)
    }

    fn warn(&mut self, kind: WarningKind, message: impl Into<String>) {
        self.warnings.push(Warning { kind, message: message.into() });
    }

    fn eviction(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let policy = self.setting("maxmemory-policy", "maxmemory_policy").to_owned();
        if policy != "noeviction" {
            let advice = format!(
                "`maxmemory-policy` is `{policy}`, so that Redis may drop transactions in flight; set it to `noeviction`"
            );
            if !settings.accepted.contains(&Risk::Eviction) {
                return Err(refused(format!("{advice}, or accept it with `.accept(Risk::Eviction)`")));
            }
            self.warn(WarningKind::RiskAccepted, advice);
        }
        if self.setting("maxmemory", "maxmemory") == "0" {
            self.warn(
                WarningKind::NoMemoryLimit,
                "`maxmemory` is 0: Redis may be killed for want of memory; set a limit below what the machine has",
            );
        }
        Ok(())
    }

    fn durability(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let wanted = settings.durability.unwrap_or(Durability::Always);
        let Some(config) = &self.config else {
            if self.info("aof_enabled") == "0" && wanted > Durability::Volatile {
                return Err(refused(format!("`appendonly` is `no`; {}", Self::remedy(Durability::Volatile))));
            }
            return match settings.durability {
                Some(stated) => {
                    let message = format!(
                        "Redis hides its configuration: that its durability is `{stated}` is taken from `.durability(..)`"
                    );
                    self.warn(WarningKind::DurabilityUnchecked, message);
                    Ok(())
                }
                None => Err(refused(
                    "Redis hides its configuration (CONFIG GET), so that its durability cannot be checked; look it up \
                     with whoever runs it, and state it with `.durability(Durability::…)`",
                )),
            };
        };
        let value = |name: &str| config.get(name).map_or("", String::as_str);
        let (found, cause) = match (value("appendonly"), value("appendfsync")) {
            ("yes", "always") => return Ok(()),
            ("yes", "everysec") => (Durability::EverySecond, "`appendfsync` is `everysec`".to_owned()),
            ("yes", other) => (Durability::Volatile, format!("`appendfsync` is `{other}`")),
            (other, _) => (Durability::Volatile, format!("`appendonly` is `{other}`")),
        };
        if found < wanted {
            return Err(refused(format!("{cause}; {}", Self::remedy(found))));
        }
        self.warn(
            WarningKind::RiskAccepted,
            format!(
                "{cause}: acknowledged begins and decisions may be lost, as accepted by `.durability(..)`"
            ),
        );
        Ok(())
    }

    fn remedy(found: Durability) -> String {
        let name = match found {
            Durability::EverySecond => "EverySecond",
            _ => "Volatile",
        };
        format!(
            "acknowledged begins and decisions may be lost. Set `appendonly yes` and `appendfsync always`, or accept it \
             with `.durability(Durability::{name})`"
        )
    }

    fn replicas(&mut self) {
        let number = |text: &str| text.parse::<u32>().unwrap_or(0);
        let replicated = number(self.info("connected_slaves")) > 0 || self.info("cluster_enabled") == "1";
        let promised = number(self.setting("min-replicas-to-write", "")) > 0;
        if replicated && !promised {
            self.warn(
                WarningKind::NoReplicaPromise,
                "replicas follow asynchronously: a failover may lose what was acknowledged; set `min-replicas-to-write`",
            );
        }
    }

    async fn exposure(
        &mut self,
        connection: &mut MultiplexedConnection,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        if settings.address.leaves_the_machine && !settings.address.encrypted {
            self.warn(
                WarningKind::NoTls,
                format!("the connection to {} is not encrypted; use a rediss:// URL", settings.address.shown),
            );
        }
        if settings.address.has_password {
            return Ok(());
        }
        match redis::cmd("ACL").arg("WHOAMI").query_async::<String>(connection).await {
            Ok(user) if user == "default" => self.warn(
                WarningKind::NoPassword,
                "Redis lets anybody in: its default user has no password; set `requirepass` or an ACL",
            ),
            Ok(_) => {}
            Err(error) if error.is_io_error() || error.is_timeout() => return Err(store_error(error)),
            Err(_) => {}
        }
        Ok(())
    }

    async fn clock(&mut self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        let before = local_time().as_millis();
        let (seconds, micros): (u64, u64) =
            redis::cmd("TIME").query_async(connection).await.map_err(store_error)?;
        let after = local_time().as_millis();
        let server = seconds * 1_000 + micros / 1_000;
        let apart = server.saturating_sub(after).max(before.saturating_sub(server));
        if apart > CLOCK_APART_MS {
            self.warn(
                WarningKind::ClockApart,
                format!("Redis's clock and this process's are {apart} ms apart; the server's counts"),
            );
        }
        Ok(())
    }
}
