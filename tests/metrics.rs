//! What runtimes measure: under the documented names and labels, in the scrape of the example, and in the alert rules.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/checkout.rs"]
mod checkout;
#[path = "support/exposition.rs"]
mod exposition;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
    time::{Duration, Instant},
};

use exposition::{Sample, samples};
use metrics_exporter_prometheus::PrometheusBuilder;
use support::*;
use tcc::{
    MemoryStore, Tx,
    metrics::{METRICS, MetricKind},
};

const PAGE: &str = include_str!("../docs/src/metrics.md");
const RULES: &str = include_str!("../docs/src/alerts.yml");

fn table() -> String {
    let mut table = "| name | kind | unit | labels | what it says |\n|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, unit) = (format!("{:?}", metric.kind), format!("{:?}", metric.unit));
        let (kind, unit) = (kind.to_lowercase(), unit.to_lowercase());
        let row =
            format!("| `{}` | {kind} | {unit} | {} | {} |", metric.name, labels.join(", "), metric.meaning);
        writeln!(table, "{row}").unwrap();
    }
    table
}

#[test]
fn the_page_of_the_guide_lists_what_the_code_says() {
    let table = table();
    assert!(PAGE.contains(&table), "docs/src/metrics.md must hold this table:\n\n{table}");
}

/// The labels of the metric a series belongs to: a histogram's have suffixes, and `le` or `quantile`.
fn labels_of(name: &str) -> Option<&'static [&'static str]> {
    let of = |name: &str| METRICS.iter().find(|metric| metric.name == name);
    let suffixes = ["_bucket", "_sum", "_count"].into_iter();
    let mut stripped = suffixes.filter_map(|suffix| of(name.strip_suffix(suffix)?));
    let histogram = stripped.find(|metric| metric.kind == MetricKind::Histogram);
    of(name).or(histogram).map(|metric| metric.labels)
}

fn ours(text: &str) -> Vec<Sample> {
    samples(text).into_iter().filter(|sample| sample.name.starts_with("tcc_")).collect()
}

fn check_labels(samples: &[Sample]) {
    for Sample { name, labels, .. } in samples {
        let documented = labels_of(name).unwrap_or_else(|| panic!("{name} is in no table"));
        let named = labels.keys().map(String::as_str).filter(|label| !["le", "quantile"].contains(label));
        assert_eq!(named.collect::<BTreeSet<_>>(), documented.iter().copied().collect(), "{name}");
    }
}

/// The value of the only series of this name with these labels.
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.name == name
            && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
    };
    let found: Vec<&Sample> = samples.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
    found[0].value
}

#[tokio::test]
async fn a_story_is_counted_where_it_happened() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = hosting(&store, &bank).survey_interval(ms(10)).start().await.unwrap();
    let transfer = async || {
        let body = async |tx: &Tx| Ok(tx.call("bank.debit@1", &10).await?);
        runtime.transaction("transfer").wait_final(LONG).run(body).await
    };
    // Confirmed at the second attempt; refused; parked.
    bank.script("confirm", &[Act::Fail]);
    transfer().await.unwrap();
    bank.script("try", &[Act::Fail]);
    transfer().await.unwrap_err();
    bank.script("confirm", &[Act::Park]);
    transfer().await.unwrap_err();

    let handle = recorder.handle();
    let parked = [("cause", "handler")];
    until("the gauges", || {
        let seen = ours(&handle.render());
        value(&seen, "tcc_parked_branches", &parked) == 1.0 && value(&seen, "tcc_survey_complete", &[]) == 1.0
    })
    .await;
    let seen = ours(&handle.render());
    check_labels(&seen);
    let debit = |phase, outcome| {
        let labels = [("action", "bank.debit@1"), ("phase", phase), ("outcome", outcome)];
        value(&seen, "tcc_branch_calls_total", &labels)
    };
    assert_eq!(
        [debit("try", "succeeded"), debit("try", "refused"), debit("try", "unknown")],
        [2.0, 1.0, 0.0]
    );
    assert_eq!(
        [debit("confirm", "done"), debit("confirm", "failed"), debit("confirm", "parked")],
        [1.0, 1.0, 1.0]
    );
    assert_eq!(debit("cancel", "done"), 1.0);
    let named = |name| value(&seen, name, &[("transaction", "transfer")]);
    assert_eq!(named("tcc_transactions_begun_total"), 3.0);
    let ended = |outcome| {
        let labels = [("transaction", "transfer"), ("outcome", outcome)];
        let counted = value(&seen, "tcc_transaction_duration_seconds_count", &labels);
        assert_eq!(counted, value(&seen, "tcc_transactions_finished_total", &labels));
        counted
    };
    assert_eq!([ended("confirmed"), ended("cancelled")], [1.0, 1.0]);
    let decided = |reason| value(&seen, "tcc_transactions_decided_total", &[("reason", reason)]);
    assert_eq!([decided("committed"), decided("aborted"), decided("dropped")], [2.0, 1.0, 0.0]);
    let retries = [("action", "bank.debit@1"), ("phase", "confirm")];
    assert_eq!(value(&seen, "tcc_branch_retries_total", &retries), 1.0);
    assert_eq!(value(&seen, "tcc_open_transactions", &[("state", "confirming")]), 1.0);
    assert_eq!(value(&seen, "tcc_open_transactions", &[("state", "trying")]), 0.0);
    assert!(value(&seen, "tcc_oldest_transaction_age_seconds", &[("state", "confirming")]) >= 0.0);
    assert!(value(&seen, "tcc_store_call_duration_seconds_count", &[("operation", "register")]) >= 3.0);
    assert!(value(&seen, "tcc_recovery_lag_seconds_count", &[]) >= 1.0, "the retry was rung for by a sweep");
    assert_eq!(
        value(&seen, "tcc_store_errors_total", &[("operation", "register"), ("kind", "unavailable")]),
        0.0
    );
    runtime.shutdown().await;
}

