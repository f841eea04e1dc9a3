//! The hosts a transaction may go to.

use std::collections::BTreeSet;

/// The hosts whose services share the store, and so may be told of transactions. Any other host is a stranger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    hosts: BTreeSet<String>,
}

/// A host that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host: give a name or an address, and a port if only that is meant, such as stock:8080")]
pub struct InvalidHost(String);

impl AllowedHosts {
    /// No host.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These: `stock.internal` for every port of a host, `stock.internal:8080` for one, `[::1]:8080` for an address of
    /// version 6. There are no wildcards.
    ///
    /// # Errors
    /// When one is no host.
    pub fn new<H: AsRef<str>>(hosts: impl IntoIterator<Item = H>) -> Result<Self, InvalidHost> {
        let hosts = hosts.into_iter().map(|host| {
            let host = host.as_ref();
            let invalid = || InvalidHost(host.to_owned());
            let authority: http::uri::Authority = host.parse().map_err(|_| invalid())?;
            let port = authority.as_str().strip_prefix(authority.host()).ok_or_else(invalid)?;
            let plain = !authority.host().is_empty() && (port.is_empty() || authority.port_u16().is_some());
            if plain { Ok(host.to_ascii_lowercase()) } else { Err(invalid()) }
        });
        Ok(Self { hosts: hosts.collect::<Result<_, _>>()? })
    }

    /// Whether a transaction may go there.
    #[must_use]
    pub fn allow(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.contains(&host) || port.is_some_and(|port| self.hosts.contains(&format!("{host}:{port}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_taken_as_they_are_written_and_never_in_part() {
        let hosts = AllowedHosts::new(["Stock.internal", "pay.internal:8080", "[::1]:81"]).unwrap();
        for (host, port) in [
            ("stock.INTERNAL", Some(1)),
            ("stock.internal", None),
            ("pay.internal", Some(8080)),
            ("[::1]", Some(81)),
        ] {
            assert!(hosts.allow(host, port), "{host}");
        }
        for (host, port) in [
            ("pay.internal", Some(80)),
            ("pay.internal", None),
            ("internal", Some(80)),
            ("evil-stock.internal", Some(80)),
            ("stock.internal.evil", Some(80)),
            ("stock.internal@evil", Some(80)),
            ("[::1]", Some(82)),
        ] {
            assert!(!hosts.allow(host, port), "{host}");
        }
        assert!(!AllowedHosts::none().allow("stock.internal", Some(1)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in
            ["", "http://stock", "stock/path", "user@stock", "stock:", "stock:99999", "a b", "*.internal/"]
        {
            assert!(AllowedHosts::new([bad]).is_err(), "{bad}");
        }
    }
}
