//! Transactions over real HTTP: an axum service and a reqwest client, with one store between them (rule 16).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    routing::{get, post},
};
use support::*;
use tcc::{
    Abort, Gid, MemoryStore, NotRun, RemoteCall, Runtime, Timestamp, TryError,
    record::{BranchState, Direction, Reason, TransactionState},
};
use tcc_propagate::{
    AllowedHosts, JoinLayer,
    axum::JoinedTx,
    headers::{self, BRANCHES, DEADLINE_MS, GID},
    reqwest::{Client, SendError},
};

type Order = (String, u32);
type Answer = Result<String, (StatusCode, String)>;

async fn reserve(tx: JoinedTx, Json((sku, qty)): Json<Order>) -> Answer {
    StockTcc::new(&tx).reserve(sku, qty).await.map_err(refusal)
}

/// What a service without a transaction does, if it is asked by one that has none.
async fn reserve_or_not(tx: Option<JoinedTx>) -> String {
    tx.map_or("no transaction".into(), |tx| tx.gid().to_string())
}

fn stock_routes(runtime: &Runtime) -> Router {
    Router::new()
        .route("/reserve", post(reserve))
        .route("/maybe", get(reserve_or_not))
        .route("/plain", get(async || "served"))
        .layer(JoinLayer::new(runtime.clone()))
}

/// A front without a participant, and a stock that is asked over HTTP.
struct Shop {
    store: MemoryStore,
    journal: Journal,
    front: Runtime,
    stock: Runtime,
    host: String,
    http: Client,
}

impl Shop {
    async fn open() -> Self {
        let store = MemoryStore::new();
        let (front, stock, journal) = two(&store).await;
        let host = serve(stock_routes(&stock)).await;
        let http = client(&[&host]);
        Self { store, journal, front, stock, host, http }
    }

    fn order(&self, sku: &str, qty: u32) -> reqwest::RequestBuilder {
        self.http.requests().post(format!("http://{}/reserve", self.host)).json(&(sku, qty))
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.requests().get(format!("http://{}{path}", self.host))
    }

    /// A transaction, one of its calls, and that call's headers.
    async fn call(&self) -> (tcc::OpenTransaction, RemoteCall, HeaderMap) {
        let open = self.front.transaction("checkout").wait_final(LONG).begin().await.unwrap();
        let call = open.remote_call().await.unwrap();
        let mut headers = HeaderMap::new();
        headers::write(&call, &mut headers).unwrap();
        (open, call, headers)
    }
}

#[tokio::test]
async fn a_transaction_has_branches_in_a_service_it_calls() {
    let shop = Shop::open().await;
    let hold = shop
        .front
        .transaction("checkout")
        .wait_final(LONG)
        .run(async |tx| {
            let answer = shop.http.send(tx, shop.order("tea", 2)).await?.error_for_status()?;
            assert_eq!(answer.headers()[BRANCHES], "s");
            Ok(answer.text().await?)
        })
        .await
        .unwrap();
    assert_eq!(hold, "tea-2");
    assert_eq!(only(&shop.store).state, TransactionState::Confirmed);
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn an_error_of_the_service_cancels_what_it_reserved() {
    let shop = Shop::open().await;
    let body = async |tx: &tcc::Tx| {
        shop.http.send(tx, shop.order("tea", 2)).await?.error_for_status()?;
        shop.http.send(tx, shop.order("none", 2)).await?.error_for_status()?;
        Ok(())
    };
    let error = shop.front.transaction("checkout").wait_final(LONG).run(body).await.unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error}");
    assert_eq!(shop.journal.counts(), (2, 0, 2));
}

#[tokio::test]
async fn rule_04_a_service_that_declined_does_not_stop_the_rest() {
    let shop = Shop::open().await;
    let body = async |tx: &tcc::Tx| {
        let declined = shop.http.send(tx, shop.order("none", 2)).await?;
        assert_eq!((declined.status().as_u16(), &declined.headers()[BRANCHES]), (422, &"r".parse().unwrap()));
        shop.http.send(tx, shop.order("tea", 2)).await?.error_for_status()?;
        Ok(())
    };
    shop.front.transaction("checkout").wait_final(LONG).run(body).await.unwrap();
    let states: Vec<BranchState> = only(&shop.store).branches.iter().map(|branch| branch.state).collect();
    assert_eq!(states, [BranchState::Cancelled, BranchState::Confirmed]);
}

