//! The Redis and the PostgreSQL of a run: the user's by URL, else private ones.

use std::{env, path::Path};

use crate::{
    Failure,
    postgres::Postgres,
    redis_server::{self, Server},
};

const NO_REDIS: &str = "there is no redis-server and no valkey-server on PATH: install Redis or Valkey, 7.0 or later \
                        (Debian: apt-get install redis-server), or set REDIS_URL";

/// Private ones end with this handle.
pub(crate) struct Stores {
    pub(crate) redis_url: String,
    pub(crate) postgres_url: String,
    redis: Option<Server>,
    postgres: Option<Postgres>,
}

impl Stores {
    /// `REDIS_URL` and `DATABASE_URL` where they are set; private servers else.
    pub(crate) async fn open(directory: &Path) -> Result<Self, Failure> {
        let set = |name: &str| env::var(name).ok().filter(|url| !url.is_empty());
        let mut stores =
            Self { redis_url: String::new(), postgres_url: String::new(), redis: None, postgres: None };
        stores.redis_url = match set("REDIS_URL") {
            Some(url) => url,
            None => {
                let binary = redis_server::binary().ok_or(NO_REDIS)?;
                let server = Server::find_or_start(&binary, directory, &crate::place::distinct())?;
                stores.redis.insert(server).url()
            }
        };
        stores.postgres_url = match set("DATABASE_URL") {
            Some(url) => url,
            None => stores.postgres.insert(Postgres::start().await?).url(),
        };
        Ok(stores)
    }

    /// Said before a run.
    pub(crate) fn notice(&self) -> String {
        let redis = match &self.redis {
            Some(server) => {
                format!("a private one, to be looked into with redis-cli -s {}", server.socket().display())
            }
            None => "that of REDIS_URL".to_owned(),
        };
        let postgres = if self.postgres.is_some() { "a private one" } else { "that of DATABASE_URL" };
        format!("Redis: {redis}\nPostgreSQL: {postgres}")
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.redis.take().map(Server::stop) {
            eprintln!("shop: the private Redis was not stopped: {error}");
        }
    }
}
