//! `make bench`: measures, and prints what becomes `tests/bench/RESULTS.md`.
//!
//! `bench` runs `bench PART` for each part of [`genkan_tests::bench`], in a process of its own with a time limit, and puts
//! together what they print. A part that fails has its error in the table, and the others go on.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use genkan_tests::bench::{GOALS, PARTS, Part, Row};
use genkan_tests::netns;

/// What was tried where a goal is missed.
const NOTES: &str = include_str!("../../bench/NOTES.md");

fn main() {
    match std::env::args().nth(1) {
        None => print!("{}", results()),
        Some(name) => match PARTS.iter().find(|part| part.name == name) {
            Some(part) => print!("{}", (part.run)()),
            None => {
                let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
                eprintln!("usage: bench [{}]", names.join("|"));
                std::process::exit(2);
            }
        },
    }
}

fn results() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(", ");
    let begin = Instant::now();
    let (mut goals, mut sections) = (String::new(), String::new());
    for part in &PARTS {
        eprintln!("bench: {}", part.title);
        match run(part) {
            Ok(said) => {
                let length =
                    said.lines().take_while(|line| line.starts_with('|')).map(|line| line.len() + 1).sum();
                let (rows, text) = said.split_at(length);
                goals.push_str(rows);
                let _ = write!(sections, "\n## {}\n\n{}", part.title, text.trim_start());
            }
            Err(error) => {
                eprintln!("bench: {}: {error}", part.name);
                for number in part.numbers {
                    let _ = write!(goals, "{}", Row::failed(number, &error));
                }
                let _ = write!(sections, "\n## {}\n\nNot measured: {error}\n", part.title);
            }
        }
        netns::sweep();
    }
    format!(
        "# Results\n\nWritten by `make bench`, which takes some twenty minutes; `target/release/bench PART` measures one part \
         again (parts: {}). Only ratios within one run mean anything: what is compared is measured in turns, round by round, \
         a ratio is of the same round, and a value is the median of rounds with the lowest and highest. The control is the \
         same thing measured twice; what differs less than that is not claimed. What was \
         tried where a goal is missed is written by hand, in `tests/bench/NOTES.md`.\n\n{GOALS}{goals}{sections}\n{NOTES}\n\
         ## Machine\n\n{}- time that the measurements took: {} s\n",
        PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", "),
        machine(load),
        begin.elapsed().as_secs()
    )
}

/// Runs a part in a process of its own, and returns what it prints.
fn run(part: &Part) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .arg(part.name)
        // A log of every packet would be what is measured.
        .env("RUST_LOG", "info")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = thread::spawn(move || {
        let mut text = String::new();
        let _ = out.map(|mut out| out.read_to_string(&mut text));
        text
    });
    let err = thread::spawn(move || {
        let lines = BufReader::new(err?).lines().map_while(Result::ok);
        let lines: Vec<_> = lines.inspect(|line| eprintln!("bench: {line}")).collect();
        complaint(&lines)
    });
    let end = Instant::now() + part.limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(50)),
            _ => break None,
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
        // What it has started holds the pipes; it ends with its namespaces.
        netns::sweep();
    }
    let (text, complaint) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    match status.as_ref().map(ExitStatus::success) {
        Some(true) => Ok(text),
        Some(false) => Err(complaint.unwrap_or_else(|| "it failed without a word".into())),
        None => Err(format!("it took more than {} s", part.limit.as_secs())),
    }
}

/// What a panic says, from what a process wrote.
fn complaint(lines: &[String]) -> Option<String> {
    let at = lines.iter().position(|line| line.contains("panicked at"))?;
    let words = lines.get(at + 1..)?.iter().take_while(|line| !line.starts_with("note:"));
    let text = words.map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    Some(text.chars().take(300).collect())
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
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let is_virtual = if first("/proc/cpuinfo", "flags").contains("hypervisor") { ", virtual" } else { "" };
    let facts = [
        ("processors", format!("{processors} × {}{is_virtual}", first("/proc/cpuinfo", "model name"))),
        ("load before, of 1, 5 and 15 minutes", load),
        ("memory", first("/proc/meminfo", "MemTotal")),
        ("system", said("uname", &["-sr"])),
        ("compilers", [said("rustc", &["--version"]), said("clang", &["-dumpversion"])].join(", clang ")),
        ("sources", said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])),
        ("date", said("date", &["-u", "+%F"])),
    ];
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    known.fold(String::new(), |text, (name, value)| format!("{text}- {name}: {value}\n"))
}
