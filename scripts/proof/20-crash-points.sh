# Every call of the store and the queues, and every handler, struck by every fault, one at a time.
tests=(no_strike_at_any_point_breaks_an_invariant)
quick() { proof_test crash_points "${tests[0]}"; }
release() { TCC_POINT_SEEDS=100 proof_test crash_points "${tests[0]}" --release; }
