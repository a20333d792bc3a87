//! NAT of TCP: RFC 5382, and the state machine of RFC 7857.

use core::net::Ipv4Addr;

use super::net::*;
use super::packet::{ACK, FIN, Packet, RST, SYN};
use crate::ledger::DropReason;
use crate::settings::{Filtering, Transport};

const CLIENT: (Ipv4Addr, u16) = (HOST, 5000);
const WEB: (Ipv4Addr, u16) = (SERVER, 80);

impl Net {
    fn out(&mut self, flags: u8) -> bool {
        !self.lan(Packet::tcp(CLIENT, WEB, flags, b"")).0.is_empty()
    }

    fn back(&mut self, external: (Ipv4Addr, u16), flags: u8) -> bool {
        !self.wan(Packet::tcp(WEB, external, flags, b"")).0.is_empty()
    }

    #[track_caller]
    fn syn(&mut self) -> (Ipv4Addr, u16) {
        self.lan(Packet::tcp(CLIENT, WEB, SYN, b"")).only(At::ISP).source
    }

    #[track_caller]
    fn establish(&mut self) -> (Ipv4Addr, u16) {
        let external = self.syn();
        assert!(self.back(external, SYN | ACK) && self.out(ACK));
        external
    }

    fn alive(&self) -> bool {
        self.forwarder.flow_count() == 1
    }
}

#[test]
fn rfc5382_req_1_rfc5382_req_7_mapping_is_endpoint_independent_and_not_shared() {
    let mut net = Net::new();
    let external = net.syn();
    let read = net.lan(Packet::tcp(CLIENT, (SERVER_2, 81), SYN, b"")).only(At::ISP);
    assert_eq!(read.source, external);
    let read = net.lan(Packet::tcp((HOST_2, 5000), WEB, SYN, b"")).only(At::ISP);
    assert_ne!(read.source, external);
}

#[test]
fn rfc5382_req_2_simultaneous_open() {
    let mut net = Net::new();
    let external = net.syn();
    assert!(net.back(external, SYN), "the peer's SYN crosses ours");
    assert!(net.out(SYN | ACK) && net.back(external, SYN | ACK) && net.out(ACK) && net.back(external, ACK));
    net.pass(2 * 3600);
    assert!(net.alive(), "established");
}

#[test]
fn rfc5382_req_2_a_port_forward_opens_from_outside() {
    let mut net = Net::with(with_forward(Transport::Tcp, 8443, HOST, 443));
    let (peer, external) = ((SERVER, 999), (OURS, 8443));
    let read = net.wan(Packet::tcp(peer, external, SYN, b"")).only(At::Station(HOST));
    assert_eq!(read.destination, (HOST, 443));
    let read = net.lan(Packet::tcp((HOST, 443), peer, SYN | ACK, b"")).only(At::ISP);
    assert_eq!(read.source, external);
    net.wan(Packet::tcp(peer, external, ACK, b"GET")).only(At::Station(HOST));
    net.lan(Packet::tcp((HOST, 443), peer, ACK, b"")).only(At::ISP);
    net.pass(7400);
    assert!(net.alive());
}

#[test]
fn rfc5382_req_3_filtering_is_that_of_udp() {
    for (filtering, port, host) in [
        (Filtering::EndpointIndependent, true, true),
        (Filtering::AddressDependent, true, false),
        (Filtering::AddressAndPortDependent, false, false),
    ] {
        let mut net = Net::with(with_filtering(filtering));
        let external = net.syn();
        let mut open = |from| !net.wan(Packet::tcp(from, external, SYN, b"")).0.is_empty();
        assert_eq!((open((SERVER, 81)), open((SERVER_2, 80))), (port, host), "{filtering:?}");
    }
}

#[test]
fn rfc5382_req_4_an_unsolicited_syn_meets_silence() {
    let mut net = Net::new();
    let external = net.syn();
    net.wan(Packet::tcp((SERVER_2, 80), external, SYN, b"")).nothing();
    net.wan(Packet::tcp((SERVER_2, 80), (OURS, 9), SYN, b"")).nothing();
    net.pass(10).nothing();
    // And when the inside then opens to that peer, it is the same connection.
    net.lan(Packet::tcp(CLIENT, (SERVER_2, 80), SYN, b"")).only(At::ISP);
    net.wan(Packet::tcp((SERVER_2, 80), external, SYN, b"")).only(At::Station(HOST));
}

#[test]
fn rfc5382_req_5_established_lives_2_h_4_min_and_opening_4_min() {
    let mut net = Net::new();
    let external = net.establish();
    net.pass(7440);
    assert!(net.alive() && net.back(external, ACK), "inbound passes, but alone does not refresh");
    net.pass(2);
    assert!(!net.alive() && !net.back(external, ACK));
    for answered in [false, true] {
        let mut net = Net::new();
        let external = net.syn();
        if answered {
            net.back(external, SYN | ACK);
        }
        net.pass(240);
        assert!(net.alive());
        net.pass(2);
        assert!(!net.alive(), "a handshake that is not finished is transitory");
    }
}

