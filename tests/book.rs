//! The book in `docs/`: its links lead somewhere, its Rust is compiled, and what its commands name is there.
//!
//! What `tccctl` and `redis-cli` do is typed by `tcc-cli/tests/tccctl/book.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tcc::{ActionPolicy, Config, RetryPolicy};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Folders within the book.
const FOLDERS_MAX: usize = 20;
/// Files of a folder that is looked through for a word.
const FILES_MAX: usize = 1_000;

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A text whose lines may break anywhere.
fn words(path: &str) -> String {
    read(path).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Files below a folder with one of these endings, by their path.
fn files(folder: &str, endings: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::from(folder)];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        looked += 1;
        assert!(looked <= FOLDERS_MAX && files.len() <= FILES_MAX, "{} is too large", folder.display());
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.extension().is_some_and(|found| found == *ending)) {
                files.insert(path.clone(), read(&path));
            }
        }
    }
    files
}

fn pages() -> BTreeMap<PathBuf, String> {
    files("docs/src", &["md"])
}

/// The blocks of a page that begin with this word, with what follows it.
fn blocks<'a>(page: &'a str, word: &str) -> Vec<(&'a str, &'a str)> {
    let mut blocks = Vec::new();
    // What stands between fences is every second part.
    for part in page.split("```").skip(1).step_by(2) {
        let (info, body) = part.split_once('\n').unwrap_or((part, ""));
        if let Some(rest) = info.strip_prefix(word) {
            blocks.push((rest, body));
        }
    }
    blocks
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Targets of a page's links.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default().to_owned());
    targets.collect()
}

/// As mdBook and others make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let mut read_from = pages();
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "PROOF.md"] {
        read_from.insert(page.into(), read(page));
    }
    let mut followed = 0;
    for (path, page) in &read_from {
        for link in links(page).iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').map_or((link.as_str(), None), |(f, h)| (f, Some(h)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let there = Path::new(ROOT).join(&target);
            assert!(there.exists(), "{}: {link} leads nowhere", path.display());
            if let Some(heading) = heading {
                let headings = anchors(&read(&target));
                assert!(headings.contains(heading), "{}: {link}: there are {headings:?}", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "{followed} links");
}

#[test]
fn what_is_named_in_docs_is_there() {
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = read(page);
        for named in text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("docs/")) {
            assert!(Path::new(ROOT).join(named).exists(), "{page} names {named}, which is not there");
        }
    }
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = read("docs/src/SUMMARY.md");
    let mut listed: Vec<PathBuf> =
        links(&summary).iter().map(|link| Path::new("docs/src").join(link)).collect();
    listed.push("docs/src/SUMMARY.md".into());
    listed.sort();
    let there: Vec<PathBuf> = pages().into_keys().collect();
    assert_eq!(listed, there);
    assert!(read("docs/book.toml").contains("src = \"src\""));
}

#[test]
fn all_rust_in_the_book_is_compiled() {
    let compiled = read("src/book.rs") + &read("tcc-propagate/src/lib.rs");
    let mut snippets = 0;
    for (path, page) in pages() {
        let rust = blocks(&page, "rust");
        for (how, _) in &rust {
            assert!(matches!(*how, "" | ",no_run"), "{}: a snippet is {how}", path.display());
        }
        let included = format!("/{}\")]", path.display());
        assert!(rust.is_empty() || compiled.contains(&included), "nothing compiles {}", path.display());
        snippets += rust.len();
    }
    assert!(snippets >= 8, "{snippets} snippets");
}

#[test]
fn blocks_are_of_kinds_that_a_test_looks_after() {
    for (path, page) in pages() {
        assert_eq!(page.matches("```").count() % 2, 0, "{}: a block is open", path.display());
        for (info, _) in blocks(&page, "") {
            let known = ["rust", "rust,no_run", "sh", "sh,elsewhere", "sql", "text", "toml", ""];
            assert!(known.contains(&info), "{}: nobody looks after {info:?}", path.display());
        }
    }
    // What is typed by no test is a sample of an answer, or takes long; it is held to what it needs below.
    let plain =
        pages().into_iter().filter(|(_, page)| blocks(page, "").iter().any(|(info, _)| info.is_empty()));
    assert_eq!(plain.map(|(path, _)| path).collect::<Vec<_>>(), [PathBuf::from("docs/src/tccctl.md")]);
}

