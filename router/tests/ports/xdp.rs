//! The miss path by AF_XDP: the kernel half on a veth whose sender completes its checksums.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use genkan::fastpath::layout::{self, NO_LINK};
use genkan::fastpath::load::{Kernel, Options, Sizes};
use genkan::port::Miss;

use super::*;

/// The number of the receiving port.
const NUMBER: u16 = 3;
const SIZES: Sizes =
    Sizes { flows4: 1024, flows6: 1024, links: 16, adjacencies: 64, sessions: 16, samples: 1 << 16 };

/// A wire whose far end is a port with the kernel half and AF_XDP sockets.
struct Wire {
    left: Namespace,
    right: Namespace,
    state: Directory,
    sender: Port,
    receiver: Port,
    kernel: Kernel,
    pool: Pool,
}

impl Wire {
    fn new(name: &str, queues: u32) -> Wire {
        let [left, right] = ["left", "right"].map(|n| Namespace::new(&format!("{name}-{n}")));
        let queues = format!("numtxqueues {queues} numrxqueues {queues}");
        left.sh(&format!("ip link add l0 {queues} type veth peer name r0 netns {} {queues}", right.0));
        // With a queue in front, the sender waits for a receiver that is behind.
        left.sh("ip link set l0 up; tc qdisc add dev l0 root pfifo limit 20000");
        right.sh("ip link set r0 up");
        let state = Directory::new(name);
        let (sender, mut receiver) = (left.open(&nic("l0", &state)), right.open(&nic("r0", &state)));
        let options = Options { seed: [1, 2], sample_mask: u32::MAX };
        let kernel = right.run(|| {
            let (mut kernel, _) = Kernel::load(&SIZES, &options, None).unwrap();
            let ifindex = receiver.index().cast_unsigned();
            let record = layout::Port { ifindex, number: NUMBER, link: NO_LINK, ..layout::Port::default() };
            kernel.set_port(&record).unwrap();
            assert_eq!(kernel.attach(NUMBER, &mut receiver, Entry::Xdp).entry, Entry::Xdp);
            kernel
        });
        let mut wire = Wire { left, right, state, sender, receiver, kernel, pool: Pool::default() };
        wire.open();
        wire
    }

    /// Opens the receiver's sockets, which a veth does not get by itself, and shows them to the kernel half.
    fn open(&mut self) {
        let receiver = &mut self.receiver;
        let count = self.right.run(|| receiver.open_xdp_sockets()).unwrap();
        assert_eq!(receiver.xdp_sockets().count(), count);
        for (queue, socket) in (0..).zip(receiver.xdp_sockets()) {
            self.kernel.set_socket(NUMBER, queue, socket).unwrap();
        }
        // What a namespace sends when a card comes up is not part of any test.
        self.received();
    }

    fn send(&mut self, frames: impl IntoIterator<Item = Frame>) {
        send(&mut self.sender, frames);
    }

    /// What waits at the receiver, but what the left namespace says for itself.
    fn received(&mut self) -> Vec<Vec<u8>> {
        let mut batch = Batch::new();
        while self.receiver.receive(&mut batch, &mut self.pool, 64).unwrap() > 0 {}
        let frames = batch.iter().map(|frame| frame.bytes().to_vec()).collect();
        batch.drain(..).for_each(|frame| self.pool.give(frame));
        frames
    }

    /// Frames that the kernel half has looked at.
    fn seen(&self) -> u64 {
        self.kernel.verdicts().unwrap().iter().sum()
    }
}

/// A frame of `len` octets of an experimental ethertype, told from others by its number.
fn numbered(number: usize, len: usize) -> Frame {
    let payload: Vec<u8> =
        (number as u32).to_be_bytes().into_iter().chain((4..len - 14).map(pattern)).collect();
    ethernet(0x88b5, &payload)
}

fn number_of(frame: &[u8]) -> Option<usize> {
    let number = u32::from_be_bytes(*frame.get(14..)?.first_chunk()?);
    (frame.get(12..14)? == [0x88, 0xb5]).then_some(number as usize)
}

