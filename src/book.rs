//! The Rust in the book (`docs/`) is compiled and run like any other. `tests/book.rs` sees that no page is left out.

#[doc = include_str!("../docs/src/start.md")]
struct Start;

#[doc = include_str!("../docs/src/participant.md")]
struct Participant;

#[doc = include_str!("../docs/src/upgrading.md")]
struct Upgrading;

#[doc = include_str!("../docs/src/durability.md")]
struct Durability;

#[doc = include_str!("../docs/src/tracing.md")]
struct Tracing;

#[cfg(feature = "webhook")]
#[doc = include_str!("../docs/src/being-told.md")]
struct BeingTold;
