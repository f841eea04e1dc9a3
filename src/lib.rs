//! Try-Confirm-Cancel transactions.
