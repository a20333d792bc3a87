//! Row 13: round trips at half of the own maximum.

use std::any::Any;
use std::fmt::Write as _;
use std::time::Duration;

use super::alone::Alone;
use super::genkan::Dialled;
use super::instrument::{Load, Way, on_first_processor};
use super::peers::{Line, Peer};
use super::rates::flat_out;
use super::stats::Rounds;
use super::{Report, Row, attempt};
use crate::lab::Lab;

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(800);
const FLOWS: u32 = 10_000;
/// One of so many packets is a probe.
const PROBES: u32 = 16;

#[derive(Default)]
struct Delays {
    p50: Rounds,
    tail: Rounds,
}

/// Measures.
pub fn measure() -> Report {
    let lab = Lab::new("bench-delay");
    let mut linux = Line::of(Peer::Masquerade);
    let dialled = attempt(|| {
        let mut dialled = Dialled::new(&lab, 1 << 17);
        dialled.attached("lan0");
        dialled.attached("wan0");
        on_first_processor(|| dialled.line.establish(FLOWS, 1e5));
        dialled
    });
    let (mut own, name, _running): (Line, String, Box<dyn Any>) = match dialled {
        Ok(Dialled { line, genkan, isp, provider }) => {
            (line, "genkan, PPPoE".into(), Box::new((genkan, isp, provider)))
        }
        Err(error) => {
            let Alone { line, programs, .. } = Alone::new(FLOWS);
            let name = format!("kernel half alone, as `genkan run` was not to be measured: {error}");
            (line, name, Box::new(programs))
        }
    };
    let [mut nft, mut again, mut ours] = [(); 3].map(|()| Delays::default());
    let (linux_most, our_most) = on_first_processor(|| {
        linux.establish(FLOWS, 1e5);
        let most = [most(&mut linux), most(&mut own)];
        for round in 1..=ROUNDS {
            eprintln!("round {round} of {ROUNDS}");
            nft.measure(&mut linux, most[0] / 2.0);
            ours.measure(&mut own, most[1] / 2.0);
            again.measure(&mut linux, most[0] / 2.0);
        }
        (most[0], most[1])
    });
    let mut text = format!(
        "Established flows go up at half of the rate that the path can do with probes among them. One packet of {PROBES} is a \
         probe with a time stamp: the far sink sends it back in its flow, the near one takes its time. {ROUNDS} rounds of {} ms.\n\n\
         | path | load, Mpps | p50, µs | p99.9, µs |\n|---|---|---|---|\n",
        DURATION.as_millis()
    );
    for (name, most, delays) in [
        ("nft masquerade + stateful filter, plain IP", linux_most, &nft),
        ("the same again (control)", linux_most, &again),
        (&name, our_most, &ours),
    ] {
        let _ = writeln!(text, "| {name} | {:.2} | {} | {} |", most / 2e6, delays.p50, delays.tail);
    }
    let rows = vec![
        Row::new("13 p50", ours.p50.to(&nft.p50), again.p50.to(&nft.p50)),
        Row::new("13 p99.9", ours.tail.to(&nft.tail), again.tail.to(&nft.tail)),
    ];
    Report { rows, text }
}

/// The rate that a path can do, with probes.
fn most(line: &mut Line) -> f64 {
    let load = Load { probes: PROBES, ..flat_out(Way::Up, FLOWS) };
    Rounds((0..3).map(|_| line.instrument.run(load, DURATION / 4).rate()).collect()).median()
}

impl Delays {
    fn measure(&mut self, line: &mut Line, rate: f64) {
        line.instrument.delays(&[]);
        line.instrument.run(Load { rate: Some(rate), probes: PROBES, ..flat_out(Way::Up, FLOWS) }, DURATION);
        let delays = line.instrument.delays(&[0.5, 0.999]);
        self.p50.0.push(delays[0]);
        self.tail.0.push(delays[1]);
    }
}
