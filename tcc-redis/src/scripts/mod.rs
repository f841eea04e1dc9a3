//! The Lua scripts: the state machine's second statement, in Redis.
//!
//! A script is one text, put together from the parts that several share and the operation's own. They are
//! called by hash and loaded when Redis does not know them, so that `SCRIPT FLUSH` heals by itself and two
//! versions of this crate work on one Redis side by side.

#[cfg(feature = "testing")]
mod frozen;

use std::borrow::Cow;

use sha1_smol::Sha1;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub use frozen::freeze_scripts;

/// What a script may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Begins something: refused when memory is full.
    Beginning,
    /// Finishes something: works even then, so that what is in flight drains.
    Finishing,
    /// Only reads.
    Reading,
}

impl Kind {
    fn shebang(self) -> &'static str {
        match self {
            Self::Beginning => "#!lua\n",
            Self::Finishing => "#!lua flags=allow-oom\n",
            Self::Reading => "#!lua flags=no-writes,allow-oom\n",
        }
    }
}

macro_rules! parts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!($name, ".lua")))),*]
    };
}

/// Every part there is, by name.
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
    "run",
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
    "look",
    "groups",
    "namespace",
    "rehearse",
];

/// Where scripts take the time from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The server.
    #[default]
    Server,
    /// The call's first argument, for tests.
    Given,
}

/// A script and the hash it is called by.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) text: String,
    pub(crate) hash: String,
}

impl Script {
    fn new(text: String) -> Self {
        let hash = Sha1::from(text.as_bytes()).hexdigest();
        Self { text, hash }
    }
}

macro_rules! scripts {
    ($($name:ident: $kind:ident, $shape:ident;)*) => {
        /// All scripts.
        #[derive(Clone, Debug)]
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)*
        }

        impl Scripts {
            /// Puts the scripts together; `part` gives the text of a part by its name.
            fn assemble(clock: Clock, part: &dyn Fn(&str) -> Cow<'static, str>) -> Self {
                Self {
                    $($name: Script::new(Shape::$shape.assemble(Kind::$kind, stringify!($name), clock, part)),)*
                }
            }

            /// Makes each script from its name.
            #[cfg(feature = "testing")]
            fn each(make: &dyn Fn(&str) -> Script) -> Self {
                Self { $($name: make(stringify!($name)),)* }
            }

            /// Every script with its name.
            #[cfg(feature = "testing")]
            fn named(&self) -> Vec<(&'static str, &Script)> {
                vec![$((stringify!($name), &self.$name)),*]
            }
        }
    };
}

scripts! {
    begin: Beginning, Operation;
    register: Beginning, Operation;
    report: Finishing, Operation;
    decide: Finishing, Operation;
    claim: Finishing, Operation;
    renew: Finishing, Operation;
    keep_alive: Finishing, Operation;
    close: Finishing, Operation;
    sweep: Finishing, Operation;
    redrive: Finishing, Operation;
    look: Reading, Timed;
    groups: Finishing, Plain;
    namespace: Finishing, Plain;
    rehearse: Finishing, Plain;
}

/// Which parts a script has beside its own.
#[derive(Clone, Copy)]
enum Shape {
    /// An operation of the state machine.
    Operation,
    /// Needs the time.
    Timed,
    /// Stands alone.
    Plain,
}

impl Shape {
    fn assemble(
        self,
        kind: Kind,
        name: &str,
        clock: Clock,
        part: &dyn Fn(&str) -> Cow<'static, str>,
    ) -> String {
        let time = match clock {
            Clock::Server => "time_server",
            Clock::Given => "time_given",
        };
        let names: Vec<&str> = match self {
            Self::Operation => {
                vec![
                    "prelude", time, "moment", "branch", "payload", "record", "effects", "rules", name, "run",
                ]
            }
            Self::Timed => vec!["prelude", time, "moment", name],
            Self::Plain => vec![name],
        };
        let texts: Vec<_> = names.into_iter().map(part).collect();
        format!("{}{}", kind.shebang(), texts.join("\n"))
    }
}

/// The text of a part; empty if there is none of that name.
fn part(name: &str) -> Cow<'static, str> {
    PARTS.iter().find(|(known, _)| *known == name).map_or(Cow::Borrowed(""), |(_, text)| Cow::Borrowed(*text))
}

impl Scripts {
    /// The scripts, taking the time from this clock.
    #[cfg_attr(
        all(feature = "testing", not(test)),
        expect(dead_code, reason = "tests name what they replace")
    )]
    pub(crate) fn new(clock: Clock) -> Self {
        Self::assemble(clock, &part)
    }

    /// The scripts with those parts replaced that lie in the directory `TCC_REDIS_SCRIPTS`, for tests that
    /// break them on purpose.
    #[cfg(feature = "testing")]
    pub(crate) fn from_environment(clock: Clock) -> Self {
        let directory = std::env::var_os("TCC_REDIS_SCRIPTS").map(std::path::PathBuf::from);
        Self::assemble(clock, &|name| {
            let other = directory.as_ref().and_then(|path| std::fs::read_to_string(path.join(name)).ok());
            other.map_or_else(|| part(name), Cow::Owned)
        })
    }
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
    fn only_beginning_scripts_are_denied_when_memory_is_full() {
        let scripts = Scripts::new(Clock::Server);
        for begins in [&scripts.begin, &scripts.register] {
            assert!(begins.text.starts_with("#!lua\n"));
        }
        for finishes in [&scripts.report, &scripts.decide, &scripts.claim, &scripts.close, &scripts.sweep] {
            assert!(finishes.text.starts_with("#!lua flags=allow-oom\n"));
        }
    }

    #[test]
    fn every_part_is_there() {
        for (name, text) in PARTS {
            assert!(text.starts_with("-- "), "{name} says what it is");
        }
        assert!(Scripts::new(Clock::Given).begin.text.contains("take_number()"));
    }
}
