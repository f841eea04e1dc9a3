//! Who changes something, and why.

use std::{env, fs};

use tcc_core::{Name, Why};

use crate::{
    args,
    exit::{Code, Failure, Outcome},
};

/// Where a machine keeps its name, if the environment does not say it.
const HOST_NAMES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// An operator and a reason, as they are recorded.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) by: Name,
    pub(crate) why: Why,
}

impl Operator {
    pub(crate) fn of(args: &args::Why) -> Outcome<Self> {
        let why = Why::new(&args.reason)
            .map_err(|error| Failure::said(Code::Usage, format!("--reason is refused: {error}")))?;
        let said = args.who.clone().or_else(user_at_host);
        let Some(said) = said else {
            let words = "who changes this? Say it with --who or TCC_OPERATOR";
            return Err(Failure::said(Code::Usage, words));
        };
        let by = Name::new(&as_name(&said))
            .map_err(|error| Failure::said(Code::Usage, format!("--who is refused: {error}")))?;
        Ok(Self { by, why })
    }
}

fn user_at_host() -> Option<String> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let user = set("USER").or_else(|| set("LOGNAME")).or_else(|| set("USERNAME"))?;
    let file = |path: &&str| fs::read_to_string(path).ok().map(|name| name.trim().to_owned());
    let host = set("HOSTNAME").or_else(|| HOST_NAMES.iter().find_map(file).filter(|name| !name.is_empty()));
    Some(host.map_or_else(|| user.clone(), |host| format!("{user}@{host}")))
}

/// What a name cannot hold becomes a hyphen: `alice@corp` is recorded as `alice-corp`.
fn as_name(said: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    said.trim().chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_becomes_a_name() {
        assert_eq!(as_name(" alice@corp.example "), "alice-corp.example");
    }
}
