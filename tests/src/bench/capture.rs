//! What looking costs: nanoseconds per packet through the core with nobody looking, with the ring, and with everything captured.
//!
//! The ways are measured in turns, so that what else the machine does falls on each alike.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use super::Report;
use crate::packet_path::{BATCH, Direction, Looking, PacketPath};

const FLOWS: usize = 1_000;
const SIZE: usize = 64;
/// Batches of a turn, and turns of each way.
const BATCHES: u32 = 2_000;
const TURNS: usize = 15;

/// Measures.
pub fn measure() -> Report {
    let ways =
        [("off", Looking::Off), ("ring", Looking::Ring), ("everything, at every point", Looking::Everything)];
    let mut paths = ways.map(|(name, looking)| {
        let mut path = PacketPath::new(Direction::Up, FLOWS, SIZE);
        path.look(looking);
        (name, path, Vec::with_capacity(TURNS))
    });
    for _ in 0..TURNS {
        for (_, path, times) in &mut paths {
            let start = Instant::now();
            for _ in 0..BATCHES {
                black_box(path.run_batch());
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(BATCHES) / BATCH as f64);
        }
    }
    let mut text = format!(
        "LAN → PPPoE with NAT and filter, {SIZE} octets, {FLOWS} flows, in memory, one thread. The ring sees each frame as it comes and as it leaves, \
         and keeps the first 128 octets of 5,000 a second. A capture of everything copies each packet at three points and takes the long way; \
         its listener's side is not counted.\n\n| looking | ns per packet, median (least–most) |\n|---|---|\n"
    );
    for (name, _, times) in &mut paths {
        times.sort_by(f64::total_cmp);
        let (least, median, most) = (times[0], times[TURNS / 2], times[TURNS - 1]);
        let _ = writeln!(text, "| {name} | {median:.0} ({least:.0}–{most:.0}) |");
    }
    Report { text, ..Report::default() }
}
