//! Where the kernel half's time goes: programs beside it that stop after a part of its steps (`bpf/steps.bpf.c`), in its place
//! on the router's port. What one takes longer than the one before is what its last step costs.

use std::fmt::Write as _;

use super::Report;
use super::alone::Alone;
use super::instrument::{Way, on_first_processor};
use super::rates::flat_out;
use super::stats::Rounds;
use crate::lab::Lab;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steps.o"));

const ROUNDS: usize = 7;
/// Bursts in a round.
const BURSTS: usize = 20;
const SOME: u32 = 10_000;
const MANY: u32 = 1_000_000;
/// What is measured: the load's flows, of how many in the table.
const LOADS: [(u32, u32); 3] = [(10_000, SOME), (1_000, MANY), (1_000_000, MANY)];
/// The programs, and what each does more than the one before.
const STEPS: [(&str, &str); 9] = [
    ("step_redirect", "generator, both cables, redirect, sink"),
    ("step_port", "find the port, count the verdict"),
    ("step_parse", "read and verify every header"),
    ("step_index", "hash the key, read its bucket"),
    ("step_flow", "find the flow's record, copy it"),
    ("step_adjacency", "copy the next hop, compare both epochs"),
    ("step_room", "make room for PPPoE, write the header"),
    ("step_rewrite", "write addresses, ports and checksums"),
    ("genkan_xdp", "count at the flow and both links; all questions left out before"),
];

/// Measures.
pub fn measure() -> Report {
    let _lab = Lab::alone("bench-steps");
    let (mut some, mut many) = (Alone::with(OBJECT, SOME), Alone::with(OBJECT, MANY));
    let mut took = LOADS.map(|_| [(); STEPS.len()].map(|()| Rounds::default()));
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for ((flows, room), took) in LOADS.into_iter().zip(&mut took) {
            let alone = if room == SOME { &mut some } else { &mut many };
            let mut before = 0.0;
            for ((program, _), took) in STEPS.iter().zip(took) {
                alone.put_on_lan(program);
                let load = flat_out(Way::Up, flows);
                let bursts = on_first_processor(|| alone.line.instrument.bursts(load, BURSTS));
                let whole = Rounds(bursts).median();
                took.0.push(whole - before);
                before = whole;
            }
        }
    }
    Report { rows: Vec::new(), text: table(&took) }
}

fn table(took: &[[Rounds; STEPS.len()]; LOADS.len()]) -> String {
    let mut text = format!(
        "Programs that stop after a part of the kernel half's steps and redirect what they have, LAN → PPPoE, each in its place \
         on the port in turns: {ROUNDS} rounds of {BURSTS} bursts of 4,096 frames. A step's time is how much longer a frame's \
         whole way takes with it than without, in ns: the median of rounds, of which each is a median of bursts. The processor \
         works on several steps at once, so one may hide behind another, and a number may be below 0.\n\n\
         | step | 10,000 flows of as many | 1,000 of 1,000,000 | 1,000,000 of as many |\n|---|---|---|---|\n"
    );
    let mut line = |name: &str, of: &dyn Fn(&[Rounds; STEPS.len()]) -> f64| {
        let _ = write!(text, "| {name} |");
        for took in took {
            let _ = write!(text, " {:.0} |", of(took));
        }
        text.push('\n');
    };
    for (index, (_, step)) in STEPS.iter().enumerate() {
        line(step, &|took| took[index].median());
    }
    line("all of it", &|took| took.iter().map(Rounds::median).sum());
    text
}
