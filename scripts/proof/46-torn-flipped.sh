# Everything started again on an append-only file torn in the middle of a command, or with a bit flipped.
tests=(torn_files_lose_nothing_and_flipped_bits_are_found_or_do_no_harm)
quick() { proof_test faults "torn_flipped::${tests[0]}"; }
release() { TCC_TORN_FILES=500 TCC_FLIPPED_FILES=500 proof_test faults "torn_flipped::${tests[0]}" --release; }
