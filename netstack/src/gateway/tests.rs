//! Control and the Forwarder together: what only the order of their talk can get wrong.

mod adoption;
mod delegation;
mod renumbering;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::Gateway;
use crate::frame::{Batch, Frame};
use crate::id::{Ipv4Cidr, Mac, PortId};
use crate::ledger::DropReason;
use crate::pppoe::DiscoveryFrame;
use crate::secret::Secret;
use crate::settings::{
    Authentication, Concentrator, Dhcp6, Echo, Lan, Port, PppoeClient, Settings, Uplink, User, Vlan, Wan,
};
use crate::state::State;
use crate::time::{Duration, Instant};
use crate::wire::pppoe::{Code, DiscoveryWriter, tag};

const LINE: PortId = PortId(0);
const OURS: Mac = Mac([2, 0, 0, 0, 0, 0]);
const BRAS: Mac = Mac([2, 0, 0, 0, 9, 0]);

fn port(mac: Mac) -> Port {
    Port { name: String::from("port"), mac, mtu: 1500, vlan: None, offload: false }
}

pub(super) fn wan(name: &str) -> Wan {
    Wan {
        name: name.into(),
        port: LINE,
        uplink: Uplink::Pppoe(PppoeClient {
            username: "alice".into(),
            password: Secret::new("right"),
            service_name: vec![],
            ac_name: None,
            host_uniq: None,
            authentication: vec![Authentication::ChapMd5],
            mtu: 1492,
            echo: Echo::default(),
        }),
        ipv4: true,
        ipv6: None,
    }
}

fn client(wans: &[&str]) -> Settings {
    Settings {
        ports: vec![port(OURS)],
        wans: wans.iter().map(|name| wan(name)).collect(),
        ..Settings::default()
    }
}

pub(super) fn isp() -> Settings {
    Settings {
        ports: vec![port(BRAS)],
        concentrators: vec![Concentrator {
            name: "bras".into(),
            port: LINE,
            ac_name: "bras1".into(),
            service_names: vec![],
            address: [100, 64, 0, 1].into(),
            pool: Ipv4Cidr { address: [100, 64, 0, 0].into(), prefix: 16 },
            prefix_pool: None,
            dns: vec![],
            authentication: vec![Authentication::ChapMd5],
            users: vec![User {
                name: "alice".into(),
                password: Secret::new("right"),
                ipv4: None,
                prefix: None,
            }],
            mtu: 1492,
            echo: Echo::default(),
            sessions: 100,
            sessions_per_mac: 4,
        }],
        ..Settings::default()
    }
}

/// A gateway in virtual time.
struct Node {
    gateway: Gateway,
    now: Instant,
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.gateway.balance().holds());
        }
    }
}

impl Node {
    fn new(settings: &Settings) -> Node {
        let now = Instant::from_secs(1000);
        Node { gateway: Gateway::new(settings, &State::default(), [7; 32], now), now }
    }

    /// Lets time pass until `at`, with every deadline on the way.
    fn run_until(&mut self, at: Instant) {
        while let Some(due) = self.gateway.poll_timeout().filter(|&due| due <= at) {
            self.now = self.now.max(due) + Duration::from_nanos(1);
            self.gateway.handle_timeout(self.now);
        }
        self.now = at;
    }

    fn pass(&mut self, seconds: u64) {
        self.run_until(self.now + Duration::from_secs(seconds));
    }

    /// All these frames come in one batch.
    fn receive(&mut self, port: PortId, frames: impl IntoIterator<Item = Vec<u8>>) {
        let mut batch: Batch = frames.into_iter().map(|bytes| Frame::from_bytes(&bytes)).collect();
        self.gateway.receive(self.now, port, &mut batch);
    }

    fn sent(&mut self, port: PortId) -> Vec<Vec<u8>> {
        let (batch, _) = self.gateway.outgoing(port).unwrap();
        batch.drain(..).map(|frame| frame.bytes().to_vec()).collect()
    }

    /// The sessions of the uplinks, in their order.
    fn sessions(&self) -> Vec<Option<u16>> {
        self.gateway.status(self.now).wans.iter().map(|wan| wan.session_id).collect()
    }
}

