//! Contexts that cannot be altered on their way: a secret that services share, and the seal made with it.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    error::InvalidInput,
    tx::{CallContext, JoinError},
};

/// The fewest bytes of a secret: as many as the hash has, below which the seal is weaker than it.
const SECRET_BYTES_MIN: usize = 32;
/// The most bytes of a secret.
const SECRET_BYTES_MAX: usize = 1_024;
/// The most secrets of a key; each may be tried for a context.
const SECRETS_MAX: usize = 4;
/// How many bytes a seal has.
const SEAL_BYTES: usize = 32;
/// Opens what is sealed, so that another form of it will have other seals.
const FORM: &str = "tcc-seal 1";

/// What services share so that they believe each other's contexts, and nobody else's:
/// [`RuntimeBuilder::context_key`](crate::RuntimeBuilder::context_key).
///
/// It seals what leaves with its first secret, and takes what is sealed with any. To replace a secret while services
/// run, go through three deployments of all of them: `ContextKey::new(old)?.also_accept(new)?`, then
/// `ContextKey::new(new)?.also_accept(old)?`, then `ContextKey::new(new)?`. To introduce the first, begin with
/// [`accept_unsealed`](ContextKey::accept_unsealed).
///
/// A seal is the HMAC-SHA256 of the lines `tcc-seal 1`, gid, name of the transaction, call id and
/// [milliseconds left](CallContext::millis_left), each ended by `\n`, which none of them can hold. The secret itself is
/// not kept, and never printed.
///
/// ```
/// # fn secret(_name: &str) -> Vec<u8> { vec![7; 32] }
/// use tcc_core::{ContextKey, InvalidContextKey};
///
/// let key = ContextKey::new(secret("context-key"))?.also_accept(secret("context-key-before"))?;
/// assert_eq!(format!("{key:?}"), "ContextKey { secrets: 2, accepts_unsealed: false, .. }");
/// # Ok::<(), InvalidContextKey>(())
/// ```
#[derive(Clone)]
pub struct ContextKey {
    sealing: Hmac<Sha256>,
    also: Vec<Hmac<Sha256>>,
    accepts_unsealed: bool,
}

/// A secret that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidContextKey {
    /// It is too short or too long.
    #[error("a secret of {bytes} bytes is refused: it must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Size {
        /// How long it is.
        bytes: usize,
    },
    /// The key has as many as it can.
    #[error("a key has {SECRETS_MAX} secrets at the most; leave out what nobody seals with any more")]
    TooMany,
}

impl ContextKey {
    /// A key of one secret: 32 to 1,024 bytes, from a source of randomness.
    ///
    /// # Errors
    /// When it has fewer or more.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, InvalidContextKey> {
        Ok(Self { sealing: keyed(secret.as_ref())?, also: Vec::new(), accepts_unsealed: false })
    }

    /// The same, which takes what is sealed with this secret too: 4 secrets at the most.
    ///
    /// # Errors
    /// When the secret has fewer bytes than 32 or more than 1,024, or is the fifth.
    pub fn also_accept(mut self, secret: impl AsRef<[u8]>) -> Result<Self, InvalidContextKey> {
        let secret = keyed(secret.as_ref())?;
        if self.also.len() + 1 >= SECRETS_MAX {
            return Err(InvalidContextKey::TooMany);
        }
        self.also.push(secret);
        Ok(self)
    }

    /// The same, which takes contexts without a seal too; a seal that is there must still fit. Only until every service
    /// seals: meanwhile whoever alters a context need only leave its seal out.
    #[must_use]
    pub fn accept_unsealed(mut self) -> Self {
        self.accepts_unsealed = true;
        self
    }

    pub(crate) fn seal(&self, context: &CallContext) -> ContextSeal {
        ContextSeal(sealing(&self.sealing, context).finalize().into_bytes().into())
    }

    pub(crate) fn check(&self, context: &CallContext) -> Result<(), JoinError> {
        let Some(ContextSeal(seal)) = &context.seal else {
            let unsealed = || JoinError::Unsealed(context.gid.clone());
            return if self.accepts_unsealed { Ok(()) } else { Err(unsealed()) };
        };
        let mut secrets = std::iter::once(&self.sealing).chain(&self.also);
        // Compares in constant time.
        let fits = |secret| sealing(secret, context).verify_slice(seal).is_ok();
        if secrets.any(fits) { Ok(()) } else { Err(JoinError::WrongSeal(context.gid.clone())) }
    }
}

fn keyed(secret: &[u8]) -> Result<Hmac<Sha256>, InvalidContextKey> {
    let invalid = InvalidContextKey::Size { bytes: secret.len() };
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Err(invalid);
    }
    Hmac::new_from_slice(secret).map_err(|_| invalid)
}

fn sealing(secret: &Hmac<Sha256>, context: &CallContext) -> Hmac<Sha256> {
    let mut mac = secret.clone();
    let left = context.millis_left().to_string();
    for line in [FORM, context.gid.as_str(), context.name.as_str(), context.call.as_str(), &left] {
        mac.update(line.as_bytes());
        mac.update(b"\n");
    }
    mac
}

impl fmt::Debug for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextKey")
            .field("secrets", &(1 + self.also.len()))
            .field("accepts_unsealed", &self.accepts_unsealed)
            .finish_non_exhaustive()
    }
}

/// What a [`ContextKey`] says of a context: as text, 64 of `0-9a-f`. `Debug` does not print it, because it is as good as
/// the context it came with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContextSeal([u8; SEAL_BYTES]);

impl fmt::Debug for ContextSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextSeal")
    }
}

