//! The four services as processes: started, killed as the kernel kills, started again.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{
    Failure,
    hold::{Hold, Phase, SAID, VARIABLE},
    key,
    place::{Place, Service},
    serve::LISTENS,
};

/// Tells a service that it is not to outlive the pipe it reads.
pub(crate) const CHILD: &str = "SHOP_CHILD";
/// A machine with much to do may take its time.
const UP_WITHIN: Duration = Duration::from_secs(60);
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// The services of a run. They end with this handle.
pub(crate) struct Fleet {
    place: Place,
    key: String,
    running: BTreeMap<Service, Process>,
}

/// A process that serves.
struct Process {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Fleet {
    /// Starts all four, each to be held where `holds` says.
    pub(crate) async fn start(place: &Place, holds: &BTreeMap<Service, Hold>) -> Result<Self, Failure> {
        let mut fleet = Self { place: place.clone(), key: key::random()?, running: BTreeMap::new() };
        let mut started = Vec::new();
        for service in Service::ALL {
            started.push((service, fleet.spawn(service, holds.get(&service))?));
        }
        for (service, process) in started {
            fleet.running.insert(service, process.listening(service).await?);
        }
        Ok(fleet)
    }

    /// Waits until a service says that it holds at this phase, and gives the order.
    pub(crate) async fn holding(&mut self, service: Service, phase: Phase) -> Result<String, Failure> {
        let process = self.process(service)?;
        loop {
            let said = process.says.next_line().await?;
            let said = said.ok_or_else(|| format!("{} ended by itself", service.name()))?;
            if let Some(order) = said.strip_prefix(SAID).and_then(|at| at.strip_prefix(&format!("{phase}:")))
            {
                return Ok(order.to_owned());
            }
        }
    }

    /// Kills a service (`SIGKILL`), and gives its process id. An error if it did not die of it.
    pub(crate) async fn kill(&mut self, service: Service) -> Result<u32, Failure> {
        use std::os::unix::process::ExitStatusExt as _;
        let mut process =
            self.running.remove(&service).ok_or("a service that does not run cannot be killed")?;
        let id = process.child.id().ok_or_else(|| format!("{} ended by itself", service.name()))?;
        process.child.start_kill()?;
        let ended = timeout(DOWN_WITHIN, process.child.wait()).await??;
        match ended.signal() {
            Some(9) => Ok(id),
            _ => Err(format!("{} ended by itself, with {ended}", service.name()).into()),
        }
    }

    /// Starts a killed one again, where it was, and waits until it serves.
    pub(crate) async fn restart(&mut self, service: Service, hold: Option<&Hold>) -> Result<(), Failure> {
        let process = self.spawn(service, hold)?.listening(service).await?;
        self.running.insert(service, process);
        Ok(())
    }

    /// Lets all of them hand over what is in flight and end.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        for process in self.running.values_mut() {
            drop(process.child.stdin.take());
        }
        for (service, mut process) in std::mem::take(&mut self.running) {
            let ended = timeout(DOWN_WITHIN, process.child.wait()).await;
            let ended = ended.map_err(|_| format!("{} did not end in {DOWN_WITHIN:?}", service.name()))??;
            if !ended.success() {
                return Err(format!("{} ended with {ended}", service.name()).into());
            }
        }
        Ok(())
    }

    fn spawn(&self, service: Service, hold: Option<&Hold>) -> Result<Process, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(service.name()).arg("--data").arg(&self.place.directory);
        command.env(CHILD, "1").env(key::VARIABLE, &self.key).env_remove(VARIABLE);
        if let Some(hold) = hold {
            command.env(VARIABLE, hold.to_string());
        }
        // A Ctrl-C is for the program in the terminal; the services end with it.
        command.process_group(0).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let says = BufReader::new(child.stdout.take().ok_or("a service without its output")?).lines();
        Ok(Process { child, says })
    }

    fn process(&mut self, service: Service) -> Result<&mut Process, Failure> {
        self.running.get_mut(&service).ok_or_else(|| format!("{} does not run", service.name()).into())
    }
}

impl Process {
    async fn listening(mut self, service: Service) -> Result<Self, Failure> {
        let said = timeout(UP_WITHIN, self.says.next_line()).await;
        let said = said.map_err(|_| format!("{} did not serve within {UP_WITHIN:?}", service.name()))??;
        match said {
            Some(line) if line.starts_with(LISTENS) => Ok(self),
            _ => Err(format!("{} did not start; what it said stands above", service.name()).into()),
        }
    }
}
