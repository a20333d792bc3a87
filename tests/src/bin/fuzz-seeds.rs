//! Writes the seeds of the fuzz targets: frames of the public captures, where they are, frames that our own machines say
//! to each other, and scripts of ordinary lives.
//!
//! usage: fuzz-seeds FOLDER
//!
//! Each target has a folder in FOLDER. What the octets of a script mean stands in `tests/fuzz/src/lib.rs` and in the
//! target.

use std::collections::BTreeSet;
use std::hash::Hasher as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use fnv::FnvHasher;
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv4Cidr, Mac, PortId, SubscriberId};
use genkan_netstack::machine::Cx;
use genkan_netstack::pppoe::{Client, Concentrator, DiscoveryFrame, client, concentrator, subscriber};
use genkan_netstack::rng::SeededRng;
use genkan_netstack::secret::Secret;
use genkan_netstack::settings::{self, Authentication, Echo};
use genkan_netstack::time::{Duration, Instant};
use genkan_netstack::wire::ethernet::{Header, ethertype};
use genkan_netstack::wire::ipv4::{Ipv4, UDP};
use genkan_netstack::wire::ipv6::{HOP_BY_HOP, ICMPV6, Ipv6};
use genkan_netstack::wire::pppoe::SessionPacket;
use genkan_tests::capture_file;

/// Longest frame that makes a seed; fuzzing lives by short inputs.
const LONGEST: usize = 1600;
/// Most frames of one capture that make seeds.
const FRAMES: usize = 4;

fn main() {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: fuzz-seeds FOLDER");
        std::process::exit(2);
    };
    let seeds = Seeds { folder: PathBuf::from(folder) };
    lives(&seeds);
    let mut frames: BTreeSet<Vec<u8>> = conversations().into_iter().collect();
    let captures = capture_file::folder();
    if captures.is_dir() {
        for path in capture_file::public() {
            seeds.file(&path);
            frames.extend(capture_file::frames(&path).into_iter().take(FRAMES));
        }
    } else {
        eprintln!("fuzz-seeds: there are no captures in {}; all seeds are our own", captures.display());
    }
    frames.retain(|frame| (14..=LONGEST).contains(&frame.len()));
    for frame in &frames {
        seeds.frame(frame);
    }
}

struct Seeds {
    folder: PathBuf,
}

