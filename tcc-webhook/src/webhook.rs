//! The notifier.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use reqwest::{Client, StatusCode, Url, header::CONTENT_TYPE, redirect};
use serde::Serialize;
use tcc_core::{Alarm, BoxError, Notifier};

use crate::{ALARM_ID, SCHEMA, SIGNATURE, signature::sign};

/// What a runtime allows a notifier for one alarm, less a little.
const WITHIN: Duration = Duration::from_secs(29);
/// The shortest secret that is taken.
const SECRET_BYTES_MIN: usize = 16;

/// Why there is no webhook.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The URL is none.
    #[error("`{0}` is no http:// or https:// URL")]
    Url(String),
    /// The URL asks for encryption, and no client is given that speaks it.
    #[error(
        "an https:// URL needs a client that speaks TLS: enable a TLS feature of `reqwest` and pass its client by `client`"
    )]
    NoTls,
    /// The secret is too short to be one.
    #[error("the secret must have at least {SECRET_BYTES_MIN} bytes")]
    Secret,
    /// All attempts together would take longer than a runtime waits.
    #[error("{attempts} attempts of {timeout:?} with their pauses take more than {WITHIN:?}")]
    TooLong {
        /// The attempts.
        attempts: u32,
        /// The timeout of each.
        timeout: Duration,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] BoxError),
}

/// Why an alarm was not told.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error("the receiver answered {0}")]
    Answered(StatusCode),
    #[error("the receiver did not answer")]
    Silent(#[source] reqwest::Error),
}

impl Untold {
    fn may_pass(&self) -> bool {
        match self {
            Self::Answered(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            Self::Silent(_) => true,
        }
    }
}

/// Makes a [`Webhook`].
#[must_use = "a builder does nothing until it builds"]
#[derive(Clone)]
pub struct WebhookBuilder {
    url: String,
    secret: Vec<u8>,
    timeout: Duration,
    attempts_max: u32,
    pause_base: Duration,
    pause_cap: Duration,
    client: Option<Client>,
}

/// Tells alarms to a URL.
pub struct Webhook {
    url: Url,
    client: Client,
    settings: WebhookBuilder,
}

#[derive(Serialize)]
struct Body<'a> {
    schema: &'static str,
    #[serde(flatten)]
    alarm: &'a Alarm,
}

impl fmt::Debug for WebhookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookBuilder").field("attempts_max", &self.attempts_max).finish_non_exhaustive()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may carry a secret of its own, in its path or its query.
        f.debug_struct("Webhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl WebhookBuilder {
    /// How long one attempt may take. Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often one telling is attempted, at least once. Default 4.
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// The pause before the second attempt, doubled before each further one up to `cap`. Default 500 ms and 5 s.
    pub fn pauses(mut self, base: Duration, cap: Duration) -> Self {
        (self.pause_base, self.pause_cap) = (base, cap);
        self
    }

    /// The HTTP client, for `https://` URLs, proxies and the like. The default one speaks plain HTTP and follows no
    /// redirection; what TLS is made of is the program's own choice, by the features of its `reqwest`.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    fn pause(&self, attempt: u32) -> Duration {
        self.pause_base.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.pause_cap)
    }

    /// Checks the settings and makes it.
    ///
    /// # Errors
    /// When one is refused.
    pub fn build(self) -> Result<Webhook, WebhookError> {
        let url = Url::parse(&self.url).map_err(|_| WebhookError::Url(self.url.clone()))?;
        match url.scheme() {
            "http" => {}
            "https" if self.client.is_some() => {}
            "https" => return Err(WebhookError::NoTls),
            _ => return Err(WebhookError::Url(self.url)),
        }
        if self.secret.len() < SECRET_BYTES_MIN {
            return Err(WebhookError::Secret);
        }
        let (attempts, timeout) = (self.attempts_max, self.timeout);
        let too_long = WebhookError::TooLong { attempts, timeout };
        let pauses = (1..attempts.min(1_000)).map(|attempt| self.pause(attempt));
        let all = pauses.fold(timeout.saturating_mul(attempts), Duration::saturating_add);
        if all > WITHIN {
            return Err(too_long);
        }
        let client = match &self.client {
            Some(client) => client.clone(),
            None => Client::builder()
                .redirect(redirect::Policy::none())
                .build()
                .map_err(|error| WebhookError::Client(error.into()))?,
        };
        Ok(Webhook { url, client, settings: self })
    }
}

impl Webhook {
    /// A webhook for this URL, which signs with this secret.
    pub fn builder(url: impl Into<String>, secret: impl Into<Vec<u8>>) -> WebhookBuilder {
        WebhookBuilder {
            url: url.into(),
            secret: secret.into(),
            timeout: Duration::from_secs(5),
            attempts_max: 4,
            pause_base: Duration::from_millis(500),
            pause_cap: Duration::from_secs(5),
            client: None,
        }
    }

    async fn post(&self, id: &str, body: &[u8]) -> Result<(), Untold> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let request = request.header(ALARM_ID, id);
        let request = request.header(SIGNATURE, sign(&self.settings.secret, now.as_secs(), body));
        // The error's own text would repeat the URL.
        let sent = request
            .body(body.to_vec())
            .timeout(self.settings.timeout)
            .send()
            .await
            .map_err(|error| Untold::Silent(error.without_url()))?;
        if sent.status().is_success() { Ok(()) } else { Err(Untold::Answered(sent.status())) }
    }
}

#[async_trait]
impl Notifier for Webhook {
    async fn notify(&self, alarm: &Alarm) -> Result<(), BoxError> {
        let body = serde_json::to_vec(&Body { schema: SCHEMA, alarm })?;
        let mut attempt = 1;
        loop {
            match self.post(&alarm.id, &body).await {
                Ok(()) => return Ok(()),
                Err(error) if attempt >= self.settings.attempts_max || !error.may_pass() => {
                    return Err(error.into());
                }
                Err(_) => tokio::time::sleep(self.settings.pause(attempt)).await,
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret of 16 bytes or more";

    #[test]
    fn what_could_not_work_is_refused() {
        let refused = |url, secret| Webhook::builder(url, secret).build().err();
        assert!(matches!(refused("alerts", SECRET), Some(WebhookError::Url(_))));
        assert!(matches!(refused("ftp://alerts", SECRET), Some(WebhookError::Url(_))));
        assert!(matches!(refused("http://alerts", "short"), Some(WebhookError::Secret)));
        let patient = Webhook::builder("http://alerts", SECRET).timeout(Duration::from_secs(8)).build();
        assert!(matches!(patient, Err(WebhookError::TooLong { attempts: 4, .. })));
        assert!(matches!(refused("https://alerts", SECRET), Some(WebhookError::NoTls)));
        let encrypted = Webhook::builder("https://alerts", SECRET).client(Client::new()).build();
        assert!(encrypted.is_ok(), "{encrypted:?}");
    }

    #[test]
    fn neither_secret_nor_path_is_shown() {
        let webhook = Webhook::builder("http://alerts/token-1234", SECRET);
        let shown = format!("{webhook:?} {:?}", webhook.clone().build().unwrap());
        assert!(!shown.contains("1234") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn pauses_double_up_to_their_cap() {
        let webhook =
            Webhook::builder("http://alerts", SECRET).pauses(Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!([1, 2, 3, 40].map(|attempt| webhook.pause(attempt).as_secs()), [1, 2, 3, 3]);
    }
}
