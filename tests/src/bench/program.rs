//! Row 4: time of the kernel half's program alone, by BPF_PROG_RUN.

use std::fmt::Write as _;

use aya::programs::{ProgramFd, Xdp};

use super::alone::Alone;
use super::instrument::{Instrument, Way, must, on_first_processor};
use super::rates::flat_out;
use super::stats::Rounds;
use super::{Report, Row};
use crate::lab::Lab;
use crate::netns::Namespace;

const ROUNDS: usize = 7;
const FLOWS: u32 = 10_000;
/// Packets in a round.
const REPEAT: u32 = 500_000;
/// What a program says that has carried a packet.
const XDP_REDIRECT: u32 = 4;

/// One way through a router.
struct Course<'a> {
    instrument: &'a mut Instrument,
    router: &'a Namespace,
    way: Way,
    /// The device that frames come in by.
    device: u32,
}

/// What is found of one way, in ns, without what it costs to make the frames.
#[derive(Default)]
struct Times {
    reference: Rounds,
    again: Rounds,
    genkan: Rounds,
}

/// Measures.
pub fn measure() -> Report {
    let _lab = Lab::alone("bench-program");
    let mut report = Report {
        text: format!(
            "BPF_PROG_RUN without live frames, {ROUNDS} rounds of {REPEAT} packets over {FLOWS} flows. A program in front writes \
             each frame anew and calls the one that is measured; its own time is taken off. The reference reads Ethernet \
             (and PPPoE), IPv4 and UDP headers, and looks the five-tuple up in one BPF hash map.\n\n\
             | way | reference, ns | genkan, ns |\n|---|---|---|\n"
        ),
        ..Report::default()
    };
    let Alone { line, programs, .. } = &mut Alone::new(FLOWS);
    let program: &Xdp =
        must("use the kernel half", programs.program("genkan_xdp").expect("it is there").try_into());
    let program = must("use the kernel half", program.fd());
    for (way, device, name, number) in
        [(Way::Up, "lan0", "LAN → PPPoE", "4 up"), (Way::Down, "wan0", "PPPoE → LAN", "4 down")]
    {
        let device = must("read a device's number", line.router.fact(device, "ifindex").parse());
        line.instrument.fill_reference(way, FLOWS);
        let mut course = Course { instrument: &mut line.instrument, router: &line.router, way, device };
        let times = on_first_processor(|| course.times(program));
        let _ = writeln!(report.text, "| {name} | {} | {} |", times.reference, times.genkan);
        let rows = [&times.genkan, &times.again].map(|rounds| rounds.to(&times.reference));
        let [measured, control] = rows;
        report.rows.push(Row::new(number, measured, control));
    }
    report
}

impl Course<'_> {
    fn times(&mut self, genkan: &ProgramFd) -> Times {
        let (nothing, reference) = (self.instrument.own("nothing"), self.instrument.own("reference"));
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            let base = self.time(&nothing);
            times.reference.0.push(self.time(&reference) - base);
            times.again.0.push(self.time(&reference) - base);
            times.genkan.0.push(self.time(genkan) - base);
        }
        times
    }

    fn time(&mut self, program: &ProgramFd) -> f64 {
        let (instrument, way, device) = (&mut *self.instrument, self.way, self.device);
        let (time, said) =
            self.router.inside(|| instrument.time(program, flat_out(way, FLOWS), device, REPEAT));
        assert_eq!(said, XDP_REDIRECT, "the program has not carried the last packet");
        time
    }
}
