//! Being asked to stop: by a person at the terminal, by the system, or by the end of the process that started this one.

use std::io;

/// Waits until this process is asked to stop.
pub(crate) async fn asked(is_worker: bool) {
    tokio::select! {
        biased;
        () = signal() => {}
        () = orphaned(), if is_worker => {}
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Waits for the end of the pipe that a supervisor holds the other end of.
async fn orphaned() {
    let (tell, ended) = tokio::sync::oneshot::channel();
    // A thread of its own: a runtime would wait at its end for one that it lent to this read.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = tell.send(());
    });
    let _ = ended.await;
}
