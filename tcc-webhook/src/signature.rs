//! Signing, and checking what was signed.

use std::{fmt::Write, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Why a request is not from whom it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// The header is not `t=<seconds>,v1=<64 hexadecimal digits>`.
    #[error("the signature cannot be read")]
    Unreadable,
    /// Signed too long ago, or in the future: perhaps a repetition by a stranger.
    #[error("the signature is too old, or from the future")]
    Stale,
    /// Signed with another secret, or another body.
    #[error("the signature does not fit the body and the secret")]
    Wrong,
}

fn mac(secret: &[u8], at: u64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    Some(mac)
}

/// The value of the signature's header.
pub(crate) fn sign(secret: &[u8], at: u64, body: &[u8]) -> String {
    let mut text = format!("t={at},v1=");
    for byte in mac(secret, at, body).map(|mac| mac.finalize().into_bytes()).iter().flatten() {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Checks that a request was signed with this secret, over this body, no longer than `tolerance` before or after `now`,
/// both since 1970.
///
/// ```
/// # use std::time::Duration;
/// let (secret, body) = (b"a secret of 16 bytes or more", b"{}");
/// let header = "t=1,v1=00";
/// assert!(tcc_webhook::verify(secret, header, body, Duration::from_secs(1), Duration::from_secs(300)).is_err());
/// ```
///
/// # Errors
/// When it was not.
pub fn verify(
    secret: &[u8],
    header: &str,
    body: &[u8],
    now: Duration,
    tolerance: Duration,
) -> Result<(), Unverified> {
    let (at, signature) = header.split_once(",v1=").ok_or(Unverified::Unreadable)?;
    let at: u64 = at.strip_prefix("t=").and_then(|at| at.parse().ok()).ok_or(Unverified::Unreadable)?;
    let signature = from_hex(signature).ok_or(Unverified::Unreadable)?;
    let signed = mac(secret, at, body).ok_or(Unverified::Wrong)?;
    signed.verify_slice(&signature).map_err(|_| Unverified::Wrong)?;
    if now.as_secs().abs_diff(at) > tolerance.as_secs() { Err(Unverified::Stale) } else { Ok(()) }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let whole = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes = (0..32).map(|place| u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok());
    whole.then(|| bytes.collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of 16 bytes or more";
    const NOW: Duration = Duration::from_secs(1_700_000_000);
    const TOLERANCE: Duration = Duration::from_secs(300);

    #[test]
    fn the_signature_is_the_documented_one() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of 16 bytes or more'
        let expected = include_str!("signature.sample").trim();
        assert_eq!(sign(SECRET, 1_700_000_000, b"{\"a\":1}"), expected);
    }

    #[test]
    fn only_what_was_signed_with_the_secret_of_late_is_taken() {
        let header = sign(SECRET, NOW.as_secs(), b"body");
        let check = |header: &str, body: &[u8], now| verify(SECRET, header, body, now, TOLERANCE);
        assert_eq!(check(&header, b"body", NOW), Ok(()));
        assert_eq!(check(&header, b"body", NOW + TOLERANCE), Ok(()));
        assert_eq!(check(&header, b"bodY", NOW), Err(Unverified::Wrong));
        assert_eq!(verify(b"another", &header, b"body", NOW, TOLERANCE), Err(Unverified::Wrong));
        let late = NOW + TOLERANCE + Duration::from_secs(1);
        assert_eq!(check(&header, b"body", late), Err(Unverified::Stale));
        let moved = header.replace("t=1700000000", "t=1700000600");
        assert_eq!(check(&moved, b"body", late), Err(Unverified::Wrong), "the time is signed too");
        for strange in
            ["", "t=1", "t=x,v1=00", "v1=00,t=1", &header[..header.len() - 1], &format!("{header}0")]
        {
            assert_eq!(check(strange, b"body", NOW), Err(Unverified::Unreadable), "{strange}");
        }
    }
}
