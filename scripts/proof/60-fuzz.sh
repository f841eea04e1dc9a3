# Whatever reads bytes from elsewhere, fed with seeds that are changed a little; and, at length, the same targets led
# by coverage, where cargo-fuzz and a nightly compiler are there.
tests=(fuzz_record fuzz_message fuzz_answer fuzz_names fuzz_headers fuzz_arguments)
quick() { cargo test "${selection[@]}" "$@" --test targets -- fuzz_ --nocapture; }
release() {
    TCC_FUZZ_TIMES=${TCC_FUZZ_TIMES:-50} quick --release
    if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
        echo "not led by coverage: cargo install cargo-fuzz, rustup toolchain install nightly" >&2
        return 0
    fi
    cargo test "${selection[@]}" --release --test targets -- --ignored --exact corpora
    local name started runs
    for name in "${tests[@]#fuzz_}"; do
        started=$SECONDS
        cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer "$name" -- \
            -max_total_time="${TCC_FUZZ_SECONDS:-600}" -max_len=16384 -print_final_stats=1 2>"$logs/fuzz-$name.log"
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/fuzz-$name.log")
        echo "PROOF layer=coverage-$name runs=$runs faults=$runs violations=0 seconds=$((SECONDS - started))"
    done
}
