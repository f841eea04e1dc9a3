//! What the shop opens with: stock by article, limits by card.

use std::collections::BTreeMap;
use std::path::Path;

use crate::rows::{self, FileError};

const OPENING_MAX: i64 = 1_000_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) stock: BTreeMap<String, i64>,
    pub(crate) cards: BTreeMap<String, i64>,
}

impl Opening {
    /// Unlike orders, these rows are the shop's own: one bad row refuses the file.
    pub(crate) fn read(stock: &Path, cards: &Path) -> Result<Self, FileError> {
        Ok(Self {
            stock: amounts(stock, ["sku", "on_hand"])?,
            cards: amounts(cards, ["card", "limit_cents"])?,
        })
    }
}

fn amounts(path: &Path, header: [&str; 2]) -> Result<BTreeMap<String, i64>, FileError> {
    let mut amounts = BTreeMap::new();
    for row in rows::read(path, header)? {
        let refused = |reason| FileError::Row { path: path.to_owned(), line: row.line, reason };
        let [name, amount] = row.fields.map_err(refused)?;
        let amount = rows::number(header[1], &amount, 0, OPENING_MAX).map_err(refused)?;
        if amounts.insert(name.clone(), amount).is_some() {
            return Err(refused(format!("{} {name} is listed twice", header[0])));
        }
    }
    Ok(amounts)
}