#[tokio::test]
async fn names_of_transactions_make_no_more_series_than_allowed() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let (store, bank) = (MemoryStore::new(), Bank::default());
    let runtime = host(&store, &bank).await;
    let names = tcc::metrics::NAMES_MAX + 5;
    for number in 0..names {
        let body = async |_: &Tx| Ok(());
        runtime.transaction(&format!("order-{number}")).run(body).await.unwrap();
    }
    let seen = ours(&recorder.handle().render());
    let begun: BTreeMap<&str, f64> = seen
        .iter()
        .filter(|sample| sample.name == "tcc_transactions_begun_total")
        .map(|sample| (sample.labels["transaction"].as_str(), sample.value))
        .collect();
    assert_eq!(begun.len(), tcc::metrics::NAMES_MAX + 1);
    assert_eq!(begun[tcc::metrics::OTHER], 5.0);
}

/// The series an expression names, and the labels it asks of each or groups all of them by.
fn expressions() -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    for expression in RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let by = expression.split("by (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        let grouped = by.split(',').map(str::trim).filter(|label| !label.is_empty() && *label != "le");
        for (at, _) in expression.match_indices("tcc_") {
            let rest = &expression[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let asked =
                rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            let asked =
                asked.split(',').filter_map(|one| one.split(['=', '!']).next()).filter(|one| !one.is_empty());
            found.push((rest[..end].to_owned(), grouped.clone().chain(asked).map(str::to_owned).collect()));
        }
    }
    found
}

#[test]
fn every_alert_leads_to_a_page_of_the_book() {
    let lines = || RULES.lines().map(str::trim);
    let alerts = lines().filter(|line| line.starts_with("- alert: ")).count();
    let pages: Vec<&str> = lines().filter_map(|line| line.strip_prefix("page: ")).collect();
    assert_eq!(pages.len(), alerts);
    for page in pages {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src").join(page);
        assert!(path.is_file(), "{page} is not there");
    }
}

#[test]
fn alert_rules_name_only_metrics_and_labels_there_are() {
    let expressions = expressions();
    assert!(expressions.len() >= 10, "{expressions:?}");
    for (name, labels) in expressions {
        let documented = labels_of(&name).unwrap_or_else(|| panic!("{name} is in no table"));
        for label in labels {
            assert!(documented.contains(&label.as_str()), "{name} has no label {label}");
        }
    }
}

/// One HTTP request, answered within a few seconds.
fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[test]
fn a_scrape_of_the_example_has_what_the_alert_rules_ask_for() {
    let shop = checkout::Shop::new("metrics");
    fs::write(shop.file("orders.csv"), checkout::ORDERS).unwrap();
    let flags = ["--metrics", "127.0.0.1:0"].map(OsStr::new);
    let mut run = shop.prepared("run", &shop.file("books"), &flags);
    run.stdout(Stdio::piped());
    let mut child = Killed(run.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The run ends within a minute, or the example's own limits end it.
    let started = Instant::now();
    let last = lines.find(|line| line.starts_with("Metrics stay at "));
    let last = last.unwrap_or_else(|| panic!("it ended after {:?} without serving on", started.elapsed()));
    let address = last.trim_start_matches("Metrics stay at http://").split('/').next().unwrap();
    let answer = scrape(address);
    let seen = ours(answer.split("\r\n\r\n").nth(1).unwrap());
    check_labels(&seen);
    let names: BTreeSet<&str> = seen.iter().map(|sample| sample.name.as_str()).collect();
    for (name, _) in expressions() {
        assert!(names.contains(name.as_str()), "{name} is not in the scrape: {names:?}");
    }
    assert_eq!(value(&seen, "tcc_transactions_begun_total", &[("transaction", "checkout")]), 18.0);
    let text = format!("{seen:?}");
    assert!(!text.contains("A-01") && !text.contains("gold"), "no business key or argument is a label");
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
