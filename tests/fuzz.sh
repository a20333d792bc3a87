#!/bin/sh
# Runs every fuzz target of tests/fuzz for some seconds, from its seeds, as many at once as there are processors.
#
# usage: fuzz.sh SECONDS
#
# Seeds and what a run finds new stay in tests/fuzz/corpus; an input that fails stays in tests/fuzz/artifacts.
set -eu

seconds=${1:?usage: fuzz.sh SECONDS}
cd "$(dirname "$0")/.."

say() { echo "fuzz: $*" >&2; }
# libFuzzer's instrumentation is in the nightly compiler only.
if ! cargo +nightly --version >/dev/null 2>&1; then
    say "installing the nightly compiler"
    rustup toolchain install nightly --profile minimal ||
        { say "there is no nightly Rust compiler, and rustup could not install it"; exit 1; }
fi
if [ -z "$(command -v cargo-fuzz)" ]; then
    say "installing cargo-fuzz"
    cargo install --locked --quiet cargo-fuzz || { say "cargo-fuzz could not be installed"; exit 1; }
fi

cargo +nightly fuzz build --fuzz-dir tests/fuzz --sanitizer none
cargo run --quiet --package genkan-tests --bin fuzz-seeds -- tests/fuzz/corpus

one=$(mktemp)
trap 'rm -f "$one"' EXIT INT TERM
cat > "$one" <<'END'
#!/bin/sh
target=$1
folder=tests/fuzz/artifacts/$target
log=$folder/log
mkdir -p "$folder" "tests/fuzz/corpus/$target"
program=$(echo tests/fuzz/target/*/release/"$target")
if "$program" "tests/fuzz/corpus/$target" -artifact_prefix="$folder/" -max_total_time="$2" -max_len=4096 \
    -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 > "$log" 2>&1; then
    echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, nothing found"
else
    echo "fuzz: $target FAILS; the input is in $folder:" >&2
    grep -A 1 -E 'panicked at|ERROR: libFuzzer|Test unit written' "$log" >&2
    exit 1
fi
END
cargo +nightly fuzz list --fuzz-dir tests/fuzz | xargs -P "$(nproc)" -I '{}' sh "$one" '{}' "$seconds"
