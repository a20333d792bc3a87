//! Rows 1 to 3: packets per second through the kernel.

use std::fmt::Write as _;
use std::time::Duration;

use super::alone::Alone;
use super::genkan::Dialled;
use super::instrument::{Kind, Load, Way, on_first_processor};
use super::peers::{Line, Peer};
use super::stats::Rounds;
use super::{Report, Row, attempt, profile};
use crate::lab::Lab;

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(300);
const FEW: u32 = 1_000;
const FLOWS: u32 = 10_000;
const MANY: u32 = 1_000_000;
/// Flows that the daemon has room for: its default.
const ROOM: u32 = 262_144;
/// Lines by number: those of the kernel's own come first.
const ALONE: usize = 5;
const DIALLED: usize = 6;

/// Load of so many flows, as fast as it goes.
pub fn flat_out(way: Way, flows: u32) -> Load {
    Load { way, kind: Kind::Load, flows, rate: None, probes: 0 }
}

/// A thing to measure: its name, which line, which load.
struct Course {
    name: &'static str,
    line: usize,
    load: Load,
    rates: Rounds,
    lost: f64,
}

/// Measures.
pub fn measure() -> Report {
    let lab = Lab::new("bench-rates");
    let peers = [Peer::Masquerade, Peer::Forwarding, Peer::Redirect, Peer::Drop, Peer::Reference];
    let mut lines: Vec<Line> = peers.into_iter().map(Line::of).collect();
    let mut courses: Vec<Course> = [
        ("nft masquerade + stateful filter, plain IP", 0, Way::Up, FLOWS),
        ("the same again (control)", 0, Way::Up, FLOWS),
        ("Linux forwarding, no netfilter", 1, Way::Up, FLOWS),
        ("bare XDP redirect", 2, Way::Up, FLOWS),
        ("the same again (control)", 2, Way::Up, FLOWS),
        ("XDP drop: the generator's ceiling", 3, Way::Up, FLOWS),
        ("kernel half alone, LAN → PPPoE, 1,000 flows", ALONE, Way::Up, FEW),
        ("the same again (control)", ALONE, Way::Up, FEW),
        ("kernel half alone, LAN → PPPoE, 10,000 flows", ALONE, Way::Up, FLOWS),
        ("kernel half alone, LAN → PPPoE, 1,000,000 flows", ALONE, Way::Up, MANY),
        ("kernel half alone, PPPoE → LAN, 1,000,000 flows", ALONE, Way::Down, MANY),
        ("genkan, LAN → PPPoE, 10,000 flows", DIALLED, Way::Up, FLOWS),
        ("genkan, PPPoE → LAN, 10,000 flows", DIALLED, Way::Down, FLOWS),
        ("bare XDP redirect of what a BPF hash map has: parse + one lookup", 4, Way::Up, FLOWS),
    ]
    .map(|(name, line, way, flows)| Course {
        name,
        line,
        load: flat_out(way, flows),
        rates: Rounds::default(),
        lost: 0.0,
    })
    .into();
    eprintln!("establishing flows through Linux");
    on_first_processor(|| lines[..2].iter_mut().for_each(|line| line.establish(FLOWS, 1e5)));
    lines[4].instrument.fill_reference(Way::Up, FLOWS);
    let mut alone = Alone::new(MANY);
    // Without genkan the kernel's own routers are measured all the same.
    let dialled = attempt(|| {
        let mut dialled = Dialled::new(&lab, ROOM);
        dialled.attached("lan0");
        dialled.attached("wan0");
        eprintln!("establishing flows through genkan");
        on_first_processor(|| dialled.line.establish(FLOWS, 1e5));
        dialled
    });
    let error = dialled.as_ref().err().cloned();
    let mut dialled = dialled.inspect_err(|_| courses.retain(|course| course.line != DIALLED)).ok();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        on_first_processor(|| {
            for course in &mut courses {
                let line = match (course.line, &mut dialled) {
                    (DIALLED, Some(dialled)) => &mut dialled.line,
                    (ALONE, _) => &mut alone.line,
                    (line, _) => &mut lines[line],
                };
                let outcome = line.instrument.run(course.load, DURATION);
                course.rates.0.push(outcome.rate());
                course.lost += 1.0 - outcome.received as f64 / outcome.sent as f64;
            }
        });
    }
    let mut report = report(&courses, error);
    if let Some(dialled) = &mut dialled {
        report.text += &carried(dialled);
        report.text +=
            &profile::of(&mut dialled.line, "genkan, LAN → PPPoE, 10,000 flows", flat_out(Way::Up, FLOWS));
    }
    let title = "kernel half alone, LAN → PPPoE, 10,000 flows";
    report.text += &profile::of(&mut alone.line, title, flat_out(Way::Up, FLOWS));
    report.text += &profile::of(&mut lines[0], "nft masquerade", flat_out(Way::Up, FLOWS));
    report
}

fn report(courses: &[Course], error: Option<String>) -> Report {
    let mut text = format!(
        "Generator, router and sink run on one processor, a batch of 64 frames after the other; ns is one packet's whole way. \
         {ROUNDS} rounds of {} ms each.\n\n\
         | path, 64-octet UDP | Mpps | ns | lost | to nft masquerade | to bare redirect |\n|---|---|---|---|---|---|\n",
        DURATION.as_millis()
    );
    let rates = |index: usize| &courses[index].rates;
    for course in courses {
        let mpps = Rounds(course.rates.0.iter().map(|rate| rate / 1e6).collect());
        let _ = writeln!(
            text,
            "| {} | {mpps} | {:.0} | {:.2} % | {} | {} |",
            course.name,
            1e9 / course.rates.median(),
            100.0 * course.lost / ROUNDS as f64,
            course.rates.to(rates(0)),
            course.rates.to(rates(3)),
        );
    }
    let row = |number, this, that, control: (usize, usize)| {
        Row::new(number, rates(this).to(rates(that)), rates(control.0).to(rates(control.1)))
    };
    if let Some(error) = &error {
        let _ = writeln!(
            text,
            "\nRows 1 and 2 are of the kernel half alone, as `genkan run` was not to be measured: {error}"
        );
    }
    // Without the daemon it is the kernel half alone that rows 1 and 2 are of.
    let ours = if error.is_none() { 11 } else { 8 };
    let rows = vec![row("1", ours, 0, (1, 0)), row("2", ours, 3, (4, 3)), row("3", 9, 6, (7, 6))];
    Report { rows, text }
}

/// How many of the packets the kernel half says it has carried.
fn carried(dialled: &mut Dialled) -> String {
    let status = dialled.genkan().status().unwrap_or_default();
    let (carried, punted) = (&status["fast_path"]["carried"], &status["fast_path"]["punted"]);
    format!("\n`genkan status` afterwards: carried in the kernel {carried}, left to user space `{punted}`.\n")
}
