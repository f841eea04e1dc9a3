//! Redis store of the TCC framework.
