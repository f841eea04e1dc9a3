//! The secret that the services of a run share, so that they join only what one of them began.

use std::{env, fmt::Write as _, fs::File, io::Read as _};

use tcc::ContextKey;

use crate::Failure;

/// Holds the secret.
pub(crate) const VARIABLE: &str = "SHOP_CONTEXT_KEY";

/// That of whoever started this service.
pub(crate) fn from_env() -> Result<ContextKey, Failure> {
    let secret = env::var(VARIABLE)
        .map_err(|_| format!("{VARIABLE} is to hold the secret of the run: 32 bytes or more, random"))?;
    Ok(ContextKey::new(secret).map_err(|error| format!("{VARIABLE}: {error}"))?)
}

/// A new one, as hexadecimal digits; that of the variable where it is set, so that a service can be run by hand beside.
pub(crate) fn random() -> Result<String, Failure> {
    if let Ok(secret) = env::var(VARIABLE) {
        return Ok(secret);
    }
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
