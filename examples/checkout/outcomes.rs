//! What the run was told about each order, kept for the audit to hold against the books.

use std::collections::BTreeMap;
use std::path::Path;

use crate::rows::{self, FileError};

const HEADER: [&str; 2] = ["order", "outcome"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Confirmed,
    Cancelled,
    /// It was cancelled before any branch of it was recorded, as when its process died right after its beginning.
    Untried,
    /// The run never learned how it ended, or it never began.
    Unknown,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Untried => "untried",
            Self::Unknown => "unknown",
        }
    }

    /// This, or what `other` knows if this knows nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Unknown { other } else { self }
    }
}

pub(crate) type Outcomes = BTreeMap<String, Ending>;

pub(crate) fn write(path: &Path, outcomes: &Outcomes) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(HEADER)?;
    for (order, ending) in outcomes {
        writer.write_record([order.as_str(), ending.name()])?;
    }
    Ok(writer.flush()?)
}

pub(crate) fn read(path: &Path) -> Result<Outcomes, FileError> {
    let mut outcomes = Outcomes::new();
    for row in rows::read(path, HEADER)? {
        let refused = |reason| FileError::Row { path: path.to_owned(), line: row.line, reason };
        let [order, name] = row.fields.map_err(refused)?;
        let ending = [Ending::Confirmed, Ending::Cancelled, Ending::Untried, Ending::Unknown]
            .into_iter()
            .find(|ending| ending.name() == name)
            .ok_or_else(|| refused(format!("`{name}` is no outcome")))?;
        outcomes.insert(order, ending);
    }
    Ok(outcomes)
}
