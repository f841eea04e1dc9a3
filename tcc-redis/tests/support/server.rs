//! A Redis of the test's own: a free port, a directory of its own, ended with the test.

use std::{
    io::Write,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// Names of servers that will do.
const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];
/// Names of the tool that repairs a torn append-only file; it comes with the server.
const REPAIRERS: [&str; 2] = ["redis-check-aof", "valkey-check-aof"];
/// What the server says of itself, in its directory.
pub(crate) const LOG: &str = "server.log";

pub(crate) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    disk: Disk,
}

/// Whether the server can be told that its disk is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Large,
    /// A file that may not grow is an error to the server, and not its end.
    Limited,
}

impl Server {
    /// As the store wants it.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Without a disk, for tests of many calls.
    pub(crate) async fn volatile() -> Self {
        Self::with(&["--appendonly", "no"]).await
    }

    /// With further arguments, which win.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        Self::start_on(arguments, Disk::Large).await
    }

    /// As the store wants it, with files that `prlimit --fsize` can keep from growing.
    pub(crate) async fn on_a_limited_disk(arguments: &[&str]) -> Self {
        Self::start_on(arguments, Disk::Limited).await
    }

    /// On what is in this directory; what the server says of it, if that makes it end.
    pub(crate) async fn on_files(directory: TempDir, arguments: &[&str]) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let (port, disk) = (free_port(), Disk::Large);
        let child = spawn(port, &directory, &arguments, disk);
        let mut server = Self { child, port, arguments, directory, disk };
        if server.is_up().await {
            return Ok(server);
        }
        let ended = server.has_ended();
        let log = std::fs::read_to_string(server.directory().join(LOG)).unwrap_or_default();
        assert!(ended, "the server neither starts nor ends: {log}");
        Err(log)
    }

    async fn start_on(arguments: &[&str], disk: Disk) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        for _ in 0..5 {
            let directory = tempfile::tempdir().expect("a directory for the server");
            let port = free_port();
            let child = spawn(port, &directory, &arguments, disk);
            let mut server = Self { child, port, arguments: arguments.clone(), directory, disk };
            if server.is_up().await {
                return server;
            }
        }
        panic!("the server did not start");
    }

    /// Kills the server as the kernel does, and starts it again on what it left on the disk.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill();
        self.restart().await;
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    /// Repairs the append-only file of a server that was killed, as an operator does.
    pub(crate) fn repair(&self) {
        let tool = REPAIRERS.into_iter().find(|tool| is_on_path(tool));
        let mut command = Command::new(tool.expect("`redis-check-aof`, which comes with the server"));
        command.arg("--fix").arg(self.directory().join("appendonlydir/appendonly.aof.manifest"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a repair");
        // It asks whether it may, unless there is nothing to do.
        let _ = child.stdin.take().expect("its input").write_all(b"y\n");
        let output = child.wait_with_output().expect("the end of the repair");
        assert!(output.status.success(), "the repair failed: {output:?}");
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.arguments, self.disk);
        assert!(self.is_up().await, "the server did not start again");
    }

    /// Starts again with other arguments.
    pub(crate) async fn restart_with(&mut self, arguments: &[&str]) {
        self.kill();
        self.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        self.restart().await;
    }

    async fn is_up(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if self.has_ended() {
                return false;
            }
            if let Ok(client) = redis::Client::open(self.url())
                && let Ok(mut connection) = client.get_multiplexed_async_connection().await
            {
                let pong = redis::cmd("PING").query_async::<String>(&mut connection).await;
                let is_up = pong.is_ok() || pong.is_err_and(|error| error.code() != Some("LOADING"));
                if is_up && !self.is_another(&mut connection).await {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Whether the server that answers says that it is not this one: another test's has taken the port, and this one is
    /// about to end for want of it.
    async fn is_another(&self, connection: &mut MultiplexedConnection) -> bool {
        let info = redis::cmd("INFO").arg("server").query_async::<String>(connection).await;
        let own = format!("process_id:{}", self.pid());
        info.is_ok_and(|info| !info.lines().any(|line| line.trim_end() == own))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn url_of(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// A connection of the test's own.
    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        raw(&self.url()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn raw(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection")
}

/// Sends one command and gives back its answer.
pub(crate) async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(connection).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn is_on_path(binary: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(binary).is_file())
}

fn spawn(port: u16, directory: &TempDir, arguments: &[String], disk: Disk) -> Child {
    for binary in BINARIES {
        let mut command = match disk {
            Disk::Large => Command::new(binary),
            // A signal that is ignored stays so in the program that takes the shell's place.
            Disk::Limited if is_on_path(binary) => {
                let mut command = Command::new("sh");
                command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", binary]);
                command
            }
            Disk::Limited => continue,
        };
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        command.args([
            "--maxmemory",
            "1gb",
            "--maxmemory-policy",
            "noeviction",
            "--enable-debug-command",
            "yes",
        ]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--logfile", LOG, "--dir"]);
        command.arg(directory.path()).args(arguments);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(child) => return child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{binary} cannot be started: {error}"),
        }
    }
    panic!(
        "these tests need `redis-server` or `valkey-server`, 7.0 or later, on PATH: apt install redis-server"
    );
}
