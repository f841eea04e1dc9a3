//! `tccctl acl`: the Redis user that a service and an operator need, and no more.

use tcc_core::Name;

use crate::{
    args::AclArgs,
    exit::{Code, Outcome},
    output::{Screen, paint::Tone},
};

/// Every command that the store sends or its functions call, and nothing else does. A test holds the list to what a
/// server counted.
const COMMANDS: &[&str] = &[
    "config|get",
    "del",
    "eval",
    "exists",
    "fcall",
    "function|load",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hlen",
    "hmget",
    "hscan",
    "hset",
    "info",
    "lrange",
    "ltrim",
    "mget",
    "persist",
    "pexpireat",
    "pttl",
    "rpush",
    "select",
    "set",
    "time",
    "type",
    "xack",
    "xadd",
    "xdel",
    "xgroup|create",
    "xgroup|delconsumer",
    "xinfo|consumers",
    "xlen",
    "xpending",
    "xrange",
    "xreadgroup",
    "xrevrange",
    "xtrim",
    "zadd",
    "zcard",
    "zcount",
    "zrange",
    "zrank",
    "zrem",
    "zremrangebyrank",
    "zremrangebyscore",
    "zscore",
];

pub(crate) fn run(screen: &mut Screen, namespace: &Name, args: &AclArgs) -> Outcome {
    let commands: Vec<String> = COMMANDS.iter().map(|command| format!("+{command}")).collect();
    // A hash tag opens every key of a namespace: `{shop:` is not the beginning of a key of `shop-2`.
    screen.line(format!(
        "ACL SETUSER {} reset on >{} ~{{{namespace}:* {}",
        args.user,
        args.password,
        commands.join(" ")
    ))?;
    screen.flush()?;
    if args.password == PASSWORD {
        screen.say(
            Tone::Faint,
            format!("replace {PASSWORD}, run it in redis-cli, and keep it: ACL SAVE, or redis.conf"),
        );
    }
    Ok(Code::Done)
}

/// What stands for the password.
pub(crate) const PASSWORD: &str = "PASSWORD";
