//! A Redis of the benchmark's own, or one that a URL names.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::BenchError;

const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];
const START_MAX: Duration = Duration::from_secs(30);

/// What Redis promises of an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Off,
    EverySec,
    Always,
}

impl Durability {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::EverySec, Self::Always];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::EverySec => "everysec",
            Self::Always => "always",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|durability| durability.name() == name)
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Off => ["--appendonly", "no", "--appendfsync", "no"],
            Self::EverySec => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Self::Always => ["--appendonly", "yes", "--appendfsync", "always"],
        }
    }

    pub(crate) fn promised(self) -> tcc::redis::Durability {
        match self {
            Self::Off => tcc::redis::Durability::Volatile,
            Self::EverySec => tcc::redis::Durability::EverySecond,
            Self::Always => tcc::redis::Durability::Always,
        }
    }
}

/// A server, with a connection for looking at it.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) eyes: MultiplexedConnection,
    owned: Option<(Child, TempDir)>,
}

impl Server {
    /// Starts one on a free port, in a directory of its own.
    pub(crate) async fn start(durability: Durability) -> Result<Self, BenchError> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut child = spawn(port, &directory, durability)?;
        let url = format!("redis://127.0.0.1:{port}/");
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            if let Some(status) = child.try_wait()? {
                return Err(BenchError::Server(format!("the server ended with {status}")));
            }
            if let Ok(eyes) = connect(&url).await {
                return Ok(Self { url, eyes, owned: Some((child, directory)) });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = child.kill();
        Err(BenchError::Server(format!("the server did not answer within {START_MAX:?}")))
    }

    /// Uses the one at this URL, as it is.
    pub(crate) async fn at(url: &str) -> Result<Self, BenchError> {
        Ok(Self { url: url.to_owned(), eyes: connect(url).await?, owned: None })
    }

    /// Forgets everything, in a server of the benchmark's own only.
    pub(crate) async fn empty(&mut self) -> Result<(), BenchError> {
        if self.owned.is_some() {
            redis::cmd("FLUSHALL").exec_async(&mut self.eyes).await?;
        }
        Ok(())
    }

    /// A number out of `INFO`.
    pub(crate) async fn info(&mut self, section: &str, field: &str) -> Result<f64, BenchError> {
        let text: String = redis::cmd("INFO").arg(section).query_async(&mut self.eyes).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.and_then(|value| value.trim().parse().ok());
        value.ok_or_else(|| BenchError::Server(format!("INFO {section} has no number `{field}`")))
    }

    /// Seconds of processor time the server has used.
    pub(crate) async fn cpu(&mut self) -> Result<f64, BenchError> {
        Ok(self.info("cpu", "used_cpu_user").await? + self.info("cpu", "used_cpu_sys").await?)
    }

    /// How many commands clients have sent, and how many of them were script calls.
    pub(crate) async fn commands(&mut self) -> Result<(f64, f64), BenchError> {
        let text: String = redis::cmd("INFO").arg("commandstats").query_async(&mut self.eyes).await?;
        let calls = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or_default()
        };
        let scripts = calls("evalsha") + calls("eval") + calls("fcall") + calls("fcall_ro");
        let all = text
            .lines()
            .filter_map(|line| line.split_once(":calls=")?.1.split(',').next()?.parse::<f64>().ok());
        Ok((scripts, all.sum()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.owned {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection, BenchError> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    let mut connection =
        redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").exec_async(&mut connection).await?;
    Ok(connection)
}

fn spawn(port: u16, directory: &TempDir, durability: Durability) -> Result<Child, BenchError> {
    for binary in BINARIES {
        let mut command = Command::new(binary);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--maxmemory", "8gb", "--maxmemory-policy", "noeviction", "--dir"]);
        command.arg(directory.path()).args(durability.arguments());
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(BenchError::Server("neither redis-server nor valkey-server (7.0 or later) is on PATH".into()))
}
