//! Processes of the tests' own, and waiting for them.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::role::{ROLE, Role, Service, is_marked, mark};

/// Longer than anything here takes; what takes so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(90);

pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(role: &Role) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test binary"));
        command.args(["--exact", "play_a_role", "--ignored", "--nocapture"]);
        command.env(ROLE, serde_json::to_string(role).expect("a role"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process");
        Self { child }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn pause(&self) {
        signal("-STOP", self.child.id());
    }

    pub(crate) fn resume(&self) {
        signal("-CONT", self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("the command `kill`").success(), "{signal} was not sent to {pid}");
}

/// A process that runs the framework.
pub(crate) struct Running {
    pub(crate) process: Process,
    name: String,
    marks: PathBuf,
}

impl Running {
    /// Starts it, and waits until its runtime works.
    pub(crate) async fn start(service: Service) -> Self {
        let (name, marks) = (service.name.clone(), service.marks.clone());
        let process = Process::start(&Role::Service(service));
        let mut running = Self { process, name, marks };
        running.says("ready").await;
        running
    }

    /// Waits until it says this of itself.
    pub(crate) async fn says(&mut self, what: &str) {
        let mark = format!("{}.{what}", self.name);
        let (name, marks, child) = (&self.name, &self.marks, &mut self.process.child);
        until(&mark, async || {
            let ended = child.try_wait().expect("its state");
            assert!(ended.is_none(), "{name} ended by itself before it said `{what}`: {ended:?}");
            is_marked(marks, &mark)
        })
        .await;
    }

    /// Shuts it down in good order.
    pub(crate) async fn leave(mut self) {
        mark(&self.marks, &format!("{}.leave", self.name));
        let child = &mut self.process.child;
        let mut status = None;
        until("its end", async || {
            status = child.try_wait().expect("its state");
            status.is_some()
        })
        .await;
        assert!(status.is_some_and(|status| status.success()), "{} failed: {status:?}", self.name);
    }
}

/// Waits until this is true, no longer than [`LONG`].
pub(crate) async fn until(what: &str, check: impl AsyncFnMut() -> bool) {
    assert!(becomes(LONG, check).await, "{what}: waited for in vain");
}

/// Whether this becomes true within this time.
pub(crate) async fn becomes(within: Duration, mut check: impl AsyncFnMut() -> bool) -> bool {
    let started = Instant::now();
    while !check().await {
        if started.elapsed() > within {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
