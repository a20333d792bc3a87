//! The lab with IPv6: both uplinks have a prefix delegated, both LANs one of each site-local and global, and the subscribers
//! have theirs, which the second uplink delegates too.

use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use super::packet::{Packet6, Read6};
use crate::forward::tests::net::{
    ALICE, BOB, GUEST, GUEST_PORT, HOME, ISP, ISP_2, LAN_PORT, Net, peer_of, port_mac, settings,
};
use crate::forward::{LanIpv6, NextHop, SessionOwner, SubscriberIpv6, Update, WanIpv6};
use crate::frame::{Frame, HEADROOM, Offload};
use crate::id::{Interface, Ipv6Cidr, Mac, PortId, SubscriberId, WanId};
use crate::settings::Settings;

pub fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

pub fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn host() -> Ipv6Addr {
    ip6("2001:db8:1:1::10")
}
pub fn host_2() -> Ipv6Addr {
    ip6("2001:db8:1:1::11")
}
pub fn host_ula() -> Ipv6Addr {
    ip6("fd00:1:1:1::10")
}
pub fn visitor() -> Ipv6Addr {
    ip6("2001:db8:1:2::10")
}
pub fn router() -> Ipv6Addr {
    ip6("2001:db8:1:1::1")
}
pub fn router_local() -> Ipv6Addr {
    ip6("fe80::1")
}
pub fn ours() -> Ipv6Addr {
    ip6("2001:db8:ff::5")
}
pub fn ours_local() -> Ipv6Addr {
    ip6("fe80::aaaa")
}
pub fn isp_local() -> Ipv6Addr {
    ip6("fe80::bbbb")
}
pub fn server() -> Ipv6Addr {
    ip6("2001:db8:8000::80")
}
pub fn alice() -> Ipv6Addr {
    ip6("2001:db8:2:100::5")
}
pub fn bob() -> Ipv6Addr {
    ip6("2001:db8:2:200::5")
}

/// Ethernet address of a station, made of its IPv6 address.
pub fn mac_of6(address: Ipv6Addr) -> Mac {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (prefix, end) = (a ^ b ^ c ^ d ^ e ^ f, g ^ h);
    Mac([0x52, 0x66, (prefix >> 8) as u8, prefix as u8, (end >> 8) as u8, end as u8])
}

/// Where a packet came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At6 {
    Session(SessionOwner),
    Station(PortId, Mac),
    Local(Interface),
}

pub const ISP6: At6 = At6::Session(SessionOwner::Wan(ISP));
pub const ISP6_2: At6 = At6::Session(SessionOwner::Wan(ISP_2));

/// At the station on the first LAN that has `address`.
pub fn at(address: Ipv6Addr) -> At6 {
    At6::Station(LAN_PORT, mac_of6(address))
}

pub fn at_guest(address: Ipv6Addr) -> At6 {
    At6::Station(GUEST_PORT, mac_of6(address))
}

/// What came out of the forwarder at one step.
#[derive(Debug, Default)]
pub struct Out6(pub Vec<(At6, Read6)>);

impl Out6 {
    /// The only packet, which must have come out at `at`.
    #[track_caller]
    pub fn only(&self, at: At6) -> Read6 {
        assert_eq!(self.0.len(), 1, "one packet expected: {:?}", self.0);
        assert_eq!(self.0[0].0, at);
        self.0[0].1.clone()
    }

    #[track_caller]
    pub fn nothing(&self) {
        assert!(self.0.is_empty(), "nothing expected: {:?}", self.0);
    }

    /// The only packet is an ICMPv6 error of this type and code.
    #[track_caller]
    pub fn error(&self, at: At6, kind: u8, code: u8) -> Read6 {
        let read = self.only(at);
        assert_eq!(read.icmp(), (kind, code));
        assert!(read.bytes.len() <= 1280, "an error is at most the least MTU");
        read
    }
}

pub fn wan_ipv6(prefix: &str) -> WanIpv6 {
    WanIpv6 {
        link_local: ours_local(),
        mtu: 1492,
        addresses: vec![],
        on_link: vec![],
        default_router: Some(NextHop::Peer),
        delegated: vec![cidr(prefix)],
        awaited: vec![],
    }
}

/// The first uplink's: with an address of its own.
pub fn isp_ipv6() -> WanIpv6 {
    WanIpv6 { addresses: vec![ours()], ..wan_ipv6("2001:db8:1::/48") }
}

pub fn home_ipv6() -> LanIpv6 {
    LanIpv6 {
        addresses: vec![router_local(), router(), ip6("fd00:1:1:1::1")],
        prefixes: vec![cidr("2001:db8:1:1::/64"), cidr("fd00:1:1:1::/64")],
        stale: vec![],
    }
}

fn guest_ipv6() -> LanIpv6 {
    LanIpv6 {
        addresses: vec![router_local(), ip6("2001:db8:1:2::1"), ip6("fd00:1:1:2::1")],
        prefixes: vec![cidr("2001:db8:1:2::/64"), cidr("fd00:1:1:2::/64")],
        stale: vec![],
    }
}

