//! Starting a database of the test's own: unprivileged, in a directory of its own, ended with the test.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Who the server runs as. Neither PostgreSQL nor MariaDB wants to be root.
#[derive(Clone, Copy)]
pub(crate) struct Owner(Option<(u32, u32)>);

impl Owner {
    /// The test's own user, or the first of these that there is, if that is root.
    pub(crate) fn first_of(names: &[&str]) -> Self {
        if id(&["-u"]) != Some(0) {
            return Self(None);
        }
        let ids = names.iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
        Self(Some(ids.unwrap_or_else(|| panic!("root needs one of the users {names:?} to run the server"))))
    }

    /// A directory that belongs to the owner.
    pub(crate) fn directory(self) -> TempDir {
        let directory = tempfile::tempdir().expect("a directory for the server");
        if let Self(Some((user, group))) = self {
            std::os::unix::fs::chown(directory.path(), Some(user), Some(group))
                .expect("it can be given away");
        }
        directory
    }

    /// A command that the owner runs in its directory; what it prints goes to a file there.
    pub(crate) fn command(self, program: &Path, directory: &TempDir, log: &str) -> Command {
        let log = std::fs::File::create(directory.path().join(log)).expect("a log");
        let mut command = Command::new(program);
        command.current_dir(directory.path()).env("HOME", directory.path()).env("TMPDIR", directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        if let Self(Some((user, group))) = self {
            command.uid(user).gid(group);
        }
        command
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let said = Command::new("id").args(arguments).output().expect("`id` can be run");
    let text = String::from_utf8(said.stdout).ok()?;
    text.trim().parse().ok()
}

/// Looks for a program on `PATH` and in further folders, and says what to install if there is none.
pub(crate) fn program(name: &str, folders: &[PathBuf], install: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("this test needs `{name}`, on PATH or in {folders:?}: {install}"))
}

/// A server and its directory.
pub(crate) struct Server {
    child: Child,
    pub(crate) directory: TempDir,
    /// Run before the server is killed.
    pub(crate) stop: Option<Command>,
}

impl Server {
    pub(crate) fn new(child: Child, directory: TempDir) -> Self {
        Self { child, directory, stop: None }
    }

    /// Says why it ended, if it has.
    pub(crate) fn assert_running(&mut self, log: &str) {
        if let Ok(Some(status)) = self.child.try_wait() {
            let said = std::fs::read_to_string(self.directory.path().join(log)).unwrap_or_default();
            panic!("the server ended with {status}:\n{said}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            let _ = stop.status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
