# Redis killed, and its append-only file cut to what was synced when the last answer was heard, or a little later.
tests=(a_redis_without_power_forgets_nothing_that_was_acknowledged)
quick() { proof_test faults "power::${tests[0]}"; }
release() { TCC_POWER_LOSSES=300 proof_test faults "power::${tests[0]}" --release; }
