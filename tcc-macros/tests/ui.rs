//! What the macros take, what they refuse, and what users read then.
//!
//! The messages are pinned for the toolchain that CI uses, Rust 1.95, in `tests/ui/fail/*.stderr`. Under another
//! version the compiler's own words may differ; the test fails then and is never skipped. After a change that is meant,
//! write them anew with `TRYBUILD=overwrite cargo test -p tcc-macros --test ui`, and read every difference.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FAILING_MIN: usize = 45;
const MESSAGES_MIN: usize = 28;
const PASSING_MIN: usize = 18;
/// What is left of a message without its arguments must still tell it from every other.
const FRAGMENT_CHARS_MIN: usize = 12;

#[test]
fn macros_take_and_refuse_what_they_should() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

#[test]
fn every_message_is_shown_by_a_case_that_fails() {
    let shown: String = files("tests/ui/fail", "stderr").values().cloned().collect();
    let messages = messages();
    assert!(messages.len() >= MESSAGES_MIN, "{} messages", messages.len());
    for (constructor, fragment) in &messages {
        assert!(
            fragment.chars().count() >= FRAGMENT_CHARS_MIN,
            "{constructor}: {fragment:?} tells too little"
        );
        assert!(shown.contains(fragment), "no case in tests/ui/fail shows {constructor}: {fragment:?}");
        let others = messages.iter().filter(|(other, _)| other != &constructor);
        for (other, text) in others {
            assert!(!text.contains(fragment), "{constructor} and {other} cannot be told apart: {fragment:?}");
        }
    }
}

#[test]
fn every_mistake_is_reported_where_it_was_made() {
    for (path, stderr) in files("tests/ui/fail", "stderr") {
        let source = fs::read_to_string(path.with_extension("rs")).unwrap();
        for (line, column) in primary_places(&stderr) {
            let at = source.lines().nth(line - 1).unwrap_or_default();
            let at_attribute = column == at.len() - at.trim_start().len() + 1
                && ["#[tcc::participant", "#[tcc::transaction"]
                    .iter()
                    .any(|name| at.trim_start().starts_with(name));
            assert!(
                !at_attribute,
                "{}:{line}:{column} points at the macro, not at a mistake",
                path.display()
            );
        }
    }
}

#[test]
fn there_are_cases_enough() {
    assert!(files("tests/ui/fail", "rs").len() >= FAILING_MIN);
    assert!(files("tests/ui/pass", "rs").len() >= PASSING_MIN);
    let (sources, messages) = (files("tests/ui/fail", "rs"), files("tests/ui/fail", "stderr"));
    for source in sources.keys() {
        assert!(
            messages.contains_key(&source.with_extension("stderr")),
            "{} is not pinned",
            source.display()
        );
    }
}

/// The files of a directory that end in `extension`, with their text.
fn files(directory: &str, extension: &str) -> BTreeMap<PathBuf, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Where each error of a compiler's output begins.
fn primary_places(stderr: &str) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut in_error = false;
    for line in stderr.lines() {
        if let Some(place) = line.trim_start().strip_prefix("--> tests/ui/fail/").filter(|_| in_error) {
            let mut numbers = place.split(':').skip(1).map(|number| number.parse().unwrap());
            places.push((numbers.next().unwrap(), numbers.next().unwrap()));
            in_error = false;
        }
        in_error |= line.starts_with("error");
    }
    places
}

/// Each constructor of the macros' diagnostics, with the longest piece of its message that has no argument in it.
fn messages() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostics.rs");
    let source = fs::read_to_string(path).unwrap();
    let functions = source.split("\npub(crate) fn ").skip(1);
    let constructors = functions.filter(|function| {
        let signature = function.split('{').next().unwrap();
        signature.contains("-> Error")
    });
    constructors
        .map(|function| {
            let name = function.split(['(', '<']).next().unwrap();
            let body = &function[function.find('{').unwrap()..];
            let literals = string_literals(body);
            let pieces = literals.iter().flat_map(|literal| fixed_pieces(literal));
            let longest = pieces.max_by_key(|piece| piece.chars().count()).unwrap_or_default();
            (name.to_owned(), longest)
        })
        .collect()
}

fn string_literals(code: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut characters = code.chars();
    while characters.by_ref().any(|character| character == '"') {
        let mut literal = String::new();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => match characters.next() {
                    // A line that goes on in the next.
                    Some('\n') => {
                        let rest = characters.as_str().trim_start();
                        characters = rest.chars();
                    }
                    Some(escaped) => literal.push(escaped),
                    None => {}
                },
                other => literal.push(other),
            }
        }
        literals.push(literal);
    }
    literals
}

fn fixed_pieces(literal: &str) -> Vec<String> {
    literal.split('{').map(|piece| piece.split('}').next_back().unwrap_or_default().to_owned()).collect()
}
