//! Breaks the scripts on purpose, one place at a time: every condition negated, taken as true and as false,
//! every part of a condition left out, every write and assignment deleted. `scripts/mutate-lua` runs the
//! tests on each, and they must fail.

use std::{fs, path::PathBuf};

/// A part of the scripts with one line changed.
struct Mutant {
    part: &'static str,
    line: usize,
    was: String,
    is: String,
}

#[test]
#[ignore = "writes files for scripts/mutate-lua, which names the directory in TCC_REDIS_MUTANTS"]
fn write_mutants() {
    let directory = PathBuf::from(std::env::var_os("TCC_REDIS_MUTANTS").expect("TCC_REDIS_MUTANTS"));
    let mut count = 0;
    for (part, text) in tcc_redis::script_parts() {
        // Time as tests give it says nothing of the scripts that users run.
        if *part == "time_given" {
            continue;
        }
        for mutant in mutants(part, text) {
            count += 1;
            let place = directory.join(format!("{count:04}"));
            fs::create_dir_all(&place).expect("a directory");
            let mut lines: Vec<&str> = text.lines().collect();
            lines[mutant.line - 1] = &mutant.is;
            fs::write(place.join(mutant.part), lines.join("\n") + "\n").expect("a file");
            let told = format!(
                "{}.lua:{}: {} -> {}\n",
                mutant.part,
                mutant.line,
                mutant.was.trim(),
                mutant.is.trim()
            );
            fs::write(place.join("told"), told).expect("a file");
        }
    }
    assert!(count > 100);
}

fn mutants(part: &'static str, text: &str) -> Vec<Mutant> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for is in changes(line) {
            all.push(Mutant { part, line: index + 1, was: line.to_owned(), is });
        }
    }
    all
}

/// What can become of a line.
fn changes(line: &str) -> Vec<String> {
    let code = line.trim();
    if code.is_empty() || code.starts_with("--") || !is_balanced(code) {
        return Vec::new();
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    for keyword in ["if ", "elseif "] {
        if let Some(condition) = code.strip_prefix(keyword).and_then(|rest| rest.strip_suffix(" then")) {
            let mut conditions = vec![format!("not ({condition})"), "true".to_owned(), "false".to_owned()];
            conditions.extend(shortened(condition));
            return conditions
                .into_iter()
                .map(|changed| format!("{indent}{keyword}{changed} then"))
                .collect();
        }
    }
    if let Some(value) = code.strip_prefix("return ") {
        return shortened(value).into_iter().map(|changed| format!("{indent}return {changed}")).collect();
    }
    if let Some((name, value)) = code.strip_prefix("local ").and_then(|rest| rest.split_once(" = ")) {
        return shortened(value)
            .into_iter()
            .map(|changed| format!("{indent}local {name} = {changed}"))
            .collect();
    }
    let is_statement = !["local ", "for ", "end", "else", "return", "}", "..", "function"]
        .iter()
        .any(|word| code.starts_with(word))
        && (code.contains(" = ") || code.ends_with(')'))
        && !code.ends_with(',')
        && code.starts_with(|first: char| first.is_ascii_lowercase());
    let mut changed = Vec::new();
    if is_statement {
        changed.push(format!("{indent}-- deleted"));
        if let Some((name, value)) = code.split_once(" = ") {
            changed.extend(shortened(value).into_iter().map(|value| format!("{indent}{name} = {value}")));
        }
    }
    changed
}

/// A condition with one of its parts left out.
fn shortened(condition: &str) -> Vec<String> {
    let mut parts = vec![(String::new(), String::new())];
    let mut depth = 0_i32;
    for word in condition.split(' ') {
        if depth == 0 && matches!(word, "and" | "or") {
            parts.push((word.to_owned(), String::new()));
            continue;
        }
        depth += word
            .chars()
            .map(|char| i32::from("({[".contains(char)) - i32::from(")}]".contains(char)))
            .sum::<i32>();
        let part = &mut parts.last_mut().expect("a part").1;
        if !part.is_empty() {
            part.push(' ');
        }
        part.push_str(word);
    }
    if parts.len() < 2 {
        return Vec::new();
    }
    let without = |left_out: usize| {
        let kept = parts.iter().enumerate().filter(|(place, _)| *place != left_out).map(|(_, part)| part);
        let words = kept.enumerate().map(
            |(place, (joint, part))| {
                if place == 0 { part.clone() } else { format!("{joint} {part}") }
            },
        );
        words.collect::<Vec<_>>().join(" ")
    };
    (0..parts.len()).map(without).collect()
}

fn is_balanced(code: &str) -> bool {
    let count = |open, close| code.matches(open).count() == code.matches(close).count();
    count('(', ')') && count('{', '}') && count('[', ']')
}

#[test]
fn conditions_are_broken_in_every_way() {
    let found = changes("  if a and b(c or d) or e then");
    let expected =
        ["not (a and b(c or d) or e)", "true", "false", "b(c or d) or e", "a or e", "a and b(c or d)"];
    assert_eq!(found, expected.map(|condition| format!("  if {condition} then")));
    assert_eq!(changes("    branch.next = now"), ["    -- deleted"]);
    assert_eq!(changes("  return a or 0"), ["  return 0", "  return a"]);
    assert!(changes("  local x = {").is_empty());
}
