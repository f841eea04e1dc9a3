//! `rediss://`: an encrypted connection, and only to a server whose certificate is trusted.
//!
//! The certificate in `tests/tls/` is a test's, for `localhost`, and so is its authority, which no machine
//! trusts: a process does if `SSL_CERT_FILE` names it.
#![cfg(feature = "tls")]

mod support;

use std::{process::Command, time::Duration};

use support::{
    server::{Server, free_port},
    story::{STOCK, Story, name},
};
use tcc_core::{
    record::Direction,
    store::{Store, StoreErrorKind},
};
use tcc_redis::RedisStore;
use tokio::time::timeout;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
const URL: &str = "TCC_TEST_TLS_URL";

/// A server that answers at a second port, encrypted, and the URL of that.
async fn encrypted() -> (Server, String) {
    let port = free_port();
    let [certificate, key, authority] =
        ["server.pem", "server.key", "ca.pem"].map(|file| format!("{FILES}/{file}"));
    let server = Server::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    (server, format!("rediss://localhost:{port}/"))
}

#[tokio::test]
#[ignore = "is the process that trusts the test's authority, started by the other test"]
async fn the_store_works() {
    let url = std::env::var(URL).expect("the URL; the other test starts this one with it");
    let store = RedisStore::connect(&url).await.expect("a trusted server");
    Story::new(&store, 1).confirm_all().await;
    let (process, participant) = (name("worker"), name("stock"));
    let mut bells = store.listen(&process, &[participant]).await.expect("a listener");
    let story = Story::new(&store, 2);
    story.register(&[STOCK]).await;
    story.decide(Direction::Cancel, &[(1, None)], &[]).await;
    let rung = timeout(Duration::from_secs(10), bells.next(1)).await.expect("in time").expect("a message");
    assert_eq!(rung[0].gid, story.gid);
}

#[tokio::test]
async fn an_encrypted_connection_needs_a_certificate_that_is_trusted() {
    let (server, url) = encrypted().await;
    let error = RedisStore::connect(&url).await.expect_err("nobody trusts this authority");
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");

    let mut process = Command::new(std::env::current_exe().expect("this test binary"));
    process.args(["--exact", "the_store_works", "--ignored"]);
    process.env(URL, &url).env("SSL_CERT_FILE", format!("{FILES}/ca.pem"));
    let ended = tokio::task::spawn_blocking(move || process.output()).await.expect("a task");
    let ended = ended.expect("a process");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    let plain = RedisStore::connect(server.url()).await.expect("the same Redis");
    let record = Story::new(&plain, 1).record().await;
    assert!(record.state.is_final(), "what was written encrypted is there");
}
