//! The ledger as a process of its own: a socket for those who keep their money in it, and a journal on the disk
//! that it is opened from again.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

use super::ledger::{Answer, Ledger, Step};

pub(crate) const JOURNAL: &str = "journal";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Step(Step),
    /// How many transfers came to an end, as far as their initiators heard.
    Heard,
    /// Everything.
    Show,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Step(Answer),
    Heard(usize),
    Show(Box<Ledger>),
}

struct Office {
    ledger: Ledger,
    journal: File,
}

impl Office {
    /// Goes through the journal; a last line without an end was never answered.
    fn open(folder: &Path) -> Self {
        let path = folder.join(JOURNAL);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut ledger = Ledger::open();
        for line in text[..whole].lines() {
            ledger.take(&serde_json::from_str(line).expect("a step"));
        }
        let journal = OpenOptions::new().create(true).append(true).open(&path).expect("the journal");
        journal.set_len(whole as u64).expect("the journal without a torn line");
        Self { ledger, journal }
    }

    /// Everything that is answered is on the disk.
    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Step(step) => {
                let line = serde_json::to_string(&step).expect("a step") + "\n";
                self.journal.write_all(line.as_bytes()).expect("a line of the journal");
                self.journal.sync_data().expect("a line on the disk");
                Reply::Step(self.ledger.take(&step))
            }
            Request::Heard => Reply::Heard(self.ledger.heard.len()),
            Request::Show => Reply::Show(Box::new(self.ledger.clone())),
        }
    }
}

/// Keeps the office open until its process ends.
pub(crate) fn keep(folder: &Path, port: u16) {
    let office = Arc::new(Mutex::new(Office::open(folder)));
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the ledger's port");
    for stream in listener.incoming() {
        let (office, stream) = (Arc::clone(&office), stream.expect("a customer"));
        std::thread::spawn(move || serve(&office, stream));
    }
}

fn serve(office: &Mutex<Office>, mut stream: TcpStream) {
    stream.set_nodelay(true).expect("an option");
    let lines = BufReader::new(stream.try_clone().expect("the other direction"));
    for line in lines.lines() {
        let Ok(line) = line else { return };
        let request = serde_json::from_str(&line).expect("a request");
        let reply = office.lock().expect("the office").answer(request);
        let reply = serde_json::to_string(&reply).expect("a reply") + "\n";
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}
