//! Reads a record out of its hash.
//!
//! What is read is checked as the functions check it: closed sets, what must hold between fields, payloads
//! against their seals. Half of the single-bit flips in an append-only file pass Redis unnoticed.

use std::collections::BTreeMap;

use tcc_core::{
    ActionName, CallId, Gid, Name, Payload, Timestamp, TraceParent,
    machine::BELL_BASE,
    record::{
        Bell, Branch, BranchState, Claim, Closed, Decision, Direction, FORMAT, Parked, Record, Seen, Token,
        TransactionState,
    },
};

use super::text::{Seal, Unreadable, moment, word_of};

/// The fields of a record's hash.
pub(crate) struct Fields {
    texts: BTreeMap<String, String>,
    has_payloads: bool,
}

impl Fields {
    /// Takes names and values as Redis answered them.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, Unreadable> {
        let mut fields = BTreeMap::new();
        for (name, value) in pairs {
            let name = String::from_utf8_lossy(&name).into_owned();
            let value = String::from_utf8(value).map_err(|_| Unreadable::new(&name, "no text"))?;
            fields.insert(name, value);
        }
        Ok(Self { texts: fields, has_payloads: true })
    }

    /// The same, of whom no payloads were asked for.
    pub(crate) fn without_payloads(self) -> Self {
        Self { has_payloads: false, ..self }
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> Result<&str, Unreadable> {
        self.optional(name).ok_or_else(|| Unreadable::new(name, "missing"))
    }

    fn name(&self, name: &str) -> Result<Name, Unreadable> {
        Name::new(self.text(name)?).map_err(|_| Unreadable::new(name, "no name"))
    }

    fn optional_moment(&self, name: &str) -> Result<Option<Timestamp>, Unreadable> {
        self.optional(name).map(|text| moment(name, text)).transpose()
    }
}

/// Reads a record.
pub(crate) fn read(gid: &Gid, fields: &Fields) -> Result<Record, Unreadable> {
    let (count, retention_ms) = numbers(fields.text("record")?)?;
    if fields.optional(&format!("{:02}", u32::from(count) + 1)).is_some() {
        return Err(Unreadable::new("record", "too few branches"));
    }
    let key = fields.optional("key").map(|key| key.parse());
    let (begun_at, initiator) = begun(fields.text("begun")?)?;
    let decision = decision(fields, &initiator)?;
    let ended_at = fields.optional_moment("ended")?;
    let (lease_until, deadline_at) = limits(fields.optional("until"), ended_at)?;
    let head = Head {
        state: word_of("state", fields.text("state")?)?,
        // A branch that says nothing else may be driven as soon as it is decided.
        start: decision.as_ref().map_or(Timestamp::default(), |decision| decision.at),
        held: fields.optional("held").map(held).transpose()?,
    };
    let branches = (1..=count).map(|place| branch(fields, place, &head)).collect::<Result<Vec<_>, _>>()?;
    let record = Record {
        format: FORMAT,
        gid: gid.clone(),
        name: fields.name("name")?,
        key: key.transpose().map_err(|_| Unreadable::new("key", "no key"))?,
        initiator,
        state: head.state,
        decision,
        begun_at,
        deadline_at,
        lease_until,
        retention_ms,
        ended_at,
        branches,
        bells: bells(fields.optional("bells").unwrap_or_default(), head.start)?,
    };
    check(&record)?;
    Ok(record)
}

/// What branches take from the head.
struct Head {
    state: TransactionState,
    start: Timestamp,
    held: Option<Claim>,
}

impl Head {
    /// How most branches stand, which goes without saying.
    fn usual_state(&self) -> (BranchState, Seen, Option<&'static str>) {
        let held = self.held.map(|_| "held");
        match self.state {
            TransactionState::Confirming => (BranchState::Confirming, Seen::Succeeded, held),
            TransactionState::Confirmed => (BranchState::Confirmed, Seen::Succeeded, Some("once")),
            _ => (BranchState::Trying, Seen::Unknown, None),
        }
    }
}

/// What may follow the retention, for the functions.
const MARKS: [&str; 10] = [
    "",
    " keyed",
    " apart",
    " apart keyed",
    " marked",
    " looked",
    " looked keyed",
    " looked apart",
    " looked apart keyed",
    " looked marked",
];

/// How many branches there are, and the retention: `format=1 branches=2 keep_ms=86400000`, and marks.
pub(crate) fn numbers(text: &str) -> Result<(u16, u64), Unreadable> {
    let Some(rest) = text.strip_prefix(&format!("format={FORMAT} branches=")) else {
        return Err(Unreadable::new("record", "another version: upgrade this process"));
    };
    let read = || {
        let (count, rest) = rest.split_once(" keep_ms=")?;
        let (retention, marks) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let known = MARKS.contains(&marks);
        known.then_some((count.parse().ok()?, retention.parse().ok()?))
    };
    read().ok_or_else(|| Unreadable::new("record", "no numbers"))
}

