//! A link between a process and its Redis that breaks in eight ways, while it is used.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::random::Random;

/// What a network does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Bytes come late.
    Delay,
    /// Nothing arrives and nobody is told; what was sent arrives when it is over, as a resent packet does.
    BlackHole,
    /// The connection is forgotten without a word, and each end believes that the other one is there.
    HalfOpen,
    /// The connection is reset after some bytes.
    Reset,
    /// Few bytes at a time.
    SlowDrip,
    /// The connection is closed after some bytes, in the middle of whatever was said.
    Cut,
    /// Who connects is turned away, and who is connected is as well.
    TurnedAway,
    /// Requests arrive and are answered; the answer is lost, and the connection with it.
    LostAnswers,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::Delay,
        Self::BlackHole,
        Self::HalfOpen,
        Self::Reset,
        Self::SlowDrip,
        Self::Cut,
        Self::TurnedAway,
        Self::LostAnswers,
    ];

    /// The bytes after which it strikes, if it does so by bytes.
    fn patience(self) -> Option<u64> {
        match self {
            Self::Reset | Self::Cut | Self::HalfOpen => Some(4_000),
            Self::LostAnswers => Some(2_000),
            Self::TurnedAway => Some(0),
            Self::Delay | Self::BlackHole | Self::SlowDrip => None,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Weather {
    fault: Option<Fault>,
    /// No answer is passed on.
    mute: bool,
    /// How often that changed: a connection from before may have missed an answer, and is not used again.
    age: u64,
}

pub(crate) struct Link {
    port: u16,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

struct Control {
    weather: watch::Sender<Weather>,
    fired: AtomicU64,
    random: Mutex<Random>,
}

/// How a connection ends.
enum End {
    Closed,
    Reset,
    /// It stays, as something that neither end can tell from a slow one.
    Forgotten,
}

impl Link {
    pub(crate) async fn to(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let control = Arc::new(Control {
            weather: watch::Sender::new(Weather::default()),
            fired: AtomicU64::new(0),
            random: Mutex::new(Random::new(seed)),
        });
        let shared = Arc::clone(&control);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connection(client, port, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port: own, control, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Breaks the link in this way from now on, or mends it.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        self.control.weather.send_modify(|weather| weather.fault = fault);
    }

    /// Swallows every answer from now on, or passes them on again.
    pub(crate) fn mute(&self, mute: bool) {
        self.control.weather.send_modify(|weather| {
            weather.mute = mute;
            weather.age += 1;
        });
    }

    /// How often a fault met bytes or a connection.
    pub(crate) fn fired(&self) -> u64 {
        self.control.fired.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Control {
    fn weather(&self) -> Weather {
        *self.weather.borrow()
    }

    fn fire(&self) {
        self.fired.fetch_add(1, Ordering::Relaxed);
    }

    fn within(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        self.random.lock().expect("the random numbers").within(range)
    }

    /// Waits until this fault is over.
    async fn over(&self, fault: Fault) {
        let mut weather = self.weather.subscribe();
        let _ = weather.wait_for(|weather| weather.fault != Some(fault)).await;
    }
}

async fn connection(mut client: TcpStream, port: u16, control: Arc<Control>) {
    let age = control.weather().age;
    match control.weather().fault {
        Some(Fault::TurnedAway) => {
            control.fire();
            let _ = client.set_zero_linger();
            return;
        }
        Some(Fault::BlackHole) => {
            control.fire();
            control.over(Fault::BlackHole).await;
        }
        _ => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = Way { control: &control, age, is_answer: false, left: None };
    let answers = Way { control: &control, age, is_answer: true, left: None };
    let end = tokio::select! {
        end = requests.pass(from_client, to_server) => end,
        end = answers.pass(from_server, to_client) => end,
    };
    match end {
        End::Closed => {}
        End::Reset => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        // For good: a router that forgot a connection does not remember it when it works again.
        End::Forgotten => {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(1..) = client.read(&mut buffer).await {}
        }
    }
}

/// One direction of a connection.
struct Way<'a> {
    control: &'a Control,
    /// That of the weather in which the connection was made.
    age: u64,
    is_answer: bool,
    /// What a fault has been seen to be, and the bytes after which it strikes.
    left: Option<(Fault, u64)>,
}

impl Way<'_> {
    async fn pass(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let mut bytes = &buffer[..count];
            let weather = self.control.weather();
            if self.is_answer && weather.mute {
                continue;
            }
            if weather.age != self.age && !weather.mute {
                return End::Closed;
            }
            let strikes = self.strikes(weather.fault, bytes.len() as u64);
            let fired = match (weather.fault, strikes) {
                (Some(Fault::Cut | Fault::Reset), Some(after)) => {
                    bytes = &bytes[..after as usize];
                    weather.fault
                }
                (fault @ Some(Fault::LostAnswers), Some(_)) if self.is_answer => fault,
                (fault @ Some(Fault::HalfOpen | Fault::TurnedAway), Some(_)) => fault,
                (fault @ Some(Fault::Delay | Fault::BlackHole | Fault::SlowDrip), _) => fault,
                _ => None,
            };
            if fired.is_some() {
                self.control.fire();
            }
            match fired {
                Some(Fault::Delay) => sleep(Duration::from_millis(self.control.within(1..=60))).await,
                Some(Fault::BlackHole) => self.control.over(Fault::BlackHole).await,
                Some(Fault::SlowDrip) => {
                    let step = self.control.within(8..=64) as usize;
                    for drop in bytes.chunks(step) {
                        if to.write_all(drop).await.is_err() {
                            return End::Closed;
                        }
                        // The rest of it comes at once when the fault is over.
                        if self.control.weather().fault == Some(Fault::SlowDrip) {
                            sleep(Duration::from_millis(1)).await;
                        }
                    }
                    continue;
                }
                Some(Fault::HalfOpen) => return End::Forgotten,
                Some(Fault::LostAnswers) => return End::Closed,
                Some(Fault::TurnedAway) => return End::Reset,
                _ => {}
            }
            if to.write_all(bytes).await.is_err() {
                return End::Closed;
            }
            match fired {
                Some(Fault::Cut) => return End::Closed,
                Some(Fault::Reset) => return End::Reset,
                _ => {}
            }
        }
        End::Closed
    }

    /// Whether the fault strikes within so many bytes, and after how many of them.
    fn strikes(&mut self, fault: Option<Fault>, bytes: u64) -> Option<u64> {
        let patience = fault.and_then(Fault::patience)?;
        let fault = fault?;
        let left = match self.left {
            Some((seen, left)) if seen == fault => left,
            _ => self.control.within(0..=patience),
        };
        self.left = Some((fault, left.saturating_sub(bytes)));
        (left < bytes).then_some(left)
    }
}
