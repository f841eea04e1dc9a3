//! Processes of a test's own, which it kills, stops and starts, and the scene they play in.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::{
    books::Books,
    role::{ROLE, Role},
    support::server::Server,
};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A Redis, books, and the processes that share them.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) books: Books,
    _folder: TempDir,
}

impl Scene {
    /// On a Redis as the store wants it: every acknowledged write is on the disk.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the books");
        let books = Books::new(folder.path(), "test");
        Self { server: Server::start().await, books, _folder: folder }
    }

    /// A process with short leases that hosts both accounts and begins nothing.
    pub(crate) fn role(&self, name: &str) -> Role {
        Role {
            name: name.to_owned(),
            url: self.server.url(),
            books: self.books.folder().to_owned(),
            hosts: super::shop::ACCOUNTS.map(str::to_owned).to_vec(),
            tries_only: Vec::new(),
            lease_ms: Some(2_000),
            transfers: 0,
            load: 0,
            is_old: false,
            is_clock_given: false,
            hold: None,
        }
    }

    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        self.server.raw().await
    }

    /// Waits until the load was told of so many more transfers.
    pub(crate) async fn goes_on(&self, more: usize) {
        let heard = || self.books.journal("heard").len();
        let before = heard();
        until("the load goes on", async || heard() > before + more).await;
    }

    /// Starts a process and waits until its runtime works.
    pub(crate) async fn start(&self, role: Role) -> Process {
        let name = role.name.clone();
        let mut command = Command::new(std::env::current_exe().expect("this test binary"));
        command.args(["--exact", "play_a_role", "--ignored", "--nocapture"]);
        command.env(ROLE, serde_json::to_string(&role).expect("a role"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a process");
        let mut process = Process { child, name, books: self.books.clone() };
        process.says("ready").await;
        process
    }
}

pub(crate) struct Process {
    child: Child,
    name: String,
    books: Books,
}

impl Process {
    /// Waits until the process says this of itself.
    pub(crate) async fn says(&mut self, what: &str) {
        let mark = format!("{}.{what}", self.name);
        let (name, books, child) = (&self.name, &self.books, &mut self.child);
        until(&mark, async || {
            let ended = child.try_wait().expect("its state");
            assert!(ended.is_none(), "{name} ended by itself before it said `{what}`: {ended:?}");
            books.is_marked(&mark)
        })
        .await;
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Lets it go on from where it holds.
    pub(crate) fn go_on(&self) {
        self.books.mark(&format!("{}.goes-on", self.name));
    }

    /// Freezes it, as a long pause of a machine does.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Shuts it down in good order.
    pub(crate) async fn leave(mut self) {
        self.books.mark(&format!("{}.leave", self.name));
        let child = &mut self.child;
        let mut status = None;
        until("its end", async || {
            status = child.try_wait().expect("its state");
            status.is_some()
        })
        .await;
        assert!(status.is_some_and(|status| status.success()), "{} failed: {status:?}", self.name);
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("the command `kill`").success(), "{signal} was not sent to {}", self.name);
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until this is true, no longer than [`LONG`].
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < LONG, "{what}: waited for in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
