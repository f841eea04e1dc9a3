//! `examples/checkout` as its reader meets it: the command, its exit code, and what its audit notices.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

#[path = "support/checkout.rs"]
mod checkout;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use checkout::*;

fn copy_books(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn every_order_is_done_wholly_or_not_at_all_and_the_books_prove_it() {
    let shop = Shop::new("run");
    fs::write(shop.file("orders.csv"), ORDERS).unwrap();
    let run = shop.run();
    assert!(run.status.success(), "{}\n{}", text(&run.stdout), text(&run.stderr));
    assert_eq!(
        text(&run.stderr),
        "",
        "without a terminal there is no progress bar, and nothing to complain about"
    );
    assert!(text(&run.stdout).contains("in-memory store"), "a reader is told what the store does not keep");
    let [rows, confirmed, cancelled] =
        ["rows of orders", "confirmed", "cancelled"].map(|name| count(&run, name));
    let [repeated, parked, unknown] = ["repeated", "parked", "unknown"].map(|name| count(&run, name));
    assert_eq!([rows, confirmed + cancelled, repeated, parked, unknown], [20, 18, 2, 0, 0]);
    // Two banks are too slow on purpose; on a machine that is busy enough any other may be, too.
    let too_slow = count(&run, "bank too slow");
    assert!(too_slow >= 2 && confirmed <= 11 && confirmed + (too_slow - 2) >= 11, "{}", text(&run.stdout));
    assert!(count(&run, "retries") > 0, "the faults on purpose were not met");
    assert_eq!(shop.audit(&shop.file("books")), None);

    let again = shop.run();
    assert_eq!(
        again.status.code(),
        Some(1),
        "a store that has forgotten the orders must not take them twice"
    );
    assert!(text(&again.stderr).contains("books already"), "{}", text(&again.stderr));
    assert_eq!(shop.audit(&shop.file("books")), None);
}

#[test]
fn what_needs_a_store_that_survives_is_refused_on_the_in_memory_store() {
    let shop = Shop::new("memory");
    for (command, flags) in [
        ("run", ["--crash", "--within=9"]),
        ("run", ["--participants", "payment"]),
        ("serve", ["--participants", "payment"]),
    ] {
        let refused = shop.command(command, &shop.file("books"), &flags.map(OsStr::new));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{command} {flags:?}: {said}");
        assert!(said.contains("in-memory store") && said.contains("install redis-server"), "{said}");
    }
    assert!(!shop.file("books").join("payment.db").exists(), "nothing was begun");
}

#[test]
fn a_bad_row_is_reported_with_its_line_and_the_rest_go_through() {
    let shop = Shop::new("bad-rows");
    let orders = "order,sku,quantity,card,amount_cents,customer,slow_ms\nB-1,cup,1,gold,100,ann,0\n\
                  B-2,cup,two,gold,100,ann,0\nB-3,cup\nB-1,cup,5,gold,100,ann,0\nB-4,cup,1,gold,100,ann,0\n";
    fs::write(shop.file("orders.csv"), orders).unwrap();
    let run = shop.run();
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(count(&run, "rows left out"), 3);
    assert_eq!(count(&run, "confirmed") + count(&run, "bank too slow"), 2);
    let reported = text(&run.stderr);
    for expected in
        ["line 3: quantity is `two`", "line 4: 2 fields", "line 5: order B-1 is on line 2 with other"]
    {
        assert!(reported.contains(expected), "`{expected}` is not in\n{reported}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused_before_books_are_kept() {
    let shop = Shop::new("bad-file");
    for (contents, expected) in [
        ("", "is empty"),
        ("order,sku\nA,b\n", "wrong header"),
        ("order,sku,quantity,card,amount_cents,customer,slow_ms\n", "no rows"),
        ("order,sku,quantity,card,amount_cents,customer,slow_ms\nA\n", "no row of"),
    ] {
        fs::write(shop.file("orders.csv"), contents).unwrap();
        let run = shop.run();
        assert_eq!(run.status.code(), Some(1));
        assert!(text(&run.stderr).contains(expected), "`{expected}` is not in {}", text(&run.stderr));
        assert!(!shop.file("books").exists());
    }
    fs::remove_file(shop.file("orders.csv")).unwrap();
    assert!(text(&shop.run().stderr).contains("orders.csv"));
    assert_eq!(Command::new(example()).arg("--colour").output().unwrap().status.code(), Some(2));
}

const FENCES_OWN: [&str; 5] = ["epoch", "asked", "try_answer", "answer", "changed_at"];

/// One change to one row, and the words by which the audit must name that row.
struct Change {
    sql: String,
    names: BTreeSet<String>,
}

#[tokio::test]
async fn any_change_to_any_row_of_any_book_is_named() {
    let shop = Shop::new("changes");
    assert!(shop.run().status.success());
    let (books, changed) = (shop.file("books"), shop.file("changed"));
    let mut tried = 0;
    for book in ["inventory", "payment", "loyalty"] {
        for change in changes(&books.join(book).with_extension("db")).await {
            copy_books(&books, &changed);
            let mut file = open(&changed.join(book).with_extension("db")).await;
            // Constraints would keep some of these changes out; the audit must not rely on them.
            sqlx::raw_sql("PRAGMA ignore_check_constraints = 1").execute(&mut file).await.unwrap();
            let done = sqlx::raw_sql(AssertSqlSafe(change.sql.clone())).execute(&mut file).await.unwrap();
            assert_eq!(done.rows_affected(), 1, "{}", change.sql);
            file.close().await.unwrap();
            let found = shop.audit(&changed).unwrap_or_else(|| panic!("not noticed: {}", change.sql));
            assert!(
                change.names.iter().any(|name| found.contains(name)),
                "{} is not named in\n{found}",
                change.sql
            );
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} changes");
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// Every column of a row of each kind changed, and the row deleted, in every table of a book.
async fn changes(path: &Path) -> Vec<Change> {
    let mut file = open(path).await;
    let mut changes = Vec::new();
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut file)
        .await
        .unwrap();
    for table in tables {
        let columns: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT name, type, pk FROM pragma_table_info(?)")
                .bind(&table)
                .fetch_all(&mut file)
                .await
                .unwrap();
        let state =
            columns.iter().map(|(name, ..)| name.as_str()).find(|name| ["state", "phase"].contains(name));
        let kinds = state.map(|state| format!("GROUP BY {state}")).unwrap_or_default();
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {table} {kinds}")))
            .fetch_all(&mut file)
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table} is empty");
        for row in &rows {
            let key = |row: &SqliteRow| -> Vec<(String, String)> {
                let key_columns = columns.iter().filter(|(.., pk)| *pk > 0);
                key_columns.map(|(name, ..)| (name.clone(), row.get(name.as_str()))).collect()
            };
            let key = key(row);
            let condition: Vec<_> = key.iter().map(|(name, value)| format!("{name} = '{value}'")).collect();
            let condition = condition.join(" AND ");
            let names = BTreeSet::from([key[0].1.clone()]);
            changes
                .push(Change { sql: format!("DELETE FROM {table} WHERE {condition}"), names: names.clone() });
            for (column, kind, _) in &columns {
                // What a fence keeps for itself adds to no sum, and stands nowhere else.
                if table == "tcc_fence" && FENCES_OWN.contains(&column.as_str()) {
                    continue;
                }
                let values: Vec<String> = match (column.as_str(), kind.as_str()) {
                    (name, _) if Some(name) == state => other_states(&mut file, &table, name, row).await,
                    (_, "INTEGER") => ["+ 1", "- 1"].map(|step| format!("{column} {step}")).into(),
                    _ => vec![format!("{column} || 'x'")],
                };
                for value in values {
                    let sql = format!("UPDATE {table} SET {column} = {value} WHERE {condition}");
                    changes.push(Change { sql, names: names.clone() });
                }
            }
        }
    }
    file.close().await.unwrap();
    changes
}

async fn other_states(
    file: &mut SqliteConnection,
    table: &str,
    column: &str,
    row: &SqliteRow,
) -> Vec<String> {
    let state: String = row.get(column);
    let states: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT DISTINCT {column} FROM {table}")))
            .fetch_all(file)
            .await
            .unwrap();
    let others = states.into_iter().filter(|other| *other != state);
    others.chain(["nonsense".to_owned()]).map(|other| format!("'{other}'")).collect()
}

#[tokio::test]
async fn a_second_charge_is_named() {
    let shop = Shop::new("second-charge");
    assert!(shop.run().status.success());
    let books = shop.file("books");
    let mut payment = open(&books.join("payment.db")).await;
    for sql in [
        "INSERT INTO charge SELECT 'forged', branch, order_id, card, amount_cents, state FROM charge
         WHERE state = 'charged' AND card = 'gold' ORDER BY amount_cents LIMIT 1",
        "INSERT INTO slip SELECT gid, branch, order_id FROM charge WHERE gid = 'forged'",
        "INSERT INTO tcc_fence (gid, branch, action, phase, epoch, changed_at)
         SELECT gid, branch, 'payment.authorize@1', 'confirm', 1, 0 FROM charge WHERE gid = 'forged'",
        "UPDATE card SET available_cents = available_cents - amount_cents, charged_cents = charged_cents + amount_cents
         FROM charge WHERE gid = 'forged' AND card.card = charge.card",
    ] {
        assert_eq!(sqlx::query(sql).execute(&mut payment).await.unwrap().rows_affected(), 1, "{sql}");
    }
    payment.close().await.unwrap();
    let found = shop.audit(&books).unwrap();
    assert!(found.contains("payment.db") && found.contains("forged"), "{found}");
}

#[test]
fn an_order_reported_otherwise_than_the_books_say_is_named() {
    let shop = Shop::new("outcomes");
    assert!(shop.run().status.success());
    let outcomes = shop.file("books").join("outcomes.csv");
    let told = fs::read_to_string(&outcomes).unwrap();
    let audit = || {
        let flags = [OsStr::new("--outcomes"), outcomes.as_os_str()];
        complaint(&shop.command("audit", &shop.file("books"), &flags))
    };
    assert_eq!(audit(), None);
    for (ending, other) in [("confirmed", "cancelled"), ("cancelled", "confirmed")] {
        let order = told.lines().find_map(|line| line.strip_suffix(&format!(",{ending}"))).unwrap();
        fs::write(&outcomes, told.replace(&format!("{order},{ending}"), &format!("{order},{other}")))
            .unwrap();
        let found = audit().unwrap_or_else(|| panic!("not noticed: {order} reported as {other}"));
        assert!(found.contains(&format!("order {order} ")), "{found}");
    }
}
