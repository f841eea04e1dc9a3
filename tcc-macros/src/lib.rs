//! Attribute macros of the TCC framework.
