//! What the cases that run share: a runtime in memory, and a journal of what ran.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tcc::{MemoryStore, Runtime, RuntimeBuilder};

pub const SOON: Duration = Duration::from_secs(5);

#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.sort();
        lines
    }

    pub async fn until(&self, expected: &[&str]) {
        for _ in 0..500 {
            if self.lines() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("expected {expected:?}, found {:?}", self.lines());
    }
}

pub async fn start(build: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Runtime {
    build(Runtime::builder().store(MemoryStore::new())).start().await.unwrap()
}
