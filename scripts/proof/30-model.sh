# The state machine, explored exhaustively; a run is a state, and a fault a step into one.
tests=(every_promise_is_kept_in_every_state_and_every_transition_is_reached)
quick() { proof_test exhaustive "${tests[0]}"; }
release() { cargo run --release --locked -p tcc-model -- release; }
