//! Where the time goes: `perf` with the processor's clock, as test machines have no counters.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::instrument::{Load, on_first_processor};
use super::peers::Line;
use crate::lab;

/// Functions in the list.
const LINES: usize = 14;

/// A list in Markdown of where the first processor is while a load runs; without `perf`, a sentence.
pub fn of(line: &mut Line, title: &str, load: Load) -> String {
    record(line, title, load, &["-e", "cpu-clock:k", "-C", "0"], &["--comms", "bench,ksoftirqd/0"])
}

/// The same of a process, with what the kernel does for it.
pub fn of_process(line: &mut Line, title: &str, load: Load, process: u32) -> String {
    record(line, title, load, &["-e", "cpu-clock", "-p", &process.to_string()], &[])
}

fn record(line: &mut Line, title: &str, load: Load, what: &[&str], who: &[&str]) -> String {
    let data = lab::target().join("bench-perf.data");
    let recorder = Command::new("perf")
        .args(["record", "--quiet", "-F", "1999"])
        .args(what)
        .arg("-o")
        .arg(&data)
        .args(["--", "sleep", "0.8"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut recorder) = recorder else {
        return format!("\n{title}: `perf` is not installed, so there is no profile.\n");
    };
    // It takes its time to start and to end.
    for _ in 0..40 {
        on_first_processor(|| line.instrument.run(load, Duration::from_millis(250)));
        if !matches!(recorder.try_wait(), Ok(None)) {
            break;
        }
    }
    let _ = recorder.kill();
    let _ = recorder.wait();
    let report = Command::new("perf")
        .args(["report", "--stdio", "--quiet", "--no-children", "--sort", "symbol"])
        .args(who)
        .arg("-i")
        .arg(&data)
        .stdin(Stdio::null())
        .output();
    let hottest = hottest(&data, who);
    let _ = std::fs::remove_file(&data);
    let said = report.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut text = format!("\nWhere the time goes, {title} (`perf`, processor's clock):\n\n");
    for found in said.lines().map(str::trim).filter(|line| line.contains('%')).take(LINES) {
        let (share, symbol) = found.split_once('%').unwrap_or((found, ""));
        let symbol = symbol
            .trim()
            .trim_start_matches("[k]")
            .trim_start_matches("[.]")
            .split("  ")
            .next()
            .unwrap_or_default()
            .trim();
        let _ = writeln!(text, "- {share} % `{symbol}`");
    }
    text + &hottest
}

/// A sentence about the address at which most samples are, if these are many: an instruction that waits for memory.
fn hottest(data: &Path, who: &[&str]) -> String {
    let script = Command::new("perf")
        .args(["script", "--fields", "ip,sym"])
        .args(who)
        .arg("-i")
        .arg(data)
        .stdin(Stdio::null())
        .output();
    let said = script.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut counts = HashMap::new();
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        *counts.entry(line).or_insert(0_u32) += 1;
    }
    let all: u32 = counts.values().sum();
    let Some((place, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else {
        return String::new();
    };
    let share = 100.0 * f64::from(count) / f64::from(all);
    if share < 10.0 {
        return String::new();
    }
    let symbol = place.split_whitespace().nth(1).unwrap_or_default();
    format!(
        "\n{share:.0} % of all samples are at one and the same instruction, of `{symbol}`: a load that waits for memory which \
         the caches do not hold, or whose page they do not know.\n"
    )
}
