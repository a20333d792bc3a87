//! Row 11: memory of a million flows.

use aya::maps::loaded_maps;
use aya::programs::loaded_programs;

use super::genkan::Dialled;
use super::instrument::{Way, on_first_processor};
use super::peers::{Line, Peer, Room};
use super::rates::flat_out;
use super::{Report, Row};
use crate::lab::Lab;

const FLOWS: u32 = 1_000_000;

/// Measures.
pub fn measure() -> Report {
    let lab = Lab::new("bench-memory");
    let conntrack = conntrack();
    let mut dialled = Dialled::new(&lab, 1 << 20);
    let [maps, maps6] = map_memory(dialled.attached("lan0"));
    let process = dialled.genkan().process();
    let before = anonymous(process);
    eprintln!("establishing {FLOWS} flows through genkan");
    on_first_processor(|| dialled.line.establish(FLOWS, 2e5));
    let user = anonymous(process).saturating_sub(before);
    let ours = (user + maps) as f64 / f64::from(FLOWS);
    let each = |octets: u64| octets as f64 / f64::from(FLOWS);
    let text = format!(
        "{FLOWS} UDP flows over IPv4 with NAT. Of conntrack: growth of the kernel's slabs, and 8 octets for each bucket of its \
         hash table. Of genkan: growth of the process' own memory, and all memory of the kernel half's maps, which have room \
         for 1,048,576 flows of IPv4 and half as many of IPv6 from the start.\n\n\
         | | octets per flow |\n|---|---|\n\
         | conntrack + masquerade | {conntrack:.0} |\n\
         | genkan, user space | {:.0} |\n| genkan, maps | {:.0} |\n| of these, tables of IPv6 flows, all empty | {:.0} |\n| genkan, both | {ours:.0} |\n",
        each(user),
        each(maps),
        each(maps6),
    );
    Report { rows: vec![Row::counted("11", ours / conntrack)], text }
}

/// Octets per flow of conntrack.
fn conntrack() -> f64 {
    const ROOM: u32 = 1 << 20;
    let _room = Room::of(ROOM);
    let mut line = Line::of(Peer::Masquerade);
    on_first_processor(|| {
        line.establish(64, 1e4);
        let before = slabs();
        line.instrument.send(flat_out(Way::Up, FLOWS), u64::from(FLOWS));
        (slabs().saturating_sub(before) + u64::from(ROOM) / 2 * 8) as f64 / f64::from(FLOWS)
    })
}

/// Octets of all slabs that cannot be given back.
fn slabs() -> u64 {
    number("/proc/meminfo", "SUnreclaim:")
}

/// Octets of a process' memory that are its own.
fn anonymous(process: u32) -> u64 {
    // The process that was started is `ip netns exec`, which has become the program.
    number(&format!("/proc/{process}/status"), "RssAnon:")
}

fn number(path: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kilobytes.unwrap_or_else(|| panic!("{path} has no {key}"))
}

/// Octets of all maps of a program, and of those among them that are of IPv6 flows.
fn map_memory(program: u32) -> [u64; 2] {
    use std::os::fd::{AsFd, AsRawFd};
    let program = loaded_programs().filter_map(Result::ok).find(|found| found.id() == program);
    let maps = program.and_then(|program| program.map_ids().ok().flatten()).unwrap_or_default();
    let found = loaded_maps().filter_map(Result::ok).filter(|map| maps.contains(&map.id()));
    let mut octets = [0; 2];
    for map in found {
        let fd = map.fd().unwrap_or_else(|error| panic!("cannot use map {}: {error}", map.id()));
        let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        let locked = line.and_then(|line| line.trim().parse::<u64>().ok());
        let locked = locked.unwrap_or_else(|| panic!("{path} has no memlock"));
        octets[0] += locked;
        if matches!(map.name_as_str(), Some("flows6" | "index6")) {
            octets[1] += locked;
        }
    }
    octets
}
