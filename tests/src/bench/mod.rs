//! What `make bench` measures, a part after the other.
//!
//! A [`Part`] builds its routers, measures them in turns ([`stats`]) and gives a [`Report`]: rows of the table of goals, and
//! text. `src/bin/bench.rs` runs each part in a process of its own, so that one that fails or hangs costs its own rows only.

pub mod alone;
pub mod bulk;
pub mod capture;
pub mod core;
pub mod delay;
pub mod genkan;
pub mod guest;
pub mod instrument;
pub mod memory;
pub mod new_flows;
pub mod peers;
pub mod profile;
pub mod program;
pub mod rates;
pub mod restart;
pub mod stats;
pub mod steps;
pub mod vpn;

use std::fmt::{self, Display};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use stats::{Goal, Rounds};

/// A goal.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its number in the table of goals, and which half of it.
    pub number: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// Against what.
    pub against: &'static str,
    /// How it should be.
    pub goal: Goal,
}

/// All goals that are measured.
pub const METRICS: [Metric; 21] = [
    metric(
        "1",
        "kernel path, packets per second: PPPoE + NAT44 + filter, 64 octets, 10,000 flows",
        "nft masquerade on plain IP",
        Goal::AtLeast(3.0),
    ),
    metric("2", "the same", "bare XDP redirect", Goal::AtLeast(0.9)),
    metric("3", "the same at 1,000,000 flows", "itself at 1,000", Goal::AtLeast(0.7)),
    metric(
        "4 up",
        "the program alone, ns per packet",
        "a reference program: parse + one lookup",
        Goal::AtMost(2.0),
    ),
    metric("4 down", "the same", "the same", Goal::AtMost(2.0)),
    metric(
        "5",
        "the core alone, LAN → PPPoE with NAT and filter, instructions per packet",
        "–",
        Goal::AtMost(400.0),
    ),
    metric("9 bulk", "WireGuard: bulk TCP", "the best of three programs", Goal::AtLeast(3.0)),
    metric("9 cost", "the same, seconds of a processor per Gbit", "the same", Goal::AtMost(1.0 / 3.0)),
    metric("9 p99.9", "the same, round trip beside bulk, 99.9 %", "the same", Goal::AtMost(0.25)),
    metric("9 bridged bulk", "the same, bridged: bulk TCP", "the same", Goal::AtLeast(3.0)),
    metric("9 bridged cost", "seconds of a processor per Gbit", "the same", Goal::AtMost(1.0 / 3.0)),
    metric("9 bridged p99.9", "round trip beside bulk, 99.9 %", "the same", Goal::AtMost(0.25)),
    metric("9 eight bulk", "the same, eight peers: bulk TCP", "the same", Goal::AtLeast(3.0)),
    metric("9 eight cost", "seconds of a processor per Gbit", "the same", Goal::AtMost(1.0 / 3.0)),
    metric("10", "new flows per second", "conntrack + masquerade", Goal::AtLeast(1.0)),
    metric("11", "octets per flow at 1,000,000 flows, both paths together", "conntrack", Goal::AtMost(0.8)),
    metric("13 p50", "round trip at half of the own maximum, median", "nft masquerade", Goal::AtMost(1.0)),
    metric("13 p99.9", "the same, 99.9 %", "nft masquerade", Goal::AtMost(1.2)),
    metric(
        "14 kill",
        "packets lost on established flows while the daemon is killed and started again",
        "–",
        Goal::AtMost(0.0),
    ),
    metric("14 stop", "the same with `genkan stop`", "–", Goal::AtMost(0.0)),
    metric(
        "15",
        "in an emulated guest, datagrams of 64 octets a second: PPPoE + NAT44 + filter, kernel path",
        "pppd, the kernel's PPPoE, nft masquerade",
        Goal::AtLeast(2.0),
    ),
];

const fn metric(number: &'static str, what: &'static str, against: &'static str, goal: Goal) -> Metric {
    Metric { number, what, against, goal }
}

/// What came out for one goal.
#[derive(Debug, Clone)]
pub struct Row {
    /// Of the [`Metric`].
    pub number: &'static str,
    /// What was measured, or why it was not.
    pub outcome: Result<Measured, String>,
}

/// A measurement.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Round by round.
    pub rounds: Rounds,
    /// The same thing measured twice, its ratios; `None` where it is a count that does not vary.
    pub control: Option<Rounds>,
}

