#!/bin/sh
# Runs every fuzz target of tests/fuzz for some seconds, from its seeds.
#
# usage: fuzz.sh SECONDS
set -eu

seconds=${1:?usage: fuzz.sh SECONDS}
cd "$(dirname "$0")/.."
if [ -z "$(command -v cargo-fuzz)" ]; then cargo install --locked --quiet cargo-fuzz; fi
# libFuzzer's instrumentation is in the nightly compiler only.
rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal

targets=$(cargo +nightly fuzz list --fuzz-dir tests/fuzz)
cargo +nightly fuzz build --fuzz-dir tests/fuzz --sanitizer none
log=$(mktemp)
trap 'rm -f "$log"' EXIT INT TERM
for target in $targets; do
    mkdir -p "tests/fuzz/corpus/$target" "tests/fuzz/artifacts/$target"
    seeds="tests/fuzz/seeds/$target"
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086 # no seeds, no word
    if ! tests/fuzz/target/x86_64-unknown-linux-gnu/release/"$target" "tests/fuzz/corpus/$target" $seeds \
        -artifact_prefix="tests/fuzz/artifacts/$target/" -max_total_time="$seconds" -max_len=16384 \
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 > "$log" 2>&1; then
        tail -n 60 "$log"
        echo "fuzz: $target fails; the input is in tests/fuzz/artifacts/$target" >&2
        exit 1
    fi
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: //p' "$log") inputs in $seconds s, nothing found"
done