#[test]
fn rfc7857_req_2_closing_takes_both_ends_and_then_4_min() {
    for outside_first in [false, true] {
        let mut net = Net::new();
        let external = net.establish();
        if outside_first {
            assert!(net.back(external, FIN | ACK) && net.out(ACK));
        } else {
            assert!(net.out(FIN | ACK) && net.back(external, ACK));
        }
        net.pass(7000);
        assert!(net.alive(), "half closed is still established");
        if outside_first {
            assert!(net.out(FIN | ACK) && net.back(external, ACK));
        } else {
            assert!(net.back(external, FIN | ACK) && net.out(ACK));
        }
        net.pass(200);
        assert!(net.out(ACK), "still translated");
        net.pass(42);
        assert!(!net.alive(), "and not refreshed");
    }
}

#[test]
fn rfc7857_req_2_1_open_and_close_timers_are_apart() {
    let mut settings = settings();
    settings.nat.timeouts.tcp_closing = crate::time::Duration::from_secs(1000);
    let mut net = Net::with(settings);
    net.syn();
    net.pass(242);
    assert!(!net.alive());
    let external = net.establish();
    net.out(FIN | ACK);
    net.back(external, FIN | ACK);
    net.pass(1000);
    assert!(net.alive());
    net.pass(2);
    assert!(!net.alive());
}

#[test]
fn rfc7857_req_2_2_rst_is_translated_and_state_kept_4_min() {
    for inbound in [false, true] {
        let mut net = Net::new();
        let external = net.establish();
        assert!(if inbound { net.back(external, RST) } else { net.out(RST) });
        net.pass(200);
        assert!(net.alive());
        // RFC 7857 §7: a further RST gives no new lease.
        assert!(net.back(external, RST) && net.out(RST));
        net.pass(42);
        assert!(!net.alive());
    }
}

#[test]
fn rfc7857_req_2_2_a_forged_rst_does_not_end_a_connection_in_use() {
    let mut net = Net::new();
    let external = net.establish();
    assert!(net.back(external, RST) && net.out(ACK));
    net.pass(7000);
    assert!(net.alive());
}

#[test]
fn rfc7857_req_7_neither_inbound_nor_rst_refreshes() {
    let mut net = Net::new();
    let external = net.establish();
    for _ in 0..7 {
        net.pass(1000);
        assert!(net.back(external, ACK));
    }
    net.pass(442);
    assert!(!net.alive());
}

#[test]
fn ports_that_are_used_again_begin_anew() {
    let mut net = Net::new();
    let external = net.establish();
    net.out(FIN | ACK);
    net.back(external, FIN | ACK);
    assert_eq!(net.establish(), external);
    net.pass(7000);
    assert!(net.alive());
}

#[test]
fn rfc5382_req_8_hairpin() {
    let mut net = Net::with(with_forward(Transport::Tcp, 8443, HOST_2, 443));
    let read = net.lan(Packet::tcp(CLIENT, (OURS, 8443), SYN, b"")).only(At::Station(HOST_2));
    assert_eq!((read.source.0, read.destination), (OURS, (HOST_2, 443)));
    let external = read.source;
    let read = net.lan(Packet::tcp((HOST_2, 443), external, SYN | ACK, b"")).only(At::Station(HOST));
    assert_eq!((read.source, read.destination), ((OURS, 8443), CLIENT));
    net.lan(Packet::tcp(CLIENT, (OURS, 8443), ACK, b"")).only(At::Station(HOST_2));
    net.pass(7000);
    assert!(net.alive());
}

#[test]
fn a_segment_without_a_connection_is_reset_towards_the_lan_and_silent_outside() {
    let mut net = Net::new();
    let read = net.lan(Packet::tcp(CLIENT, WEB, ACK, b"old")).only(At::Station(HOST));
    assert_eq!((read.source, read.destination, read.tcp_flags & RST), (WEB, CLIENT, RST));
    assert!(!net.out(RST), "a reset is never answered");
    net.wan(Packet::tcp(WEB, (OURS, 5000), ACK, b"")).nothing();
    net.wan(Packet::tcp(WEB, (OURS, 5000), SYN | ACK, b"")).nothing();
    assert_eq!(net.dropped(DropReason::TcpNoFlow), 4);
}

#[test]
fn the_mss_of_a_syn_is_clamped_both_ways() {
    let mut net = Net::new();
    let mss = |mss: u16| [2, 4, (mss >> 8) as u8, mss as u8, 1, 3, 3, 7];
    let syn = Packet::tcp_options(CLIENT, WEB, SYN, &mss(1460), b"");
    let read = net.lan(syn).only(At::ISP);
    assert_eq!(read.body()[20..24], mss(1452)[..4]);
    let answer = Packet::tcp_options(WEB, read.source, SYN | ACK, &mss(8960), b"");
    let read = net.wan(answer).only(At::Station(HOST));
    assert_eq!(read.body()[20..28], mss(1452));
    let small = Packet::tcp_options((HOST, 1), WEB, SYN, &mss(536), b"");
    assert_eq!(net.lan(small).only(At::ISP).body()[20..24], mss(536)[..4]);
    let local = Packet::tcp_options((HOST, 1), (VISITOR, 2), SYN, &mss(1460), b"");
    assert_eq!(net.lan(local).only(At::Station(VISITOR)).body()[20..24], mss(1460)[..4]);
}
