//! The configurations that are explored.

use crate::Config;

/// What the ordinary tests explore: a minute's work for two cores.
#[must_use]
pub fn normal() -> Vec<Config> {
    vec![
        // Phase two of four branches by three workers that fail, die and are replaced.
        Config {
            refuse: true,
            inline: true,
            fail: true,
            worker_crash: true,
            ..Config::calm("four branches, three workers", &[0, 0, 1, 1], 3)
        },
        Config {
            refuse: true,
            expiry: true,
            ..Config::calm("early leases of four branches", &[0, 1, 2, 3], 3)
        },
        // Everything at once, as far as one branch can meet it.
        Config {
            reasons: true,
            careless: true,
            inline: true,
            crash: true,
            refuse: true,
            sloppy: true,
            late: true,
            deadline: true,
            lease: true,
            expiry: true,
            lost_answers: true,
            operator: true,
            ..Config::calm("races of the decision", &[0], 2)
        },
        Config {
            begins: true,
            apart: true,
            alike: false,
            careless: true,
            crash: true,
            refuse: true,
            late: true,
            deadline: true,
            lease: true,
            lost_answers: true,
            ..Config::calm("two registrations", &[0, 1], 1)
        },
        Config {
            crash: true,
            refuse: true,
            sloppy: true,
            late: true,
            lease: true,
            expiry: true,
            inline: true,
            ..Config::calm("late tries", &[0, 0], 2)
        },
        Config {
            joined: Some(1),
            alike: false,
            crash: true,
            refuse: true,
            late: true,
            lease: true,
            lost_answers: true,
            ..Config::calm("a joined call", &[0, 1], 2)
        },
        Config {
            fence: false,
            crash: true,
            refuse: true,
            sloppy: true,
            late: true,
            expiry: true,
            delayed_reports: true,
            backoff: true,
            fail: true,
            renew: true,
            ..Config::calm("without a fence", &[0], 3)
        },
        Config {
            refuse: true,
            expiry: true,
            lost_answers: true,
            delayed_reports: true,
            backoff: true,
            fail: true,
            ongoing: true,
            park: true,
            worker_crash: true,
            renew: true,
            late: true,
            ..Config::calm("phase two of one branch", &[0], 3)
        },
        Config {
            refuse: true,
            backoff: true,
            fail: true,
            ongoing: true,
            park: true,
            worker_crash: true,
            delayed_reports: true,
            ..Config::calm("phase two of two branches", &[0, 0], 2)
        },
        Config {
            crash: true,
            late: true,
            lease: true,
            lost_answers: true,
            retention: true,
            deadline: true,
            ..Config::calm("retention", &[0, 1], 2)
        },
        Config {
            crash: true,
            late: true,
            deadline: true,
            lease: true,
            lost_answers: true,
            loss: true,
            ..Config::calm("lost records", &[0, 1], 1)
        },
        Config {
            fence: false,
            crash: true,
            late: true,
            refuse: true,
            deadline: true,
            lease: true,
            lost_answers: true,
            loss: true,
            ..Config::calm("lost records without a fence", &[0], 2)
        },
    ]
}

/// What a release explores beside [`normal`]: half an hour's work.
#[must_use]
pub fn release() -> Vec<Config> {
    vec![
        Config {
            refuse: true,
            expiry: true,
            worker_crash: true,
            fail: true,
            ..Config::calm("early leases of three branches", &[0, 1, 2], 3)
        },
        Config {
            refuse: true,
            expiry: true,
            fail: true,
            backoff: true,
            ..Config::calm("early leases and back-off of four branches", &[0, 1, 2, 3], 3)
        },
        Config {
            refuse: true,
            park: true,
            worker_crash: true,
            ..Config::calm("parking of four branches", &[0, 0, 1, 1], 3)
        },
        Config {
            late: true,
            crash: true,
            lease: true,
            ..Config::calm("late tries of four branches", &[0, 1, 2, 3], 3)
        },
        Config {
            reasons: true,
            careless: true,
            inline: true,
            crash: true,
            refuse: true,
            late: true,
            deadline: true,
            lease: true,
            lost_answers: true,
            operator: true,
            ..Config::calm("races of the decision over two branches", &[0, 1], 2)
        },
        Config {
            joined: Some(1),
            alike: false,
            careless: true,
            crash: true,
            refuse: true,
            late: true,
            deadline: true,
            lease: true,
            expiry: true,
            lost_answers: true,
            ..Config::calm("a joined call and early leases", &[0, 1], 2)
        },
        Config {
            fence: false,
            refuse: true,
            sloppy: true,
            late: true,
            expiry: true,
            ..Config::calm("two branches without a fence", &[0, 1], 3)
        },
    ]
}