/// `2099-11-21T05:10:00.250Z by shop-1`
fn begun(text: &str) -> Result<(Timestamp, Name), Unreadable> {
    let strange = || Unreadable::new("begun", "no beginning");
    let (at, initiator) = text.split_once(" by ").ok_or_else(strange)?;
    Ok((moment("begun", at)?, Name::new(initiator).map_err(|_| strange())?))
}

/// `lease=2099-11-21T05:10:05.250Z deadline=2099-11-21T05:10:30.250Z`; nothing of an ended transaction is waited for.
fn limits(text: Option<&str>, ended_at: Option<Timestamp>) -> Result<(Timestamp, Timestamp), Unreadable> {
    match (text, ended_at) {
        (None, Some(ended_at)) => Ok((ended_at, ended_at)),
        (Some(text), None) => {
            let limits = text.strip_prefix("lease=").and_then(|rest| rest.split_once(" deadline="));
            let (lease, deadline) = limits.ok_or_else(|| Unreadable::new("until", "no limits"))?;
            Ok((moment("until", lease)?, moment("until", deadline)?))
        }
        _ => Err(Unreadable::new("until", "against state")),
    }
}

/// `2099-11-21T05:10:00.250Z confirm committed`, and by whom if not by the initiator.
fn decision(fields: &Fields, initiator: &Name) -> Result<Option<Decision>, Unreadable> {
    let Some(text) = fields.optional("decided") else { return Ok(None) };
    let strange = || Unreadable::new("decided", "no decision");
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next().ok_or_else(strange);
    let (at, direction, reason) = (moment("decided", word()?)?, word()?, word()?);
    let by = match words.next() {
        None => initiator.clone(),
        Some(by) => by.strip_prefix("by ").and_then(|by| Name::new(by).ok()).ok_or_else(strange)?,
    };
    let (direction, reason) = (word_of("decided", direction)?, word_of("decided", reason)?);
    Ok(Some(Decision { direction, reason, by, at }))
}

/// The claim that branches share which were claimed first, and together.
fn held(text: &str) -> Result<Claim, Unreadable> {
    let strange = || Unreadable::new("held", "no claim");
    let (token, until) = text.split_once(' ').ok_or_else(strange)?;
    // When it was made is for the history.
    let until = until.split_once(" after=").map_or(until, |(until, _)| until);
    let (token, until) = (token.strip_prefix("token="), until.strip_prefix("lease="));
    let token = token.and_then(read_token).ok_or_else(strange)?;
    Ok(Claim { token, until: moment("held", until.ok_or_else(strange)?)?, closed: None })
}

fn read_token(text: &str) -> Option<Token> {
    u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16).map(Token)
}

/// `mail 1795238100000-0` if it was rung for once, by the decision; else
/// `mail rung=2 again=2099-11-21T05:10:02.250Z entry=1795238100000-0`.
fn bells(text: &str, decided_at: Timestamp) -> Result<BTreeMap<Name, Bell>, Unreadable> {
    let strange = || Unreadable::new("bells", "no bell");
    let mut bells = BTreeMap::new();
    for bell in text.split("; ").filter(|bell| !bell.is_empty()) {
        let (name, words) = bell.split_once(' ').ok_or_else(strange)?;
        let name = Name::new(name).map_err(|_| strange())?;
        let bell = match words.strip_prefix("rung=") {
            None if words.starts_with(|first: char| first.is_ascii_digit()) => {
                Bell { count: 1, again_at: decided_at + BELL_BASE }
            }
            None => return Err(strange()),
            Some(words) => {
                let (count, words) = words.split_once(" again=").ok_or_else(strange)?;
                let (again, _entry) = words.split_once(" entry=").ok_or_else(strange)?;
                Bell { count: count.parse().map_err(|_| strange())?, again_at: moment("bells", again)? }
            }
        };
        bells.insert(name, bell);
    }
    Ok(bells)
}

