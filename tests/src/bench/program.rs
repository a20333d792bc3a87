//! Row 4: time of the kernel half's program alone, by BPF_PROG_RUN.

use std::fmt::Write as _;

use aya::programs::{ProgramFd, loaded_programs};

use super::genkan::Dialled;
use super::instrument::{Instrument, Way, on_first_processor};
use super::peers::{Line, Peer};
use super::rates::flat_out;
use super::stats::Rounds;
use super::{Report, Row, attempt};
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
    let lab = Lab::new("bench-program");
    let mut report = Report {
        text: format!(
            "BPF_PROG_RUN without live frames, {ROUNDS} rounds of {REPEAT} packets over {FLOWS} flows. A program in front writes \
             each frame anew and calls the one that is measured; its own time is taken off. The reference reads Ethernet \
             (and PPPoE), IPv4 and UDP headers, and looks the five-tuple up in one BPF hash map.\n\n\
             | way | reference, ns | genkan, ns |\n|---|---|---|\n"
        ),
        ..Report::default()
    };
    let dialled = attempt(|| {
        let mut dialled = Dialled::new(&lab, 1 << 17);
        let programs = ["lan0", "wan0"].map(|device| program(dialled.attached(device)));
        on_first_processor(|| dialled.line.establish(FLOWS, 1e5));
        (dialled, programs)
    });
    let (mut line, programs, _dialled);
    match dialled {
        Ok((dialled, found)) => {
            line = dialled.line;
            programs = Ok(found);
            _dialled = (dialled.genkan, dialled.isp, dialled.provider);
        }
        Err(error) => {
            // The reference is measured all the same.
            line = Line::of(Peer::Forwarding);
            on_first_processor(|| line.establish(FLOWS, 1e5));
            programs = Err(error);
        }
    }
    for (index, (way, device, name)) in
        [(Way::Up, "lan0", "LAN → PPPoE"), (Way::Down, "wan0", "PPPoE → LAN")].into_iter().enumerate()
    {
        // The plain router's other device is called differently; the reference does not look at it.
        let device = if programs.is_ok() { device } else { "lan0" };
        let device = line.router.fact(device, "ifindex").parse().expect("a device's number");
        line.instrument.fill_reference(way, FLOWS);
        let mut course = Course { instrument: &mut line.instrument, router: &line.router, way, device };
        let times =
            on_first_processor(|| course.times(programs.as_ref().ok().map(|programs| &programs[index])));
        let _ = writeln!(report.text, "| {name} | {} | {} |", times.reference, times.genkan);
        let number = ["4 up", "4 down"][index];
        report.rows.push(match &programs {
            Ok(_) => Row::new(number, times.genkan.to(&times.reference), times.again.to(&times.reference)),
            Err(error) => Row::failed(number, error),
        });
    }
    report
}

impl Course<'_> {
    fn times(&mut self, genkan: Option<&ProgramFd>) -> Times {
        let (nothing, reference) = (self.instrument.own("nothing"), self.instrument.own("reference"));
        let mut times = Times::default();
        for _ in 0..ROUNDS {
            let base = self.time(&nothing);
            times.reference.0.push(self.time(&reference) - base);
            times.again.0.push(self.time(&reference) - base);
            if let Some(genkan) = genkan {
                times.genkan.0.push(self.time(genkan) - base);
            }
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

/// A program of the machine, by its number.
fn program(number: u32) -> ProgramFd {
    let found = loaded_programs().filter_map(Result::ok).find(|program| program.id() == number);
    let found = found.unwrap_or_else(|| panic!("there is no program {number}"));
    found.fd().unwrap_or_else(|error| panic!("cannot use program {number}: {error}"))
}