impl Seeds {
    /// Stores a seed under a name made of what it holds.
    fn add(&self, target: &str, parts: &[&[u8]]) {
        let bytes = parts.concat();
        let folder = self.folder.join(target);
        let mut hash = FnvHasher::default();
        hash.write(&bytes);
        let name = hash.finish();
        let written = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join(format!("seed-{name:016x}")), bytes));
        if let Err(error) = written {
            eprintln!("fuzz-seeds: {}: {error}", folder.display());
            std::process::exit(1);
        }
    }

    /// Gives a small capture file as it is to the reader of captures.
    fn file(&self, path: &Path) {
        if let Ok(bytes) = std::fs::read(path)
            && bytes.len() <= LONGEST
        {
            self.add("capture_file", &[&bytes]);
        }
    }

    /// Gives a frame to every target that it says something to.
    fn frame(&self, frame: &[u8]) {
        let Some((header, payload)) = Header::parse(frame) else { return };
        self.add("frames", &[frame]);
        self.add("forwarder", &[&[0], &step(0, frame), &step(0x40, frame), &step(0xc0, frame)]);
        let answered = [step(4, frame), step(0, frame), step(0x84, frame)].concat();
        self.add("bridge", &[&[0], &step(0, frame), &answered, &step(6, frame)]);
        self.add("bridge", &[&[0b0001_0111], &answered]);
        self.add("text", &[frame]);
        match header.ethertype {
            ethertype::PPPOE_DISCOVERY => {
                self.add("discovery", &[frame]);
                self.add("pppoe", &[&[0, 0], &step(10, &[]), &step(7, frame), &step(0x87, frame)]);
            }
            ethertype::PPPOE_SESSION => {
                self.add("redact", &[frame]);
                let Some(packet) = SessionPacket::parse(payload) else { return };
                self.add("control", &[packet.packet.get(2..).unwrap_or_default()]);
                let (up, injected) = (step(5, &[]), step(6, packet.packet));
                self.add("ppp", &[&[0, 2, 0], &up, &injected, &step(0x86, packet.packet), &up]);
            }
            ethertype::ARP => self.add("arp", &[&step(0, frame), &step(0x10, frame)]),
            ethertype::IPV4 => self.packet(frame, payload),
            ethertype::IPV6 => self.packet6(payload),
            _ => {}
        }
    }

    fn packet6(&self, packet: &[u8]) {
        let Some(view) = Ipv6::parse(packet) else { return };
        if matches!(view.next_header(), HOP_BY_HOP | ICMPV6) {
            // Heard by a router that is told something and asked for an address, on both of its segments.
            let (told, asked) = (step(5, &[9, 1, 1, 60, 90]), step(3, &[2]));
            let (heard, wait) = ([step(0, packet), step(0x80, packet)].concat(), step(6, &[]));
            self.add("ndp", &[&step(4, &[15, 1]), &told, &asked, &heard, &wait.repeat(4), &heard]);
        }
        self.dhcp6(packet);
    }

    fn packet(&self, frame: &[u8], packet: &[u8]) {
        self.add("packets", &[packet]);
        self.add("host", &[&step(1, packet)]);
        self.add("segments", &[&[1, 14, 0, 4, 176, 0, 34, 0, 16], frame]);
        for operation in [1, 0x41, 2, 0x42, 0xc2] {
            self.add("forwarder", &[&[0], &step(operation, packet)]);
        }
        let Some(view) = Ipv4::parse(packet) else { return };
        if view.is_fragment() {
            self.add("fragments", &[&[1], &step(0, packet)]);
        } else {
            self.add("fragments", &[&[0, 2, 36, 1, 200, 1, 2, 3, 0, view.protocol(), 0], view.payload()]);
        }
        let (UDP, Some((&[s0, s1, d0, d1, ..], datagram))) =
            (view.protocol(), view.payload().split_first_chunk::<8>())
        else {
            return;
        };
        let ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
        if ports.contains(&67) {
            self.add("dhcp4", &[&step(0, frame)]);
            self.add("dhcp4_client", &[&[0], &step(6, &[]), &step(0, frame)]);
        }
        if ports.contains(&53) {
            self.add("dns", &[&step(0, datagram), &step(1, datagram)]);
        }
    }

    fn dhcp6(&self, packet: &[u8]) {
        let Some(udp) = Ipv6::parse(packet).and_then(Ipv6::udp) else { return };
        if ![udp.source_port, udp.destination_port].contains(&547) {
            return;
        }
        let Some((&[kind, ..], options)) = udp.payload.split_first_chunk::<4>() else { return };
        self.add("dhcp6_message", &[udp.payload]);
        let wait = step(6, &[]);
        self.add(
            "dhcp6_client",
            &[&[0], &wait, &step(0, packet), &wait, &step(1, options), &step(9, options)],
        );
        self.add(
            "dhcp6_client",
            &[&[1], &step(5, &[2, 3]), &wait, &step(2, options), &wait, &step(1, options)],
        );
        let asked = step(1, &[&[kind.wrapping_sub(1), 0, 31], options].concat());
        self.add("dhcp6_server", &[&[0], &step(7, &[0, 1, 1]), &step(0, packet), &asked, &wait]);
    }
}

/// A step of a script.
fn step(operation: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("a step is short").to_le_bytes();
    [&[operation], &len[..], data].concat()
}

