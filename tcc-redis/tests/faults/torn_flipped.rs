//! Append-only files that are torn in the middle of a command, and ones with a bit that flipped.
//!
//! All machines stand still at once; then what they left is started again many times over, each time with another
//! harm done to a copy of Redis's file.

use std::{collections::BTreeSet, fs, ops::Range, path::Path};

use tempfile::TempDir;

use super::{
    aof,
    audit::{Spoiled, Verdict, look_and_judge, wait},
    office::JOURNAL,
    power::ONE_FILE,
    process::Running,
    role::{ANSWER, Service},
    scene::{LedgerHouse, Scene, Setting},
    support::{random::Random, records::records, server::Server},
    tally::Tally,
};

/// Harms done to copies of one file.
const COPIES: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_files_lose_nothing_and_flipped_bits_are_found_or_do_no_harm() {
    let torn = Tally::scale("TCC_TORN_FILES", 10);
    let flipped = Tally::scale("TCC_FLIPPED_FILES", 10);
    let mut tally = Tally::of("torn-flipped");
    let (mut left_torn, mut left_flipped) = (torn, flipped);
    let mut seed = Tally::seed();
    while left_torn + left_flipped > 0 {
        let mut image = Image::take(seed).await;
        for _ in 0..COPIES.min(left_torn) {
            left_torn -= 1;
            let (place, verdict) = image.torn().await;
            tally.ran("torn", u64::from(place < image.file.len()));
            tally.judged(seed, verdict);
        }
        for _ in 0..COPIES.min(left_flipped) {
            left_flipped -= 1;
            let (flip, verdict) = image.flipped().await;
            tally.flipped(seed, &flip, verdict);
        }
        seed += 1;
    }
    tally.end();
}

/// What all machines left behind.
struct Image {
    folder: TempDir,
    /// Redis's append-only file.
    file: Vec<u8>,
    /// How much of it was synced for certain.
    synced: usize,
    /// Transactions that were not final.
    open: BTreeSet<String>,
    random: Random,
}

/// A bit that flips, and whose it is.
struct Flip {
    byte: usize,
    bit: u32,
    gid: Option<String>,
    /// The command, with the word that is spoiled.
    shown: String,
}

impl Image {
    async fn take(seed: u64) -> Self {
        let setting = Setting { seed, slow_ms: 150, sabotage: None };
        let mut scene = Scene::new(setting, Server::with(&ONE_FILE).await).await;
        scene.goes_on(150).await;
        let synced = scene.last_acknowledged().await as usize;
        let open = async |server: &Server| -> BTreeSet<String> {
            let records = records(&mut server.raw().await).await.into_iter();
            let is_final = |state: &String| state == "confirmed" || state == "cancelled";
            records.filter(|(_, record)| !is_final(&record["state"])).map(|(gid, _)| gid).collect()
        };
        let (folder, server) = scene.stand_still();
        let directory = server.directory();
        let file = fs::read(aof::file(&directory)).expect("the append-only file");
        copy(&directory.join("appendonlydir"), &folder.path().join("appendonlydir"));
        let mut image = Self { folder, file, synced, open: BTreeSet::new(), random: Random::new(seed) };
        let server = image.start_redis(&image.file).await.expect("a Redis on what it left");
        image.open = open(&server).await;
        assert!(!image.open.is_empty(), "something was in flight");
        image
    }

    /// Redis on a copy of its files, one of them harmed.
    async fn start_redis(&self, file: &[u8]) -> Result<Server, String> {
        let directory = tempfile::tempdir().expect("a directory for the server");
        copy(&self.folder.path().join("appendonlydir"), &directory.path().join("appendonlydir"));
        fs::write(aof::file(directory.path()), file).expect("a harmed file");
        Server::on_files(directory, &ONE_FILE).await
    }

    /// Everything starts again on a copy, with a service that begins nothing.
    async fn end(&self, server: &Server, spoiled: Option<&str>) -> Verdict {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join(JOURNAL);
        fs::copy(self.folder.path().join(JOURNAL), journal).expect("a copy of the journal");
        let ledger = LedgerHouse::open(folder.path()).await;
        let service = Service {
            name: "after".into(),
            redis: server.url(),
            ledger: ledger.port(),
            marks: folder.path().to_owned(),
            tries_only: Vec::new(),
            load: 0,
            slow_ms: 0,
            seed: 1,
            sabotage: None,
            asks: spoiled.map(str::to_owned),
        };
        let service = Running::start(service).await;
        let still_open = wait(server, spoiled).await;
        service.leave().await;
        let answer: Result<Option<String>, String> = match fs::read_to_string(folder.path().join(ANSWER)) {
            Ok(text) => serde_json::from_str(&text).expect("an answer"),
            Err(_) => Ok(None),
        };
        let refused = answer.as_ref().err().map(String::as_str);
        let spoiled = spoiled.map(|gid| Spoiled { gid, refused });
        let mut verdict = look_and_judge(server, &ledger.customer, spoiled).await;
        verdict.broken.extend(still_open);
        verdict
    }

