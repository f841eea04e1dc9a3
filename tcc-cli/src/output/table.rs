//! Columns of a table, fitted to the width there is.

use super::{
    paint::{Paint, Tone},
    text::{clean, cut, width},
};

/// Between two columns.
const GAP: usize = 2;
/// A column that gives way keeps so many columns of the screen.
const NARROWEST: usize = 8;
/// Optional columns are left out before an elastic one has fewer than this.
const ROOMY: usize = 24;

/// How a column takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole, on the left.
    Left,
    /// Whole, on the right.
    Right,
    /// Cut where there is no room.
    Elastic,
    /// Left out where there is no room for it, the last of them first.
    Optional,
}

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { text: clean(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Kind)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Kind)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines, heading first, none wider than `columns` unless nothing can give way any more.
    pub(crate) fn lines(&self, columns: usize, paint: Paint) -> Vec<String> {
        let widths = self.widths(columns);
        let heading =
            self.columns.iter().map(|(title, _)| Cell { text: (*title).to_owned(), tone: Tone::Strong });
        let rows = std::iter::once(heading.collect()).chain(self.rows.iter().cloned());
        rows.map(|row: Vec<Cell>| self.line(&row, &widths, paint)).collect()
    }

    fn line(&self, row: &[Cell], widths: &[Option<usize>], paint: Paint) -> String {
        let (mut line, mut owed) = (String::new(), 0);
        let shown = row.iter().zip(&self.columns).zip(widths);
        for ((cell, (_, kind)), room) in shown.filter_map(|(cell, room)| room.map(|room| (cell, room))) {
            let text = cut(&cell.text, room);
            let free = room.saturating_sub(width(&text));
            let (before, after) = if *kind == Kind::Right { (free, 0) } else { (0, free) };
            // Blanks are owed until something follows, so that no line ends in some.
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', owed + before));
                line.push_str(&paint.text(cell.tone, &text));
                owed = after + GAP;
            } else {
                owed += before + after + GAP;
            }
        }
        line
    }

    /// The width of each column, none for one that is left out.
    fn widths(&self, columns: usize) -> Vec<Option<usize>> {
        let natural = |place: usize| {
            let cells = self.rows.iter().map(|row| width(&row[place].text));
            cells.chain([width(self.columns[place].0)]).max().unwrap_or(0)
        };
        let mut widths: Vec<Option<usize>> =
            (0..self.columns.len()).map(|place| Some(natural(place))).collect();
        // A column with nothing to say is for those who would miss it.
        for (place, (_, kind)) in self.columns.iter().enumerate() {
            if *kind == Kind::Optional && self.rows.iter().all(|row| row[place].text.is_empty()) {
                widths[place] = None;
            }
        }
        let total = |widths: &[Option<usize>]| {
            let shown = widths.iter().flatten();
            shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
        };
        for place in (0..widths.len()).rev() {
            let wanted = |(at, width): (usize, &Option<usize>)| match self.columns[at].1 {
                Kind::Elastic => width.map(|width| width.min(ROOMY)),
                _ => *width,
            };
            let least: Vec<Option<usize>> = widths.iter().enumerate().map(wanted).collect();
            if total(&least) > columns && self.columns[place].1 == Kind::Optional {
                widths[place] = None;
            }
        }
        // The widest gives way first.
        while total(&widths) > columns {
            let elastic = (0..widths.len()).filter(|at| self.least(*at, widths[*at]) < widths[*at]);
            let Some(widest) = elastic.max_by_key(|at| widths[*at]) else { break };
            widths[widest] = widths[widest].map(|width| width - 1);
        }
        widths
    }

    fn least(&self, place: usize, width: Option<usize>) -> Option<usize> {
        let gives_way = self.columns[place].1 == Kind::Elastic;
        width.map(
            |width| if gives_way { width.min(NARROWEST.max(self.columns[place].0.len())) } else { width },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Colour;

    fn plain() -> Paint {
        Paint::new(Colour::Never, &std::io::stdout())
    }

    fn table() -> Table {
        let mut table = Table::new(&[
            ("GID", Kind::Left),
            ("KEY", Kind::Optional),
            ("TRIES", Kind::Right),
            ("WHAT", Kind::Elastic),
        ]);
        table.row([
            "g1".into(),
            "order-17-of-november".into(),
            "3".into(),
            "the warehouse does not answer".into(),
        ]);
        table.row(["g2".into(), "".into(), "12".into(), "".into()]);
        table
    }

    #[test]
    fn a_wide_screen_shows_everything() {
        let lines = table().lines(120, plain());
        assert_eq!(lines[0], "GID  KEY                   TRIES  WHAT");
        assert_eq!(lines[1], "g1   order-17-of-november      3  the warehouse does not answer");
        assert_eq!(lines[2], format!("g2{:28}12", ""));
    }

    #[test]
    fn a_narrow_screen_cuts_and_then_leaves_out() {
        let lines = table().lines(50, plain());
        assert_eq!(lines[1], "g1       3  the warehouse does not answer");
        assert_eq!(table().lines(25, plain())[1], "g1       3  the warehous…");
        assert_eq!(
            table().lines(59, plain())[1],
            "g1   order-17-of-november      3  the warehouse does not a…"
        );
        assert!(table().lines(5, plain()).iter().all(|line| line.len() < 30));
    }

    #[test]
    fn colour_takes_no_room() {
        let mut table = Table::new(&[("STATE", Kind::Left), ("N", Kind::Right)]);
        table.row([Cell::new(Tone::Bad, "parked"), "1".into()]);
        let lines = table.lines(80, Paint::new(Colour::Always, &std::io::stdout()));
        assert_eq!(lines[1], "\u{1b}[31mparked\u{1b}[0m  1");
    }
}