/// The Host-Uniqs of the discovery packets of this kind among `frames`, each once.
fn marks(frames: &[Vec<u8>], code: Code) -> Vec<Vec<u8>> {
    let mark = |frame: &Vec<u8>| {
        let frame = DiscoveryFrame::parse(frame).ok().filter(|frame| frame.packet.code == code)?;
        Some(frame.packet.find(tag::HOST_UNIQ).unwrap_or_default().to_vec())
    };
    let mut marks: Vec<_> = frames.iter().filter_map(mark).collect();
    marks.sort();
    marks.dedup();
    marks
}

/// What a concentrator says to the client that bears `mark`.
fn answer(code: Code, session: u16, mark: &[u8]) -> Vec<u8> {
    let mut frame = Frame::with_capacity(2048);
    let writer = DiscoveryWriter::begin(&mut frame, BRAS, OURS, code, session)
        .tag(tag::SERVICE_NAME, b"")
        .tag(tag::HOST_UNIQ, mark);
    let writer = if code == Code::Pado { writer.tag(tag::AC_NAME, b"bras") } else { writer };
    assert!(writer.finish());
    frame.bytes().to_vec()
}

/// Grants `session` to the uplink that bears `mark` and is asking for one.
fn grant(node: &mut Node, mark: &[u8], session: u16) {
    node.receive(LINE, [answer(Code::Pado, 0, mark)]);
    assert_eq!(marks(&node.sent(LINE), Code::Padr), [mark]);
    node.receive(LINE, [answer(Code::Pads, session, mark)]);
}

/// A concentrator begins LCP right behind the PADS, and a card hands both over at once.
#[test]
fn rfc2516_what_comes_with_the_pads_in_one_batch_is_not_lost() {
    let (mut ours, mut isp) = (Node::new(&client(&["isp"])), Node::new(&isp()));
    ours.pass(1);
    isp.now = ours.now;
    for _ in 0..20 {
        let frames = ours.sent(LINE);
        isp.receive(LINE, frames);
        let frames = isp.sent(LINE);
        ours.receive(LINE, frames);
    }
    assert_eq!(ours.gateway.ledger().dropped(DropReason::PppoeUnknownSession), 0);
    assert!(ours.gateway.status(ours.now).wans[0].up, "without waiting for a timer");
}

/// A concentrator that has restarted numbers its sessions from the start. The number that one uplink still believes in
/// is another's now, and must not be ended.
#[test]
fn rfc2516_a_number_given_to_another_uplink_is_not_ended_by_the_one_that_had_it() {
    for order in [[0, 1], [1, 0]] {
        let mut node = Node::new(&client(&["first", "second"]));
        node.pass(1);
        let padis = marks(&node.sent(LINE), Code::Padi);
        assert_eq!(padis.len(), 2);
        grant(&mut node, &padis[order[0]], 5);
        let before = node.sessions();
        grant(&mut node, &padis[order[1]], 5);
        let mut after = node.sessions();
        after.reverse();
        assert!(before == [Some(5), None] || before == [None, Some(5)], "{before:?}");
        assert_eq!(after, before, "it has gone from the one to the other");
        node.pass(5);
        assert!(marks(&node.sent(LINE), Code::Padt).is_empty());
    }
}

/// The same when the first uplink has noticed already, and would remind the concentrator.
#[test]
fn rfc2516_a_number_given_to_another_uplink_is_not_reminded_of() {
    let mut node = Node::new(&client(&["first", "second"]));
    node.pass(1);
    let padis = marks(&node.sent(LINE), Code::Padi);
    grant(&mut node, &padis[0], 5);
    let mut padis = Vec::new();
    // Nobody answers LCP.
    while marks(&padis, Code::Padt).is_empty() {
        node.pass(1);
        padis.extend(node.sent(LINE));
    }
    assert_eq!(node.sessions(), [None, None]);
    let second = marks(&padis, Code::Padi)[0].clone();
    grant(&mut node, &second, 5);
    node.pass(20);
    assert!(marks(&node.sent(LINE), Code::Padt).is_empty());
}

const A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const B: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);

