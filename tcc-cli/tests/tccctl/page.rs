//! Pages of the book, and typing what they tell to type.
//!
//! A line of a block ```` ```sh ```` is typed into a shell, one after the other. It ends with 0, or as its comment
//! `# exit 8` says. What a test cannot run here (an installation, a whole example) stands in a block
//! ```` ```sh,elsewhere ````, which `tests/book.rs` of the root package looks after.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::{
    ctl::{Ctl, Said},
    server::Server,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src");
/// Folders in folders; the book has one level.
const DEPTH_MAX: usize = 3;

/// A line to type, and the exit code it is to end with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) typed: String,
    pub(crate) code: i32,
}

/// The lines of a page that are to be typed.
pub(crate) fn lines(page: &str) -> Vec<Line> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let lines = blocks.flat_map(str::lines).filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once("# exit ") {
            Some((typed, code)) => {
                Line { typed: typed.trim_end().to_owned(), code: code.trim().parse().unwrap() }
            }
            None => Line { typed: line.to_owned(), code: 0 },
        })
        .collect()
}

/// Every page, by its path within the book.
pub(crate) fn all() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![(PathBuf::from(FOLDER), String::new(), 1)];
    while let Some((folder, path, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{path}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                assert!(depth < DEPTH_MAX, "{name} lies too deep");
                folders.push((entry.path(), format!("{name}/"), depth + 1));
            } else {
                pages.insert(name, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    pages
}

/// Debian's comes with its server, Valkey's has another name.
fn redis_cli() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = ["redis-cli", "valkey-cli"]
        .into_iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|cli| cli.is_file()));
    found.expect("these tests need `redis-cli` or `valkey-cli` on PATH: apt install redis-tools")
}

/// A page, and a shell in which `redis-cli` leads to a test's own server.
pub(crate) struct Page {
    name: &'static str,
    ctl: Ctl,
    _bin: tempfile::TempDir,
}

impl Page {
    pub(crate) fn new(name: &'static str, server: &Server, ctl: &Ctl) -> Self {
        let bin = tempfile::tempdir().unwrap();
        let path = bin.path().join("redis-cli");
        let script = format!("#!/bin/sh\nexec {} -p {} \"$@\"\n", redis_cli().display(), server.port());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default());
        // The servers here keep nothing on the disk, which `doctor` would tell.
        let ctl = ctl.clone().with("TCC_DURABILITY", "volatile").with("BOOK_PATH", &path);
        let ctl = ctl.with("COPY", bin.path().join("copy").to_str().unwrap());
        Self { name, ctl, _bin: bin }
    }

    /// With a variable of the shell, such as `GID`.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.ctl = self.ctl.with(name, &value.to_string());
        self
    }

    /// Types every line. `before` is what happens in the world before a line is typed.
    pub(crate) async fn follow(&self, mut before: impl AsyncFnMut(&str)) -> Vec<Said> {
        let pages = all();
        let page = pages.get(self.name).unwrap_or_else(|| panic!("{} is no page", self.name));
        let mut answers = Vec::new();
        for Line { typed, code } in lines(page) {
            before(&typed).await;
            let said = self.ctl.typed(&format!("PATH=$BOOK_PATH:$PATH; {typed}")).await;
            assert_eq!(said.code, code, "{}: {typed}: {said:?}", self.name);
            let refused = said.data.starts_with("ERR") || said.data.starts_with("NOPERM");
            assert!(!refused, "{}: {typed}: {said:?}", self.name);
            answers.push(said);
        }
        assert!(!answers.is_empty(), "{} tells nothing to type", self.name);
        answers
    }
}
