//! State machine, store contract and runtime of the TCC framework.
