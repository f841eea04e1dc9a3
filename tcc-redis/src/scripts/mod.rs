//! The Lua functions: the state machine's second statement, in Redis.
//!
//! They are one library, put together from parts. Its name and its functions' names carry the hash of its
//! text, so that two versions of this crate work on one Redis side by side, and it is loaded when Redis does
//! not know it, so that `FUNCTION FLUSH` heals by itself.

#[cfg(feature = "testing")]
mod frozen;

use std::borrow::Cow;

use sha1_smol::Sha1;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub use frozen::freeze_library;

macro_rules! parts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!($name, ".lua")))),*]
    };
}

/// Every part there is, by name, in the order they are put together in.
const PARTS: &[(&str, &str)] = parts![
    "prelude",
    "time_server",
    "time_given",
    "moment",
    "branch",
    "payload",
    "record",
    "effects",
    "rules",
    "begin",
    "register",
    "report",
    "decide",
    "claim",
    "renew",
    "keep_alive",
    "close",
    "sweep",
    "redrive",
    "operate",
    "run",
    "look",
    "groups",
    "pause",
    "namespace",
    "rehearse",
];

/// The parts that are operations of the state machine. Each is a function of its own, so that their names do not
/// meet, and because Lua takes no more than 200 in one.
const OPERATIONS: [&str; 11] = [
    "begin",
    "register",
    "report",
    "decide",
    "claim",
    "renew",
    "keep_alive",
    "close",
    "sweep",
    "redrive",
    "operate",
];

/// The parts that define what is called from outside, set apart like operations.
const CALLED: [&str; 6] = ["run", "look", "groups", "pause", "namespace", "rehearse"];

/// Where the functions take the time from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The server.
    #[default]
    Server,
    /// The call's first argument, for tests.
    Given,
}

/// A function of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// Runs steps that begin something: refused when memory is full.
    Begin,
    /// Runs steps that finish something: works even then, so that what is in flight drains.
    Finish,
    /// Tells the time and which timers have run out.
    Look,
    /// Creates consumer groups.
    Groups,
    /// Pauses and resumes.
    Pause,
    /// Writes and reads what the namespace is.
    Namespace,
    /// Tries every command.
    Rehearse,
}

impl Function {
    const ALL: [Self; 7] =
        [Self::Begin, Self::Finish, Self::Look, Self::Groups, Self::Pause, Self::Namespace, Self::Rehearse];

    /// Its name without the library's hash, what it calls, and what it may do.
    fn declaration(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Begin => ("begin", "run", ""),
            Self::Finish => ("finish", "run", "'allow-oom'"),
            Self::Look => ("look", "look", "'no-writes', 'allow-oom'"),
            Self::Groups => ("groups", "groups", "'allow-oom'"),
            Self::Pause => ("pause", "pause", "'allow-oom'"),
            Self::Namespace => ("namespace", "namespace", "'allow-oom'"),
            Self::Rehearse => ("rehearse", "rehearse", "'allow-oom'"),
        }
    }
}

/// The library's text, and what its functions are called.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) text: String,
    names: Vec<String>,
}

impl Library {
    const SHEBANG: &str = "#!lua name=";

    /// The library, taking the time from this clock.
    pub(crate) fn new(clock: Clock) -> Self {
        Self::assemble(clock, &part)
    }

    /// The library with those parts replaced that lie in the directory `TCC_REDIS_SCRIPTS`, for tests that
    /// break them on purpose.
    #[cfg(feature = "testing")]
    pub(crate) fn from_environment(clock: Clock) -> Self {
        let directory = std::env::var_os("TCC_REDIS_SCRIPTS").map(std::path::PathBuf::from);
        Self::assemble(clock, &|name| {
            let other = directory.as_ref().and_then(|path| std::fs::read_to_string(path.join(name)).ok());
            other.map_or_else(|| part(name), Cow::Owned)
        })
    }

    /// Puts the library together; `part` gives the text of a part by its name.
    fn assemble(clock: Clock, part: &dyn Fn(&str) -> Cow<'static, str>) -> Self {
        let other_clock = match clock {
            Clock::Server => "time_given",
            Clock::Given => "time_server",
        };
        let mut body = String::from("local OPERATIONS, FUNCTIONS = {}, {}\n");
        for (name, _) in PARTS.iter().filter(|(name, _)| *name != other_clock) {
            let text = part(name);
            if OPERATIONS.contains(name) {
                let entry = "{ quick = quick, operate = operate, leave = leave }";
                body += &format!(
                    "OPERATIONS.{name} = (function()\nlocal quick, leave\n{text}\nreturn {entry}\nend)()\n"
                );
            } else if CALLED.contains(name) {
                body += &format!("FUNCTIONS.{name} = (function()\n{text}\nreturn {name}\nend)()\n");
            } else {
                body += &text;
                body.push('\n');
            }
        }
        let library = format!("tcc_{}", &Sha1::from(body.as_bytes()).hexdigest()[..16]);
        let names = Self::names(&library);
        for (function, name) in Function::ALL.into_iter().zip(&names) {
            let (_, calls, flags) = function.declaration();
            body += &format!(
                "redis.register_function{{ function_name = '{name}', callback = FUNCTIONS.{calls}, flags = {{ {flags} }} }}\n"
            );
        }
        Self { text: format!("{}{library}\n{body}", Self::SHEBANG), names }
    }

    /// What the library of this name calls its functions.
    fn names(library: &str) -> Vec<String> {
        Function::ALL.into_iter().map(|function| format!("{library}_{}", function.declaration().0)).collect()
    }

    /// A function as a script, for a Redis too full to load the library; nothing for one that is denied then
    /// anyway.
    pub(crate) fn script(&self, function: Function) -> Option<String> {
        let (_, calls, flags) = function.declaration();
        let body = self.text.lines().skip(1).filter(|line| !line.starts_with("redis.register_function"));
        let body: Vec<&str> = body.collect();
        flags.contains("allow-oom").then(|| {
            format!(
                "#!lua flags=allow-oom\nlocal given_keys, given_arguments = KEYS, ARGV\n{}\nreturn FUNCTIONS.{calls}(given_keys, given_arguments)\n",
                body.join("\n")
            )
        })
    }

    /// What a function is called in Redis.
    pub(crate) fn name(&self, function: Function) -> &str {
        let place = Function::ALL.iter().position(|known| *known == function);
        place.and_then(|place| self.names.get(place)).map_or("", String::as_str)
    }
}

/// The text of a part; empty if there is none of that name.
fn part(name: &str) -> Cow<'static, str> {
    PARTS.iter().find(|(known, _)| *known == name).map_or(Cow::Borrowed(""), |(_, text)| Cow::Borrowed(*text))
}

/// The names and texts of all parts, for tests that break them on purpose.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub fn script_parts() -> &'static [(&'static str, &'static str)] {
    PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_beginning_functions_are_denied_when_memory_is_full() {
        let denied: Vec<_> = Function::ALL
            .into_iter()
            .filter(|function| !function.declaration().2.contains("allow-oom"))
            .collect();
        assert_eq!(denied, [Function::Begin]);
    }

    #[test]
    fn every_part_is_there() {
        for (name, text) in PARTS {
            assert!(text.starts_with("-- "), "{name} says what it is");
        }
        let library = Library::new(Clock::Given);
        assert!(library.text.starts_with("#!lua name=tcc_"));
        assert!(Function::ALL.into_iter().all(|function| library.text.contains(library.name(function))));
        assert_ne!(library.name(Function::Begin), Library::new(Clock::Server).name(Function::Begin));
    }
}
