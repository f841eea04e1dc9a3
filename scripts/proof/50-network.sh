# A network between services and Redis that breaks in eight ways, under load.
tests=(a_network_that_breaks_in_every_way_costs_time_and_cancels_and_nothing_else)
quick() { proof_test faults "network::${tests[0]}"; }
release() { TCC_NETWORK_FAULTS=100 proof_test faults "network::${tests[0]}" --release; }
