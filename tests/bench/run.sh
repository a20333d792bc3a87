#!/bin/sh
# Measures and writes RESULTS.md beside this script. `make bench` calls it, as root: bulk TCP needs a lab.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
cargo=${CARGO:-cargo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

$cargo build --release --package genkan-tests
lab=target/release/genkan-lab

echo "bench: the core alone, nanoseconds"
$cargo bench --package genkan-tests --bench core -- --output-format bencher > "$work/criterion"
cat "$work/criterion"

# Instructions of two runs that differ in their number of batches only: what is set up falls out.
instructions() {
    target/release/packet-path "$1" "$2" "$3" 1 > /dev/null
    valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/packet-path "$1" "$2" "$3" "$4" 2>&1 >/dev/null \
        | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
nanoseconds() {
    awk -v name="$1/$3-octets/$2" '$2 == name { gsub(",", "", $5); printf "%.0f", $5 / 64 }' "$work/criterion"
}
echo "bench: the core alone, instructions"
{
    echo "| way | flows | frame, octets | ns per packet | instructions per packet |"
    echo "|---|---|---|---|---|"
    for way in up down; do
        case $way in
            up) name=lan-to-pppoe ;;
            down) name=pppoe-to-lan ;;
        esac
        for size in 64 1400; do
            for flows in 1 1000 100000; do
                # Every flow comes once in each run.
                few=$((flows / 64 + 100))
                many=$((few + 1000))
                more=$(instructions $way $flows $size $many)
                per_packet=$(((more - $(instructions $way $flows $size $few)) / 64000))
                echo "| $name | $flows | $size | $(nanoseconds $name $flows $size) | $per_packet |"
            done
        done
    done
} > "$work/core"
cat "$work/core"

echo "bench: bulk TCP"
$lab bulk > "$work/bulk"
cat "$work/bulk"

{
    echo "# Results"
    echo
    echo "Written by \`make bench\` on $(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)."
    echo "The machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r)."
    echo "Neighbours share it: ratios within one run say more than numbers."
    echo
    echo "## The core alone, in memory: LAN → PPPoE and back, with NAT and filter"
    echo
    cat "$work/core"
    echo
    echo "Nanoseconds by criterion, instructions by callgrind."
    echo
    echo "## Bulk TCP through the lab"
    echo
    echo "Linux translates plain IP. genkan dials PPPoE, and the ISP is a second genkan on the same cores."
    echo
    cat "$work/bulk"
} > "$here/RESULTS.md"
