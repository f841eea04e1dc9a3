//! Where answers go: data to standard output as table, JSON or lines of JSON, words to standard error.

pub(crate) mod paint;
pub(crate) mod table;
pub(crate) mod text;

use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use self::{
    paint::{Paint, Tone},
    table::Table,
    text::clean,
};
use crate::{
    args::{Form, LookArgs},
    exit::Outcome,
};

/// Columns where nothing says how many there are.
const WIDTH: usize = 80;
const WIDTH_LEAST: usize = 40;

/// Both streams, and how to write on them.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) form: Form,
    pub(crate) width: usize,
    pub(crate) paint: Paint,
    words: Paint,
    data: BufWriter<Stdout>,
}

/// Several things of a kind, as one JSON document.
#[derive(Serialize)]
struct Document<'a, T> {
    kind: &'static str,
    items: &'a [T],
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

impl Screen {
    pub(crate) fn new(look: &LookArgs) -> Self {
        let terminal = || terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| columns.0);
        // Shells keep this one as they like: what is no number says nothing.
        let columns = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = look.width.or_else(columns).or_else(terminal).map_or(WIDTH, usize::from);
        Self {
            form: look.output,
            width: width.max(WIDTH_LEAST),
            paint: Paint::new(look.color, &io::stdout()),
            words: Paint::new(look.color, &io::stderr()),
            data: BufWriter::new(io::stdout()),
        }
    }

    /// A line of data.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Outcome<()> {
        Ok(writeln!(self.data, "{}", line.as_ref())?)
    }

    /// Data as it is.
    pub(crate) fn text(&mut self, text: &[u8]) -> Outcome<()> {
        Ok(self.data.write_all(text)?)
    }

    /// A table of data.
    pub(crate) fn table(&mut self, table: &Table) -> Outcome<()> {
        for line in table.lines(self.width, self.paint) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Things of a kind: by `table` for people, else as JSON.
    pub(crate) fn list<T: Serialize>(
        &mut self,
        kind: &'static str,
        items: &[T],
        next: Option<&str>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Outcome<()> {
        match self.form {
            Form::Table => {
                let table = table(items);
                if !table.is_empty() {
                    self.table(&table)?;
                }
            }
            Form::Json => self.json(&Document { kind, items, next }, true)?,
            Form::Jsonl => {
                for item in items {
                    self.json(item, false)?;
                }
            }
        }
        self.flush()
    }

    /// One thing as JSON.
    pub(crate) fn document(&mut self, document: &impl Serialize) -> Outcome<()> {
        self.json(document, self.form == Form::Json)?;
        self.flush()
    }

    fn json(&mut self, value: &impl Serialize, pretty: bool) -> Outcome<()> {
        let written = if pretty {
            serde_json::to_writer_pretty(&mut self.data, value)
        } else {
            serde_json::to_writer(&mut self.data, value)
        };
        written.map_err(io::Error::from)?;
        Ok(writeln!(self.data)?)
    }

    pub(crate) fn flush(&mut self) -> Outcome<()> {
        Ok(self.data.flush()?)
    }

    /// Words beside the data. That nobody hears them stops nothing.
    pub(crate) fn say(&self, tone: Tone, words: impl AsRef<str>) {
        for line in words.as_ref().lines() {
            let _ = writeln!(io::stderr(), "{}", self.words.text(tone, &clean(line)));
        }
    }
}
