//! NAT of UDP: RFC 4787.

use super::net::*;
use super::packet::Packet;

#[test]
fn rfc4787_req_1_mapping_is_endpoint_independent() {
    let mut net = Net::new();
    let first = net.map_udp((HOST, 5000), (SERVER, 53));
    assert_eq!(first.0, OURS);
    assert_eq!(net.map_udp((HOST, 5000), (SERVER_2, 123)), first);
    assert_ne!(net.map_udp((HOST_2, 5000), (SERVER, 53)), first);
    let read = net.wan(Packet::udp((SERVER, 53), first, b"back")).only(At::Station(HOST));
    assert_eq!((read.source, read.destination, read.payload()), ((SERVER, 53), (HOST, 5000), &b"back"[..]));
    assert_eq!(read.ttl, 63);
}