pub fn subscriber_ipv6(prefix: &str) -> SubscriberIpv6 {
    let (local, peer) = (ip6("fe80::cccc"), ip6("fe80::dddd"));
    SubscriberIpv6 { local, peer, mtu: 1492, delegated: vec![cidr(prefix)] }
}

impl Net {
    /// With IPv6 everywhere.
    pub fn dual() -> Net {
        Net::dual_with(settings())
    }

    pub fn dual_with(settings: Settings) -> Net {
        let mut net = Net::with(settings);
        net.set_wan6(ISP, Some(isp_ipv6()));
        net.set_wan6(ISP_2, Some(wan_ipv6("2001:db8:2::/48")));
        net.apply(Update::LanIpv6 { lan: HOME, ipv6: home_ipv6() });
        net.apply(Update::LanIpv6 { lan: GUEST, ipv6: guest_ipv6() });
        for (subscriber, prefix) in [(ALICE, "2001:db8:2:100::/56"), (BOB, "2001:db8:2:200::/56")] {
            net.set_subscriber6(subscriber, Some(subscriber_ipv6(prefix)));
        }
        net
    }

    pub fn set_wan6(&mut self, wan: WanId, ipv6: Option<WanIpv6>) {
        self.apply(Update::WanIpv6 { wan, ipv6 });
    }

    pub fn set_subscriber6(&mut self, subscriber: SubscriberId, ipv6: Option<SubscriberIpv6>) {
        self.apply(Update::SubscriberIpv6 { subscriber, ipv6 });
    }

    fn out6(&mut self) -> Out6 {
        Out6(core::mem::take(&mut self.six))
    }

    /// A host on a LAN sends a packet to the router, or to the group that it is for.
    pub fn lan6_bytes(&mut self, port: PortId, packet: &[u8], offload: Offload) -> Out6 {
        let address = |at: usize| Ipv6Addr::from(*packet[at..].first_chunk::<16>().unwrap());
        let (source, destination) = (address(8), address(24));
        let to = match destination.is_multicast() {
            true => crate::wire::ipv6::group_mac(destination),
            false => port_mac(port),
        };
        let mut frame = Frame::with_capacity(HEADROOM + packet.len().max(1900));
        frame.extend(packet);
        frame.offload = offload;
        frame.push(14).unwrap().copy_from_slice(&Net::ethernet(to, mac_of6(source), 0x86dd, &[]));
        self.frame(port, frame).nothing();
        self.out6()
    }

    pub fn lan6(&mut self, packet: Packet6) -> Out6 {
        self.lan6_bytes(LAN_PORT, &packet.build(), Offload::default())
    }

    pub fn guest6(&mut self, packet: Packet6) -> Out6 {
        self.lan6_bytes(GUEST_PORT, &packet.build(), Offload::default())
    }

    /// A packet comes by a session.
    pub fn session6(&mut self, owner: SessionOwner, packet: &[u8]) -> Out6 {
        self.session6_offload(owner, packet, Offload::default())
    }

    /// As `session6`, with work left undone; offsets are from the IPv6 header.
    pub fn session6_offload(&mut self, owner: SessionOwner, packet: &[u8], offload: Offload) -> Out6 {
        let mut bytes = Net::pppoe(owner, packet);
        bytes[21] = 0x57;
        let mut frame = Frame::from_bytes(&bytes[22..]);
        frame.offload = offload;
        frame.push(22).unwrap().copy_from_slice(&bytes[..22]);
        self.frame(peer_of(owner).port, frame).nothing();
        self.out6()
    }

    pub fn wan6(&mut self, packet: Packet6) -> Out6 {
        self.session6(SessionOwner::Wan(ISP), &packet.build())
    }

    pub fn wan6_2(&mut self, packet: Packet6) -> Out6 {
        self.session6(SessionOwner::Wan(ISP_2), &packet.build())
    }

    pub fn subscriber6(&mut self, subscriber: SubscriberId, packet: Packet6) -> Out6 {
        self.session6(SessionOwner::Subscriber(subscriber), &packet.build())
    }

    /// The router's own endpoint sends.
    pub fn router6(&mut self, packet: Packet6) -> Out6 {
        self.router_bytes(&packet.build()).nothing();
        self.out6()
    }

    /// One of the router's machines sends on a link.
    pub fn link6(&mut self, interface: Interface, packet: Packet6) -> Out6 {
        self.link_bytes(interface, &packet.build()).nothing();
        self.out6()
    }

    /// Lets time pass.
    pub fn pass6(&mut self, seconds: u64) -> Out6 {
        self.pass(seconds).nothing();
        self.out6()
    }

    /// Lets time pass; returns all that came out.
    pub fn pass6_all(&mut self, seconds: u64) -> Vec<(At6, Read6)> {
        self.pass6(seconds).0
    }

    /// The kinds of what was handed up to machines since the last call.
    pub fn punted(&mut self) -> Vec<crate::forward::PuntKind> {
        core::mem::take(&mut self.punts).into_iter().map(|(kind, _)| kind).collect()
    }
}
