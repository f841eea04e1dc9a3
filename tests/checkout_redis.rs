//! `examples/checkout` on a Redis of its own: what survives its crashes, and what two processes share.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

#[path = "support/checkout.rs"]
mod checkout;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use checkout::*;

const NO_FLAGS: [&OsStr; 0] = [];

/// Enough orders that a worker can be killed in the midst of them again and again.
fn many_orders() -> String {
    let mut orders = "order,sku,quantity,card,amount_cents,customer,slow_ms\n".to_owned();
    for number in 0..400 {
        let (sku, card) = (["cup", "kettle", "lamp"][number % 3], ["gold", "gold", "thin"][number % 5 % 3]);
        writeln!(orders, "M-{number:03},{sku},1,{card},{},ann,0", 100 + number).unwrap();
    }
    orders
}

fn assert_balanced(run: &Output) {
    let (told, complained) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success(), "{told}\n{complained}");
    assert!(told.contains("The books balance"), "{told}");
}

/// Nobody answers at the private server's socket any more.
fn assert_stopped(data: &Path) {
    let folder = data.join("redis");
    assert!(
        folder.join("appendonlydir").exists(),
        "no private server kept its files in {}",
        folder.display()
    );
    assert!(UnixStream::connect(folder.join("socket")).is_err(), "the private server was left running");
    assert!(!folder.join("server.pid").exists(), "it was not stopped in good order");
}

#[test]
fn a_run_on_a_private_redis_ends_balanced_and_a_second_one_repeats_every_order() {
    let shop = Shop::with_redis("redis-run");
    let books = shop.file("books");
    let first = shop.run();
    assert_balanced(&first);
    assert!(text(&first.stdout).contains("private Redis"), "{}", text(&first.stdout));
    assert_eq!(count(&first, "confirmed") + count(&first, "cancelled"), 18);
    assert!(count(&first, "retries") > 0, "the faults on purpose were not met");
    assert_stopped(&books);

    let again = shop.run();
    assert_balanced(&again);
    let [confirmed, cancelled, repeated] =
        ["confirmed", "cancelled", "repeated"].map(|name| count(&again, name));
    assert_eq!([confirmed, cancelled, repeated], [0, 0, 20], "{}", text(&again.stdout));
    assert_stopped(&books);

    // Without the Redis that knows them, the same orders would be charged again.
    fs::remove_dir_all(books.join("redis")).unwrap();
    let forgotten = shop.run();
    assert_eq!(forgotten.status.code(), Some(1));
    assert!(text(&forgotten.stderr).contains("books already"), "{}", text(&forgotten.stderr));
    assert!(UnixStream::connect(books.join("redis/socket")).is_err(), "an error, too, ends the server");
}

#[test]
fn workers_killed_in_the_middle_of_phase_two_leave_the_books_balanced() {
    let shop = Shop::with_redis("redis-crash");
    fs::write(shop.file("orders.csv"), many_orders()).unwrap();
    fs::write(shop.file("stock.csv"), "sku,on_hand\ncup,100\nkettle,150\nlamp,0\n").unwrap();
    let run = shop.command("run", &shop.file("books"), &[OsStr::new("--crash")]);
    assert_balanced(&run);
    let told = text(&run.stdout);
    let kills: Vec<&str> = told.lines().filter(|line| line.starts_with("kill ")).collect();
    assert!(kills.len() >= 5, "{told}");
    assert!(told.contains(&format!("{} kills in the middle of phase two", kills.len())), "{told}");
    let workers: std::collections::BTreeSet<&str> =
        kills.iter().map(|line| line.split("worker ").nth(1).unwrap().split(',').next().unwrap()).collect();
    assert_eq!(workers.len(), kills.len(), "each was a process of its own: {told}");
    assert_eq!(count(&run, "unfinished"), 0);
    assert_stopped(&shop.file("books"));
}

#[test]
fn a_crash_run_that_cannot_go_on_gives_up_in_time_and_leaves_nothing_running() {
    let shop = Shop::with_redis("redis-few");
    // The bank takes longer than there is time: no worker gets to phase two, to be killed there.
    let orders = "order,sku,quantity,card,amount_cents,customer,slow_ms\nF-1,cup,1,gold,100,ann,1900\n";
    fs::write(shop.file("orders.csv"), orders).unwrap();
    fs::write(shop.file("stock.csv"), "sku,on_hand\ncup,100\n").unwrap();
    let flags = ["--crash", "--within", "1"].map(OsStr::new);
    let run = shop.command("run", &shop.file("books"), &flags);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stdout));
    let said = text(&run.stderr);
    assert!(said.contains("given up"), "{said}");
    assert_stopped(&shop.file("books"));
}

/// A service in another process, ended with the test.
struct Service {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Service {
    fn start(shop: &Shop, participants: &str) -> Self {
        let flags = ["--participants", participants].map(OsStr::new);
        let mut command = shop.prepared("serve", &shop.file("books"), &flags);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("Serving") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the service did not start");
        }
        Self { process, output }
    }

    /// What it did, told when it is asked to end.
    fn end(mut self) -> String {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let give_up = Instant::now() + Duration::from_secs(60);
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < give_up, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut told = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut told).unwrap();
        told
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Confirms and cancels of a participant, as a process counted them.
fn here(told: &str, participant: &str) -> u64 {
    let line = told.lines().find(|line| line.contains("run in this process:")).unwrap();
    let counts = line.split_once("process:").unwrap().1;
    let count = counts.split(',').find_map(|one| one.trim().strip_prefix(participant)).unwrap();
    count.trim().parse().unwrap()
}

#[test]
fn confirms_and_cancels_run_in_the_process_that_serves_their_participant() {
    let shop = Shop::with_redis("redis-two");
    let service = Service::start(&shop, "payment,loyalty");
    let flags = ["--participants", "inventory"].map(OsStr::new);
    let run = shop.command("run", &shop.file("books"), &flags);
    assert_balanced(&run);
    let told = text(&run.stdout);
    assert!(here(&told, "inventory") >= 18, "{told}");
    assert_eq!((here(&told, "payment"), here(&told, "loyalty")), (0, 0), "{told}");
    // The service uses the private server, which outlives the run for it.
    assert!(UnixStream::connect(shop.file("books").join("redis/socket")).is_ok());
    let served = service.end();
    assert!(here(&served, "payment") >= 18 && here(&served, "loyalty") >= 18, "{served}");
    assert!(!served.contains("inventory"), "{served}");
    assert_stopped(&shop.file("books"));
}

#[test]
fn a_url_that_leads_nowhere_is_an_error_and_never_another_store() {
    let shop = Shop::with_redis("redis-url");
    let mut run = shop.prepared("run", &shop.file("books"), &NO_FLAGS);
    let refused = run.env("REDIS_URL", "redis://127.0.0.1:1/").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("REDIS_URL"), "{}", text(&refused.stderr));
    assert!(!shop.file("books").join("payment.db").exists(), "nothing was begun");
}