#[test]
fn what_is_run_elsewhere_is_there() {
    let mut checked = 0;
    for (path, page) in pages() {
        for line in blocks(&page, "sh,elsewhere").iter().flat_map(|(_, body)| body.lines()) {
            runs(line).unwrap_or_else(|why| panic!("{}: `{line}`: {why}", path.display()));
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked} commands");
}

/// Whether what a command names is there: a package, an example, a test, a script, and the words it is given.
fn runs(line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (cargo, given) = match words.iter().position(|word| *word == "--") {
        Some(place) => (&words[..place], &words[place + 1..]),
        None => (&words[..], &[][..]),
    };
    let after =
        |flag: &str| cargo.iter().position(|word| *word == flag).and_then(|at| cargo.get(at + 1).copied());
    let exists = |path: &str| {
        if Path::new(ROOT).join(path).exists() { Ok(()) } else { Err(format!("{path} is not there")) }
    };
    // A flag or command that a program is given stands in its source.
    let understood = |folder: &str| {
        let source: String = files(folder, &["rs"]).into_values().collect();
        let unknown = given.iter().find(|word| {
            let word = word.trim_start_matches('-');
            word.parse::<u64>().is_err() && !source.contains(&format!("\"{word}\""))
        });
        unknown.map_or(Ok(()), |word| Err(format!("{folder} does not know {word}")))
    };
    let package = |name: &str| {
        ["", "examples/"]
            .map(|folder| format!("{folder}{name}"))
            .into_iter()
            .find(|folder| Path::new(ROOT).join(folder).join("Cargo.toml").exists())
            .ok_or(format!("there is no package {name}"))
    };
    match &words[..] {
        ["cargo", "run", ..] => match (after("--example"), after("-p")) {
            (Some(example), None) => understood(&format!("examples/{example}")),
            (None, Some(name)) => understood(&package(name)?),
            _ => Err("neither an example nor a package".into()),
        },
        ["cargo", "test", "-p", name, ..] => {
            let folder = format!("{}/tests/{}", package(name)?, after("--test").ok_or("no test")?);
            if let Some(filter) = cargo.last().filter(|word| after("--test") != Some(*word)) {
                return exists(&format!("{folder}/{filter}.rs"));
            }
            exists(&format!("{folder}.rs")).or_else(|_| exists(&format!("{folder}/main.rs")))
        }
        ["cargo", "install", "--path", path] => {
            let manifest = read(format!("{path}/Cargo.toml"));
            if manifest.contains("[[bin]]") { Ok(()) } else { Err(format!("{path} has no program")) }
        }
        ["scripts/prove", layer] => {
            exists("scripts/prove")?;
            let files = files("scripts/proof", &["sh"]).into_keys();
            let mut layers =
                files.filter_map(|path| Some(path.file_stem()?.to_str()?.split_once('-')?.1.to_owned()));
            if matches!(*layer, "quick" | "release") || layers.any(|there| there == *layer) {
                return Ok(());
            }
            Err(format!("there is no layer {layer}"))
        }
        ["mdbook", "build", folder] => exists(&format!("{folder}/book.toml")),
        // The settings that the start of a service asks for; `surroundings.rs` of tcc-redis holds it to them.
        ["redis-server", settings @ ..] => {
            let asked = "--appendonly yes --appendfsync always --maxmemory 1gb --maxmemory-policy noeviction";
            if settings.join(" ") == asked { Ok(()) } else { Err("other settings than are asked for".into()) }
        }
        ["export", url] if url.starts_with("REDIS_URL=redis://") => Ok(()),
        _ => Err("no test knows how to look after it".into()),
    }
}

#[test]
fn features_that_the_book_names_are_there() {
    let manifest = read("Cargo.toml");
    let start = read("docs/src/start.md");
    let (_, toml) = blocks(&start, "toml")[0];
    let features = toml
        .lines()
        .filter(|line| line.starts_with("tcc = "))
        .filter_map(|line| line.split_once("features = "));
    let features: Vec<&str> = features.flat_map(|(_, list)| list.split('"').skip(1).step_by(2)).collect();
    assert_eq!(features, ["testing"]);
    assert!(features.iter().all(|feature| manifest.contains(&format!("\n{feature} = ["))));
}

#[test]
fn times_and_limits_are_the_defaults() {
    let policy = RetryPolicy::default();
    let waits = |random: u64| -> Duration {
        (1..policy.attempts_max()).map(|attempt| policy.delay(attempt, random)).sum()
    };
    // Jitter is nothing for 0; what makes it whole is another number for each wait.
    let shortest = waits(0);
    let minutes = (shortest.as_secs() / 60, (2 * shortest).as_secs().div_ceil(60));
    assert_eq!((policy.attempts_max(), minutes), (20, (5, 11)));
    let retries = words("docs/src/alarms/retries-growing.md");
    assert!(retries.contains("when 20 attempts have failed, between 5 and 11 minutes after the first"));

    let config = Config::default();
    assert!(retries.contains(&format!("{} groups a process", config.drives_max)));
    let day = config.retention == Duration::from_secs(24 * 3_600);
    assert!(day && words("docs/src/guarantees.md").contains("24 h unless set"));
    let minutes = config.unhandled_limit == Duration::from_secs(600);
    assert!(minutes && words("docs/src/alarms/unknown-action.md").contains("10 min unless set"));
    let patience = config.decide_patience == Duration::from_secs(30);
    assert!(patience && words("docs/src/alarms/redis-unreachable.md").contains("pursued for 30 seconds"));
    let sweeps = config.sweep_interval == Duration::from_millis(500);
    assert!(sweeps && words("docs/src/alarms/overdue.md").contains("sweeps twice a second"));

    let (policy, page) = (format!("{:?}", ActionPolicy::new()), words("docs/src/participant.md"));
    for (default, told) in [
        ("timeout: 5s, ", "| `timeout` | 5 s |"),
        ("hard_limit: 60s, ", "| `hard_limit` | 60 s |"),
        ("phase_timeout: 30s, ", "| `phase_timeout` | 30 s |"),
        ("ongoing_limit: 3600s, ", "| `ongoing_limit` | 1 h |"),
        ("max: 20, base: 100ms, cap: 60s", "| 20, 100 ms, 60 s |"),
    ] {
        assert!(policy.contains(default) && page.contains(told), "{told} in {policy}");
    }
}