#[tokio::test]
async fn rule_16_a_request_whose_answer_was_lost_is_repeated_as_one_branch() {
    let shop = Shop::open().await;
    let (open, call, _) = shop.call().await;
    // The client gives up while the service is at it, and hears nothing.
    let impatient = shop.order("slow", 1).timeout(Duration::from_millis(300));
    let error = shop.http.send_call(&call, impatient).await.unwrap_err();
    assert!(matches!(&error, SendError::Failed(error) if error.is_timeout()), "{error}");
    let answer = shop.http.send_call(&call, shop.order("slow", 1)).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()[BRANCHES]), (200, &"s".parse().unwrap()));
    assert_eq!(answer.text().await.unwrap(), "slow-1");
    open.commit().await.unwrap();
    assert_eq!(only(&shop.store).branches.len(), 1);
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn rule_16_a_call_that_timed_out_forbids_commit_though_its_fallback_succeeded() {
    let shop = Shop::open().await;
    let body = async |tx: &tcc::Tx| {
        let impatient = shop.order("slow", 1).timeout(Duration::from_millis(300));
        if shop.http.send(tx, impatient).await.is_err() {
            shop.http.send(tx, shop.order("tea", 1)).await?.error_for_status()?;
        }
        Ok(())
    };
    let error = shop.front.transaction("checkout").wait_final(LONG).run(body).await.unwrap_err();
    assert_eq!(reason(&error), Reason::PendingCall);
    until("both are cancelled", || only(&shop.store).state == TransactionState::Cancelled).await;
    assert_eq!(shop.journal.count("confirm"), 0);
}

#[tokio::test]
async fn rule_16_a_gateways_own_answer_forbids_commit() {
    let shop = Shop::open().await;
    let gateway = serve(Router::new().fallback(async || StatusCode::BAD_GATEWAY)).await;
    let http = client(&[&gateway]);
    let body = async |tx: &tcc::Tx| {
        let answer = http.send(tx, http.requests().get(format!("http://{gateway}/"))).await?;
        assert_eq!(answer.status(), 502);
        Ok(())
    };
    let error = shop.front.transaction("checkout").run(body).await.unwrap_err();
    assert_eq!(reason(&error), Reason::PendingCall);
}

#[tokio::test]
async fn rule_16_calls_behind_calls_are_of_the_same_transaction() {
    #[derive(Clone)]
    struct Middle {
        http: Client,
        stock: String,
    }
    async fn relay(State(middle): State<Arc<Middle>>, tx: JoinedTx, Json(order): Json<Order>) -> Answer {
        let request = middle.http.requests().post(format!("http://{}/reserve", middle.stock)).json(&order);
        let answer = middle.http.send(&tx, request).await.map_err(refusal)?;
        let status = answer.status();
        let text = answer.text().await.map_err(refusal)?;
        if status.is_success() { Ok(text) } else { Err((status, text)) }
    }
    let shop = Shop::open().await;
    let middle = Middle { http: shop.http.clone(), stock: shop.host.clone() };
    let middle_runtime = quick(&shop.store).start().await.unwrap();
    let routes = Router::new().route("/reserve", post(relay)).with_state(Arc::new(middle));
    let relay_host = serve(routes.layer(JoinLayer::new(middle_runtime))).await;
    let http = client(&[&relay_host]);
    let (open, call, _) = shop.call().await;
    for _ in 0..2 {
        let order = http.requests().post(format!("http://{relay_host}/reserve")).json(&("tea", 1));
        let answer = http.send_call(&call, order).await.unwrap();
        assert_eq!(answer.headers()[BRANCHES], "s");
        assert_eq!(answer.text().await.unwrap(), "tea-1");
    }
    open.commit().await.unwrap();
    assert_eq!(only(&shop.store).branches[0].call.as_str(), "1.1.1");
    assert_eq!(shop.journal.counts(), (1, 1, 0));
}

