//! A Redis of the example's own: its files and its socket in the data directory, nobody else's business.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];
/// Of a socket's path, in bytes, on every system.
const SOCKET_PATH_MAX: usize = 100;
/// It may have much to read before it answers.
const UP_WITHIN: Duration = Duration::from_secs(30);
const DOWN_WITHIN: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 5;

pub(crate) struct Server {
    socket: PathBuf,
    /// Absent when another process started it.
    child: Option<Child>,
}

/// The first server on `PATH`.
pub(crate) fn binary() -> Option<PathBuf> {
    if cfg!(not(unix)) {
        return None;
    }
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    BINARIES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

impl Server {
    /// The server of this data directory, started unless it runs. To be called alone.
    pub(crate) fn find_or_start(binary: &Path, data: &Path, namespace: &str) -> io::Result<Self> {
        let folder = data.join("redis");
        fs::create_dir_all(&folder)?;
        let mut socket = folder.join("socket");
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            socket = env::temp_dir().join(namespace);
        }
        let mut server = Self { socket, child: None };
        if server.ask("PING").is_ok_and(|answer| answer.starts_with("+PONG")) {
            return Ok(server);
        }
        server.child = Some(spawn(binary, &folder, &server.socket)?);
        if let Err(error) = server.wait_up() {
            server.kill();
            let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n  ");
            let message =
                format!("{} did not start in {}: {error}\n  {tail}", binary.display(), folder.display());
            return Err(io::Error::other(message));
        }
        Ok(server)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn url(&self) -> String {
        let path = self.socket.as_os_str().as_encoded_bytes();
        let escaped = path.iter().map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        });
        format!("redis+unix://{}", escaped.collect::<String>())
    }

    /// Asks it to end, and ends it by its process id if it does not and is ours.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        // It answers by closing the connection.
        let asked = self.ask("SHUTDOWN NOSAVE");
        let give_up = Instant::now() + DOWN_WITHIN;
        while Instant::now() < give_up {
            let gone = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => self.ask("PING").is_err(),
            };
            if gone {
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        if self.child.is_some() {
            self.kill();
            return Ok(());
        }
        let message = format!("it still answers at {} after {DOWN_WITHIN:?}", self.socket.display());
        Err(asked.err().unwrap_or_else(|| io::Error::other(message)))
    }

    fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn wait_up(&mut self) -> io::Result<()> {
        let give_up = Instant::now() + UP_WITHIN;
        loop {
            // While it loads its data it answers, but not this.
            let answer = self.ask("PING");
            if answer.as_ref().is_ok_and(|answer| answer.starts_with("+PONG")) {
                return Ok(());
            }
            if let Some(ended) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(io::Error::other(format!("it ended with {ended}")));
            }
            if Instant::now() >= give_up {
                return Err(answer.err().unwrap_or_else(|| io::Error::other("it does not get ready")));
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// One command and the first of its answer, as one would type it into a terminal.
    #[cfg(unix)]
    fn ask(&self, command: &str) -> io::Result<String> {
        let mut stream = std::os::unix::net::UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(DOWN_WITHIN))?;
        stream.set_write_timeout(Some(DOWN_WITHIN))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 64];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    #[cfg(not(unix))]
    fn ask(&self, _command: &str) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn spawn(binary: &Path, folder: &Path, socket: &Path) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command
        .args(["--daemonize", "no", "--port", "0", "--unixsocketperm", "700", "--unixsocket"])
        .arg(socket)
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .args(["--maxmemory", "1gb", "--maxmemory-policy", "noeviction"])
        .args(["--logfile", "server.log", "--pidfile", "server.pid", "--dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // A Ctrl-C is for the program in the terminal, which stops its server when it has no more use for it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}