/// The words of a branch's field.
struct Words<'a> {
    field: String,
    /// The words that stand alone, at the beginning.
    first: Vec<&'a str>,
    words: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    /// Reads a field that holds some of these words.
    fn read(fields: &'a Fields, field: String, allowed: &[&str]) -> Result<Self, Unreadable> {
        let text = fields.optional(&field).unwrap_or_default();
        let (mut first, mut words) = (Vec::new(), BTreeMap::new());
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None if words.is_empty() => first.push(word),
                Some((name, value)) if allowed.contains(&name) => {
                    words.insert(name, value);
                }
                _ => return Err(Unreadable::new(field, "no such word")),
            }
        }
        Ok(Self { field, first, words })
    }

    fn get<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str, &'a str) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        self.words.get(name).map(|text| read(&self.field, text)).transpose()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Unreadable> {
        self.get(name, |field, text| text.parse().map_err(|_| Unreadable::new(field, "no number")))
    }

    fn moment(&self, name: &str) -> Result<Option<Timestamp>, Unreadable> {
        self.get(name, moment)
    }

    fn token(&self, name: &str) -> Result<Option<Token>, Unreadable> {
        self.get(name, |field, text| read_token(text).ok_or_else(|| Unreadable::new(field, "no token")))
    }
}

fn branch(fields: &Fields, place: u16, head: &Head) -> Result<Branch, Unreadable> {
    let field = format!("{place:02}");
    let words = |part: &str, allowed: &[&str]| Words::read(fields, format!("{field}{part}"), allowed);
    let line = words("", &["call", "runner", "trace", "arguments"])?;
    let stands = words(".state", &["attempts"])?;
    let driven = words(".drive", &["epoch", "token", "lease", "closed"])?;
    let waits = words(".wait", &["next", "claimed", "ongoing", "unhandled", "parked", "since"])?;
    let strange = |words: &Words<'_>, why| Unreadable::new(words.field.clone(), why);
    let [action] = line.first[..] else { return Err(strange(&line, "no branch")) };
    if let Some(words) = [&driven, &waits].into_iter().find(|words| !words.first.is_empty()) {
        return Err(strange(words, "no such word"));
    }
    let call =
        line.get("call", |field, text| CallId::new(text).map_err(|_| Unreadable::new(field, "no call")))?;
    let (state, known, first) = match stands.first[..] {
        [] if stands.words.is_empty() => head.usual_state(),
        [state, known] => (word_of(&stands.field, state)?, word_of(&stands.field, known)?, None),
        [state, known, first] => {
            (word_of(&stands.field, state)?, word_of(&stands.field, known)?, Some(first))
        }
        _ => return Err(strange(&stands, "no state")),
    };
    // What `held` and `once` say: driven under its first claim, the record's own, or ended by it.
    let claim = match first {
        None => claim(&driven)?,
        Some(_) if !driven.words.is_empty() => return Err(strange(&driven, "a second claim")),
        Some("held") => Some(head.held.ok_or_else(|| Unreadable::new("held", "missing"))?),
        Some("once") => {
            let closed = Some(Closed::Final);
            Some(Claim { token: Token::NOBODY, until: Timestamp::default(), closed })
        }
        Some(_) => return Err(strange(&stands, "no such word")),
    };
    let counted = u32::from(first.is_some());
    Ok(Branch {
        call: call.ok_or_else(|| strange(&line, "no call"))?,
        runner: line.token("runner")?,
        action: ActionName::new(action).map_err(|_| strange(&line, "no action"))?,
        trace: line.get("trace", trace)?,
        state,
        arguments: match line.words.contains_key("arguments") {
            true => arguments(fields, &line, &field, state.is_final())?,
            false => return Err(strange(&line, "no arguments")),
        },
        known: Some(known).filter(|known| *known != Seen::Unknown),
        result: result(fields, &field, state, known)?,
        attempts: stands.number("attempts")?.unwrap_or(counted),
        epoch: driven.number("epoch")?.unwrap_or(u64::from(counted)),
        claim,
        next_attempt_at: waits.moment("next")?.unwrap_or(head.start),
        ongoing_since: waits.moment("ongoing")?,
        unhandled_since: waits.moment("unhandled")?,
        parked: match (waits.get("parked", word_of)?, waits.moment("since")?) {
            (Some(cause), Some(at)) => Some(Parked { cause, at }),
            (None, None) => None,
            _ => return Err(strange(&waits, "parked")),
        },
        last_error: fields.optional(&format!("{field}.error")).map(str::to_owned),
    })
}

fn trace(field: &str, text: &str) -> Result<TraceParent, Unreadable> {
    let trace = TraceParent::new(text).ok().filter(|trace| trace.kept() == *trace);
    trace.ok_or_else(|| Unreadable::new(field, "no trace"))
}

/// The newest claim. One whose epoch is closed has no lease any more.
fn claim(driven: &Words<'_>) -> Result<Option<Claim>, Unreadable> {
    let closed = driven.get("closed", |field, text| match text.strip_prefix("rescheduled@") {
        Some(at) => Ok(Closed::Rescheduled(moment(field, at)?)),
        None => word_of(field, text),
    })?;
    match (driven.token("token")?, driven.moment("lease")?) {
        (Some(token), Some(until)) if closed.is_none() => Ok(Some(Claim { token, until, closed })),
        (Some(token), None) if closed.is_some() => {
            Ok(Some(Claim { token, until: Timestamp::default(), closed }))
        }
        (None, None) if closed.is_none() => Ok(None),
        _ => Err(Unreadable::new(driven.field.clone(), "claim")),
    }
}

