//! A process of the user's service: a Tokio runtime of its own, which can be killed.

use tcc::{Runtime, RuntimeBuilder};
use tokio::task::JoinHandle;

pub(crate) struct Process {
    tokio: Option<tokio::runtime::Runtime>,
    pub(crate) runtime: Runtime,
}

impl Process {
    pub(crate) async fn start(builder: RuntimeBuilder) -> Self {
        Self::start_with(builder, |builder| builder).await
    }

    /// Finishes its builder inside its own Tokio runtime.
    pub(crate) async fn start_with(
        builder: RuntimeBuilder,
        finish: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder + Send + 'static,
    ) -> Self {
        let tokio =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let runtime = tokio.spawn(async move { finish(builder).start().await }).await.unwrap().unwrap();
        Self { tokio: Some(tokio), runtime }
    }

    /// Runs something in it.
    pub(crate) fn spawn<F>(&self, work: impl FnOnce(Runtime) -> F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tokio.as_ref().unwrap().spawn(work(self.runtime.clone()))
    }

    /// Ends it at once, as `kill -9` would: nothing of it runs any more.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
