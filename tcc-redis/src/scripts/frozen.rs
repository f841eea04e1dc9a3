//! The library of another version, for tests that run two versions on one Redis (rule 17).
//!
//! A frozen version is a directory that holds the library's text as it is loaded, once for each clock.

use std::{fs, io, path::Path};

use super::{Clock, Library};

const CLOCKS: [Clock; 2] = [Clock::Server, Clock::Given];

fn file(clock: Clock) -> &'static str {
    match clock {
        Clock::Server => "library.lua",
        Clock::Given => "library_of_given_time.lua",
    }
}

/// Writes the library of this version into a directory, which holds nothing else afterwards.
///
/// # Errors
/// When files cannot be written or removed.
pub fn freeze_library(directory: &Path) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    CLOCKS.into_iter().try_for_each(|clock| fs::write(directory.join(file(clock)), Library::new(clock).text))
}

impl Library {
    /// The library of the version that was frozen in this directory.
    pub(crate) fn frozen(clock: Clock, directory: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(directory.join(file(clock)))?;
        let first = text.lines().next().unwrap_or_default();
        let name = first.strip_prefix(Self::SHEBANG);
        let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, first.to_owned()))?;
        Ok(Self { names: Self::names(name), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_library_is_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("version");
        for _ in 0..2 {
            freeze_library(&place).unwrap();
            for clock in CLOCKS {
                let (frozen, now) = (Library::frozen(clock, &place).unwrap(), Library::new(clock));
                assert_eq!((frozen.text, frozen.names), (now.text, now.names));
            }
        }
    }
}
