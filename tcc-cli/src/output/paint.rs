//! Colour, where it is wanted.

use std::io::IsTerminal;

use crate::args::Colour;

/// What a text means; its colour follows from that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// A heading, or what is to be typed.
    Strong,
    /// What matters less.
    Faint,
    /// It waits for a person, or is wrong.
    Bad,
    /// It may become so.
    Warning,
    Good,
}

impl Tone {
    /// As a terminal's attribute (ECMA-48, "select graphic rendition").
    fn attribute(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Bad => Some("31"),
            Self::Warning => Some("33"),
            Self::Good => Some("32"),
        }
    }
}

/// Whether to colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn new(colour: Colour, stream: &impl IsTerminal) -> Self {
        Self(match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
                stream.is_terminal() && !unwanted && !dumb
            }
        })
    }

    pub(crate) fn text(self, tone: Tone, text: &str) -> String {
        match tone.attribute().filter(|_| self.0 && !text.is_empty()) {
            Some(attribute) => format!("\u{1b}[{attribute}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}
