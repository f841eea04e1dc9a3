//! Breaks the functions on purpose, one place at a time: every condition negated, taken as true and as false,
//! every part of a condition left out, every write, assignment and named value deleted. `scripts/mutate-lua` runs the
//! tests on each, and they must fail.

use std::{fs, path::PathBuf};

/// A part of the functions with one line changed.
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
        // Time as tests give it says nothing of the functions that users run.
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
    let changed = condition_changes(code)
        .or_else(|| value_changes(code))
        .unwrap_or_else(|| if code.ends_with(',') { table_changes(code) } else { statement_changes(code) });
    changed.into_iter().map(|changed| format!("{indent}{changed}")).collect()
}

fn condition_changes(code: &str) -> Option<Vec<String>> {
    let (keyword, rest) =
        code.split_once(' ').filter(|(word, _)| matches!(*word, "if" | "elseif" | "while"))?;
    let end = rest.find(if keyword == "while" { " do" } else { " then" })?;
    let (condition, then) = rest.split_at(end);
    let mut conditions = vec![format!("not ({condition})"), "false".to_owned()];
    // A loop that never ends says nothing.
    if keyword != "while" {
        conditions.insert(1, "true".to_owned());
    }
    conditions.extend(shortened(condition));
    Some(conditions.into_iter().map(|changed| format!("{keyword} {changed}{then}")).collect())
}

/// A value that is returned, or given a name.
fn value_changes(code: &str) -> Option<Vec<String>> {
    let (before, value) = match code.strip_prefix("return ") {
        Some(value) => ("return".to_owned(), value),
        None => {
            let (name, value) = code.strip_prefix("local ")?.split_once(" = ")?;
            (format!("local {name} ="), value)
        }
    };
    Some(shortened(value).into_iter().map(|changed| format!("{before} {changed}")).collect())
}

/// A line of a table's constructor: every named value and every word left out, every part of a value too.
fn table_changes(code: &str) -> Vec<String> {
    let elements = split(code);
    let is_left_out = |element: &&str| element.contains(" = ") || element.starts_with('\'');
    let mut changed: Vec<String> = elements
        .iter()
        .filter(|element| is_left_out(element))
        .map(|element| code.replacen(&format!("{element},"), "", 1).trim().to_owned())
        .collect();
    changed.extend(shortened(code));
    changed
}

fn statement_changes(code: &str) -> Vec<String> {
    let is_statement = !["local ", "for ", "end", "else", "return", "}", "..", "function"]
        .iter()
        .any(|word| code.starts_with(word))
        && (code.contains(" = ") || code.ends_with(')'))
        && code.starts_with(|first: char| first.is_ascii_lowercase());
    if !is_statement {
        return Vec::new();
    }
    let mut changed = vec!["-- deleted".to_owned()];
    changed.extend(shortened(code));
    changed
}

/// The elements of a line that ends with a comma.
fn split(code: &str) -> Vec<&str> {
    let (mut elements, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (place, char) in code.char_indices() {
        depth += i32::from("({[".contains(char)) - i32::from(")}]".contains(char));
        if depth == 0 && char == ',' {
            elements.push(code[start..place].trim());
            start = place + 1;
        }
    }
    elements
}

/// What `and` and `or` join, at any depth: where it begins, and where each of its parts and joints do.
#[derive(Default)]
struct Joined {
    start: usize,
    joints: Vec<(usize, usize)>,
}

/// The code with one part of a condition left out, the outermost first.
fn shortened(code: &str) -> Vec<String> {
    let mut ended: Vec<(Joined, usize)> = Vec::new();
    let mut open = vec![Joined::default()];
    let mut is_quoted = false;
    for (place, char) in code.char_indices() {
        is_quoted ^= char == '\'';
        if is_quoted {
            continue;
        }
        let rest = &code[place..];
        match char {
            '(' | '{' | '[' => open.push(Joined { start: place + 1, ..Joined::default() }),
            ')' | '}' | ']' => ended.extend(open.pop().map(|joined| (joined, place))),
            ',' => {
                ended.extend(open.pop().map(|joined| (joined, place)));
                open.push(Joined { start: place + 1, ..Joined::default() });
            }
            _ => {}
        }
        let Some(joined) = open.last_mut() else { continue };
        if rest.starts_with(" = ") {
            joined.start = place + 3;
        } else if let Some(joint) = [" and ", " or "].into_iter().find(|joint| rest.starts_with(joint)) {
            joined.joints.push((place, place + joint.len()));
        }
    }
    ended.extend(open.pop().map(|joined| (joined, code.len())));
    ended.sort_by_key(|(joined, _)| joined.start);
    ended.into_iter().flat_map(|(joined, end)| without_each_part(code, &joined, end)).collect()
}

fn without_each_part(code: &str, joined: &Joined, end: usize) -> Vec<String> {
    let Some((_, first_end)) = joined.joints.first() else { return Vec::new() };
    let begin = joined.start + code[joined.start..].len() - code[joined.start..].trim_start().len();
    let ends = joined.joints.iter().skip(1).map(|(start, _)| *start).chain([end]);
    let rest = joined.joints.iter().zip(ends).map(|((start, _), end)| (*start, end));
    let left_out = [(begin, *first_end)].into_iter().chain(rest);
    left_out.map(|(from, to)| format!("{}{}", &code[..from], &code[to..])).collect()
}

fn is_balanced(code: &str) -> bool {
    let count = |open, close| code.matches(open).count() == code.matches(close).count();
    count('(', ')') && count('{', '}') && count('[', ']')
}

#[test]
fn the_functions_have_places_to_break() {
    let parts = tcc_redis::script_parts().iter().filter(|(part, text)| !mutants(part, text).is_empty());
    let parts: Vec<&str> = parts.map(|(part, _)| *part).collect();
    for part in ["record", "begin", "register", "decide", "claim", "close", "sweep", "operate"] {
        assert!(parts.contains(&part), "{part} is not among {parts:?}");
    }
}

#[test]
fn conditions_are_broken_in_every_way() {
    let found = changes("  if a and b(c or d) or e then");
    let expected = [
        "not (a and b(c or d) or e)",
        "true",
        "false",
        "b(c or d) or e",
        "a or e",
        "a and b(c or d)",
        "a and b(d) or e",
        "a and b(c) or e",
    ];
    assert_eq!(found, expected.map(|condition| format!("  if {condition} then")));
    assert_eq!(changes("while a do"), ["while not (a) do", "while false do"]);
    assert_eq!(changes("if a then return b end")[2], "if false then return b end");
    assert_eq!(changes("    branch.next = now"), ["    -- deleted"]);
    assert_eq!(changes("x = a and b"), ["-- deleted", "x = b", "x = a"]);
    assert_eq!(changes("  return a or 0"), ["  return 0", "  return a"]);
    assert_eq!(changes("local x = f(a or b, ' or ')"), ["local x = f(b, ' or ')", "local x = f(a, ' or ')"]);
    assert_eq!(changes("'a', 'b',"), ["'b',", "'a',"]);
    assert_eq!(changes("a = b, c and d,"), ["c and d,", "a = b, d,", "a = b, c,"]);
    assert!(changes("  local x = {").is_empty());
}
