//! What the services share: their runtime, where they listen, and when they end.

use std::time::Duration;

use axum::{Json, Router, http::StatusCode};
use tcc::{NotRun, Participant, RedisStore, Runtime, TryError, propagate::JoinLayer};
use tokio::net::TcpListener;

use crate::{
    Failure,
    books::TryFailure,
    hold::Holds,
    key,
    place::{Place, Service},
    stop,
};

/// What a service says, once, when it serves.
pub(crate) const LISTENS: &str = "listening on ";
/// A death is acted on after this long. Short, so that whoever watches need not wait.
const LEASE: Duration = Duration::from_secs(2);

/// Every write waits for the disk, and one that is busy with something else keeps it waiting for seconds: better a slow
/// order than one of which nobody knows how it ended.
const CALL_PATIENCE: Duration = Duration::from_secs(20);
const STORE_PATIENCE: Duration = Duration::from_secs(25);

/// How a service answers.
pub(crate) type Answer<T> = Result<Json<T>, (StatusCode, String)>;

/// A refusal is an answer; of anything else nobody knows whether it is one.
pub(crate) fn refusal(error: TryError<TryFailure>) -> (StatusCode, String) {
    match error {
        TryError::Rejected(TryFailure::Refused(why)) => (StatusCode::CONFLICT, why),
        error @ TryError::NotRun(NotRun::RejectedBefore { .. }) => {
            (StatusCode::CONFLICT, crate::chain(&error))
        }
        error => (StatusCode::SERVICE_UNAVAILABLE, crate::chain(&error)),
    }
}

pub(crate) async fn store(place: &Place) -> Result<RedisStore, Failure> {
    let builder = RedisStore::builder(&place.redis_url).namespace(&place.name).call_timeout(CALL_PATIENCE);
    Ok(builder.connect().await?)
}

/// A runtime that hosts one participant.
pub(crate) async fn runtime<P: Participant>(
    place: &Place,
    holds: &Holds,
    participant: P,
) -> Result<Runtime, Failure> {
    let mut builder = Runtime::builder()
        .store(store(place).await?)
        .store_timeout(STORE_PATIENCE)
        .lease(LEASE)
        .drive_lease(LEASE)
        .sweep_interval(Duration::from_millis(100))
        .context_key(key::from_env()?)
        .participant(participant);
    if holds.before_phase_two() {
        builder = builder.tries_only(P::NAME);
    }
    Ok(builder.start().await?)
}

pub(crate) async fn listen(place: &Place, service: Service) -> Result<TcpListener, Failure> {
    let address = place.listens(service);
    let listener = TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?;
    println!("{LISTENS}{address}");
    Ok(listener)
}

/// Serves routes, whose requests can join, until it is asked to stop; then hands over what is in flight.
pub(crate) async fn http(
    place: &Place,
    service: Service,
    runtime: Runtime,
    routes: Router,
) -> Result<(), Failure> {
    let listener = listen(place, service).await?;
    let routes = routes.layer(JoinLayer::new(runtime.clone()));
    axum::serve(listener, routes).with_graceful_shutdown(asked_to_stop()).await?;
    runtime.shutdown().await;
    Ok(())
}

/// Waits for a signal, or for the end of whoever started this service.
pub(crate) async fn asked_to_stop() {
    stop::asked(std::env::var_os(crate::fleet::CHILD).is_some()).await;
}
