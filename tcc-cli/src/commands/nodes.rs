//! `tccctl nodes`: the processes that listen, and what they host.

use serde::Serialize;
use tcc_core::Timestamp;
use tcc_redis::RedisStore;

use crate::{
    connect,
    exit::{Code, Outcome},
    output::{
        Screen,
        paint::Tone,
        table::{Cell, Kind, Table},
        text::duration,
    },
    situation::is_live,
    view::millis,
};

#[derive(Serialize)]
struct Node {
    kind: &'static str,
    process: String,
    live: bool,
    heard_at: String,
    heard_ms_ago: u64,
    version: String,
    actions: Vec<String>,
}

pub(crate) async fn run(store: &RedisStore, screen: &mut Screen) -> Outcome {
    let world = connect::world(store).await?;
    let nodes = of(world.processes, world.clock);
    screen.list("nodes", &nodes, None, table)?;
    if nodes.is_empty() {
        screen.say(Tone::Warning, "no process was heard within the last minute: nothing open goes on");
    }
    Ok(Code::Done)
}

fn of(processes: Vec<tcc_core::Presence>, now: Timestamp) -> Vec<Node> {
    let node = |process: tcc_core::Presence| Node {
        kind: "node",
        live: is_live(&process, now),
        process: process.process.to_string(),
        heard_at: process.heard_at.to_string(),
        heard_ms_ago: millis(process.heard_at, now),
        version: process.version,
        actions: process.actions.iter().map(ToString::to_string).collect(),
    };
    processes.into_iter().map(node).collect()
}

fn table(nodes: &[Node]) -> Table {
    let mut table = Table::new(&[
        ("PROCESS", Kind::Left),
        ("HEARD", Kind::Right),
        ("VERSION", Kind::Optional),
        ("HOSTS", Kind::Elastic),
    ]);
    for node in nodes {
        let tone = if node.live { Tone::Good } else { Tone::Warning };
        let heard = duration(std::time::Duration::from_millis(node.heard_ms_ago));
        table.row([
            node.process.as_str().into(),
            Cell::new(tone, format!("{heard} ago")),
            node.version.as_str().into(),
            if node.actions.is_empty() {
                Cell::new(Tone::Faint, "nothing")
            } else {
                node.actions.join(" ").into()
            },
        ]);
    }
    table
}
