//! `examples/checkout` as its reader meets it: the command, its exit code, and what its audit notices.

#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

const STOCK: &str = "sku,on_hand\ncup,40\nkettle,3\nlamp,0\n";
const CARDS: &str = "card,limit_cents\ngold,500000\nthin,1000\nblocked,0\n";

/// Every way an order can go, and every way a row can come again.
const ORDERS: &str = "\
order,sku,quantity,card,amount_cents,customer,slow_ms
A-01,cup,1,gold,1250,ann,0
A-02,cup,2,gold,2500,ann,20
A-02,cup,2,gold,2500,ann,20
A-03,lamp,1,gold,900,ann,0
A-04,kettle,4,gold,8000,ben,0
A-05,cup,1,blocked,1250,ben,0
A-06,cup,1,thin,1250,cat,0
A-07,cup,1,thin,950,cat,0
A-08,cup,1,gold,1250,dan,2000
A-09,cup,1,gold,1250,dan,4000
A-10,unheard-of,1,nobody,1,eve,0
A-11,kettle,2,gold,4000,eve,0
A-12,kettle,1,gold,2000,eve,0
A-13,cup,3,gold,3750,ann,0
A-14,cup,1,gold,1250,ben,0
A-15,cup,1,gold,1250,cat,0
A-16,cup,1,gold,1250,dan,0
A-17,cup,1,gold,1250,eve,0
A-18,cup,1,gold,1250,ann,0
A-01,cup,1,gold,1250,ann,0
";

/// The example, built with the selection of features that built this test, so that nothing is compiled again.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile_directory = test.parent().and_then(Path::parent).unwrap();
        let profile = match profile_directory.file_name().and_then(OsStr::to_str).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let selection = std::env::var("TCC_TEST_CARGO_FLAGS").unwrap_or_default();
        let built = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--example", "checkout", "--profile", profile, "--target-dir"])
            .arg(profile_directory.parent().unwrap())
            .args(selection.split_whitespace())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(built.success(), "the example does not build");
        profile_directory.join("examples").join(format!("checkout{}", std::env::consts::EXE_SUFFIX))
    })
}

/// A folder with the files of one shop, gone when the test is.
struct Shop {
    folder: PathBuf,
}

impl Shop {
    fn new(name: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("checkout-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let shop = Self { folder };
        fs::write(shop.file("stock.csv"), STOCK).unwrap();
        fs::write(shop.file("cards.csv"), CARDS).unwrap();
        let without_slow_banks = ORDERS.replace(",2000\n", ",0\n").replace(",4000\n", ",0\n");
        fs::write(shop.file("orders.csv"), without_slow_banks).unwrap();
        shop
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, command: &str, data: &Path, more: &[&OsStr]) -> Output {
        let mut checkout = Command::new(example());
        checkout.arg(command).arg("--data").arg(data).args(more).stdin(Stdio::null());
        for name in ["orders", "stock", "cards"] {
            checkout.arg(format!("--{name}")).arg(self.file(name).with_extension("csv"));
        }
        checkout.output().unwrap()
    }

    fn run(&self) -> Output {
        self.command("run", &self.file("books"), &[])
    }

    /// What the audit complains about, unless it is content.
    fn audit(&self, data: &Path) -> Option<String> {
        complaint(&self.command("audit", data, &[]))
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn complaint(output: &Output) -> Option<String> {
    match output.status.code() {
        Some(0) => None,
        Some(1) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        _ => panic!("the audit did not end by itself: {output:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The count in a line of the run's table.
fn count(output: &Output, name: &str) -> u64 {
    let table = text(&output.stdout);
    let line = table.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no line `{name}` in\n{table}"));
    line.trim_start()[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
}

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
    assert_eq!(again.status.code(), Some(1), "the same books cannot take the orders twice");
    assert!(text(&again.stderr).contains("books already"), "{}", text(&again.stderr));
    assert_eq!(shop.audit(&shop.file("books")), None);
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
        let has_state = columns.iter().any(|(name, ..)| name == "state");
        let kinds = if has_state { "GROUP BY state" } else { "" };
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
                let values: Vec<String> = match (column.as_str(), kind.as_str()) {
                    ("state", _) => other_states(&mut file, &table, &row.get::<String, _>("state")).await,
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

async fn other_states(file: &mut SqliteConnection, table: &str, state: &str) -> Vec<String> {
    let states: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT DISTINCT state FROM {table}")))
            .fetch_all(file)
            .await
            .unwrap();
    let others = states.into_iter().filter(|other| other != state);
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
        "INSERT INTO fence SELECT gid, branch, order_id, 'confirmed' FROM charge WHERE gid = 'forged'",
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
