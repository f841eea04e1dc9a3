//! A TCP proxy of the test's own, which loses answers, cuts connections, and asks for something else.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::{JoinHandle, JoinSet},
};

pub(crate) struct Proxy {
    port: u16,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Control {
    /// Answers to be lost: each closes its connection.
    lose: AtomicUsize,
    /// Whether answers are held back without a word.
    silent: AtomicBool,
    accepted: AtomicUsize,
    /// Requests and what is asked instead.
    replaced: Vec<(Vec<u8>, Vec<u8>)>,
    connections: Mutex<JoinSet<()>>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        Self::replacing(port, &[]).await
    }

    /// One that asks the server something else instead of these requests, each told in its words.
    pub(crate) async fn replacing(port: u16, requests: &[(&str, &str)]) -> Self {
        let replaced = requests.iter().map(|(from, to)| (encoded(from), encoded(to))).collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let control = Arc::new(Control { replaced, ..Control::default() });
        let shared = Arc::clone(&control);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (control, connection) = (Arc::clone(&shared), pass(client, server));
                control.connections.lock().expect("the connections").spawn(connection(Arc::clone(&shared)));
            }
        });
        Self { port: own, control, task }
    }

    pub(crate) fn url_of(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Loses the next answer, and its connection with it.
    pub(crate) fn lose_next(&self) {
        self.control.lose.store(1, Ordering::Relaxed);
    }

    /// Whether the loss that was asked for has happened.
    pub(crate) fn has_lost(&self) -> bool {
        self.control.lose.load(Ordering::Relaxed) == 0
    }

    /// Holds back every answer, or lets them through again.
    pub(crate) fn silence(&self, silent: bool) {
        self.control.silent.store(silent, Ordering::Relaxed);
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        self.control.connections.lock().expect("the connections").abort_all();
    }

    pub(crate) fn accepted(&self) -> usize {
        self.control.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

fn pass(
    client: TcpStream,
    server: TcpStream,
) -> impl FnOnce(Arc<Control>) -> futures_util::future::BoxFuture<'static, ()> {
    move |control| {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        Box::pin(async move {
            tokio::select! {
                () = ask(from_client, to_server, &control.replaced) => {}
                () = answer(from_server, to_client, &control) => {}
            }
        })
    }
}

/// A request as it is sent.
fn encoded(words: &str) -> Vec<u8> {
    let words: Vec<&str> = words.split(' ').collect();
    let encoded = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), encoded.collect::<String>()).into_bytes()
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, replaced: &[(Vec<u8>, Vec<u8>)]) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let request = &buffer[..count];
        let other = replaced.iter().find(|(from, _)| from == request);
        if to.write_all(other.map_or(request, |(_, other)| other)).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, control: &Control) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let lost =
            control.lose.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if lost.is_ok() {
            return;
        }
        if control.silent.load(Ordering::Relaxed) {
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
