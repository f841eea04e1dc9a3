//! Transactions over real gRPC: a tonic service and a tonic client, with one store between them (rule 16). The service
//! is gRPC's own health check, whose `check` takes the stock of what it is asked about.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use tcc::{
    Gid, MemoryStore, OpenTransaction, RemoteCall, Runtime, Timestamp, TryError,
    record::{BranchState, Reason, TransactionState},
};
use tcc_propagate::{
    CallLayer, CallService, JoinLayer,
    headers::{self, BRANCHES, DEADLINE_MS, GID, SEAL},
    tonic::{InTransaction, joined},
};
use tonic::{
    Code, Request, Response, Status,
    codegen::BoxStream,
    metadata::MetadataMap,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::Layer;

struct StockService;

#[tonic::async_trait]
impl Health for StockService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let tx = joined(&request).await?;
        match StockTcc::new(&tx).reserve(request.into_inner().service, 1).await {
            Ok(_) => Ok(Response::new(HealthCheckResponse { status: 1 })),
            Err(TryError::Rejected(error)) => Err(Status::failed_precondition(error.to_string())),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the stock is not watched"))
    }
}

/// A service in the middle, which has no stock itself and asks the one that has.
struct RelayService {
    stock: HealthClient<CallService<Channel>>,
}

#[tonic::async_trait]
impl Health for RelayService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let tx = joined(&request).await?;
        let call = tx.remote_call().await.map_err(|error| Status::unavailable(error.to_string()))?;
        self.stock.clone().check(of(&request.into_inner().service).in_transaction(&call)).await
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the stock is not watched"))
    }
}

/// Serves it on a port of its own, and gives a client.
async fn serve_grpc(runtime: &Runtime, service: impl Health) -> HealthClient<CallService<Channel>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server::builder().layer(JoinLayer::new(runtime.clone())).add_service(HealthServer::new(service));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    HealthClient::new(CallLayer.layer(channel))
}

struct Shop {
    store: MemoryStore,
    journal: Journal,
    front: Runtime,
    stock: Runtime,
    client: HealthClient<CallService<Channel>>,
}

impl Shop {
    async fn open() -> Self {
        let store = MemoryStore::new();
        Self::over(store.clone(), two(&store).await).await
    }

    async fn over(store: MemoryStore, (front, stock, journal): (Runtime, Runtime, Journal)) -> Self {
        let client = serve_grpc(&stock, StockService).await;
        Self { store, journal, front, stock, client }
    }

    async fn begin(&self) -> (OpenTransaction, RemoteCall) {
        let open = self.front.transaction("checkout").wait_final(LONG).begin().await.unwrap();
        let call = open.remote_call().await.unwrap();
        (open, call)
    }

    async fn take(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.client.clone().check(request).await
    }
}

fn of(sku: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: sku.to_owned() })
}

