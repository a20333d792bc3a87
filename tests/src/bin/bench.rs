//! `make bench`: measures, and prints what becomes `tests/bench/RESULTS.md`. There is no goal yet, only the record; so
//! nothing here asserts a time.
//!
//! - nanoseconds per packet: what criterion measured (`tests/benches/core.rs`), from its own files;
//! - instructions per packet: callgrind over two runs of `packet-path` of different lengths, whose difference is packets
//!   alone;
//! - bulk TCP through a lab, beside nft masquerade (`genkan_tests::bulk`).

use std::fmt::Write as _;
use std::process::Command;

use genkan_tests::packet_path::BATCH;
use genkan_tests::{bulk, lab};

/// The ways through the core: as `packet-path` knows them, as criterion's groups are called, and for the table.
const WAYS: [(&str, &str, &str); 2] =
    [("up", "lan-to-pppoe", "LAN → PPPoE"), ("down", "pppoe-to-lan", "PPPoE → LAN")];
const FLOWS: [usize; 3] = [1, 1_000, 100_000];
const SIZES: [usize; 2] = [64, 1400];
/// Batches of the short and the long run under callgrind. The difference visits every flow.
const BATCHES: [usize; 2] = [1, 1 + 100_000 / BATCH];

fn main() {
    match results() {
        Ok(text) => print!("{text}"),
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::exit(1);
        }
    }
}

fn results() -> Result<String, String> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(", ");
    let mut text = String::from(
        "# Results\n\nWritten by `make bench`.\n\n## The core alone\n\nEstablished flows with NAT and filter, in memory, one thread; \
         the copy into the receive buffer is part of it. Time is criterion's median with its 95 % interval; instructions \
         are callgrind's.\n\n\
         | way | frame, octets | flows | ns per packet | instructions per packet |\n|---|---|---|---|---|\n",
    );
    for (way, group, title) in WAYS {
        for size in SIZES {
            for flows in FLOWS {
                eprintln!("bench: instructions, {title}, {size} octets, {flows} flows");
                let [low, median, high] = nanoseconds(group, size, flows)?;
                let instructions = instructions(way, size, flows)?;
                let time = format!("{median:.0} ({low:.0}–{high:.0})");
                let _ = writeln!(text, "| {title} | {size} | {flows} | {time} | {instructions:.0} |");
            }
        }
    }
    eprintln!("bench: bulk TCP through the lab");
    let _ = write!(
        text,
        "\n## Bulk TCP through the lab\n\nLinux translates plain IP. genkan dials PPPoE, and the ISP is a second genkan on \
         the same processors. Every offload of the senders is on.\n\n{}",
        bulk::compare()
    );
    let _ = write!(text, "\n## Machine\n\n{}", machine(load));
    Ok(text)
}

/// Criterion's median of one packet's time, between the bounds of its interval.
fn nanoseconds(group: &str, size: usize, flows: usize) -> Result<[f64; 3], String> {
    let path = lab::target().join(format!("criterion/{group}/{size}-octets/{flows}/new/estimates.json"));
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; `make bench` runs criterion first", path.display()))?;
    let estimates: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let median = &estimates["median"];
    let values = [
        &median["confidence_interval"]["lower_bound"],
        &median["point_estimate"],
        &median["confidence_interval"]["upper_bound"],
    ];
    let values = values.map(|value| value.as_f64().map(|batch| batch / BATCH as f64));
    match values {
        [Some(low), Some(median), Some(high)] => Ok([low, median, high]),
        _ => Err(format!("{} holds no median", path.display())),
    }
}

/// Instructions of one packet.
fn instructions(way: &str, size: usize, flows: usize) -> Result<f64, String> {
    let [short, long] = BATCHES.map(|batches| collected(way, size, flows, batches));
    let packets = (BATCHES[1] - BATCHES[0]) * BATCH;
    Ok((long? - short?) as f64 / packets as f64)
}

/// Instructions of a whole run.
fn collected(way: &str, size: usize, flows: usize, batches: usize) -> Result<u64, String> {
    let program = lab::target().join("release/packet-path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(&program)
        .arg(way)
        .args([flows, size, batches].map(|number| number.to_string()))
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| format!("callgrind over {} says no number:\n{said}", program.display()))
}

/// What all this was measured on.
fn machine(load: String) -> String {
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim_start_matches([' ', '\t', ':']).trim().to_string()
    };
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().map(|output| output.stdout);
        String::from_utf8_lossy(&output.unwrap_or_default()).trim().to_string()
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let is_virtual = if first("/proc/cpuinfo", "flags").contains("hypervisor") { ", virtual" } else { "" };
    let facts = [
        ("processors", format!("{processors} × {}{is_virtual}", first("/proc/cpuinfo", "model name"))),
        ("load before, of 1, 5 and 15 minutes", load),
        ("memory", first("/proc/meminfo", "MemTotal")),
        ("system", said("uname", &["-sr"])),
        ("compiler", said("rustc", &["--version"])),
        ("sources", said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])),
        ("date", said("date", &["-u", "+%F"])),
    ];
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    known.fold(String::new(), |text, (name, value)| format!("{text}- {name}: {value}\n"))
}
