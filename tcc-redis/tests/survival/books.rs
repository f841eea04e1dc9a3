//! Books that survive their process: one file an entry, each written whole or not at all.
//!
//! An entry is a hard link to a text that is already on the disk: it is there at once and as a whole, and
//! the second who makes it learns what the first one wrote. So every entry is its own fence, across
//! processes, and whoever is killed or stopped between two entries holds no lock.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// What each of the two accounts holds before the first transfer.
pub(crate) const OPENING: i64 = 1_000_000;

#[derive(Clone)]
pub(crate) struct Books {
    folder: PathBuf,
    /// Whose drafts are whose.
    process: String,
}

/// What the books hold of a branch, as `(gid, ordinal)` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    /// `reserved <account> <amount>`, or `barred` when cancel came first.
    pub(crate) attempt: Option<String>,
    /// `confirm` or `cancel`.
    pub(crate) end: Option<String>,
}

/// A handler that ran, as it noted itself when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) phase: String,
    pub(crate) account: String,
    pub(crate) gid: String,
    pub(crate) attempt: u32,
    pub(crate) process: String,
}

impl Books {
    pub(crate) fn new(folder: &Path, process: &str) -> Self {
        for part in ["entries", "drafts", "marks"] {
            fs::create_dir_all(folder.join(part)).expect("a folder of the books");
        }
        Self { folder: folder.to_owned(), process: process.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes an entry unless there is one, and gives back what stands.
    pub(crate) fn enter(&self, branch: &str, kind: &str, text: &str) -> String {
        static DRAFTS: AtomicU64 = AtomicU64::new(0);
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = self.folder.join("drafts").join(format!("{}-{number}", self.process));
        fs::write(&draft, text).expect("a draft");
        let entry = self.folder.join("entries").join(format!("{branch}.{kind}"));
        let linked = fs::hard_link(&draft, &entry);
        fs::remove_file(&draft).expect("a draft is removed");
        match linked {
            Ok(()) => text.to_owned(),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::read_to_string(&entry).expect("an entry")
            }
            Err(error) => panic!("{}: {error}", entry.display()),
        }
    }

    /// Adds a line to a journal, in one write.
    pub(crate) fn note(&self, journal: &str, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join(journal));
        file.expect("a journal").write_all(format!("{line}\n").as_bytes()).expect("a line");
    }

    /// The whole lines of a journal; a process may have been killed at the last one.
    pub(crate) fn journal(&self, journal: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(journal)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Handlers of this phase that began, in order.
    pub(crate) fn ran(&self, phase: &str) -> Vec<Ran> {
        let parse = |line: String| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut next = || words.next().expect("a word");
            let (phase, account, gid) = (next(), next(), next());
            Ran { phase, account, gid, attempt: next().parse().expect("a number"), process: next() }
        };
        self.journal("ran").into_iter().map(parse).filter(|ran| ran.phase == phase).collect()
    }

    /// Says something to whoever shares the books.
    pub(crate) fn mark(&self, name: &str) {
        fs::write(self.folder.join("marks").join(name), "").expect("a mark");
    }

    pub(crate) fn is_marked(&self, name: &str) -> bool {
        self.folder.join("marks").join(name).exists()
    }

    /// All entries by gid, then ordinal.
    pub(crate) fn entries(&self) -> BTreeMap<String, BTreeMap<String, Entries>> {
        let mut all: BTreeMap<String, BTreeMap<String, Entries>> = BTreeMap::new();
        for file in fs::read_dir(self.folder.join("entries")).expect("the entries") {
            let file = file.expect("an entry");
            let name = file.file_name().into_string().expect("a name");
            let text = fs::read_to_string(file.path()).expect("an entry");
            let [gid, ordinal, kind] = name.split('.').collect::<Vec<_>>()[..] else {
                panic!("a strange entry: {name}")
            };
            let entries = all.entry(gid.to_owned()).or_default().entry(ordinal.to_owned()).or_default();
            match kind {
                "try" => entries.attempt = Some(text),
                _ => entries.end = Some(text),
            }
        }
        all
    }
}
