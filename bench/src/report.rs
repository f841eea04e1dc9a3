//! Figures as people or programs read them, one a line.

use crate::{BenchError, compare::Row, scenarios::Figure};

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub(crate) fn row(row: &Row, json: bool) -> Result<(), BenchError> {
    if json {
        println!("{}", serde_json::to_string(row)?);
    } else {
        println!("{row}");
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a program for the terminal")]
pub(crate) fn figure(figure: &Figure, json: bool) -> Result<(), BenchError> {
    if json {
        println!("{}", serde_json::to_string(figure)?);
    } else {
        println!("{figure}");
    }
    Ok(())
}
