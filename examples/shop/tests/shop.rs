//! The shop as its reader meets it: what it prints, its exit code, and what its audit notices. One Redis and one
//! PostgreSQL serve all tests; they are those of `shop stores`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]
#![allow(clippy::print_stdout, reason = "a run says what it reached")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use redis::Commands as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

/// Longer than any command here takes on a busy machine.
const LONG: Duration = Duration::from_secs(300);
const KILLS_OF_EACH: usize = 5;

fn shop(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(arguments).env_remove("SHOP_HOLD").env_remove("SHOP_CONTEXT_KEY").stdin(Stdio::null());
    command
}

/// `REDIS_URL` and `DATABASE_URL` of the servers that all tests share. They end with this process, by its pipe.
fn urls() -> &'static [(String, String); 2] {
    static SERVERS: OnceLock<(Child, [(String, String); 2])> = OnceLock::new();
    let (_, urls) = SERVERS.get_or_init(|| {
        let mut stores = shop(&["stores"]);
        stores.env_remove("REDIS_URL").env_remove("DATABASE_URL").env("SHOP_CHILD", "1");
        let mut child = stores.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let urls = ["REDIS_URL", "DATABASE_URL"].map(|name| {
            let line = lines.next().unwrap_or_else(|| panic!("`shop stores` says {name}")).unwrap();
            let (said, url) = line.split_once('=').unwrap();
            assert_eq!(said, name);
            (name.to_owned(), url.to_owned())
        });
        (child, urls)
    });
    urls
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command on the shared servers, and ends it if it does not end.
fn run(arguments: &[&str]) -> Ended {
    let mut command = shop(arguments);
    command.envs(urls().iter().cloned());
    end(command)
}

fn end(mut command: Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let read_err = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let give_up = Instant::now() + LONG;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= give_up {
            let _ = child.kill();
            panic!(
                "{command:?} did not end in {LONG:?}: {}\n{}",
                read.join().unwrap(),
                read_err.join().unwrap()
            );
        }
        thread::sleep(Duration::from_millis(20));
    };
    let ended = Ended { code: status.code(), out: read.join().unwrap(), err: read_err.join().unwrap() };
    println!("{}{}", ended.out, ended.err);
    ended
}

/// The numbers of the line that begins so.
fn numbers(out: &str, begins: &str) -> Vec<usize> {
    let line =
        out.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("`{begins}` in:\n{out}"));
    line[begins.len()..].split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn every_service_killed_at_every_phase_leaves_all_books_balanced() {
    let ended = run(&["kills", "--each", &KILLS_OF_EACH.to_string()]);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    assert!(numbers(&ended.out, "killed at").is_empty());
    for service in ["orders ", "inventory ", "payment ", "loyalty "] {
        assert_eq!(
            numbers(&ended.out, service),
            [KILLS_OF_EACH; 4],
            "try, decided, confirm, cancel of {service}"
        );
    }
    assert!(ended.out.contains("All books balance: "), "{}", ended.out);
}

#[test]
fn one_command_pushes_orders_through_killed_services_and_its_audit_names_what_does_not_balance() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let ended = run(&["--orders", "72", "--kills", "4", "--data", data]);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.err);
    for service in ["kill 1: orders", "kill 2: inventory", "kill 3: payment", "kill 4: loyalty"] {
        assert!(ended.out.contains(service), "{service}: {}", ended.out);
    }
    for reason in [" placed", "refused: out of stock", "refused: card declined", "refused: customer barred"] {
        assert!(ended.out.contains(reason), "{reason}: {}", ended.out);
    }
    assert!(ended.out.contains("All books balance: "), "{}", ended.out);

    let audit = || run(&["audit", "--data", data]);
    assert_eq!(audit().code, Some(0), "the books are still there, and still balance");
    let books = Books::of(directory.path());
    let placed = books.placed();
    let is = |state: &str| format!("{placed} is Some(\"{state}\")");
    let tampered: [(String, &dyn Fn(i64)); 5] = [
        ("PostgreSQL: pieces: tea does not balance".into(), &|by| {
            books.postgres(&format!("UPDATE stock SET on_hand = on_hand + {by} WHERE sku = 'tea'"));
        }),
        (format!("PostgreSQL: pieces: {}", is("held")), &|by| {
            let state = if by > 0 { "held" } else { "sold" };
            books.postgres(&format!("UPDATE reservation SET state = '{state}' WHERE order_id = '{placed}'"));
        }),
        ("SQLite: cents: amber does not balance".into(), &|by| {
            books
                .sqlite("payment", &format!("UPDATE card SET charged = charged + {by} WHERE card = 'amber'"));
        }),
        ("Redis: points: ann does not balance".into(), &|by| books.points("ann", by)),
        (format!("orders: {}", is("refused")), &|by| {
            let state = if by > 0 { "refused" } else { "placed" };
            books.sqlite(
                "orders",
                &format!("UPDATE orders SET state = '{state}' WHERE order_id = '{placed}'"),
            );
        }),
    ];
    for (finding, tamper) in tampered {
        tamper(1);
        let found = audit();
        assert_eq!(found.code, Some(1), "{finding}");
        assert!(
            found.err.contains("do NOT balance") && found.err.contains(&finding),
            "{finding}: {}",
            found.err
        );
        tamper(-1);
    }
    assert_eq!(audit().code, Some(0), "what was put back balances");
}

/// The stores of a run, as somebody meets them who means no good.
struct Books<'a> {
    directory: &'a Path,
    /// The run's schema, and the beginning of its keys.
    name: String,
    tokio: tokio::runtime::Runtime,
}

impl<'a> Books<'a> {
    fn of(directory: &'a Path) -> Self {
        let place: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(directory.join("shop.json")).unwrap()).unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { directory, name: place["name"].as_str().unwrap().to_owned(), tokio }
    }

    /// An order that went through.
    fn placed(&self) -> String {
        let text = fs::read_to_string(self.directory.join("answers.json")).unwrap();
        let answers: serde_json::Value = serde_json::from_str(&text).unwrap();
        let told = answers["told"].as_object().unwrap();
        let placed = told.iter().find(|(_, told)| told["order"] == "placed");
        placed.expect("some order went through").0.clone()
    }

    fn postgres(&self, sql: &str) {
        self.tokio.block_on(async {
            let options: PgConnectOptions = urls()[1].1.parse().unwrap();
            let mut connection = options.options([("search_path", &self.name)]).connect().await.unwrap();
            let changed = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            assert_eq!(changed.rows_affected(), 1, "{sql}");
        });
    }

    fn sqlite(&self, service: &str, sql: &str) {
        self.tokio.block_on(async {
            let file = self.directory.join(service).with_extension("db");
            let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
            let changed = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            assert_eq!(changed.rows_affected(), 1, "{sql}");
        });
    }

    fn points(&self, customer: &str, by: i64) {
        let mut redis = redis::Client::open(urls()[0].1.as_str()).unwrap().get_connection().unwrap();
        let _: i64 = redis.hincr(format!("points:{{{}:{customer}}}", self.name), "points", by).unwrap();
    }
}

#[test]
fn where_there_is_no_server_it_says_what_to_install() {
    let mut bare = shop(&[]);
    bare.env("PATH", "").env_remove("REDIS_URL").env_remove("DATABASE_URL");
    let ended = end(bare);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("apt-get install redis-server"), "{}", ended.err);
}

#[test]
fn a_command_line_that_is_wrong_is_answered_with_help() {
    let ended = end(shop(&["--orders", "many"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("Usage: shop"), "{}", ended.err);
}
