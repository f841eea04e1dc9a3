# Services, Redis and the ledger killed, stopped and restarted under load; a Redis that refuses in every way.
tests=(kills_pauses_and_refusals_of_every_kind_cost_time_and_cancels_and_nothing_else)
quick() { proof_test faults "kills::${tests[0]}"; }
release() { TCC_KILLS=1000 proof_test faults "kills::${tests[0]}" --release; }
