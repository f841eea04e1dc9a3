//! The floor: what any recording of a two-branch transaction in Redis costs at least. Three minimal scripts,
//! each doing what its counterpart must at least write; no handlers, no checks beyond the decision's own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Script, aio::MultiplexedConnection};

use crate::{
    BenchError,
    measure::{Run, Took, closed_loop},
    server::Server,
    work::payload,
};

struct Floor {
    connection: MultiplexedConnection,
    register: Script,
    decide: Script,
    finish: Script,
    count: AtomicU64,
    payload: String,
}

impl Floor {
    async fn one(&self) -> Result<Took, BenchError> {
        let started = Instant::now();
        let mut connection = self.connection.clone();
        let gid = format!("{:021}-00", self.count.fetch_add(1, Ordering::Relaxed));
        let (record, due) = (format!("{{floor:00}}:tx:{gid}"), "{floor:00}:due");
        let mut register = self.register.key(&record);
        register.key(due).arg(&gid).arg("bench").arg("p1");
        for action in ["left.hold@1 trying", "right.hold@1 trying"] {
            register.arg(action).arg(&self.payload);
        }
        register.invoke_async::<u64>(&mut connection).await?;
        let mut decide = self.decide.key(&record);
        decide.key(due).arg(&gid).arg(&self.payload).arg(&self.payload);
        decide.invoke_async::<u64>(&mut connection).await?;
        let decided = started.elapsed();
        self.finish.key(&record).key(due).arg(&gid).invoke_async::<u64>(&mut connection).await?;
        Ok(Took { decided, ended: started.elapsed() })
    }
}

/// Runs the floor in a closed loop, on one connection like the framework.
pub(crate) async fn run(
    server: &mut Server,
    concurrency: usize,
    length: Duration,
    payload_bytes: usize,
) -> Result<Run, BenchError> {
    let client = redis::Client::open({
        use redis::IntoConnectionInfo;
        let info = server.url.as_str().into_connection_info()?;
        info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
    })?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
    let floor = Arc::new(Floor {
        connection: client.get_multiplexed_async_connection_with_config(&config).await?,
        register: Script::new(include_str!("floor/register.lua")),
        decide: Script::new(include_str!("floor/decide.lua")),
        finish: Script::new(include_str!("floor/finish.lua")),
        count: AtomicU64::new(0),
        payload: payload(payload_bytes),
    });
    closed_loop(server, concurrency, length, move || {
        let floor = Arc::clone(&floor);
        async move { floor.one().await }
    })
    .await
}
