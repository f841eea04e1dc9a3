//! A Redis, a ledger, two services under load, and a breakable link from each of them to Redis.

use std::path::{Path, PathBuf};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::{
    audit::{Verdict, wait_and_judge},
    bank::Sabotage,
    customer::Customer,
    ledger::ACCOUNTS,
    process::{Process, Running, until},
    role::{Role, Service, mark},
    support::{
        link::Link,
        random::Random,
        server::{Server, free_port},
    },
};

/// Which of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Begins most transfers, and leaves half of the accounts to the other one.
    Initiator,
    /// Finishes what the other one began, and begins some.
    Worker,
}

impl Who {
    pub(crate) const BOTH: [Self; 2] = [Self::Initiator, Self::Worker];
}

pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) slow_ms: u64,
    pub(crate) sabotage: Option<Sabotage>,
}

/// The ledger's process, its files and its port.
pub(crate) struct LedgerHouse {
    process: Process,
    folder: PathBuf,
    port: u16,
    pub(crate) customer: Customer,
}

impl LedgerHouse {
    pub(crate) async fn open(folder: &Path) -> Self {
        let (folder, port) = (folder.to_owned(), free_port());
        let process = Process::start(&Role::Ledger { folder: folder.clone(), port });
        let house = Self { process, folder, port, customer: Customer::of(port) };
        house.customer.heard().await;
        house
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its journal.
    pub(crate) async fn reopen(&mut self) {
        self.process = Process::start(&Role::Ledger { folder: self.folder.clone(), port: self.port });
        self.customer.heard().await;
    }
}

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) links: [Link; 2],
    pub(crate) ledger: LedgerHouse,
    pub(crate) folder: TempDir,
    pub(crate) random: Random,
    setting: Setting,
    services: [Option<Running>; 2],
    started: u32,
}

impl Scene {
    pub(crate) async fn new(setting: Setting, server: Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("marks")).expect("a folder for marks");
        let ledger = LedgerHouse::open(folder.path()).await;
        let seed = setting.seed;
        let links = [Link::to(server.port(), seed).await, Link::to(server.port(), seed + 1).await];
        let random = Random::new(seed);
        let (services, started) = ([None, None], 0);
        let mut scene = Self { server, links, ledger, folder, random, setting, services, started };
        for who in Who::BOTH {
            scene.start(who).await;
        }
        scene.goes_on(20).await;
        scene
    }

    pub(crate) async fn raw(&self) -> MultiplexedConnection {
        self.server.raw().await
    }

    pub(crate) fn link(&self, who: Who) -> &Link {
        &self.links[who as usize]
    }

    pub(crate) fn service(&self, who: Who) -> &Process {
        &self.services[who as usize].as_ref().expect("a service that runs").process
    }

    pub(crate) async fn start(&mut self, who: Who) {
        self.started += 1;
        let service = Service {
            name: format!("{who:?}-{}", self.started).to_lowercase(),
            redis: self.link(who).url(),
            ledger: self.ledger.port(),
            marks: self.folder.path().join("marks"),
            tries_only: match who {
                Who::Initiator => ACCOUNTS[2..].iter().map(|name| (*name).to_owned()).collect(),
                Who::Worker => Vec::new(),
            },
            load: match who {
                Who::Initiator => 6,
                Who::Worker => 2,
            },
            slow_ms: self.setting.slow_ms,
            seed: self.random.next(),
            sabotage: self.setting.sabotage,
            asks: None,
        };
        self.services[who as usize] = Some(Running::start(service).await);
    }

    /// `kill -9`; nobody takes its place yet.
    pub(crate) fn kill(&mut self, who: Who) {
        self.services[who as usize].take().expect("a service that runs").process.kill();
    }

    /// Leaves in good order, in the midst of the work.
    pub(crate) async fn leave(&mut self, who: Who) {
        self.services[who as usize].take().expect("a service that runs").leave().await;
    }

    /// Waits until so many more transfers have ended.
    pub(crate) async fn goes_on(&self, more: usize) {
        let before = self.ledger.customer.heard().await;
        until("the load goes on", async || self.ledger.customer.heard().await >= before + more).await;
    }

    pub(crate) async fn pause(&mut self, at_least_ms: u64, at_most_ms: u64) {
        let millis = self.random.within(at_least_ms..=at_most_ms);
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
    }

    /// All machines stop at once, and nothing is started again: the folder with the ledger's journal, and Redis's.
    pub(crate) fn stand_still(mut self) -> (TempDir, Server) {
        self.server.kill();
        for who in Who::BOTH {
            self.kill(who);
        }
        self.ledger.kill();
        (self.folder, self.server)
    }

    /// Ends the load, waits for the end of everything that was begun, and judges it.
    pub(crate) async fn end(mut self) -> Verdict {
        mark(&self.folder.path().join("marks"), "enough");
        for service in self.services.iter_mut().flatten() {
            service.says("done").await;
        }
        let verdict = wait_and_judge(&self.server, &self.ledger.customer).await;
        for service in self.services.iter_mut().filter_map(Option::take) {
            service.leave().await;
        }
        verdict
    }
}