impl fmt::Display for ContextSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ContextSeal {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let invalid = || InvalidInput::new("seal", "(not shown)", "64 of the characters 0-9 and a-f");
        if text.len() != 2 * SEAL_BYTES || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(invalid());
        }
        let mut seal = [0; SEAL_BYTES];
        for (place, byte) in seal.iter_mut().enumerate() {
            let digits = text.get(2 * place..2 * place + 2).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| invalid())?;
        }
        Ok(Self(seal))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        gid::Gid,
        name::{CallId, Name},
        time::Timestamp,
    };

    const SECRET: &[u8] = b"a secret of at least 32 bytes is here";
    const OTHER: &[u8] = b"another secret of at least 32 bytes is here";

    fn context() -> CallContext {
        let gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 7, 3);
        let (name, call) = (Name::new("checkout").unwrap(), CallId::new("3.1").unwrap());
        CallContext::new(gid, name, call, Duration::from_millis(1_500))
    }

    fn key(secret: &[u8]) -> ContextKey {
        ContextKey::new(secret).unwrap()
    }

    fn sealed(secret: &[u8]) -> CallContext {
        context().with_seal(Some(key(secret).seal(&context())))
    }

    #[test]
    fn a_seal_is_what_another_implementation_of_its_lines_makes() {
        // printf 'tcc-seal 1\n01m7q5cqg0000000000007-03\ncheckout\n3.1\n1500\n' | openssl dgst -sha256 -hmac '<secret>'
        assert_eq!(context().gid.as_str(), "01m7q5cqg0000000000007-03");
        assert_eq!(
            key(SECRET).seal(&context()).to_string(),
            "c01b54ff49c388a42354288a870ede42801241f99610fc5ea78bdda953a2da38"
        );
    }

    #[test]
    fn a_seal_fits_its_context_and_its_secret_only() {
        let changes: [fn(&mut CallContext); 5] = [
            |context| context.gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 8, 3),
            |context| context.name = Name::new("checkous").unwrap(),
            |context| context.call = CallId::new("3.2").unwrap(),
            |context| context.time_left = Duration::from_millis(1_501),
            |context| context.seal.as_mut().unwrap().0[31] ^= 1,
        ];
        assert_eq!(key(SECRET).check(&sealed(SECRET)).map_err(|error| error.to_string()), Ok(()));
        for change in changes {
            let mut altered = sealed(SECRET);
            change(&mut altered);
            let error = key(SECRET).check(&altered).unwrap_err();
            assert!(matches!(error, JoinError::WrongSeal(_)), "{altered:?}: {error}");
        }
        assert!(matches!(key(OTHER).check(&sealed(SECRET)), Err(JoinError::WrongSeal(_))));
        assert!(matches!(key(SECRET).check(&context()), Err(JoinError::Unsealed(_))));
    }

    #[test]
    fn what_is_left_is_sealed_as_it_is_sent() {
        let mut context = sealed(SECRET);
        context.time_left += Duration::from_nanos(999_999);
        assert!(key(SECRET).check(&context).is_ok());
        let mut ages = context.clone();
        ages.time_left = Duration::MAX;
        assert_eq!(ages.millis_left(), 999_999_999_999);
    }

    #[test]
    fn the_first_secret_seals_and_each_is_accepted() {
        let both = key(SECRET).also_accept(OTHER).unwrap();
        assert_eq!(both.seal(&context()), key(SECRET).seal(&context()));
        assert!(both.check(&sealed(SECRET)).is_ok() && both.check(&sealed(OTHER)).is_ok());
        assert!(both.check(&sealed(&[7; 32])).is_err());
    }

    #[test]
    fn while_a_key_is_introduced_only_what_has_no_seal_is_taken_without_one() {
        let lenient = key(SECRET).accept_unsealed();
        assert!(lenient.check(&context()).is_ok() && lenient.check(&sealed(SECRET)).is_ok());
        assert!(matches!(lenient.check(&sealed(OTHER)), Err(JoinError::WrongSeal(_))));
    }

    #[test]
    fn a_secret_has_32_to_1024_bytes_and_a_key_4_secrets() {
        for bytes in [0, 31, 1_025] {
            let error = ContextKey::new(vec![1; bytes]).unwrap_err();
            assert_eq!(error, InvalidContextKey::Size { bytes });
            assert_eq!(key(SECRET).also_accept(vec![1; bytes]).unwrap_err(), error);
            assert!(error.to_string().contains("must have 32 to 1024"), "{error}");
        }
        let mut key = ContextKey::new([1; 32]).unwrap();
        for last in [2, 3, 4] {
            key = key.also_accept([last; 1_024]).unwrap();
        }
        assert_eq!(key.also_accept([5; 32]).unwrap_err(), InvalidContextKey::TooMany);
    }

    #[test]
    fn neither_secret_nor_seal_is_printed() {
        let context = sealed(SECRET);
        let seal = context.seal.unwrap().to_string();
        let shown = format!("{:?} {context:?}", key(SECRET));
        assert!(!shown.contains("secret of") && !shown.contains(&seal[..8]), "{shown}");
        let upper = seal.to_uppercase().parse::<ContextSeal>().unwrap_err().to_string();
        assert!(!upper.contains(&seal.to_uppercase()[..8]), "{upper}");
    }

    #[test]
    fn a_seal_has_one_text() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(text.parse::<ContextSeal>().unwrap().to_string(), text);
        for bad in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase(),
            &text.replace('0', "+"),
            &"é".repeat(32),
        ] {
            assert!(bad.parse::<ContextSeal>().is_err(), "{bad}");
        }
    }
}
