//! `tccctl demo`: success, refusal, and a crash in mid confirm, on a private Redis.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tcc_core::{Gid, Name, store::Store};
use tcc_redis::RedisStore;

use crate::{
    args::{ConnectionArgs, DemoArgs, Form, Part, ShowArgs},
    commands::show,
    demo::{self, server::Server},
    exit::{Code, Failure, Outcome},
    output::{Screen, paint::Tone},
};

/// Nothing here takes so long; what does has failed.
const LONG: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) async fn run(screen: &mut Screen, connection: &ConnectionArgs, args: &DemoArgs) -> Outcome {
    if let (Some(part), Some(books)) = (args.part, &args.books) {
        return demo::shop::play(part, &connection.url, books).await;
    }
    // Told to people, whatever the form of other answers.
    screen.form = Form::Table;
    let folder = tempfile::Builder::new().prefix("tccctl-demo-").tempdir().map_err(Failure::Output)?;
    let server = Server::start(folder.path()).await?;
    Demo { screen, url: server.url(), books: folder.path().join("books") }.run().await
}

struct Demo<'a> {
    screen: &'a mut Screen,
    url: String,
    books: std::path::PathBuf,
}

impl Demo<'_> {
    async fn run(&mut self) -> Outcome {
        self.title("1. An order that can be filled: tea from the stock, money from the card")?;
        self.whole(Part::Order).await?;
        let store = RedisStore::builder(self.url.as_str()).attach().await?;
        self.show(&store, Part::Order, false).await?;

        self.title("2. An order whose card is declined: the tea is put back")?;
        self.whole(Part::Declined).await?;
        self.show(&store, Part::Declined, false).await?;

        self.title("3. A process killed in the middle of a confirm: another finishes its work")?;
        let mut process = self.start(Part::Hanging)?;
        let gid = self.until_hanging(&store, &mut process).await?;
        process.0.kill().map_err(Failure::Output)?;
        process.wait(Part::Hanging)?;
        self.screen.line("The process that placed the order was killed while it confirmed the payment:\n")?;
        self.show(&store, Part::Hanging, false).await?;
        let _serving = self.start(Part::Serve)?;
        self.screen.line("\nAnother process is started, finds what was left, and finishes it:\n")?;
        let followed = self.show(&store, Part::Hanging, true).await?;
        if followed != Code::Done {
            return Err(Failure::said(Code::Other, format!("{gid} was not finished")));
        }

        self.title("The books: each effect once")?;
        for line in read(&self.books).lines() {
            self.screen.line(line)?;
        }
        self.screen.flush()?;
        self.screen.say(
            Tone::Faint,
            "that was all; the Redis of the demo is gone. Yours: tccctl --url redis://... list",
        );
        Ok(Code::Done)
    }

    fn title(&mut self, title: &str) -> Outcome<()> {
        let title = self.screen.paint.text(Tone::Strong, title);
        self.screen.line(format!("\n{title}\n"))?;
        self.screen.flush()
    }

    /// A process that ends by itself.
    async fn whole(&mut self, part: Part) -> Outcome<()> {
        let mut process = self.start(part)?;
        let started = Instant::now();
        while process.0.try_wait().map_err(Failure::Output)?.is_none() {
            if started.elapsed() > LONG {
                return Err(Failure::said(
                    Code::Other,
                    format!("the process `{}` does not end", part.name()),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let ended = process.wait(part)?;
        if !ended.success() {
            return Err(Failure::said(Code::Other, format!("the process `{}` failed: {ended}", part.name())));
        }
        Ok(())
    }

    fn start(&self, part: Part) -> Outcome<Process> {
        let own = env::current_exe().map_err(Failure::Output)?;
        let mut command = Command::new(own);
        command.args(["--url", &self.url, "--namespace", "tcc", "demo", "--part", part.name(), "--books"]);
        command.arg(&self.books).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Process(command.spawn().map_err(Failure::Output)?))
    }

    async fn until_hanging(&self, store: &RedisStore, process: &mut Process) -> Outcome<Gid> {
        let started = Instant::now();
        loop {
            if let Some(gid) = find(store, Part::Hanging).await?
                && let Some(record) = store.load(&gid).await?
            {
                let now = store.now(gid.shard()).await?;
                let is_held = |action: &str| {
                    let mut branches =
                        record.branches.iter().filter(|branch| branch.action.as_str() == action);
                    branches.any(|branch| branch.leased_until(now).is_some() && branch.is_drivable())
                };
                // Its sibling is done: the books say so.
                if is_held("card.charge@1") && read(&self.books).contains(&format!("{gid}/01 sold")) {
                    return Ok(gid);
                }
            }
            let ended = process.0.try_wait().map_err(Failure::Output)?;
            if started.elapsed() > LONG || ended.is_some() {
                return Err(Failure::said(
                    Code::Other,
                    "the process that is to be killed did not come so far",
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn show(&mut self, store: &RedisStore, part: Part, follow: bool) -> Outcome {
        let Some(gid) = find(store, part).await? else {
            return Err(Failure::said(Code::Other, format!("{} is not there", part.key())));
        };
        let args =
            ShowArgs { gid: gid.to_string(), follow, for_at_most: LONG, events: false, payloads: false };
        show::run(store, self.screen, &args).await
    }
}

async fn find(store: &RedisStore, part: Part) -> Outcome<Option<Gid>> {
    let name = Name::new("order").map_err(|error| Failure::said(Code::Other, error.to_string()))?;
    let key = part.key().parse();
    let key = key.map_err(|error: tcc_core::InvalidInput| Failure::said(Code::Other, error.to_string()))?;
    Ok(store.find(&name, &key).await?)
}

fn read(books: &Path) -> String {
    fs::read_to_string(books).unwrap_or_default()
}

/// A process of the demo, ended with it.
struct Process(Child);

impl Process {
    fn wait(&mut self, part: Part) -> Outcome<std::process::ExitStatus> {
        let said = |error| Failure::said(Code::Other, format!("the process `{}`: {error}", part.name()));
        self.0.wait().map_err(said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
