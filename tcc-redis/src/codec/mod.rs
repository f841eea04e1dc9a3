//! Between the types of `tcc-core` and the text that Redis keeps.

pub(crate) mod record;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod text;

pub(crate) use text::Unreadable;
