//! Row 14: packets lost on established flows while the daemon is away.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::genkan::Dialled;
use super::instrument::{Load, Outcome, Way, on_first_processor};
use super::rates::flat_out;
use super::{Report, Row};
use crate::lab::Lab;

const FLOWS: u32 = 10_000;
const RATE: f64 = 50_000.0;
/// How long the daemon is away. The concentrator asks after silent sessions much later.
const AWAY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    None,
    Kill,
    Stop,
}

/// Measures.
pub fn measure() -> Report {
    let lab = Lab::new("bench-restart");
    let mut dialled = Dialled::new(&lab, 1 << 17);
    on_first_processor(|| dialled.line.establish(FLOWS, 1e5));
    let mut report = Report {
        text: format!(
            "{FLOWS} established flows at {RATE:.0} packets a second; each packet goes up, is sent back by the far sink, and comes \
             down. The daemon is away for {:.0} s, and the load goes on until it is up again.\n\n\
             | what happens | packets | lost |\n|---|---|---|\n",
            AWAY.as_secs_f64()
        ),
        ..Report::default()
    };
    for (end, name, number) in [
        (End::None, "nothing (control)", None),
        (End::Kill, "`kill -9`, `genkan run`", Some("14 kill")),
        (End::Stop, "`genkan stop`, `genkan run`", Some("14 stop")),
    ] {
        eprintln!("{name}");
        let outcome = run(&lab, &mut dialled, end);
        let lost = outcome.lost();
        let _ = writeln!(report.text, "| {name} | {} | {lost} |", outcome.sent);
        if let Some(number) = number {
            report.rows.push(Row::counted(number, lost as f64));
        }
    }
    report
}

fn run(lab: &Lab, dialled: &mut Dialled, end: End) -> Outcome {
    let done = AtomicBool::new(false);
    let load = Load { rate: Some(RATE), probes: 1, ..flat_out(Way::Up, FLOWS) };
    let (instrument, router) = (&mut dialled.line.instrument, &dialled.line.router);
    let mut genkan = dialled.genkan.take().expect("the program runs");
    let (outcome, genkan) = thread::scope(|scope| {
        let sender = scope.spawn(|| on_first_processor(|| instrument.send_until(load, &done, Way::Down)));
        thread::sleep(Duration::from_millis(500));
        match end {
            End::None => {}
            End::Kill => genkan.kill(),
            End::Stop => {
                let said = genkan.command("stop", &[]);
                assert!(said.status.success(), "genkan stop: {}", String::from_utf8_lossy(&said.stderr));
            }
        }
        thread::sleep(AWAY);
        if end != End::None {
            genkan = genkan.again(lab, router);
            genkan.wait_up("isp", Duration::from_secs(20));
        }
        thread::sleep(Duration::from_millis(500));
        done.store(true, Ordering::Relaxed);
        (sender.join().expect("the generator runs"), genkan)
    });
    dialled.genkan = Some(genkan);
    outcome
}
