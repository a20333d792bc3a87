//! Where the time goes: `perf` with the processor's clock, as test machines have no counters.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::instrument::{Load, on_first_processor};
use super::peers::Line;
use crate::lab;

/// Functions in the list.
const LINES: usize = 14;

/// A list in Markdown of where the first processor is while a load runs; without `perf`, a sentence.
pub fn of(line: &mut Line, title: &str, load: Load) -> String {
    let data = lab::target().join("bench-perf.data");
    let recorder = Command::new("perf")
        .args(["record", "--quiet", "-e", "cpu-clock:k", "-F", "1999", "-C", "0", "-o"])
        .arg(&data)
        .args(["--", "sleep", "0.8"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut recorder) = recorder else {
        return format!("\n{title}: `perf` is not installed, so there is no profile.\n");
    };
    on_first_processor(|| line.instrument.run(load, Duration::from_millis(1200)));
    let _ = recorder.wait();
    let report = Command::new("perf")
        .args([
            "report",
            "--stdio",
            "--quiet",
            "--no-children",
            "--sort",
            "symbol",
            "--comms",
            "bench,ksoftirqd/0",
            "-i",
        ])
        .arg(&data)
        .stdin(Stdio::null())
        .output();
    let _ = std::fs::remove_file(&data);
    let said = report.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut text = format!(
        "\nWhere the time goes, {title} (`perf`, processor's clock, all of the first processor):\n\n"
    );
    for found in said.lines().map(str::trim).filter(|line| line.contains('%')).take(LINES) {
        let (share, symbol) = found.split_once('%').unwrap_or((found, ""));
        let symbol = symbol.trim().trim_start_matches("[k]").split("  ").next().unwrap_or_default().trim();
        let _ = writeln!(text, "- {share} % `{symbol}`");
    }
    text
}