/// Ordinary lives of the machines, as scripts.
fn lives(seeds: &Seeds) {
    for how in [0, 1, 2, 0b0110_0010, 0b0001_1100, 0b0001_0100, 0b0010_0110] {
        for order in [0, 1, 2] {
            // Dial, negotiate, stay online for an hour, be hung up on, dial again.
            let dial = [step(10, &[]), step(5, &[])].concat();
            let keep = [step(10, &100u16.to_le_bytes()), step(5, &[])].concat();
            seeds.add(
                "pppoe",
                &[&[how, order], &dial.repeat(3), &keep.repeat(6), &step(14, b"end"), &dial.repeat(3)],
            );
            let talk = [step(5, &[]), step(0x85, &[])].concat();
            let wait = [step(9, &[]), talk.clone()].concat();
            seeds.add(
                "ppp",
                &[&[how, order, 0x10], &talk.repeat(6), &wait.repeat(6), &step(15 | 0x80, &[]), &talk],
            );
            seeds.add(
                "ppp",
                &[&[how, order, 0], &talk.repeat(6), &step(12, &[]), &talk, &step(14, &[]), &talk.repeat(4)],
            );
        }
    }
    // A client discovers, requests, renews, gives back; another one declines.
    let client = |kind: u8, flags: u8| step(1, &[0, kind, flags, 2, 12, 2, b'p', b'c', 55, 3, 1, 3, 6]);
    seeds.add(
        "dhcp4",
        &[&client(0, 0), &client(2, 4 | 8), &client(2, 2), &client(7, 2), &client(6, 2 | 8), &step(3, &[])],
    );
    seeds.add(
        "dhcp4",
        &[&client(0, 0), &client(2, 4 | 8), &client(3, 4 | 8), &step(3, &[0x70, 0x17]), &client(2, 4)],
    );
    // An address is offered, granted, probed for, extended, refused, used by somebody else, lost.
    let wait = step(6, &[]);
    let contents =
        [6, 8, 203, 0, 113, 2, 203, 0, 113, 3, 26, 2, 5, 0xdc, 58, 4, 0, 0, 0, 60, 59, 4, 0, 0, 0, 90];
    let granted = [wait.clone(), step(1, &contents), step(2, &contents), wait.repeat(5)].concat();
    let (extended, refused, conflict) = (step(2, &[]), step(3, &[]), step(5, &[2, 7, 7, 5]));
    for how in [0, 1, 2, 4 + 128] {
        seeds.add("dhcp4_client", &[&[how], &granted, &wait, &extended, &wait, &refused, &granted]);
        seeds.add("dhcp4_client", &[&[how], &wait, &step(2, &[]), &wait, &conflict, &wait, &granted]);
        seeds.add("dhcp4_client", &[&[how], &granted, &conflict, &conflict, &wait.repeat(20)]);
    }
    // A prefix is offered, requested, renewed with other options, lost; addresses too; a Reconfigure; a redial.
    let dns = [0, 23, 0, 16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53];
    let address = [
        &[0, 3, 0, 40, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 18, 0, 5, 0, 24, 0x20, 1, 0x0d, 0xb8][..],
        &[0; 11],
        &[7, 0, 0, 0, 20, 0, 0, 0, 30],
    ]
    .concat();
    let refusal = [0, 25, 0, 18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 2, 0, 3];
    let key = [&[0, 11, 0, 28, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1][..], &[7; 16]].concat();
    for how in [0, 1, 2, 4, 5, 6] {
        let managed = step(5, &[2, 3]);
        let four = [wait.clone(), step(2 | 16, &dns), wait.clone(), step(1 | 16, &key)].concat();
        let rapid = [wait.clone(), step(1 | 8 | 16, &address)].concat();
        let renewed = [wait.clone(), step(1 | 16, &dns), step(4, &[])].concat();
        let forgotten = [wait.clone(), step(1, &refusal), wait.clone()].concat();
        let woken = step(3, &[0, 19, 0, 1, 5]);
        let lost = wait.repeat(20);
        for life in [&four, &rapid] {
            seeds.add("dhcp6_client", &[&[how], life, &renewed, &forgotten, life, &woken, &lost]);
            seeds.add("dhcp6_client", &[&[how], &managed, life, &step(5, &[3]), &lost, &step(5, &[5]), life]);
            seeds.add("dhcp6_client", &[&[how], &managed, life, &step(5, &[4]), &wait, &step(5, &[0])]);
        }
    }
    // Two clients of a LAN and of a concentrator get, renew, release and decline; a renumbering; a redial.
    let client = |kind: u8, who: u8, flags: u8| step(1, &[&[kind - 1, who, flags], &dns[..]].concat());
    let named = step(1, &[2, 0, 31, 0, 39, 0, 6, 0, 2, b'p', b'c', 0, 0]);
    for how in [0, 1, 2, 30] {
        let open = step(7, &[how, 1, 1]);
        seeds.add(
            "dhcp6_server",
            &[
                &[how],
                &open,
                &client(1, 0, 28),
                &client(3, 0, 29),
                &named,
                &step(7, &[how ^ 6, 1, 1]),
                &client(5, 0, 29),
                &client(6, 0, 28),
                &client(8, 0, 29),
                &client(1, 1, 30),
                &client(9, 1, 29),
                &client(11, 2, 16),
                &wait.repeat(4),
            ],
        );
    }
    // A Reply with everything.
    seeds.add("dhcp6_message", &[&[7, 1, 2, 3], &dns, &address, &refusal, &key]);
    // Somebody is asked for, asks, conflicts.
    seeds.add(
        "arp",
        &[&step(2, &[0, 9]), &step(1, &[1, 0, 5, 9, 1]), &step(1, &[0, 0, 4, 8, 1]), &step(3, &[]).repeat(9)],
    );
    seeds.add("arp", &[&step(1, &[0, 0, 4, 1, 1]), &step(2, &[0, 7]), &step(3, &[]).repeat(9)]);
    // The same over IPv6: the router probes for its addresses and gets them or not; asks, is asked, is claimed; advertises,
    // is solicited, renumbers and stops; learns of a router, prefixes and DNS, which end; and is asked for its groups.
    let (own, wait) = ([step(4, &[7, 7]), step(0x84, &[3, 2])].concat(), step(6, &[]).repeat(4));
    for (kind, source, target) in [(0, 3, 1), (0, 9, 1), (0x21, 3, 3), (0x61, 3, 3), (0x41, 1, 1), (0, 8, 8)]
    {
        let said = step(1, &[kind, source, target, 0, 5]);
        seeds.add("ndp", &[&own, &said, &wait, &step(3, &[3]), &said, &wait, &step(3, &[3]), &wait, &wait]);
    }
    let solicited = [step(1, &[2, 12, 1, 0, 5]), step(1, &[0x82, 9, 1])].concat();
    let (day, gone) = (step(5, &[29, 2, 1, 200, 255, 2, 9, 20]), step(5, &[28, 2, 1, 0, 0, 3, 90, 200]));
    seeds
        .add("ndp", &[&day, &wait, &solicited, &wait, &gone, &wait, &solicited, &step(7, &[2]), &wait, &day]);
    seeds.add("ndp", &[&day, &wait, &step(7, &[2]), &gone, &wait]);
    let prefix =
        [&[3, 4, 64, 0xc0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8][..], &[1; 12]].concat();
    let mut servers = [&[25, 3, 0, 0, 0, 0, 1, 0, 0x20, 1, 0xd, 0xb8][..], &[5; 12]].concat();
    servers.extend(*b"\x1f\x02\0\0\0\0\0\x09\x03net\0\0\0\0");
    for lifetime in [0, 9] {
        let head = [134, 12, 64, 0xc0, lifetime, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0, 0, 5, 0xc0];
        let advertised = step(2, &[&head[..], &prefix, &servers].concat());
        seeds.add(
            "ndp",
            &[&own, &advertised, &step(6, &[9, 0]), &advertised, &wait, &step(6, &[255, 255]), &wait],
        );
    }
    let query = [&[130, 12, 0, 99, 0, 0][..], &[0; 16], &[2, 60, 0, 0]].concat();
    for query in [&query[..], &query[..22]] {
        seeds.add("ndp", &[&own, &wait, &step(2, query), &wait, &step(7, &[3]), &wait]);
    }
    for kind in [0, 1, 2, 0x80, 0x81, 0xba] {
        seeds.add("ndp_encode", &[&[kind, 9]]);
    }
    for count in [1, 9, 63] {
        let prefix = [0xd, 0xb8, 0, 1, 0, 0, 64, 3, 9, 9, 8].repeat(count.into());
        let servers = [0xd, 0xb8, 0, 1, 0, 0, 1].repeat(count.into());
        let domains = [&[8, 0][..], b"net.home"].concat().repeat(count.into());
        let lists =
            [&[0x87, 9, 7, 8, 5, 0][..], &[count], &prefix, &[0, count], &servers, &[count], &domains];
        seeds.add("ndp_encode", &lists);
    }
    // Pings, a datagram to a socket and one to none, a connection in and one out.
    seeds.add(
        "host",
        &[
            &step(2, &[1, 9, 9]),
            &step(2, &[0, 1, 2, 3]),
            &step(2, &[4, 1]),
            &step(6, &[0; 9]),
            &step(5, b"yes"),
        ],
    );
    let syn = [2, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0];
    let ack = |data: &[u8]| step(3, &[&[0x10, 0, 4, 0], data].concat());
    seeds.add(
        "host",
        &[
            &step(2, &syn),
            &ack(b""),
            &ack(b"question"),
            &step(6, &[0; 20]),
            &step(5, b"answer"),
            &ack(b""),
            &step(7, &[0]),
            &ack(b""),
        ],
    );
    seeds.add(
        "host",
        &[
            &step(3, &[0x12, 0, 4, 0]),
            &step(5, b"question"),
            &ack(b"answer"),
            &step(6, &[0; 20]),
            &step(4, &[]).repeat(3),
        ],
    );
    // Flows out and their answers, errors about them, a port forward, a hairpin, fragments, a redial.
    for how in [0, 2, 4, 12] {
        for kind in [0, 3, 6] {
            let out = step(0x43, &[0, 0x14, kind, 100, 53, 9, 0, 2, 1, 2, 3, 4]);
            let fragment =
                step(0x43, &[0, 0x14, kind | 0x80, 100, 53, 9, 0x20, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
            let inward = step(0x03, &[1, 1, kind, 100, 1, 9, 0, 2, 5, 6, 7]);
            let hairpin = step(0x43, &[0, 1, kind, 100, 1, 9, 0, 2, 5, 6, 7]);
            let change = [step(12, &[0, 0]), step(12, &[1, 1])].concat();
            let answers = [step(7, &[]), step(0x17, &[4]), step(10, &[])].concat();
            seeds.add("forwarder", &[&[how], &out, &answers, &inward, &hairpin, &change, &out, &answers]);
            seeds.add(
                "forwarder",
                &[&[how], &fragment, &out, &answers, &step(9, &[1, 2, 0, 99, 1, 2, 3, 4, 5, 6, 7, 8, 9])],
            );
        }
    }
    seeds.add("segments", &[&[0, 5, 180, 200, 0x19, 0x23, 1, 2, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1], &[7; 90]]);
    seeds.add("segments", &[&[1, 4, 0, 9, 0, 0], &[9; 60]]);
    let piece = |more: u8, offset: u8, eighths: u8| step(1, &[0, more, offset, eighths, 0, 0]);
    seeds.add("fragments", &[&[1], &piece(0x20, 0, 4), &piece(0x20, 4, 4), &piece(0, 8, 2), &step(7, &[])]);
    seeds.add("fragments", &[&[1], &piece(0, 8, 2), &piece(0x20, 4, 4), &piece(0x20, 0, 4), &step(7, &[])]);
    // A line of every kind, a power cut, a peer that closes or says nonsense, a station that takes the client's name.
    let outage = [step(7, &[0]), step(5, &500u16.to_le_bytes()), step(7, &[1])].concat();
    let power_cut = [step(7, &[3]), step(5, &[]), step(7, &[3])].concat();
    let poor = [step(7, &[2, 40, 40, 40]), step(5, &2000u16.to_le_bytes())].concat();
    let terminate = [step(2, &[0xc0, 0x21, 5, 1, 0, 4]), step(5, &[])].concat();
    let refusal =
        [step(2, &[0xc2, 0x23, 4, 1, 0, 4]), step(2, &[0x80, 0x21, 1, 9, 0, 10, 3, 6, 0, 0, 0, 0])].concat();
    let claim =
        [8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 3, 9, 192, 168, 1, 20, 2, 0, 0, 0, 1, 1, 192, 168, 1, 1];
    for life in [&[outage, power_cut].concat(), &poor, &terminate, &refusal, &step(0x81, &claim)] {
        // IPv4 alone; both families over one session; over two.
        for kind in 0..3 {
            seeds.add("household", &[&[kind], life]);
        }
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    for entry in std::fs::read_dir(examples).into_iter().flatten().flatten() {
        seeds.add("config", &[&std::fs::read(entry.path()).unwrap_or_default()]);
    }
    for file in WG_QUICK {
        seeds.add("wg_quick", &[file.as_bytes()]);
    }
    wireguard(seeds);
    for kind in 0..4 {
        seeds
            .add("redact", &[&[1, 2, kind, 6, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]]);
    }
}

/// A server's file and a telephone's.
const WG_QUICK: [&str; 2] = [
    "[Interface]\nPrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\nListenPort = 51820\n\
     Address = 10.77.0.1/24, fd00:77::1/64\nMTU = 1420\nTable = off\nFwMark = 0xca6c\nSaveConfig = true\n\
     PreUp = true\nPostUp = iptables -A FORWARD -i %i -j ACCEPT\nPreDown = true\nPostDown = true\n\n\
     # anna\n[Peer]\nPublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n\
     PresharedKey = FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=\nAllowedIPs = 10.77.0.2, fd00:77::2/128\n\
     [Peer] # name: ben\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs =\n",
    "[Interface]\r\nPrivateKey=WG8TkW3h5Wq4S8a3r6rY0Qx1c2d3e4f5g6h7i8j9k1A=\r\nAddress=10.77.0.2/32\r\n\
     DNS=10.77.0.1, home.arpa\r\n[Peer]\r\nPublicKey=hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\r\n\
     AllowedIPs=0.0.0.0/0, ::/0\r\nEndpoint=home.example:51820\r\nPersistentKeepalive=25\r\n",
];

/// Lives of a tunnel: keys and data, data while new keys are agreed upon, a peer that is gone, messages lost, repeated and
/// changed, a clock that goes back.
fn wireguard(seeds: &Seeds) {
    let (send, back, deliver) = (step(6, &[200, 40]), step(0x86, &[200, 40]), step(2, &[]));
    let up = [send.as_slice(), &deliver.repeat(3)].concat();
    let talk = [send.as_slice(), &back, &deliver.repeat(2)].concat();
    let wait = |tenths: u16| step(5, &tenths.to_le_bytes());
    seeds.add("wireguard", &[&[0], &up, &talk.repeat(3)]);
    seeds.add("wireguard", &[&[1], &up, &talk, &wait(1210), &up, &talk]);
    seeds.add("wireguard", &[&[2], &send, &back, &deliver.repeat(8), &talk]);
    seeds.add("wireguard", &[&[0], &send, &step(3, &[]), &step(5, &[]).repeat(20)]);
    seeds.add("wireguard", &[&[0], &up, &wait(1800), &talk, &wait(5400)]);
    let flip = |place: u8| step(1, &[place, 1, 1]);
    let flips = [flip(0), flip(5), flip(20), flip(60), flip(100), flip(120), flip(140)].concat();
    seeds.add("wireguard", &[&[0], &send, &flips, &deliver, &flips, &deliver, &flips, &deliver]);
    seeds.add("wireguard", &[&[0], &up, &step(4, &[]), &talk, &step(4, &[]), &deliver.repeat(3)]);
    seeds.add("wireguard", &[&[0], &up, &step(7, &[0, 0]), &wait(1300), &up, &step(7, &[4]), &up]);
    let first_octets = [(1, 148), (2, 92), (3, 64), (4, 32)];
    for (kind, len) in first_octets {
        let mut message = vec![0; len];
        message[0] = kind;
        seeds.add("wireguard", &[&[0], &step(0, &message), &up, &step(0, &message), &step(0x80, &message)]);
    }
}

/// Every frame that a client and a concentrator say to each other while a session comes up, by each authentication.
fn conversations() -> Vec<Vec<u8>> {
    [Authentication::Pap, Authentication::ChapMd5, Authentication::MsChapV2]
        .into_iter()
        .flat_map(|authentication| conversation(authentication, b"secret"))
        .chain(conversation(Authentication::ChapMd5, b"wrong"))
        .collect()
}

fn conversation(authentication: Authentication, password: &[u8]) -> Vec<Vec<u8>> {
    let (near, far) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let port = |mac| settings::Port { name: "port".into(), mac, mtu: 1508, vlan: None, offload: false };
    let pppoe = settings::PppoeClient {
        username: "alice".into(),
        password: Secret::new(password),
        service_name: vec![],
        ac_name: None,
        host_uniq: None,
        authentication: vec![authentication],
        mtu: 1500,
        echo: Echo::default(),
    };
    let families = settings::Families { ipv4: true, ipv6: true };
    let bras = settings::Concentrator {
        name: "bras".into(),
        port: PortId(0),
        ac_name: "bras1".into(),
        service_names: vec!["gold".into()],
        address: Ipv4Addr::new(100, 64, 0, 1),
        pool: Ipv4Cidr { address: Ipv4Addr::new(100, 64, 0, 0), prefix: 24 },
        prefix_pool: Some(settings::PrefixPool {
            prefix: "2001:db8::/48".parse().expect("a network"),
            delegate: 56,
        }),
        dns: vec![Ipv4Addr::new(192, 0, 2, 53).into()],
        authentication: vec![authentication],
        users: vec![settings::User {
            name: "alice".into(),
            password: Secret::new(*b"secret"),
            ipv4: None,
            prefix: None,
        }],
        mtu: 1500,
        echo: Echo::default(),
        sessions: 4,
        sessions_per_mac: 2,
    };
    let mut rng = SeededRng::from_u64(1);
    let mut now = Instant::from_secs(1);
    let mut client = Client::new(&mut Cx { now, rng: &mut rng }, &pppoe, families, &port(near), None);
    let mut access = Concentrator::new(&mut Cx { now, rng: &mut rng }, &bras, &port(far), SubscriberId(0));
    let mut heard = Vec::new();
    // Whose session it is.
    let mut session = None;
    for second in 0..60 {
        if second == 50 {
            let _ = client.handle(&mut Cx { now, rng: &mut rng }, client::Input::Shutdown);
        }
        let mut frame = Frame::with_capacity(2048);
        loop {
            let cx = &mut Cx { now, rng: &mut rng };
            frame.reset();
            if client.poll_transmit(&mut frame) {
                let bytes = frame.bytes();
                if let Ok(discovery) = DiscoveryFrame::parse(bytes) {
                    let _ = access.handle(cx, concentrator::Input::Discovery(&discovery));
                } else if let (Some(packet), Some(subscriber)) = (session_packet(bytes), session) {
                    let _ = access.handle(cx, concentrator::Input::Ppp { subscriber, packet });
                }
            } else if access.poll_transmit(&mut frame) {
                let bytes = frame.bytes();
                if let Ok(discovery) = DiscoveryFrame::parse(bytes) {
                    let _ = client.handle(cx, client::Input::Discovery(&discovery));
                } else if let (Some(packet), true) = (session_packet(bytes), session.is_some()) {
                    let _ = client.handle(cx, client::Input::Ppp(packet));
                }
            } else {
                break;
            }
            heard.push(frame.bytes().to_vec());
            while client.poll_event().is_some() {}
            while let Some(event) = access.poll_event() {
                if let subscriber::Event::SessionOpened { subscriber, .. } = event {
                    session = Some(subscriber);
                }
            }
        }
        now += Duration::from_secs(1);
        let cx = &mut Cx { now, rng: &mut rng };
        client.handle_timeout(cx);
        access.handle_timeout(cx);
    }
    assert!(session.is_some(), "the two understand each other");
    heard
}

fn session_packet(frame: &[u8]) -> Option<&[u8]> {
    let (header, payload) = Header::parse(frame)?;
    (header.ethertype == ethertype::PPPOE_SESSION).then_some(())?;
    Some(SessionPacket::parse(payload)?.packet)
}
