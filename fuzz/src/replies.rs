//! What Redis answers: messages of a queue, and answers of the functions.

use tcc_core::testing::sequences::{Generator, Step};
use tcc_redis::decoding;

const QUEUE: &str = "{tcc:00}:ready:stock";

pub(crate) fn messages(bytes: &[u8]) {
    for (id, gid) in decoding::messages(QUEUE, bytes) {
        assert!(id.len() <= bytes.len());
        if let Some(gid) = gid {
            let gid = gid.as_str().as_bytes();
            assert!(bytes.windows(gid.len()).any(|part| part == gid), "an id that was not sent");
        }
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let gid = tcc_core::Gid::new(tcc_core::Timestamp::from_millis(1_795_000_000_000), 17, 0);
    let message = |fields: String| format!("*2\r\n{}{fields}", bulk("1795000000000-0"));
    let whole = message(format!("*2\r\n{}{}", bulk("gid"), bulk(gid.as_str())));
    let gone = message("*-1\r\n".into());
    let queue = |messages: &[&String]| {
        let all: String = messages.iter().map(|text| text.as_str()).collect();
        format!("*1\r\n*2\r\n{}*{}\r\n{all}", bulk(QUEUE), messages.len()).into_bytes()
    };
    vec![queue(&[&whole]), queue(&[&whole, &gone]), queue(&[]), b"*-1\r\n".to_vec()]
}

/// The first two bytes choose the operation that is answered.
pub(crate) fn answers(bytes: &[u8]) {
    let [seed, steps, answer @ ..] = bytes else { return };
    let mut generator = Generator::new(u64::from(*seed));
    let mut asked = None;
    for _ in 0..=*steps % 32 {
        if let Step::Apply(_, op) = generator.step() {
            asked = Some(op);
        }
    }
    if let Some(op) = asked {
        let _ = decoding::reply(&op, answer);
    }
}

pub(crate) fn answer_seeds() -> Vec<Vec<u8>> {
    let drive = [
        "01",
        "stock.reserve@1",
        "confirm",
        "1",
        "1",
        "1",
        "{\"qty\":1}",
        "succeeded",
        "{\"hold\":7}",
        "-1",
        "-1",
        "3000",
    ];
    let drive: String = drive.iter().map(|text| bulk(text)).collect();
    let answers = [
        format!("*2\r\n{}{}", bulk("ok"), bulk("new")),
        format!("*2\r\n{}*1\r\n*4\r\n:1\r\n:1\r\n{}{}", bulk("ok"), bulk("unknown"), bulk("")),
        format!("*2\r\n{}*2\r\n{}{}", bulk("ok"), bulk("recorded"), bulk("late")),
        format!("*4\r\n{}*1\r\n*12\r\n{drive}{}{}", bulk("ok"), bulk("confirm"), bulk("committed")),
        format!(
            "*3\r\n{}{}*1\r\n*3\r\n{}{}:0\r\n",
            bulk("ok"),
            bulk("confirmed"),
            bulk("closed"),
            bulk("final")
        ),
        format!("*4\r\n{}{}:1\r\n:-1\r\n", bulk("ok"), bulk("deadline_passed")),
        format!("*2\r\n{}*2\r\n{}{}", bulk("refused"), bulk("already_decided"), bulk("cancel")),
        format!("*2\r\n{}*1\r\n{}", bulk("need"), bulk("ready:stock")),
        format!("*2\r\n{}{}", bulk("failed"), bulk("ERR no")),
        ":1\r\n".to_owned(),
    ];
    let mut seeds = Vec::new();
    for answer in &answers {
        for seed in 0..6_u8 {
            seeds.push([&[seed, 7 * seed], answer.as_bytes()].concat());
        }
    }
    seeds
}