fn branches(metadata: &MetadataMap) -> &str {
    metadata.get(BRANCHES.as_str()).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_transaction_has_branches_in_a_service_it_calls() {
    let shop = Shop::open().await;
    let (open, call) = shop.begin().await;
    let answer = shop.take(of("tea").in_transaction(&call)).await.unwrap();
    assert_eq!(branches(answer.metadata()), "s");
    open.commit().await.unwrap();
    assert_eq!(only(&shop.store).state, TransactionState::Confirmed);
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn rule_04_a_service_that_declined_does_not_stop_the_rest() {
    let shop = Shop::open().await;
    let (open, call) = shop.begin().await;
    let declined = shop.take(of("none").in_transaction(&call)).await.unwrap_err();
    assert_eq!((declined.code(), branches(declined.metadata())), (Code::FailedPrecondition, "r"));
    let other = open.remote_call().await.unwrap();
    shop.take(of("tea").in_transaction(&other)).await.unwrap();
    open.commit().await.unwrap();
    let states: Vec<BranchState> = only(&shop.store).branches.iter().map(|branch| branch.state).collect();
    assert_eq!(states, [BranchState::Cancelled, BranchState::Confirmed]);
}

#[tokio::test]
async fn rule_16_a_call_whose_answer_was_lost_is_repeated_as_one_branch() {
    let shop = Shop::open().await;
    let (open, call) = shop.begin().await;
    let mut impatient = of("slow").in_transaction(&call);
    impatient.set_timeout(Duration::from_millis(300));
    shop.take(impatient).await.unwrap_err();
    let answer = shop.take(of("slow").in_transaction(&call)).await.unwrap();
    assert_eq!(branches(answer.metadata()), "s");
    open.commit().await.unwrap();
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn rule_16_a_call_that_timed_out_forbids_commit_though_its_fallback_succeeded() {
    let shop = Shop::open().await;
    let (open, call) = shop.begin().await;
    let mut impatient = of("slow").in_transaction(&call);
    impatient.set_timeout(Duration::from_millis(300));
    shop.take(impatient).await.unwrap_err();
    let fallback = open.remote_call().await.unwrap();
    shop.take(of("tea").in_transaction(&fallback)).await.unwrap();
    assert_eq!(reason(&open.commit().await.unwrap_err()), Reason::PendingCall);
    until("both are cancelled", || only(&shop.store).state == TransactionState::Cancelled).await;
    assert_eq!(shop.journal.count("confirm"), 0);
}

#[tokio::test]
async fn rule_16_calls_behind_calls_are_of_the_same_transaction() {
    let shop = Shop::open().await;
    let middle = quick(&shop.store).start().await.unwrap();
    let mut relay = serve_grpc(&middle, RelayService { stock: shop.client.clone() }).await;
    let (open, call) = shop.begin().await;
    for _ in 0..2 {
        let answer = relay.check(of("tea").in_transaction(&call)).await.unwrap();
        assert_eq!(branches(answer.metadata()), "s");
    }
    let declining = open.remote_call().await.unwrap();
    let declined = relay.check(of("none").in_transaction(&declining)).await.unwrap_err();
    assert_eq!((declined.code(), branches(declined.metadata())), (Code::FailedPrecondition, "gr"));
    open.commit().await.unwrap();
    let record = only(&shop.store);
    let made: Vec<(&str, BranchState)> =
        record.branches.iter().map(|branch| (branch.call.as_str(), branch.state)).collect();
    assert_eq!(made, [("1.1.1", BranchState::Confirmed), ("2.1.1", BranchState::Cancelled)]);
    assert_eq!(shop.journal.counts(), (2, 1, 1));
}

#[tokio::test]
async fn rule_16_a_call_behind_a_call_that_was_not_answered_forbids_commit() {
    let shop = Shop::open().await;
    let middle = quick(&shop.store).start().await.unwrap();
    let gone = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let nobody = RelayService { stock: HealthClient::new(CallLayer.layer(gone)) };
    let mut relay = serve_grpc(&middle, nobody).await;
    let (open, call) = shop.begin().await;
    let unanswered = relay.check(of("tea").in_transaction(&call)).await.unwrap_err();
    assert_eq!(branches(unanswered.metadata()), "p");
    let fallback = open.remote_call().await.unwrap();
    shop.take(of("tea").in_transaction(&fallback)).await.unwrap();
    assert_eq!(reason(&open.commit().await.unwrap_err()), Reason::PendingCall);
    until("it is cancelled", || only(&shop.store).state == TransactionState::Cancelled).await;
    assert_eq!(shop.journal.counts(), (1, 0, 1));
}

#[tokio::test]
async fn a_context_that_cannot_be_taken_is_refused_with_its_status_and_without_an_answer() {
    let shop = Shop::open().await;
    let (open, call) = shop.begin().await;
    let mut good = http::HeaderMap::new();
    headers::write(&call, &mut good).unwrap();
    let sent = async |headers: &http::HeaderMap| {
        let mut request = of("tea");
        *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
        match shop.take(request).await {
            Ok(_) => Code::Ok,
            Err(status) => {
                assert_eq!(branches(status.metadata()), "", "{status}");
                status.code()
            }
        }
    };
    let altered = |name: &http::HeaderName, value: &str| {
        let mut headers = good.clone();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    let foreign = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 0).to_string();
    for (headers, code) in [
        (http::HeaderMap::new(), Code::InvalidArgument),
        (altered(&GID, "altered"), Code::InvalidArgument),
        (altered(&GID, &"x".repeat(5_000)), Code::ResourceExhausted),
        (altered(&DEADLINE_MS, "0"), Code::DeadlineExceeded),
        (altered(&GID, &foreign), Code::NotFound),
        (good.clone(), Code::Ok),
    ] {
        assert_eq!(sent(&headers).await, code, "{headers:?}");
    }
    open.cancel().await.unwrap();
    assert_eq!(sent(&good).await, Code::FailedPrecondition);
    shop.stock.shutdown().await;
    assert_eq!(sent(&good).await, Code::Unavailable);
    assert_eq!(shop.journal.count("try"), 1);
}

#[tokio::test]
async fn with_a_context_key_what_was_altered_or_is_not_sealed_is_refused_and_registers_nothing() {
    let store = MemoryStore::new();
    let sealing = started(quick(&store).context_key(key(b'a')), quick(&store).context_key(key(b'a'))).await;
    let shop = Shop::over(store, sealing).await;
    let (open, call) = shop.begin().await;
    let (other, other_call) = shop.begin().await;
    let (mut good, mut others) = (http::HeaderMap::new(), http::HeaderMap::new());
    headers::write(&call, &mut good).unwrap();
    headers::write(&other_call, &mut others).unwrap();
    let mut unsealed = good.clone();
    unsealed.remove(SEAL);
    let mut bad = altered(&good, other.gid(), &others[&SEAL]);
    bad.push(unsealed);
    for headers in bad {
        let mut request = of("tea");
        *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
        let status = shop.take(request).await.unwrap_err();
        assert_eq!((status.code(), branches(status.metadata())), (Code::Unauthenticated, ""), "{headers:?}");
    }
    assert!(shop.store.records().iter().all(|record| record.branches.is_empty()));
    shop.take(of("tea").in_transaction(&call)).await.unwrap();
    open.commit().await.unwrap();
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn nothing_is_sent_once_the_transaction_is_over() {
    let shop = Shop::open().await;
    let (open, call) = shop.begin().await;
    open.cancel().await.unwrap();
    shop.take(of("tea").in_transaction(&call)).await.unwrap_err();
    assert_eq!(shop.journal.count("try"), 0);
}