#[tokio::test]
async fn a_context_that_cannot_be_taken_is_refused_with_its_status_and_without_an_answer() {
    let shop = Shop::open().await;
    let (open, _call, good) = shop.call().await;
    let sent = async |headers: &HeaderMap| {
        let answer = shop.order("tea", 1).headers(headers.clone()).send().await.unwrap();
        assert!(!answer.headers().contains_key(BRANCHES) || answer.status().is_success());
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let altered = |name: &http::HeaderName, value: &str| {
        let mut headers = good.clone();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    let foreign = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 0).to_string();
    let mut partial = good.clone();
    partial.remove(GID);
    for (headers, status, says) in [
        (HeaderMap::new(), 400, "belongs to no transaction"),
        (partial, 400, "`tcc-gid` is missing"),
        (altered(&GID, "altered"), 400, "`tcc-gid` cannot be read"),
        (altered(&GID, &"x".repeat(5_000)), 431, "5000 bytes"),
        (altered(&DEADLINE_MS, "0"), 504, "deadline has passed"),
        (altered(&GID, &foreign), 404, "not known here"),
    ] {
        let (got, text) = sent(&headers).await;
        assert_eq!(got, status, "{text}");
        assert!(text.contains(says), "{text}");
    }
    assert_eq!(sent(&good).await.0, 200);
    open.cancel().await.unwrap();
    let (status, text) = sent(&good).await;
    assert_eq!(status, 409, "{text}");
    shop.stock.shutdown().await;
    assert_eq!(sent(&good).await.0, 503);
    assert_eq!(shop.journal.count("try"), 1);
}

#[tokio::test]
async fn a_context_altered_to_that_of_another_transaction_confirms_neither() {
    let shop = Shop::open().await;
    let (one, call, mut headers) = shop.call().await;
    let other = shop.front.transaction("checkout").wait_final(LONG).begin().await.unwrap();
    // Recorded, so that it can be joined.
    let _unsent = other.remote_call().await.unwrap();
    headers.insert(GID, other.gid().to_string().parse().unwrap());
    let answer = shop.order("tea", 1).headers(headers).send().await.unwrap();
    assert!(headers::take_answer(&call, answer.headers()));
    assert_eq!(reason(&one.commit().await.unwrap_err()), Reason::LostBranch);
    assert_eq!(reason(&other.commit().await.unwrap_err()), Reason::UnnamedBranch);
    until("what was reserved is cancelled", || shop.journal.count("cancel") == 1).await;
    assert_eq!(shop.journal.counts(), (1, 0, 1));
}

#[tokio::test]
async fn a_handler_that_takes_both_is_served_in_and_out_of_a_transaction() {
    let shop = Shop::open().await;
    let (_open, call, headers) = shop.call().await;
    let answer = shop.get("/maybe").send().await.unwrap();
    assert!(!answer.headers().contains_key(BRANCHES));
    assert_eq!(answer.text().await.unwrap(), "no transaction");
    let answer = shop.get("/maybe").headers(headers).send().await.unwrap();
    assert_eq!(answer.headers()[BRANCHES], "-");
    assert_eq!(answer.text().await.unwrap(), call.gid().as_str());
    let mut broken = HeaderMap::new();
    broken.insert(GID, "altered".parse().unwrap());
    assert_eq!(shop.get("/maybe").headers(broken).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_handler_that_does_not_ask_answers_that_it_made_no_branch() {
    let shop = Shop::open().await;
    let (open, call, _) = shop.call().await;
    let answer = shop.http.send_call(&call, shop.get("/plain")).await.unwrap();
    assert_eq!((&answer.headers()[BRANCHES], answer.status().as_u16()), (&"-".parse().unwrap(), 200));
    open.commit().await.unwrap();
    assert_eq!(only(&shop.store).decision.unwrap().direction, Direction::Confirm);
}

#[tokio::test]
async fn a_server_without_the_layer_says_what_it_lacks() {
    let shop = Shop::open().await;
    let host = serve(Router::new().route("/reserve", post(reserve))).await;
    let (_open, _call, headers) = shop.call().await;
    let request = shop.http.requests().post(format!("http://{host}/reserve")).json(&("tea", 1));
    let answer = request.headers(headers).send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert!(answer.text().await.unwrap().contains("JoinLayer"));
}

#[tokio::test]
async fn a_transaction_is_not_told_to_a_host_that_is_not_allowed() {
    let shop = Shop::open().await;
    let echo = Router::new().fallback(async |headers: HeaderMap| {
        headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .filter(|name| name.starts_with("tcc"))
            .collect::<String>()
    });
    let stranger = serve(echo).await;
    // A handler that passes on all it was sent must not pass this on either.
    let (_open, _call, headers) = shop.call().await;
    let body = async |tx: &tcc::Tx| {
        let request = shop.http.requests().get(format!("http://{stranger}/")).headers(headers.clone());
        let told = shop.http.send(tx, request).await?.text().await?;
        assert_eq!(told, "");
        shop.http.send(tx, shop.order("tea", 1)).await?.error_for_status()?;
        Ok(())
    };
    // It was no call of the transaction, and is not waited for.
    shop.front.transaction("other").wait_final(LONG).run(body).await.unwrap();
}

#[tokio::test]
async fn a_redirect_leads_a_transaction_to_no_stranger() {
    let shop = Shop::open().await;
    let journal = Journal::default();
    let seen = journal.clone();
    let stranger = serve(Router::new().fallback(async move || seen.note("asked"))).await;
    let there = format!("http://{stranger}/");
    let redirect = (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, there)]);
    let home = (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/end")]);
    let routes = Router::new()
        .route("/away", get(async move || redirect))
        .route("/home", get(async move || home))
        .route("/end", get(async |headers: HeaderMap| headers.contains_key(GID).to_string()));
    let host = serve(routes).await;
    let http = client(&[&host]);
    let (_open, call, _) = shop.call().await;
    let answer = http.send_call(&call, http.requests().get(format!("http://{host}/away"))).await.unwrap();
    assert_eq!((answer.status().as_u16(), journal.count("asked")), (307, 0));
    let answer = http.send_call(&call, http.requests().get(format!("http://{host}/home"))).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "true");
    // Where it may go, it goes.
    let http = client(&[&host, &stranger]);
    let answer = http.send_call(&call, http.requests().get(format!("http://{host}/away"))).await.unwrap();
    assert_eq!((answer.status().as_u16(), journal.count("asked")), (200, 1));
}

#[tokio::test]
async fn nothing_is_sent_once_the_transaction_is_over() {
    let shop = Shop::open().await;
    let (open, call, _) = shop.call().await;
    let tx = (*open).clone();
    open.cancel().await.unwrap();
    for error in [
        shop.http.send(&tx, shop.order("tea", 1)).await.unwrap_err(),
        shop.http.send_call(&call, shop.order("tea", 1)).await.unwrap_err(),
    ] {
        assert!(matches!(error, SendError::NotSent(NotRun::Over(_))), "{error}");
    }
    assert_eq!(shop.journal.count("try"), 0);
}

#[tokio::test]
async fn a_transaction_begun_while_a_call_is_served_is_refused() {
    let shop = Shop::open().await;
    let stock = shop.stock.clone();
    let second = get(async move || match stock.transaction("second").begin().await {
        Ok(_) => "begun".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    });
    let routes = Router::new().route("/second", second).layer(JoinLayer::new(shop.stock.clone()));
    let host = serve(routes).await;
    let (_open, _call, headers) = shop.call().await;
    let url = format!("http://{host}/second");
    let alone = shop.http.requests().get(&url).send().await.unwrap().text().await.unwrap();
    let within = shop.http.requests().get(&url).headers(headers).send().await.unwrap().text().await.unwrap();
    assert_eq!((alone.as_str(), within.as_str()), ("begun", "Nested"));
}

#[tokio::test]
async fn an_error_a_service_returns_keeps_its_kind_for_the_closure() {
    let shop = Shop::open().await;
    let (_open, call, _) = shop.call().await;
    let joined = shop.stock.join(call.context().unwrap()).await.unwrap();
    let error = StockTcc::new(&joined).reserve("none".into(), 1).await.unwrap_err();
    assert!(matches!(&error, TryError::Rejected(OutOfStock)), "{error}");
    assert!(Abort::from(error).find::<OutOfStock>().is_some());
    assert!(AllowedHosts::none() != AllowedHosts::new([&shop.host]).unwrap());
}