impl Row {
    /// A row that was measured in rounds, beside a control.
    pub fn new(number: &'static str, rounds: Rounds, control: Rounds) -> Row {
        Row { number, outcome: Ok(Measured { rounds, control: Some(control) }) }
    }

    /// A row that was counted, once.
    pub fn counted(number: &'static str, value: f64) -> Row {
        Row { number, outcome: Ok(Measured { rounds: Rounds(vec![value]), control: None }) }
    }

    /// A row that could not be measured.
    pub fn failed(number: &'static str, error: &str) -> Row {
        Row { number, outcome: Err(error.into()) }
    }
}

/// A line of the table of goals.
impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = METRICS.iter().find(|metric| metric.number == self.number);
        let Some(Metric { number, what, against, goal }) = metric else { return Ok(()) };
        write!(f, "| {number} | {what} | {against} | {goal} | ")?;
        match &self.outcome {
            Ok(Measured { rounds, control }) => {
                let verdict = goal.verdict(rounds.median(), control.as_ref());
                let control = control.as_ref().map_or_else(|| "–".to_string(), Rounds::to_string);
                writeln!(f, "{rounds} | {control} | {verdict} |")
            }
            Err(error) => writeln!(f, "– | – | not measured: {} |", error.replace('|', "/")),
        }
    }
}

/// Does what may panic, and gives what the panic says.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        text.unwrap_or("it failed without a word").chars().take(300).collect::<String>().replace('\n', " ")
    })
}

/// What a part found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// For the table of goals.
    pub rows: Vec<Row>,
    /// Markdown, for the part's section.
    pub text: String,
}

/// Rows first, as lines of the table of goals; then an empty line and the text.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|row| row.fmt(f))?;
        write!(f, "\n{}", self.text)
    }
}

/// A part of the benchmarks.
pub struct Part {
    /// As the command line knows it.
    pub name: &'static str,
    /// The heading of its section.
    pub title: &'static str,
    /// The goals that it measures.
    pub numbers: &'static [&'static str],
    /// When it is ended by force.
    pub limit: Duration,
    /// The work.
    pub run: fn() -> Report,
}

/// Seconds for each comparison of VPNs, which may be told to take longer than usual.
const VPN_LIMIT: u64 = 1200;

/// The parts, in order.
pub const PARTS: [Part; 14] = [
    part("rates", "Packets per second", &["1", "2", "3"], 120, rates::measure),
    part("program", "The kernel half's program alone", &["4 up", "4 down"], 60, program::measure),
    part("steps", "Where the kernel half's time goes", &[], 60, steps::measure),
    part("core", "The core alone", &["5"], 150, core::measure),
    part("capture", "What looking costs", &[], 60, capture::measure),
    // Before there were flows in great number: the kernel keeps the memory of conntrack's for others to come.
    part("memory", "Memory of flows", &["11"], 150, memory::measure),
    part("new-flows", "New flows", &["10"], 60, new_flows::measure),
    part("delay", "Round trips under load", &["13 p50", "13 p99.9"], 60, delay::measure),
    part("restart", "Restarts", &["14 kill", "14 stop"], 90, restart::measure),
    part("vpn", "WireGuard, routed", &["9 bulk", "9 cost", "9 p99.9"], VPN_LIMIT, vpn::routed),
    part(
        "vpn-bridged",
        "WireGuard, bridged",
        &["9 bridged bulk", "9 bridged cost", "9 bridged p99.9"],
        VPN_LIMIT,
        vpn::bridged,
    ),
    part("vpn-eight", "WireGuard, eight peers", &["9 eight bulk", "9 eight cost"], 240, vpn::eight),
    part("bulk", "Bulk TCP through the lab", &[], 90, bulk::measure),
    part("guest", "A guest as the router", &["15"], 900, guest::measure),
];

const fn part(
    name: &'static str,
    title: &'static str,
    numbers: &'static [&'static str],
    limit: u64,
    run: fn() -> Report,
) -> Part {
    Part { name, title, numbers, limit: Duration::from_secs(limit), run }
}

/// The heading of the table of goals.
pub const GOALS: &str =
    "| # | what | against | goal | measured, median (spread) | control | |\n|---|---|---|---|---|---|---|\n";
