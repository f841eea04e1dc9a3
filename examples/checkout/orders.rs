//! Orders, as a file lists them.

use std::collections::HashMap;
use std::path::Path;

use crate::rows::{self, FileError};

const HEADER: [&str; 7] = ["order", "sku", "quantity", "card", "amount_cents", "customer", "slow_ms"];
const QUANTITY_MAX: i64 = 1_000_000;
const AMOUNT_CENTS_MAX: i64 = 1_000_000_000;
const SLOW_MS_MAX: i64 = 20_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The business key: however often an order comes, it is charged once.
    pub(crate) id: String,
    pub(crate) sku: String,
    pub(crate) quantity: i64,
    pub(crate) card: String,
    pub(crate) amount_cents: i64,
    pub(crate) customer: String,
    /// How long the bank takes over this order's card.
    pub(crate) slow_ms: u64,
}

impl Order {
    /// One point for each full unit of money.
    pub(crate) fn points(&self) -> i64 {
        self.amount_cents / 100
    }
}

#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) line: u64,
    pub(crate) order: Order,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

#[derive(Debug)]
pub(crate) struct OrderFile {
    /// In the file's order, repeats included.
    pub(crate) orders: Vec<Listed>,
    pub(crate) bad_rows: Vec<BadRow>,
}

impl OrderFile {
    /// Reads every row that can be used; a bad one is set aside with its line and the reason.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let mut file = Self { orders: Vec::new(), bad_rows: Vec::new() };
        let mut first_seen: HashMap<String, usize> = HashMap::new();
        for row in rows::read(path, HEADER)? {
            let line = row.line;
            match row.fields.and_then(order) {
                Err(reason) => file.bad_rows.push(BadRow { line, reason }),
                Ok(order) => {
                    let first = *first_seen.entry(order.id.clone()).or_insert(file.orders.len());
                    match file.orders.get(first) {
                        Some(earlier) if earlier.order != order => file.bad_rows.push(BadRow {
                            line,
                            reason: format!(
                                "order {} is on line {} with other contents",
                                order.id, earlier.line
                            ),
                        }),
                        _ => file.orders.push(Listed { line, order }),
                    }
                }
            }
        }
        Ok(file)
    }

    /// Each order once, where it is first listed.
    pub(crate) fn distinct(&self) -> Vec<&Listed> {
        let mut seen = std::collections::HashSet::new();
        self.orders.iter().filter(|listed| seen.insert(listed.order.id.as_str())).collect()
    }
}

fn order([id, sku, quantity, card, amount, customer, slow]: [String; 7]) -> Result<Order, String> {
    Ok(Order {
        quantity: rows::number("quantity", &quantity, 1, QUANTITY_MAX)?,
        amount_cents: rows::number("amount_cents", &amount, 1, AMOUNT_CENTS_MAX)?,
        slow_ms: rows::number("slow_ms", &slow, 0, SLOW_MS_MAX)?.unsigned_abs(),
        id,
        sku,
        card,
        customer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, contents: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("checkout-orders-{}-{name}.csv", std::process::id()));
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn read(name: &str, contents: impl AsRef<[u8]>) -> Result<OrderFile, FileError> {
        let path = file(name, contents);
        let read = OrderFile::read(&path);
        std::fs::remove_file(path).unwrap();
        read
    }

    const GOOD: &str = "order,sku,quantity,card,amount_cents,customer,slow_ms\n";

    #[test]
    fn a_bad_row_is_named_by_its_line_and_leaves_the_others_alone() {
        let mut contents =
            format!("{GOOD}A,cup,1,c,100,x,0\n\n\nB,cup,none,c,100,x,0\nC,cup,1,c\n").into_bytes();
        contents.extend(b"D,cup,0,c,100,x,0\r\nE,,1,c,100,x,0\nF,\xff,1,c,100,x,0\nG,cup,1,c,100,x,0\n");
        contents.extend(b"A,cup,2,c,100,x,0\nA,cup,1,c,100,x,0\n");
        let file = read("bad", contents).unwrap();
        let lines: Vec<_> =
            file.orders.iter().map(|listed| (listed.line, listed.order.id.as_str())).collect();
        assert_eq!(lines, [(2, "A"), (10, "G"), (12, "A")]);
        let bad: Vec<_> = file.bad_rows.iter().map(|row| (row.line, row.reason.as_str())).collect();
        assert_eq!(
            bad,
            [
                (5, "quantity is `none`, which is not a whole number"),
                (6, "4 fields instead of 7 (order,sku,quantity,card,amount_cents,customer,slow_ms)"),
                (7, "quantity is 0, outside 1 to 1000000"),
                (8, "sku is empty"),
                (9, "sku is not UTF-8 text"),
                (11, "order A is on line 2 with other contents"),
            ]
        );
        assert_eq!(file.distinct().len(), 2);
    }

    #[test]
    fn a_quote_left_open_is_named_at_the_line_it_opens() {
        let rest = "x,cup,1,c,100,x,0\n".repeat(40);
        let file = read("quote", format!("{GOOD}A,\"cup,1,c,100,x,0\n{rest}")).unwrap();
        assert!(file.orders.is_empty());
        assert_eq!(file.bad_rows[0].line, 2);
    }

    #[test]
    fn a_file_that_is_no_list_of_orders_is_refused_with_the_reason() {
        let message = |name, contents: &str| read(name, contents).unwrap_err().to_string();
        assert!(message("empty", "").contains("is empty"));
        assert!(message("none", GOOD).contains("no rows"));
        assert!(message("header", "id,sku\n1,2\n").contains("not `id,sku`"));
        assert!(
            OrderFile::read(Path::new("/nowhere/orders.csv")).unwrap_err().to_string().contains("/nowhere")
        );
    }

    #[test]
    fn a_byte_order_mark_and_an_unfinished_last_line_are_read() {
        let file = read("bom", format!("\u{feff}{GOOD}A,cup,1,c,100,x,0")).unwrap();
        assert_eq!((file.orders[0].line, file.bad_rows.len()), (2, 0));
    }
}
