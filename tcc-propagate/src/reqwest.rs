//! For reqwest: a client that hands transactions on, and never to strangers.

use reqwest::{ClientBuilder, RequestBuilder, Response, Url, redirect::Policy};
use tcc_core::{NotRun, RemoteCall, Tx};

use crate::{AllowedHosts, headers};

/// Redirects followed at the most, as many as reqwest does by itself.
const REDIRECTS_MAX: usize = 10;

/// A client of reqwest that hands a transaction on: of itself to the hosts that are allowed, and to another only if it
/// is told to, call by call.
///
/// A redirect that leads elsewhere than to an allowed host, or to the one first called, is not followed, because
/// reqwest would take the context there: the caller gets the redirect itself, as an answer that forbids commit.
#[derive(Clone, Debug)]
pub struct Client {
    client: reqwest::Client,
    hosts: AllowedHosts,
}

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The transaction makes no call any more. Nothing was sent.
    #[error("the call was not sent")]
    NotSent(#[from] NotRun),
    /// The request failed. If it may have been sent, commit is refused until the same call is answered.
    #[error("the request failed")]
    Failed(#[from] reqwest::Error),
}

impl Client {
    /// Makes a client with these settings, all but its redirects.
    ///
    /// # Errors
    /// When reqwest cannot make one.
    pub fn new(settings: ClientBuilder, hosts: AllowedHosts) -> Result<Self, reqwest::Error> {
        let allowed = hosts.clone();
        let policy = Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error("too many redirects");
            }
            let home =
                attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
            if home || allow(&allowed, attempt.url()) { attempt.follow() } else { attempt.stop() }
        });
        Ok(Self { client: settings.redirect(policy).build()?, hosts })
    }

    /// The client itself, for making requests. What is sent by it belongs to no transaction.
    #[must_use]
    pub fn requests(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a request as a new call of the transaction, if its host is allowed; to any other host it goes without the
    /// transaction, and without headers that tell of one.
    ///
    /// To be able to repeat it as the same call, make the call by [`Tx::remote_call`] and use [`Client::send_call`].
    ///
    /// # Errors
    /// When it was not sent, or failed.
    pub async fn send(&self, tx: &Tx, request: RequestBuilder) -> Result<Response, SendError> {
        let mut request = request.build()?;
        if allow(&self.hosts, request.url()) {
            let call = tx.remote_call().await?;
            return self.execute(&call, request).await;
        }
        headers::strip(request.headers_mut());
        Ok(self.client.execute(request).await?)
    }

    /// Sends a request as this call, whatever its host: the first time, or again, because no answer came.
    ///
    /// # Errors
    /// When it was not sent, or failed.
    pub async fn send_call(&self, call: &RemoteCall, request: RequestBuilder) -> Result<Response, SendError> {
        self.execute(call, request.build()?).await
    }

    async fn execute(&self, call: &RemoteCall, mut request: reqwest::Request) -> Result<Response, SendError> {
        headers::write(call, request.headers_mut())?;
        let response = self.client.execute(request).await?;
        headers::take_answer(call, response.headers());
        Ok(response)
    }
}

fn allow(hosts: &AllowedHosts, url: &Url) -> bool {
    url.host_str().is_some_and(|host| hosts.allow(host, url.port_or_known_default()))
}
