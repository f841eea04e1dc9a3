//! Redis's append-only file: what of it is on the disk for certain, and where its commands and their words are.

use std::{
    fs::OpenOptions,
    ops::Range,
    path::{Path, PathBuf},
};

use redis::aio::MultiplexedConnection;

use super::support::server::{Server, ask};

/// The part that grows. None of these tests lets Redis rewrite it.
pub(crate) fn file(directory: &Path) -> PathBuf {
    directory.join("appendonlydir/appendonly.aof.1.incr.aof")
}

pub(crate) fn length(directory: &Path) -> u64 {
    std::fs::metadata(file(directory)).expect("the append-only file").len()
}

pub(crate) fn cut(directory: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(file(directory)).expect("the append-only file");
    file.set_len(length).expect("a shorter file");
}

/// Tells how much of the file Redis has synced.
///
/// `aof_current_size` grows where Redis writes the file, and at `appendfsync always` it does nothing between that and
/// `fdatasync`: what `INFO` shows was synced before `INFO` ran.
pub(crate) struct Gauge {
    raw: MultiplexedConnection,
    /// What Redis counts beside this file.
    beside: u64,
}

impl Gauge {
    pub(crate) async fn of(server: &Server) -> Self {
        let mut raw = server.raw().await;
        for _ in 0..10_000 {
            let before = current_size(&mut raw).await;
            let length = length(&server.directory());
            if current_size(&mut raw).await == before && length <= before {
                return Self { raw, beside: before - length };
            }
        }
        panic!("Redis was never quiet for as long as it takes to look at its file");
    }

    pub(crate) async fn synced(&mut self) -> u64 {
        current_size(&mut self.raw).await - self.beside
    }
}

async fn current_size(raw: &mut MultiplexedConnection) -> u64 {
    let info: String = ask(raw, &["INFO", "persistence"]).await;
    let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
    size.expect("the size of the append-only file").trim().parse().expect("a number")
}

/// A command in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) place: Range<usize>,
    pub(crate) words: Vec<Range<usize>>,
}

/// The whole commands in these bytes.
pub(crate) fn commands(bytes: &[u8]) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(command) = command(bytes, at) {
        at = command.place.end;
        commands.push(command);
    }
    commands
}

fn command(bytes: &[u8], start: usize) -> Option<Command> {
    let (count, mut at) = number(bytes, start, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, word) = number(bytes, at, b'$')?;
        words.push(word..word + length);
        at = word + length + 2;
    }
    (at <= bytes.len()).then_some(Command { place: start..at, words })
}

/// The number after this mark, and where the next line begins.
fn number(bytes: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    let end = line.iter().position(|byte| *byte == b'\r')?;
    let text = std::str::from_utf8(line.get(..end)?).ok()?;
    let number = text.strip_prefix(char::from(mark))?.parse().ok()?;
    Some((number, at + end + 2))
}

#[test]
fn commands_and_their_words_are_found_up_to_a_torn_one() {
    let bytes = b"*2\r\n$3\r\nDEL\r\n$2\r\nab\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDE";
    let found = commands(bytes);
    assert_eq!(found.iter().map(|command| command.place.clone()).collect::<Vec<_>>(), [0..21, 21..36]);
    assert_eq!(&bytes[found[0].words[1].clone()], b"ab");
}
