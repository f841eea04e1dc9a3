//! A receiver of alarms: refuses the first few, verifies signatures, and tells repetitions apart by id.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use tcc_webhook::{ALARM_ID, SIGNATURE, verify};

pub(crate) const SECRET: &str = "a secret of 16 bytes or more";

#[derive(Default)]
struct Seen {
    refuse: usize,
    refused: usize,
    ids: Vec<String>,
    known: BTreeSet<String>,
    told: Vec<String>,
    bodies: Vec<Value>,
    unverified: Vec<String>,
}

pub(crate) struct Receiver {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    /// Refuses this many requests, and takes all others.
    pub(crate) async fn start(refuse: usize) -> Self {
        let seen = Arc::new(Mutex::new(Seen { refuse, ..Seen::default() }));
        let app = Router::new().route("/alarms", post(take)).with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { port, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/alarms", self.port)
    }

    /// The ids that were taken, each once.
    pub(crate) fn told(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panicked").told.clone()
    }

    /// The ids of all requests.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panicked").ids.clone()
    }

    pub(crate) fn refused(&self) -> usize {
        self.seen.lock().expect("nobody panicked").refused
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.seen.lock().expect("nobody panicked").bodies.clone()
    }

    pub(crate) fn unverified(&self) -> Vec<String> {
        self.seen.lock().expect("nobody panicked").unverified.clone()
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header =
        |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (id, signature) = (header(ALARM_ID), header(SIGNATURE));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let mut seen = seen.lock().expect("nobody panicked");
    seen.ids.push(id.clone());
    if let Err(error) = verify(SECRET.as_bytes(), &signature, &body, now, Duration::from_secs(300)) {
        seen.unverified.push(format!("{id}: {error}"));
        return StatusCode::UNAUTHORIZED;
    }
    if seen.refused < seen.refuse {
        seen.refused += 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if seen.known.insert(id.clone()) {
        seen.told.push(id);
        seen.bodies.push(serde_json::from_slice(&body).expect("JSON"));
    }
    StatusCode::NO_CONTENT
}
