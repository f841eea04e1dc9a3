//! The directory of a run: where its services find each other, and their databases.

use std::{
    env, fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::Failure;

/// The services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Service {
    Orders,
    Inventory,
    Payment,
    Loyalty,
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Orders, Self::Inventory, Self::Payment, Self::Loyalty];

    /// Also the name of its participant.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Loyalty => "loyalty",
        }
    }
}

/// Everything a service has to know, as `shop.json` in the directory says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(skip)]
    pub(crate) directory: PathBuf,
    /// Tells this run from all others: of the transactions, of the keys in Redis, and of the schema in PostgreSQL.
    pub(crate) name: String,
    pub(crate) redis_url: String,
    pub(crate) postgres_url: String,
    /// Where the services listen, as [`Service::ALL`] lists them.
    listen: [String; 4],
}

const FILE: &str = "shop.json";
/// Ports from here on, below those that systems give to whoever connects: a service that is killed gets its own again.
const PORTS: std::ops::Range<u16> = 21_000..32_000;

impl Place {
    /// Makes a run's directory known to its services.
    pub(crate) fn new(directory: &Path, redis_url: &str, postgres_url: &str) -> Result<Self, Failure> {
        let name = format!("shop_{}", distinct());
        let (redis_url, postgres_url) = (redis_url.to_owned(), postgres_url.to_owned());
        let place = Self { directory: directory.to_owned(), name, redis_url, postgres_url, listen: ports()? };
        let text = serde_json::to_string_pretty(&place)?;
        fs::write(directory.join(FILE), text)?;
        Ok(place)
    }

    /// Reads what [`Place::new`] wrote.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let file = directory.join(FILE);
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let place: Self =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Self { directory: directory.to_owned(), ..place })
    }

    /// `127.0.0.1:port`.
    pub(crate) fn listens(&self, service: Service) -> &str {
        &self.listen[service as usize]
    }
}

/// Ports that nobody listens on. Runs that start at the same time look in different places.
fn ports() -> io::Result<[String; 4]> {
    let span = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(4) % span;
    let candidates = (0..span).map(|step| PORTS.start + ((first + step) % span) as u16);
    let mut held = Vec::new();
    for port in candidates {
        // Held until all are found.
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((format!("127.0.0.1:{port}"), listener));
        }
        if held.len() == 4 {
            break;
        }
    }
    let addresses: Vec<String> = held.into_iter().map(|(address, _)| address).collect();
    addresses.try_into().map_err(|_| io::Error::other("four ports are not to be had"))
}

/// A run's directory, which is gone with it, unless it was named.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    named: bool,
}

impl Directory {
    pub(crate) fn new(named: Option<&Path>) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = match named {
            Some(path) => path.to_owned(),
            None => env::temp_dir().join(format!("shop-{}", distinct())),
        };
        // It holds URLs, and they may hold passwords.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self { path: path.canonicalize()?, named: named.is_some() })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A name that no other run has.
pub(crate) fn distinct() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}_{}", std::process::id(), now.as_nanos())
}
