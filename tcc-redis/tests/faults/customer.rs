//! Who asks the ledger, from another process.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{
    ledger::{Answer, Ledger, Step},
    office::{Reply, Request},
};

/// For how long a ledger that does not answer is asked.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Customer {
    port: u16,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Customer {
    pub(crate) fn of(port: u16) -> Self {
        Self { port, idle: Mutex::default() }
    }

    /// Asks until there is an answer: every step may be taken twice.
    pub(crate) async fn ask(&self, request: &Request) -> Reply {
        let line = serde_json::to_string(request).expect("a request") + "\n";
        let started = Instant::now();
        loop {
            match timeout(PATIENCE, self.once(&line)).await {
                Ok(Ok(reply)) => return reply,
                other => assert!(started.elapsed() < PATIENCE, "the ledger does not answer: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn take(&self, step: Step) -> Answer {
        match self.ask(&Request::Step(step)).await {
            Reply::Step(answer) => answer,
            other => panic!("no answer to a step: {other:?}"),
        }
    }

    pub(crate) async fn heard(&self) -> usize {
        match self.ask(&Request::Heard).await {
            Reply::Heard(heard) => heard,
            other => panic!("no answer to the question: {other:?}"),
        }
    }

    pub(crate) async fn show(&self) -> Ledger {
        match self.ask(&Request::Show).await {
            Reply::Show(ledger) => *ledger,
            other => panic!("no answer to the question: {other:?}"),
        }
    }

    async fn once(&self, line: &str) -> std::io::Result<Reply> {
        let idle = self.idle.lock().expect("the connections").pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?),
        };
        stream.get_mut().write_all(line.as_bytes()).await?;
        let mut reply = String::new();
        if stream.read_line(&mut reply).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.idle.lock().expect("the connections").push(stream);
        Ok(serde_json::from_str(&reply)?)
    }
}
