//! The data directory: who uses it at the moment, and the name under which a Redis knows it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
}

impl Place {
    /// A directory that may hold books of an earlier run, or of another process.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { path: path.canonicalize()? })
    }

    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tcc-checkout-{}", distinct()));
        fs::create_dir(&path)?;
        Self::open(&path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other process sets something up or takes it down here. Dropping the file lets the next one in.
    pub(crate) fn alone(&self) -> io::Result<File> {
        let gate = self.lock_file("gate.lock")?;
        gate.lock()?;
        Ok(gate)
    }

    /// What each process that uses the directory holds a shared lock on; a killed one lets go of it.
    pub(crate) fn users(&self) -> io::Result<File> {
        self.lock_file("users.lock")
    }

    fn lock_file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.path.join(name))
    }

    /// A name no other directory has, made when it is first asked for. To be called alone.
    ///
    /// The path would not do: a directory that is deleted and made again must not meet its old transactions.
    pub(crate) fn namespace(&self) -> io::Result<String> {
        let file = self.path.join("namespace");
        match fs::read_to_string(&file) {
            Ok(namespace) if !namespace.trim().is_empty() => Ok(namespace.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => {
                let namespace = format!("checkout-{}", distinct());
                fs::write(&file, &namespace)?;
                Ok(namespace)
            }
        }
    }
}

fn distinct() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), now.as_nanos())
}
