//! Row 10: new flows per second.

use std::fmt::Write as _;
use std::time::Duration;

use super::genkan::Dialled;
use super::instrument::{Load, Way, on_first_processor};
use super::peers::{Line, Peer, Room};
use super::rates::flat_out;
use super::stats::Rounds;
use super::{Report, Row, profile};
use crate::lab::Lab;

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(400);
/// Room in both flow tables.
const ROOM: u32 = 1 << 22;

/// Measures.
pub fn measure() -> Report {
    let lab = Lab::new("bench-new-flows");
    let _room = Room::of(ROOM);
    let mut linux = Line::of(Peer::Masquerade);
    let mut genkan = Dialled::new(&lab, ROOM);
    let [mut nft, mut again, mut ours, mut offered] = [(); 4].map(|()| Rounds::default());
    on_first_processor(|| {
        linux.establish(64, 1e4);
        genkan.line.establish(64, 1e4);
        // It counts on from run to run, so that no flow comes twice.
        let load = Load { ..flat_out(Way::Up, u32::MAX) };
        for round in 1..=ROUNDS {
            eprintln!("round {round} of {ROUNDS}");
            nft.0.push(linux.instrument.run(load, DURATION).rate() / 1e3);
            let outcome = genkan.line.instrument.run(load, DURATION);
            ours.0.push(outcome.rate() / 1e3);
            offered.0.push(outcome.sent as f64 / outcome.elapsed.as_secs_f64() / 1e3);
            again.0.push(linux.instrument.run(load, DURATION).rate() / 1e3);
        }
    });
    let mut text = format!(
        "Each packet is the first of a flow, as fast as the generator goes; what arrives is counted. conntrack has \
         {ROOM} entries and half as many buckets. {ROUNDS} rounds of {} ms.\n\n\
         | path | thousand new flows a second | to nft masquerade |\n|---|---|---|\n",
        DURATION.as_millis()
    );
    for (name, rounds) in [
        ("nft masquerade + stateful filter, plain IP", &nft),
        ("the same again (control)", &again),
        ("genkan, PPPoE, user space", &ours),
    ] {
        let _ = writeln!(text, "| {name} | {rounds} | {} |", rounds.to(&nft));
    }
    let _ = writeln!(
        text,
        "\nOffered to genkan: {offered} thousand a second; the generator keeps one of the two processors."
    );
    let process = genkan.genkan().process();
    let load = flat_out(Way::Up, u32::MAX);
    text += &profile::of_process(&mut genkan.line, "the process of genkan", load, process);
    Report { rows: vec![Row::new("10", ours.to(&nft), again.to(&nft))], text }
}
