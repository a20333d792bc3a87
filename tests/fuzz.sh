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
echo "fuzz:" $targets "($seconds s each)"
cargo +nightly fuzz build --fuzz-dir tests/fuzz --sanitizer none
for target in $targets; do
    mkdir -p "tests/fuzz/corpus/$target"
    seeds="tests/fuzz/seeds/$target"
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086 # no seeds, no word
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" "tests/fuzz/corpus/$target" $seeds -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0
done
echo "fuzz: nothing found"
