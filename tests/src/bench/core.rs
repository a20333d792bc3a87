//! Row 5: the core alone, in memory.
//!
//! - nanoseconds per packet: what criterion measured (`tests/benches/core.rs`), from its own files;
//! - instructions per packet: callgrind over two runs of `packet-path` of different lengths, whose difference is packets
//!   alone; once all instructions, and once only those between the begin and the end of `Forwarder::receive`.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use super::{Report, Row};
use crate::lab;
use crate::packet_path::BATCH;

/// The ways through the core: as `packet-path` knows them, as criterion's groups are called, and for the table.
const WAYS: [(&str, &str, &str); 2] =
    [("up", "lan-to-pppoe", "LAN → PPPoE"), ("down", "pppoe-to-lan", "PPPoE → LAN")];
const FLOWS: [usize; 2] = [1_000, 100_000];
const SIZES: [usize; 2] = [64, 1400];
/// The goal is of this.
const OF_THE_GOAL: (&str, usize) = ("up", 64);
/// Flows while instructions are counted, whose number hardly depends on it.
const COUNTED: usize = 1_000;

/// Measures.
pub fn measure() -> Report {
    let mut report = Report {
        text: "Established flows with NAT and filter, in memory, one thread. \"With the harness\" counts the copy into a receive \
               buffer and the emptying of the queue, too. Time is criterion's median with its 95 % interval, with the \
               harness; instructions are callgrind's, over 1,000 flows.\n\n\
               | way | frame, octets | flows | ns per packet | instructions in `receive` | with the harness |\n\
               |---|---|---|---|---|---|\n"
            .into(),
        ..Report::default()
    };
    for (way, group, title) in WAYS {
        for size in SIZES {
            eprintln!("instructions, {title}, {size} octets");
            let [inside, all] = [true, false].map(|inside| instructions(way, size, COUNTED, inside));
            for flows in FLOWS {
                let [low, median, high] = nanoseconds(group, size, flows);
                let time = format!("{median:.0} ({low:.0}–{high:.0})");
                let _ =
                    writeln!(report.text, "| {title} | {size} | {flows} | {time} | {inside:.0} | {all:.0} |");
            }
            if (way, size) == OF_THE_GOAL {
                report.rows.push(Row::counted("5", inside));
            }
        }
    }
    report
}

/// Criterion's median of one packet's time, between the bounds of its interval.
fn nanoseconds(group: &str, size: usize, flows: usize) -> [f64; 3] {
    let path = lab::target().join(format!("criterion/{group}/{size}-octets/{flows}/new/estimates.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `make bench` runs criterion first", path.display()));
    let estimates: serde_json::Value = serde_json::from_str(&text).expect("criterion writes JSON");
    let median = &estimates["median"];
    [
        &median["confidence_interval"]["lower_bound"],
        &median["point_estimate"],
        &median["confidence_interval"]["upper_bound"],
    ]
    .map(|value| value.as_f64().expect("criterion writes a median") / BATCH as f64)
}

/// Instructions of one packet.
fn instructions(way: &str, size: usize, flows: usize, inside: bool) -> f64 {
    // The difference visits every flow once at least.
    let longer = 1 + (flows / BATCH).max(200);
    let [short, long] = [1, longer].map(|batches| collected(way, size, flows, batches, inside));
    (long - short) as f64 / ((longer - 1) * BATCH) as f64
}

/// Instructions of a whole run.
fn collected(way: &str, size: usize, flows: usize, batches: usize, inside: bool) -> u64 {
    let program = lab::target().join("release/packet-path");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).stdin(Stdio::null());
    if inside {
        valgrind.arg("--toggle-collect=*::Forwarder::receive");
    }
    let output = valgrind
        .arg(&program)
        .arg(way)
        .args([flows, size, batches].map(|number| number.to_string()))
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.unwrap_or_else(|| panic!("callgrind over {} says no number: {said}", program.display()))
}
