//! A PostgreSQL of the shop's own: without a network, in a directory among the temporary files, gone with the run.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::{Failure, place::distinct};

const INSTALL: &str = "install PostgreSQL (Debian: apt-get install postgresql), or set DATABASE_URL";
const UP_WITHIN: Duration = Duration::from_secs(60);
const LOG_TAIL_BYTES: usize = 600;

/// Ends with this handle.
pub(crate) struct Postgres {
    directory: PathBuf,
    child: Child,
    stop: Command,
}

/// PostgreSQL refuses to be root.
#[derive(Clone, Copy)]
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn find() -> Result<Self, Failure> {
        if id(&["-u"]) != Some(0) {
            return Ok(Self(None));
        }
        let known =
            ["postgres", "nobody"].iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
        let ids = known
            .ok_or("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")?;
        Ok(Self(Some(ids)))
    }

    fn directory(self) -> Result<PathBuf, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = env::temp_dir().join(format!("shop-postgres-{}", distinct()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        if let Self(Some((user, group))) = self {
            std::os::unix::fs::chown(&path, Some(user), Some(group))?;
        }
        Ok(path)
    }

    /// A command in the directory; what it says goes to a file there.
    fn command(self, program: &Path, directory: &Path, log: &str) -> Result<Command, Failure> {
        use std::os::unix::process::CommandExt as _;
        let log = fs::File::create(directory.join(log))?;
        let mut command = Command::new(program);
        command.current_dir(directory).env("HOME", directory).env("TMPDIR", directory);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A Ctrl-C is for the program in the terminal, which stops its servers.
        command.process_group(0);
        if let Self(Some((user, group))) = self {
            command.uid(user).gid(group);
        }
        Ok(command)
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let said = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}

/// Debian keeps them off the paths of users.
fn program(name: &str) -> Result<PathBuf, Failure> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|folders| folders.flatten().map(|folder| folder.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(versions.into_iter().rev());
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()));
    found.ok_or_else(|| format!("there is no `{name}` on PATH: {INSTALL}").into())
}

impl Postgres {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let [initdb, postgres, pg_ctl] = [program("initdb")?, program("postgres")?, program("pg_ctl")?];
        let owner = Owner::find()?;
        let directory = owner.directory()?;
        let started = Self::start_in(&directory, owner, [&initdb, &postgres, &pg_ctl]).await;
        if started.is_err() {
            let _ = fs::remove_dir_all(&directory);
        }
        started
    }

    async fn start_in(directory: &Path, owner: Owner, programs: [&Path; 3]) -> Result<Self, Failure> {
        let [initdb, postgres, pg_ctl] = programs;
        let data = directory.join("data");
        let made = owner
            .command(initdb, directory, "initdb.log")?
            .args([
                "--username=shop",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--pgdata",
            ])
            .arg(&data)
            .status()?;
        if !made.success() {
            return Err(format!("initdb ended with {made}:\n{}", tail(&directory.join("initdb.log"))).into());
        }
        let child = owner
            .command(postgres, directory, "server.log")?
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(directory)
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=50"])
            .spawn()?;
        let mut stop = owner.command(pg_ctl, directory, "stop.log")?;
        stop.args(["stop", "-m", "immediate", "-D"]).arg(&data);
        let mut server = Self { directory: directory.to_owned(), child, stop };
        server.until_up().await?;
        Ok(server)
    }

    async fn until_up(&mut self) -> Result<(), Failure> {
        let options: PgConnectOptions = self.url().parse()?;
        let give_up = Instant::now() + UP_WITHIN;
        loop {
            let Err(error) = options.connect().await else { return Ok(()) };
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() >= give_up {
                let said = tail(&self.directory.join("server.log"));
                return Err(format!("PostgreSQL did not start: {error}\n{said}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        let escaped: String =
            self.directory.to_string_lossy().bytes().fold(String::new(), |text, byte| match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    text + &char::from(byte).to_string()
                }
                _ => text + &format!("%{byte:02X}"),
            });
        format!("postgres:///postgres?host={escaped}&user=shop")
    }
}

fn tail(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let from = said.len().saturating_sub(LOG_TAIL_BYTES);
    said.get(from..).unwrap_or(&said).to_owned()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.stop.status();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
