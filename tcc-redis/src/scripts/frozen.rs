//! Scripts of another version, for tests that run two versions on one Redis (rule 17).
//!
//! A frozen version is a directory: its parts, and a file that says how each script is put together from
//! them, since that may change as well.

use std::{borrow::Cow, collections::BTreeMap, fs, io, path::Path};

use super::{Clock, PARTS, Script, Scripts};

/// The file that says how scripts are put together: a line each, `name: shebang: parts`.
const RECIPES: &str = "recipes";
/// Where a script takes the time from, in recipes.
const TIME: &str = "time_server";

/// Writes the scripts of this version into a directory, which holds nothing else afterwards.
///
/// # Errors
/// When files cannot be written or removed.
pub fn freeze_scripts(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    for (name, text) in PARTS {
        fs::write(directory.join(format!("{name}.lua")), text)?;
    }
    let names = Scripts::assemble(Clock::Server, &|part| Cow::Owned(part.to_owned()));
    let recipes = names.named().into_iter().map(|(name, script)| {
        let (shebang, parts) = script.text.split_once('\n').unwrap_or_default();
        format!("{name}: {shebang}: {}\n", parts.replace('\n', " "))
    });
    fs::write(directory.join(RECIPES), recipes.collect::<String>())
}

impl Scripts {
    /// The scripts of the version that was frozen in this directory. One that it does not have fails when it
    /// is called.
    pub(crate) fn frozen(clock: Clock, directory: &Path) -> io::Result<Self> {
        let recipes = fs::read_to_string(directory.join(RECIPES))?;
        let mut texts = BTreeMap::new();
        for line in recipes.lines() {
            let words: Vec<&str> = line.split(": ").collect();
            let [name, shebang, parts] = words[..] else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, line));
            };
            let mut text = vec![shebang.to_owned()];
            for part in parts.split(' ') {
                let part = if part == TIME && clock == Clock::Given { "time_given" } else { part };
                text.push(fs::read_to_string(directory.join(format!("{part}.lua")))?);
            }
            // As it was sent: the parts' own ends of line stay.
            texts.insert(name.to_owned(), text.join("\n"));
        }
        let missing = "return redis.error_reply('this version has no such script')";
        Ok(Self::each(&|name| Script::new(texts.get(name).cloned().unwrap_or_else(|| missing.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_scripts_are_what_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("version");
        for _ in 0..2 {
            freeze_scripts(&place).unwrap();
            for clock in [Clock::Server, Clock::Given] {
                let (frozen, now) = (Scripts::frozen(clock, &place).unwrap(), Scripts::new(clock));
                for ((name, frozen), (_, now)) in frozen.named().into_iter().zip(now.named()) {
                    assert_eq!(frozen.text, now.text, "{name}");
                }
            }
        }
    }
}
