//! What the guide promises of itself. Its code is compiled by the doc tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[test]
fn the_service_of_the_guide_is_shorter_than_it_says() {
    let guide = include_str!("../../docs/src/add-a-branch-to-an-axum-service.md");
    let (_, after) = guide.split_once("```rust,no_run\n").unwrap();
    let (service, _) = after.split_once("```").unwrap();
    let lines = service.lines().count();
    assert!(service.contains("JoinLayer") && service.contains("fn main") && lines < 60, "{lines} lines");
}