#[test]
fn frames_of_every_length_come_whole_and_in_order_while_the_rings_go_round() {
    let mut wire = Wire::new("xdp-rings", 1);
    let (before, mut next) = (wire.seen(), 0);
    // Each length five times: more frames than a ring has entries.
    for round in 0..5 {
        for lengths in (60..=1514).collect::<Vec<_>>().chunks(100) {
            let first = next;
            wire.send(lengths.iter().enumerate().map(|(at, len)| numbered(first + at, *len)));
            let got = wire.received();
            let sent: Vec<_> = lengths
                .iter()
                .enumerate()
                .map(|(at, len)| numbered(first + at, *len).bytes().to_vec())
                .collect();
            assert!(got == sent, "round {round}, lengths from {}: {} came", lengths[0], got.len());
            next += lengths.len();
        }
    }
    let stats = wire.receiver.stats();
    assert!(next > 7000 && stats.rx >= next as u64, "{stats:?}");
    assert_eq!((stats.rx_dropped, stats.rx_kernel_drops), (0, 0));
    assert!(wire.seen() - before >= next as u64, "they went by the kernel half");
}

#[test]
fn a_flood_is_cut_and_counted_and_costs_no_room_for_later_frames() {
    let mut wire = Wire::new("xdp-flood", 1);
    for round in 1..=3 {
        let before = wire.receiver.stats().rx_kernel_drops;
        wire.send((0..10_000).map(|number| numbered(number, 200)));
        let got = wire.received();
        let lost = wire.receiver.stats().rx_kernel_drops - before;
        assert_eq!((got.len() as u64, got.len() as u64 + lost), (4096, 10_000), "round {round}");
        let numbers: Vec<_> = got.iter().filter_map(|frame| number_of(frame)).collect();
        assert_eq!(numbers, (0..4096).collect::<Vec<_>>(), "the first ones, in order");
    }
}

/// Lesson: echoes lost under load. Control does not come by the sockets that data fills.
#[test]
fn every_echo_arrives_while_data_floods_the_sockets() {
    let mut wire = Wire::new("xdp-echo", 1);
    let session = |payload: &[u8]| ethernet(0x8864, &[&[0x11, 0, 0, 1, 0, 62][..], payload].concat());
    let data = session(&[&[0, 0x21][..], &[0; 60]].concat());
    for echo in 0..200u8 {
        let echo = session(&[&[0xc0, 0x21, 9, echo, 0, 60][..], &[0; 56]].concat());
        wire.send(std::iter::repeat_n(data.clone(), 100).chain([echo]));
    }
    assert!(wire.receiver.stats().rx_kernel_drops > 10_000, "{:?}", wire.receiver.stats());
    let mut batch = Batch::new();
    let mut echoes = Vec::new();
    let mut frames = 0;
    while wire.receiver.receive(&mut batch, &mut wire.pool, 64).unwrap() > 0 {
        let control =
            batch.iter().take_while(|frame| frame.bytes().get(20..22) == Some(&[0xc0, 0x21])).count();
        echoes.extend(batch.iter().take(control).map(|frame| frame.bytes()[23]));
        assert!(batch.iter().skip(control).all(|frame| frame.bytes() == data.bytes()), "control comes first");
        frames += batch.len();
        batch.drain(..).for_each(|frame| wire.pool.give(frame));
    }
    assert_eq!(echoes, (0..200).collect::<Vec<_>>());
    assert_eq!(frames, 200 + 4096);
}

