//! A bar for a person who watches; nothing at all for a file, a pipe or a log.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn of(orders: usize, shown: bool) -> Self {
        if !(shown && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()) {
            return Self(None);
        }
        let bar = ProgressBar::new(orders as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} orders, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    pub(crate) fn advance(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
