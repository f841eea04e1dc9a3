//! A CSV file whose header is checked and whose rows come with their line numbers.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More rows than this are refused: they are held in memory, and so is the record of each transaction.
const ROWS_MAX: usize = 200_000;
const FILE_BYTES_MAX: u64 = 64 << 20;
/// A quote that is never closed swallows the rest of the file as one field; this names it instead.
const FIELD_BYTES_MAX: usize = 256;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot open {}", path.display())]
    Unopened { path: PathBuf, source: std::io::Error },
    #[error("cannot read {} as CSV", path.display())]
    Unreadable { path: PathBuf, source: csv::Error },
    #[error("{} is empty: its first line must be `{expected}`", path.display())]
    Empty { path: PathBuf, expected: String },
    #[error("{} has the wrong header: its first line must be `{expected}`, not `{found}`", path.display())]
    Header { path: PathBuf, expected: String, found: String },
    #[error("{} has a header and no rows", path.display())]
    NoRows { path: PathBuf },
    #[error("{} is too long: more than {ROWS_MAX} rows or {FILE_BYTES_MAX} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("{}, line {line}: {reason}", path.display())]
    Row { path: PathBuf, line: u64, reason: String },
}

/// A row as text, or why it cannot be read as a row.
pub(crate) struct Row<const N: usize> {
    pub(crate) line: u64,
    pub(crate) fields: Result<[String; N], String>,
}

pub(crate) fn read<const N: usize>(path: &Path, header: [&str; N]) -> Result<Vec<Row<N>>, FileError> {
    let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
    let expected = header.join(",");
    let bytes = contents(path)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(bytes.as_slice());
    let mut record = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(unreadable)? {
        return Err(FileError::Empty { path: path.to_owned(), expected });
    }
    if !record.iter().eq(header.iter().map(|name| name.as_bytes())) {
        let found = joined(&record);
        return Err(FileError::Header { path: path.to_owned(), expected, found });
    }

    let mut rows = Vec::new();
    let (mut line, mut counted) = (1, 0);
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        if rows.len() == ROWS_MAX {
            return Err(FileError::TooLong { path: path.to_owned() });
        }
        // The reader's position is where it began to look, before the blank lines that it skips and the last `\n`.
        let looked = record.position().map_or(0, csv::Position::byte) as usize;
        let skipped = bytes[looked..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += newlines(&bytes[counted..looked + skipped]);
        counted = looked + skipped;
        rows.push(Row { line, fields: fields(&record, header) });
    }
    if rows.is_empty() {
        return Err(FileError::NoRows { path: path.to_owned() });
    }
    Ok(rows)
}

fn fields<const N: usize>(record: &csv::ByteRecord, header: [&str; N]) -> Result<[String; N], String> {
    if record.len() != N {
        return Err(format!("{} fields instead of {N} ({})", record.len(), header.join(",")));
    }
    let mut fields = [const { String::new() }; N];
    for ((field, bytes), name) in fields.iter_mut().zip(record).zip(header) {
        if bytes.len() > FIELD_BYTES_MAX {
            return Err(format!("{name} is longer than {FIELD_BYTES_MAX} bytes (is a quote left open?)"));
        }
        *field = String::from_utf8(bytes.to_vec()).map_err(|_| format!("{name} is not UTF-8 text"))?;
        if field.is_empty() {
            return Err(format!("{name} is empty"));
        }
        if field.chars().any(char::is_control) {
            return Err(format!("{name} holds a control character"));
        }
    }
    Ok(fields)
}

/// A whole number within `least..=most`, or what is wrong with it.
pub(crate) fn number(name: &str, text: &str, least: i64, most: i64) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(_) => Err(format!("{name} is {text}, outside {least} to {most}")),
        Err(_) => Err(format!("{name} is `{}`, which is not a whole number", shown(text.as_bytes()))),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, FileError> {
    let unopened = |source| FileError::Unopened { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(unopened)?.take(FILE_BYTES_MAX + 1);
    if file.read_to_end(&mut bytes).map_err(unopened)? as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn joined(record: &csv::ByteRecord) -> String {
    let line = record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
    shown(line.as_bytes())
}

/// Text from a file as a message can bear it: bounded and on one line.
fn shown(bytes: &[u8]) -> String {
    const CHARS_MAX: usize = 80;
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > CHARS_MAX {
        shown.push('…');
    }
    shown
}