/// A branch's arguments against the seal in its first field.
fn arguments(
    fields: &Fields,
    words: &Words<'_>,
    branch: &str,
    may_be_gone: bool,
) -> Result<Option<Payload>, Unreadable> {
    let field = format!("{branch}.arguments");
    match (words.words.get("arguments"), fields.optional(&field)) {
        (Some(seal), Some(text)) => {
            let payload = Payload::from_json(text);
            let line = fields.text(&words.field)?;
            let (head, _) = line.split_once(" arguments=").unwrap_or((line, ""));
            let whole = Seal::of_arguments(head, &payload).to_string() == *seal;
            whole.then_some(Some(payload)).ok_or_else(|| Unreadable::new(field, "checksum"))
        }
        (None, None) => Ok(None),
        (Some(_), None) if may_be_gone || !fields.has_payloads => Ok(None),
        (Some(_), None) => Err(Unreadable::new(field, "missing")),
        (None, Some(_)) => Err(Unreadable::new(field, "unexpected")),
    }
}

/// What a try returned, after its seal.
fn result(
    fields: &Fields,
    branch: &str,
    state: BranchState,
    known: Seen,
) -> Result<Option<Payload>, Unreadable> {
    let field = format!("{branch}.result");
    let Some(text) = fields.optional(&field) else {
        let missing = known == Seen::Succeeded && !state.is_final() && fields.has_payloads;
        return if missing { Err(Unreadable::new(field, "missing")) } else { Ok(None) };
    };
    if known != Seen::Succeeded {
        return Err(Unreadable::new(field, "against try"));
    }
    let payload = text.split_once(' ').and_then(|(seal, payload)| {
        let payload = Payload::from_json(payload);
        (Seal::of(&payload).to_string() == seal).then_some(payload)
    });
    payload.map(Some).ok_or_else(|| Unreadable::new(field, "checksum"))
}

/// What must hold between fields (invariants I1, I3 and I5).
fn check(record: &Record) -> Result<(), Unreadable> {
    let decided = record.decision.as_ref().map(|decision| decision.direction);
    let (direction, ended) = match record.state {
        TransactionState::Trying => (None, false),
        TransactionState::Confirming => (Some(Direction::Confirm), false),
        TransactionState::Confirmed => (Some(Direction::Confirm), true),
        TransactionState::Cancelling => (Some(Direction::Cancel), false),
        TransactionState::Cancelled => (Some(Direction::Cancel), true),
    };
    if decided != direction {
        return Err(Unreadable::new("decided", "against state"));
    }
    if record.ended_at.is_some() != ended {
        return Err(Unreadable::new("ended", "against state"));
    }
    if !record.bells.is_empty() && (direction.is_none() || ended) {
        return Err(Unreadable::new("bells", "against state"));
    }
    for (ordinal, branch) in record.branches() {
        check_branch(branch, decided).map_err(|why| Unreadable::new(ordinal.to_string(), why))?;
    }
    if decided.is_some() && ended != record.branches.iter().all(|branch| branch.state.is_final()) {
        return Err(Unreadable::new("state", "against branches"));
    }
    Ok(())
}

fn check_branch(branch: &Branch, decided: Option<Direction>) -> Result<(), &'static str> {
    let refused = branch.known == Some(Seen::Refused);
    let succeeded = branch.known == Some(Seen::Succeeded);
    let consistent = match (branch.state, decided) {
        (BranchState::Trying, None) => branch.known.is_none(),
        (BranchState::Tried, None)
        | (BranchState::Confirming | BranchState::Confirmed, Some(Direction::Confirm)) => succeeded,
        (BranchState::Refused, None)
        | (BranchState::Cancelling | BranchState::Cancelled, Some(Direction::Confirm)) => refused,
        (BranchState::Cancelling | BranchState::Cancelled, Some(Direction::Cancel)) => true,
        _ => return Err("against decision"),
    };
    if !consistent || branch.known == Some(Seen::Unknown) {
        return Err("state against try");
    }
    if (branch.epoch > 0) != branch.claim.is_some() || decided.is_none() && branch.claim.is_some() {
        return Err("epoch against claim");
    }
    if u64::from(branch.attempts) > branch.epoch {
        return Err("attempts against epoch");
    }
    if branch.parked.is_some() && branch.state.open_direction().is_none() {
        return Err("state against parked");
    }
    Ok(())
}
