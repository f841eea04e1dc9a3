//! What the demo plays with: a Redis and a shop.

pub(crate) mod server;
pub(crate) mod shop;
