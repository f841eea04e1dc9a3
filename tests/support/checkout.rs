//! A shop for `examples/checkout`: its files, and the example itself, built and run.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a surprise ends the test")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

pub(crate) const STOCK: &str = "sku,on_hand\ncup,40\nkettle,3\nlamp,0\n";
pub(crate) const CARDS: &str = "card,limit_cents\ngold,500000\nthin,1000\nblocked,0\n";

/// Every way an order can go, and every way a row can come again.
pub(crate) const ORDERS: &str = "\
order,sku,quantity,card,amount_cents,customer,slow_ms
A-01,cup,1,gold,1250,ann,0
A-02,cup,2,gold,2500,ann,20
A-02,cup,2,gold,2500,ann,20
A-03,lamp,1,gold,900,ann,0
A-04,kettle,4,gold,8000,ben,0
A-05,cup,1,blocked,1250,ben,0
A-06,cup,1,thin,1250,cat,0
A-07,cup,1,thin,950,cat,0
A-08,cup,1,gold,1250,dan,2000
A-09,cup,1,gold,1250,dan,4000
A-10,unheard-of,1,nobody,1,eve,0
A-11,kettle,2,gold,4000,eve,0
A-12,kettle,1,gold,2000,eve,0
A-13,cup,3,gold,3750,ann,0
A-14,cup,1,gold,1250,ben,0
A-15,cup,1,gold,1250,cat,0
A-16,cup,1,gold,1250,dan,0
A-17,cup,1,gold,1250,eve,0
A-18,cup,1,gold,1250,ann,0
A-01,cup,1,gold,1250,ann,0
";

/// The example, built with the selection of features that built this test, so that nothing is compiled again.
pub(crate) fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile_directory = test.parent().and_then(Path::parent).unwrap();
        let profile = match profile_directory.file_name().and_then(OsStr::to_str).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let selection = std::env::var("TCC_TEST_CARGO_FLAGS").unwrap_or_default();
        let built = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--example", "checkout", "--profile", profile, "--target-dir"])
            .arg(profile_directory.parent().unwrap())
            .args(selection.split_whitespace())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(built.success(), "the example does not build");
        profile_directory.join("examples").join(format!("checkout{}", std::env::consts::EXE_SUFFIX))
    })
}

/// A folder with the files of one shop, gone when the test is.
pub(crate) struct Shop {
    folder: PathBuf,
    /// Where servers are looked for; absent, there are none.
    path: Option<std::ffi::OsString>,
}

impl Shop {
    pub(crate) fn new(name: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("checkout-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let shop = Self { folder, path: None };
        fs::write(shop.file("stock.csv"), STOCK).unwrap();
        fs::write(shop.file("cards.csv"), CARDS).unwrap();
        let without_slow_banks = ORDERS.replace(",2000\n", ",0\n").replace(",4000\n", ",0\n");
        fs::write(shop.file("orders.csv"), without_slow_banks).unwrap();
        shop
    }

    /// One whose example finds the machine's Redis, or fails with what to install.
    pub(crate) fn with_redis(name: &str) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .flat_map(|folder| ["redis-server", "valkey-server"].map(|binary| folder.join(binary)))
            .any(|binary| binary.is_file());
        assert!(
            found,
            "this test needs `redis-server` or `valkey-server`, 7.0 or later, on PATH: apt-get install redis-server"
        );
        let mut shop = Self::new(name);
        shop.path = Some(path);
        shop
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn command(&self, command: &str, data: &Path, more: &[&OsStr]) -> Output {
        self.prepared(command, data, more).output().unwrap()
    }

    /// The command, not started yet.
    pub(crate) fn prepared(&self, command: &str, data: &Path, more: &[&OsStr]) -> Command {
        let mut checkout = Command::new(example());
        checkout.arg(command).arg("--data").arg(data).args(more).stdin(Stdio::null());
        for name in ["orders", "stock", "cards"] {
            checkout.arg(format!("--{name}")).arg(self.file(name).with_extension("csv"));
        }
        checkout.env_remove("REDIS_URL").env("PATH", self.path.clone().unwrap_or_default());
        checkout
    }

    pub(crate) fn run(&self) -> Output {
        self.command("run", &self.file("books"), &[])
    }

    /// What the audit complains about, unless it is content.
    pub(crate) fn audit(&self, data: &Path) -> Option<String> {
        complaint(&self.command("audit", data, &[]))
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn complaint(output: &Output) -> Option<String> {
    match output.status.code() {
        Some(0) => None,
        Some(1) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        _ => panic!("the audit did not end by itself: {output:?}"),
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The count in a line of the run's table.
pub(crate) fn count(output: &Output, name: &str) -> u64 {
    let table = text(&output.stdout);
    let line = table.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no line `{name}` in\n{table}"));
    line.trim_start()[name.len()..].split_whitespace().next().unwrap().parse().unwrap()
}
