//! Customers: they send orders through the front, and ask again until they are told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    Failure,
    goods::{Order, Told},
    place::{Place, Service},
};

/// A customer who is told nothing for so long has found a bug.
const TOLD_WITHIN: Duration = Duration::from_secs(90);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What customers were told, by order. Never [`Told::Open`].
pub(crate) type Answers = BTreeMap<String, Told>;

/// Sends orders, some at the same time.
pub(crate) struct Customers {
    http: reqwest::Client,
    url: String,
    sent: Vec<Order>,
    under_way: JoinSet<Result<(String, Told), Failure>>,
    answers: Answers,
}

impl Customers {
    pub(crate) fn new(place: &Place) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
        let url = format!("http://{}/orders", place.listens(Service::Orders));
        Ok(Self { http, url, sent: Vec::new(), under_way: JoinSet::new(), answers: Answers::new() })
    }

    /// Sends one.
    pub(crate) fn send(&mut self, order: Order) {
        let (http, url) = (self.http.clone(), self.url.clone());
        self.sent.push(order.clone());
        self.under_way.spawn(async move {
            let told = ask(&http, &url, &order).await?;
            Ok((order.id, told))
        });
    }

    /// How many wait for their answer.
    pub(crate) fn waiting(&self) -> usize {
        self.under_way.len()
    }

    /// Waits for the next answer; none if nobody waits for one.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Told)>, Failure> {
        let Some(answer) = self.under_way.join_next().await else { return Ok(None) };
        let (order, told) = answer??;
        if let Some(before) = self.answers.insert(order.clone(), told.clone())
            && (before == Told::Placed) != (told == Told::Placed)
        {
            return Err(
                format!("{order} was answered twice, and differently: {before:?}, then {told:?}").into()
            );
        }
        Ok(Some((order, told)))
    }

    /// Waits for all answers.
    pub(crate) async fn done(mut self) -> Result<(Vec<Order>, Answers), Failure> {
        while self.next().await?.is_some() {}
        Ok((self.sent, self.answers))
    }
}

/// The same order, again and again: it has one transaction.
async fn ask(http: &reqwest::Client, url: &str, order: &Order) -> Result<Told, Failure> {
    let give_up = Instant::now() + TOLD_WITHIN;
    loop {
        let heard = match http.post(url).json(order).send().await {
            Ok(answer) => answer.json::<Told>().await,
            Err(error) => Err(error),
        };
        let why = match heard {
            Ok(Told::Open { why }) => why,
            Ok(told) => return Ok(told),
            Err(error) => crate::chain(&error),
        };
        if Instant::now() >= give_up {
            return Err(format!("{} was not decided in {TOLD_WITHIN:?}: {why}", order.id).into());
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
