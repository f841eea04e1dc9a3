# The real runtime, several processes of it, in a world that a seed decides.
tests=(every_seed_keeps_every_invariant)
quick() { proof_test simulation "${tests[0]}"; }
release() { TCC_SIM_SEEDS=1000000 proof_test simulation "${tests[0]}" --release; }
