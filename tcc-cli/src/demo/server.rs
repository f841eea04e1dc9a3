//! A Redis of the demo's own: a socket in a folder of its own, ended with the demo.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::exit::{Code, Failure, Outcome};

/// Names of servers that will do.
const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];
const UP_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    pub(crate) async fn start(folder: &Path) -> Outcome<Self> {
        let socket = folder.join("redis.sock");
        let mut server = Self { child: spawn(folder, &socket)?, socket };
        let started = Instant::now();
        while !server.socket.exists() {
            let ended = server.child.try_wait().map_err(Failure::Output)?;
            if ended.is_some() || started.elapsed() > UP_WITHIN {
                let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it wrote no log");
                return Err(Failure::said(Code::Other, format!("the demo's Redis did not start: {last}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, socket: &Path) -> Outcome<Child> {
    for binary in BINARIES {
        let mut command = Command::new(binary);
        command.args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"]).arg(socket);
        command.args(["--daemonize", "no", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.args([
            "--maxmemory",
            "100mb",
            "--maxmemory-policy",
            "noeviction",
            "--logfile",
            "server.log",
            "--dir",
        ]);
        command.arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Failure::said(Code::Other, format!("{binary} cannot be started: {error}")));
            }
        }
    }
    let words = "the demo needs redis-server or valkey-server, 7.0 or later, on PATH; on Debian: apt-get install redis-server";
    Err(Failure::said(Code::Other, words))
}