fn two_lans() -> Settings {
    let mac = |n| Mac([2, 0, 0, 0, 0, n]);
    let lan = |name: &str, port: u16, third: u8| Lan {
        name: name.into(),
        ports: vec![PortId(port)],
        address: Ipv4Cidr { address: [192, 168, third, 1].into(), prefix: 24 },
        dhcp: None,
        prefix: None,
        dhcp6: Dhcp6::Off,
        domain: String::from("home.arpa"),
        hosts: vec![],
    };
    Settings {
        ports: vec![port(mac(0)), port(mac(1))],
        lans: vec![lan("home", 0, 1), lan("guest", 1, 2)],
        ..Settings::default()
    }
}

/// An ARP request by the host `from` for the router, and a packet from A to B.
fn ask(to: Mac, from: Ipv4Addr, router: [u8; 4]) -> Vec<u8> {
    let [.., last] = from.octets();
    let sender = [0x52, 0x54, 0, 0, 0, last];
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let parts: [&[u8]; 8] = [&to.0, &sender, &[8, 6], &head, &sender, &from.octets(), &[0; 6], &router];
    parts.concat()
}

/// ARP still knows a station that the Forwarder has forgotten: its answer comes at once, and with nothing to send.
#[test]
fn a_packet_does_not_wait_for_an_answer_that_is_there() {
    let mut node = Node::new(&two_lans());
    node.receive(PortId(1), [ask(Mac([2, 0, 0, 0, 0, 1]), B, [192, 168, 2, 1])]);
    node.pass(1300);
    // Its station is heard of again, which is no news to ARP.
    node.receive(PortId(1), [ask(Mac([2, 0, 0, 0, 0, 1]), B, [192, 168, 2, 1])]);
    node.sent(PortId(1));
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(A.octets());
    packet.extend(B.octets());
    packet.extend([0, 9, 0, 9, 0, 8, 0, 0]);
    crate::wire::ipv4::write_header_checksum(&mut packet, 20);
    let ethernet = [&[2, 0, 0, 0, 0, 0, 0x52, 0x54, 0, 0, 0, 10, 8, 0][..], &packet].concat();
    node.receive(PortId(0), [ethernet]);
    let sent = node.sent(PortId(1));
    assert!(sent.iter().any(|frame| frame[12..14] == [8, 0]), "{sent:?}");
}

/// What a gateway with this VLAN and an ISP with that one have said to each other, and whether the session is up.
fn over_vlans(ours: Option<Vlan>, theirs: Option<Vlan>) -> (Vec<Vec<u8>>, bool) {
    let (mut client, mut isp) = (client(&["isp"]), isp());
    client.ports[0].vlan = ours;
    isp.ports[0].vlan = theirs;
    let (mut ours, mut isp) = (Node::new(&client), Node::new(&isp));
    let mut said = Vec::new();
    for _ in 0..5 {
        ours.pass(1);
        isp.pass(1);
        for _ in 0..20 {
            let frames = ours.sent(LINE);
            said.extend(frames.clone());
            isp.receive(LINE, frames);
            let frames = isp.sent(LINE);
            said.extend(frames.clone());
            ours.receive(LINE, frames);
        }
    }
    let up = ours.gateway.status(ours.now).wans[0].up;
    (said, up)
}

/// Lesson 5: ISPs that want a VLAN priority on what keeps the session.
#[test]
fn a_session_comes_up_in_a_vlan_and_its_control_frames_bear_the_priority() {
    let vlan = |id, control_priority| Some(Vlan { id, control_priority });
    let (said, up) = over_vlans(vlan(6, 6), vlan(6, 6));
    assert!(up);
    assert!(said.len() > 10, "discovery, LCP, CHAP and IPCP of both");
    assert!(said.iter().all(|frame| frame[12..16] == [0x81, 0, 0xc0, 6]), "{said:02x?}");
    let (said, up) = over_vlans(vlan(6, 0), vlan(6, 7));
    assert!(up, "any priority comes in");
    let tags: alloc::collections::BTreeSet<_> = said.iter().map(|frame| frame[12..16].to_vec()).collect();
    assert_eq!(tags, [vec![0x81, 0, 0, 6], vec![0x81, 0, 0xe0, 6]].into());
    for (ours, theirs) in [(vlan(6, 6), vlan(7, 6)), (vlan(6, 6), None), (None, vlan(6, 6))] {
        assert!(!over_vlans(ours, theirs).1, "{ours:?} and {theirs:?}");
    }
}
