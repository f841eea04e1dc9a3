//! Running `tccctl` as a person does, and what it says.

use std::{path::Path, process::Stdio, sync::LazyLock, time::Duration};

use serde_json::Value;
use tokio::process::Command;

/// Longer than anything here takes; what waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let text = include_str!("../../../docs/schema/tccctl.schema.json");
    let schema: Value = serde_json::from_str(text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
});

/// How `tccctl` is run here.
#[derive(Clone, Debug)]
pub(crate) struct Ctl {
    url: String,
    environment: Vec<(String, String)>,
}

/// What one run said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) data: String,
    pub(crate) words: String,
}

impl Ctl {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), environment: vec![("TCC_OPERATOR".into(), "alice@corp".into())] }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With nothing of the environment that could change an answer.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in [
            "COLUMNS",
            "NO_COLOR",
            "TCC_OUTPUT",
            "TCC_COLOR",
            "TCC_NAMESPACE",
            "TCC_TIMEOUT",
            "TCC_DURABILITY",
        ] {
            command.env_remove(name);
        }
        command.env("REDIS_URL", &self.url).envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(env!("CARGO_BIN_EXE_tccctl"));
        command.args(arguments);
        said(command, &arguments.join(" ")).await
    }

    /// The same, where nothing must go wrong.
    pub(crate) async fn done(&self, arguments: &[&str]) -> Said {
        let said = self.run(arguments).await;
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
        said
    }

    /// A command as it is typed into a shell.
    pub(crate) async fn typed(&self, line: &str) -> Said {
        let folder = Path::new(env!("CARGO_BIN_EXE_tccctl")).parent().expect("a folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = self.command("sh");
        command.env("PATH", path).args(["-c", line]);
        said(command, line).await
    }

    /// The answer as one JSON document, which is as the schema says.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["-o", "json"]].concat()).await;
        assert!(said.code <= 1 || said.code == 8, "{arguments:?}: {said:?}");
        let document = serde_json::from_str(&said.data)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"));
        check(&document);
        let lines = self.run(&[arguments, &["-o", "jsonl"]].concat()).await;
        for line in lines.data.lines() {
            check(
                &serde_json::from_str(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}")),
            );
        }
        document
    }
}

/// Holds an answer to the schema.
pub(crate) fn check(document: &Value) {
    let errors: Vec<String> =
        SCHEMA.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{document:#}\nis not as the schema says:\n{}", errors.join("\n"));
}

async fn said(mut command: Command, what: &str) -> Said {
    let run = tokio::time::timeout(LONG, command.output()).await;
    let output = run.unwrap_or_else(|_| panic!("`{what}` does not end")).expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("its output is text");
    let (data, words) = (text(output.stdout), text(output.stderr));
    assert!(!words.contains("panicked"), "`{what}` panicked: {words}");
    Said { code: output.status.code().unwrap_or(-1), data, words }
}

/// Waits until this is so.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: waited for in vain");
}