#[test]
fn each_queue_has_its_socket_and_none_silences_another() {
    let mut wire = Wire::new("xdp-queues", 4);
    assert_eq!(wire.receiver.xdp_sockets().count(), 4);
    // The sender's queue, which is the receiver's, follows from the flow.
    let flow = |number: usize| {
        let mut packet = [0; 46];
        packet[0] = 0x45;
        (packet[8], packet[9]) = (64, 17);
        packet[2..4].copy_from_slice(&46u16.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 0, (number >> 8) as u8, number as u8, 10, 9, 9, 9]);
        packet[28..32].copy_from_slice(&(number as u32).to_be_bytes());
        ethernet(0x0800, &packet)
    };
    wire.send((0..1000).map(flow));
    let wanted: BTreeSet<_> = (0..1000).map(|number| flow(number).bytes().to_vec()).collect();
    let mut batch = Batch::new();
    assert_eq!(wire.receiver.receive(&mut batch, &mut wire.pool, 5).unwrap(), 5, "never more than asked for");
    let mut got: BTreeSet<_> = batch.iter().map(|frame| frame.bytes().to_vec()).collect();
    got.extend(wire.received());
    assert!(got == wanted, "{} of 1000 came", got.len());
}

#[test]
fn sockets_can_be_closed_and_opened_again_and_without_them_the_packet_socket_receives() {
    let mut wire = Wire::new("xdp-again", 2);
    for round in 0..5 {
        wire.send((0..50).map(|number| numbered(number, 100)));
        assert_eq!(wire.received().len(), 50, "round {round}");
        // A port that is closed takes its sockets out of the map.
        let spec = nic("r0", &wire.state);
        let unused = wire.right.open(&tap("tap0", true, &wire.state));
        drop(std::mem::replace(&mut wire.receiver, unused));
        wire.receiver = wire.right.open(&spec);
        assert_eq!(wire.receiver.xdp_sockets().count(), 0);
        wire.received();
        wire.send((0..50).map(|number| numbered(number, 100)));
        assert_eq!(wire.received().len(), 50, "round {round}, by the packet socket");
        wire.open();
    }
}

#[test]
fn the_ports_descriptor_tells_of_frames_in_any_of_its_sockets() {
    let mut wire = Wire::new("xdp-ready", 1);
    let epoll = Epoll::new().unwrap();
    epoll.add(wire.receiver.fd(), 1).unwrap();
    let mut ready = Vec::new();
    for number in 0..3 {
        wire.received();
        epoll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
        wire.send([numbered(number, 60)]);
        epoll.wait(&mut ready, Some(Duration::from_secs(5))).unwrap();
        assert_eq!(ready, [1]);
        assert_eq!(wire.received().len(), 1);
    }
}

/// What the host behind a veth sends has the sum of a pseudo-header where the checksum belongs, and only a packet socket is
/// told so.
#[test]
fn a_veth_that_leaves_checksums_undone_gets_no_sockets_of_its_own_accord() {
    let mut wire = Wire::new("xdp-partial", 1);
    let Some(Miss::PacketSocket(reason)) = wire.kernel.miss(NUMBER) else {
        panic!("{:?}", wire.kernel.miss(NUMBER))
    };
    assert!(reason.contains("r0 is a veth") && reason.contains("checksums"), "{reason}");
    let mut tap = wire.left.open(&tap("tap0", true, &wire.state));
    assert_eq!(tap.choose_miss(), Miss::PacketSocket("tap0 is not a network card".into()));

    // The host at the far end has its card back.
    wire.sender = tap;
    wire.left.sh(
        "ip addr add 10.0.0.1/24 dev l0; ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:09 dev l0 nud permanent",
    );
    let socket = wire.left.run(|| UdpSocket::bind("10.0.0.1:4000").unwrap());
    let is_complete = |wire: &mut Wire| {
        socket.send_to(&[7; 100], "10.0.0.2:4001").unwrap();
        let frames = wire.received();
        let udp = frames
            .iter()
            .find(|frame| frame.get(36..38) == Some(&4001u16.to_be_bytes()))
            .expect("it arrives");
        // The segment behind a pseudo-header of two addresses, the protocol and the length.
        let octets = [&udp[26..34], &[0, 17, 0, 108][..], &udp[34..]].concat();
        let sum: u32 = octets.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        (sum & 0xffff) + (sum >> 16) == 0xffff
    };
    assert!(!is_complete(&mut wire));
    wire.left.sh("ethtool -K l0 tx off");
    assert!(is_complete(&mut wire));
}