    /// Torn in the middle of a command, in what may or may not have come to the disk.
    async fn torn(&mut self) -> (usize, Verdict) {
        let commands = aof::commands(&self.file).into_iter();
        let unsynced: Vec<_> = commands.filter(|command| command.place.start >= self.synced).collect();
        let command = self.random.one_of(&unsynced);
        let (start, end) = (command.place.start as u64, command.place.end as u64);
        let place = self.random.within(start + 1..=end - 1) as usize;
        let server = self.start_redis(&self.file[..place]).await;
        let server = server.unwrap_or_else(|log| panic!("Redis does not take a torn file: {log}"));
        (place, self.end(&server, None).await)
    }

    /// With a bit flipped in a word of a record or of a message.
    async fn flipped(&mut self) -> (Flip, Result<Verdict, String>) {
        let flip = self.choose();
        let mut file = self.file.clone();
        file[flip.byte] ^= 1 << flip.bit;
        let ended = match self.start_redis(&file).await {
            Err(log) => Err(log),
            Ok(server) => Ok(self.end(&server, flip.gid.as_deref()).await),
        };
        (flip, ended)
    }

    /// Most often in a record that is not final, and often where it names an account: these are one bit apart.
    fn choose(&mut self) -> Flip {
        let text = |word: &Range<usize>| String::from_utf8_lossy(&self.file[word.clone()]).into_owned();
        let commands = aof::commands(&self.file);
        let only_open = self.random.within(1..=10) < 10;
        let (names, messages) = (self.random.within(1..=3) == 1, self.random.within(1..=8) == 1);
        let mut candidates = Vec::new();
        for command in &commands {
            let Some([name, key]) = command.words.get(..2).map(|words| [text(&words[0]), text(&words[1])])
            else {
                continue;
            };
            let gid = match name.to_ascii_uppercase().as_str() {
                "HSET" | "HMSET" => match key.strip_prefix("{tcc:00}:tx:") {
                    Some(gid) => Some(gid.to_owned()),
                    None => continue,
                },
                "XADD" if messages && key.starts_with("{tcc:00}:ready:") => None,
                _ => continue,
            };
            let words = command.words[2..].iter().filter(|word| !word.is_empty());
            let words: Vec<_> = words.filter(|word| !names || text(word).starts_with("acct-")).collect();
            let counts = gid.as_ref().is_none_or(|gid| !only_open || self.open.contains(gid));
            if counts && !words.is_empty() {
                candidates.push((command, gid, words));
            }
        }
        let (command, gid, words) = self.random.one_of(&candidates);
        let word = *self.random.one_of(words);
        let (byte, bit) = if names {
            (word.start + "acct-".len(), self.random.within(1..=2) as u32)
        } else {
            let byte = self.random.within(word.start as u64..=word.end as u64 - 1);
            (byte as usize, self.random.within(0..=7) as u32)
        };
        let before = command.words[2..].iter().take_while(|other| **other != *word).last();
        let shown = format!(
            "{} {} [{}] {:?}: byte {}, bit {bit}",
            text(&command.words[0]),
            text(&command.words[1]),
            before.map(text).unwrap_or_default(),
            text(word),
            byte - word.start,
        );
        Flip { byte, bit, gid: gid.clone(), shown }
    }
}

impl Tally {
    /// How the flip ended.
    fn flipped(&mut self, seed: u64, flip: &Flip, ended: Result<Verdict, String>) {
        let end = match &ended {
            Err(log) => {
                assert!(log.contains("append only file"), "Redis ended for another reason: {log}");
                "flipped: Redis refuses the file".to_owned()
            }
            Ok(verdict) => match &verdict.spoiled {
                Some(why) if why.starts_with("parked") => "flipped: parked with its cause".to_owned(),
                Some(_) => "flipped: final, and an error to who asks".to_owned(),
                None => "flipped: without effect".to_owned(),
            },
        };
        self.note(&format!(
            "{}: {end}: {:?}",
            flip.shown,
            ended.as_ref().map(|verdict| &verdict.spoiled).ok()
        ));
        self.ran(&end, 1);
        if let Ok(verdict) = ended {
            self.judged(seed, verdict);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for file in fs::read_dir(from).expect("the files") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}
