//! IPv6 of a concentrator's subscribers, once IPV6CP is open: we are their router.
//!
//! 1. The two link-local addresses are known: the Forwarder is told of the link, and Router Advertisements begin. They
//!    say that we are the default router and that DHCPv6 has the rest; there is no prefix on the link itself, since the
//!    subscriber gets one of its own (RFC 7084 WPD-6).
//! 2. What the subscriber solicits is answered.
//! 3. IPV6CP goes down: so does all of this, without another word.
//!
//! Links stand in a list of deadlines and in a list of those that have something to send; idle ones cost nothing.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use crate::forward::{SubscriberIpv6, Update};
use crate::frame::Frame;
use crate::id::SubscriberId;
use crate::ledger::DropReason;
use crate::machine::Cx;
use crate::ndp::{Advertisement, Advertiser};
use crate::table::{Map, Seed};
use crate::time::Instant;

/// One subscriber's link.
#[derive(Debug)]
struct Link {
    ipv6: SubscriberIpv6,
    advertiser: Advertiser,
    /// The deadline under which it stands in the list of deadlines.
    deadline: Option<Instant>,
    /// True while it stands in the list of links with something to send.
    ready: bool,
}

/// The links of a concentrator's subscribers on which IPv6 is up.
#[derive(Debug)]
pub(super) struct Links {
    /// What every subscriber is told.
    advertisement: Advertisement,
    links: Map<SubscriberId, Box<Link>>,
    deadlines: BTreeSet<(Instant, SubscriberId)>,
    ready: VecDeque<SubscriberId>,
}

impl Links {
    /// No links yet. Subscribers will be told of the IPv6 addresses among `servers`.
    pub(super) fn new(cx: &mut Cx<'_>, servers: &[IpAddr]) -> Self {
        let dns = servers.iter().filter_map(|server| match server {
            IpAddr::V6(server) => Some(*server),
            IpAddr::V4(_) => None,
        });
        Links {
            advertisement: Advertisement {
                default_router: true,
                other: true,
                dns: dns.collect(),
                ..Advertisement::default()
            },
            links: Map::with_hasher(Seed::draw(cx.rng)),
            deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
        }
    }

    /// IPV6CP is open between our address `local` and the subscriber's, `peer`, or the MTU has changed.
    pub(super) fn up(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        (local, peer): (Ipv6Addr, Ipv6Addr),
        mtu: u16,
    ) -> Update {
        if let Some(link) = self.links.get_mut(&subscriber) {
            link.ipv6.mtu = mtu;
            return Update::SubscriberIpv6 { subscriber, ipv6: Some(link.ipv6.clone()) };
        }
        let mut advertiser = Advertiser::new(cx, local, None);
        advertiser.set(cx, self.advertisement.clone());
        let ipv6 = SubscriberIpv6 { local, peer, mtu, delegated: Vec::new() };
        let link = Link { ipv6: ipv6.clone(), advertiser, deadline: None, ready: false };
        self.links.insert(subscriber, Box::new(link));
        self.settle(subscriber);
        Update::SubscriberIpv6 { subscriber, ipv6: Some(ipv6) }
    }

    /// IPV6CP is closed.
    pub(super) fn down(&mut self, subscriber: SubscriberId) -> Update {
        if let Some(Link { deadline: Some(at), .. }) = self.links.remove(&subscriber).as_deref() {
            self.deadlines.remove(&(*at, subscriber));
        }
        Update::SubscriberIpv6 { subscriber, ipv6: None }
    }

    /// A packet of Neighbor Discovery came from a subscriber.
    pub(super) fn handle_ndp(
        &mut self,
        cx: &mut Cx<'_>,
        subscriber: SubscriberId,
        packet: &[u8],
    ) -> Result<(), DropReason> {
        let link = self.links.get_mut(&subscriber).ok_or(DropReason::NotListening)?;
        let result = link.advertiser.handle(cx, packet);
        self.settle(subscriber);
        result
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= cx.now);
        for subscriber in due.map(|&(_, subscriber)| subscriber).collect::<Vec<_>>() {
            if let Some(link) = self.links.get_mut(&subscriber) {
                link.advertiser.handle_timeout(cx);
            }
            self.settle(subscriber);
        }
    }

    /// When it wants to be called next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Writes the next IPv6 packet, and says for whom it is.
    pub(super) fn poll_transmit(&mut self, frame: &mut Frame) -> Option<SubscriberId> {
        while let Some(&subscriber) = self.ready.front() {
            if let Some(link) = self.links.get_mut(&subscriber).filter(|link| link.ready) {
                if link.advertiser.poll_transmit(frame) {
                    return Some(subscriber);
                }
                link.ready = false;
            }
            self.ready.pop_front();
        }
        None
    }

    /// What the Forwarder knows of a subscriber's IPv6.
    pub(super) fn of(&self, subscriber: SubscriberId) -> Option<&SubscriberIpv6> {
        self.links.get(&subscriber).map(|link| &link.ipv6)
    }

    /// Puts a link into the lists where it belongs.
    fn settle(&mut self, subscriber: SubscriberId) {
        let Some(link) = self.links.get_mut(&subscriber) else { return };
        let deadline = link.advertiser.poll_timeout();
        let former = core::mem::replace(&mut link.deadline, deadline);
        if !core::mem::replace(&mut link.ready, true) {
            self.ready.push_back(subscriber);
        }
        if former != deadline {
            if let Some(at) = former {
                self.deadlines.remove(&(at, subscriber));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, subscriber));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndp::message::{Message, Packet, RouterAdvertisement};
    use crate::rng::SeededRng;
    use crate::time::Duration;
    use crate::wire::ipv6::ALL_NODES;
    use alloc::vec;

    const OURS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const THEIRS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const DNS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);

    struct Bench {
        links: Links,
        now: Instant,
        rng: SeededRng,
    }

    impl Bench {
        fn new() -> Self {
            let mut rng = SeededRng::from_u64(1);
            let now = Instant::from_secs(100);
            let servers = [IpAddr::from([9, 9, 9, 9]), DNS.into()];
            Bench { links: Links::new(&mut Cx { now, rng: &mut rng }, &servers), now, rng }
        }

        fn up(&mut self, subscriber: u32, mtu: u16) -> Update {
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            self.links.up(cx, SubscriberId(subscriber), (OURS, THEIRS), mtu)
        }

        /// All that is sent in this time, each with its subscriber and the seconds since now.
        fn pass(&mut self, time: Duration) -> Vec<(u32, f64, Packet)> {
            let (start, end) = (self.now, self.now + time);
            let (mut sent, mut frame) = (vec![], Frame::with_capacity(2048));
            loop {
                while let Some(subscriber) = self.links.poll_transmit(&mut frame) {
                    let at = self.now.since(start).as_secs_f64();
                    sent.push((subscriber.0, at, Packet::parse(frame.bytes()).unwrap()));
                    frame.reset();
                }
                let Some(next) = self.links.poll_timeout().filter(|&next| next <= end) else { break };
                self.now = self.now.max(next);
                self.links.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng });
            }
            self.now = end;
            sent
        }

        fn solicit(&mut self, subscriber: u32) -> Result<(), DropReason> {
            let message = Message::RouterSolicitation { source_link_layer: None };
            let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
            let mut frame = Frame::with_capacity(2048);
            assert!(Packet { source: THEIRS, destination, message }.emit(&mut frame));
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            self.links.handle_ndp(cx, SubscriberId(subscriber), frame.bytes())
        }
    }

    fn advertisement(packet: &Packet) -> &RouterAdvertisement {
        let Message::RouterAdvertisement(read) = &packet.message else { panic!("{packet:?}") };
        read
    }

    /// RFC 7084 WPD-6, W-3: a router without a prefix on the link; what there is besides is to be had by DHCPv6.
    #[test]
    fn rfc7084_wpd_6_a_subscriber_is_told_of_its_router_and_of_no_prefix() {
        let mut bench = Bench::new();
        let told = Update::SubscriberIpv6 {
            subscriber: SubscriberId(5),
            ipv6: Some(SubscriberIpv6 { local: OURS, peer: THEIRS, mtu: 1492, delegated: vec![] }),
        };
        assert_eq!(bench.up(5, 1492), told);
        let sent = bench.pass(Duration::from_millis(1));
        let [(5, _, packet)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((packet.source, packet.destination), (OURS, ALL_NODES));
        let read = advertisement(packet);
        assert!(read.router_lifetime > 0 && read.other && !read.managed && read.prefixes.is_empty());
        assert_eq!(read.dns.iter().map(|server| server.address).collect::<Vec<_>>(), [DNS]);
        assert_eq!(read.source_link_layer, None);
    }

    #[test]
    fn rfc4861_6_2_6_a_solicitation_is_answered_and_a_stranger_is_not() {
        let mut bench = Bench::new();
        bench.up(5, 1492);
        bench.up(6, 1492);
        bench.pass(Duration::from_secs(60));
        assert_eq!(bench.solicit(7), Err(DropReason::NotListening));
        assert_eq!(bench.solicit(6), Ok(()));
        let sent = bench.pass(Duration::from_secs(1));
        let [(6, at, packet)] = &sent[..] else { panic!("{sent:?}") };
        assert!(*at <= 0.5 && advertisement(packet).router_lifetime > 0);
    }

    /// The whole state at once; the RAs go on as they were.
    #[test]
    fn another_mtu_is_told_without_another_advertisement() {
        let mut bench = Bench::new();
        bench.up(5, 1500);
        bench.pass(Duration::from_secs(60));
        let Update::SubscriberIpv6 { ipv6: Some(ipv6), .. } = bench.up(5, 1492) else { panic!() };
        assert_eq!((ipv6.mtu, ipv6.local, ipv6.peer), (1492, OURS, THEIRS));
        assert!(bench.pass(Duration::from_secs(1)).is_empty());
    }

    #[test]
    fn a_link_that_goes_down_leaves_nothing() {
        let mut bench = Bench::new();
        for subscriber in 0..2000 {
            bench.up(subscriber, 1492);
        }
        assert_eq!(bench.pass(Duration::from_millis(1)).len(), 2000);
        for subscriber in (0..2000).step_by(2) {
            let subscriber = SubscriberId(subscriber);
            assert_eq!(bench.links.down(subscriber), Update::SubscriberIpv6 { subscriber, ipv6: None });
        }
        let sent = bench.pass(Duration::from_secs(700));
        assert!(sent.iter().all(|(subscriber, ..)| subscriber % 2 == 1) && sent.len() >= 3000);
        for subscriber in 0..2000 {
            bench.links.down(SubscriberId(subscriber));
        }
        assert_eq!((bench.links.poll_timeout(), bench.links.links.len()), (None, 0));
        assert!(bench.pass(Duration::from_secs(1000)).is_empty() && bench.links.ready.is_empty());
    }
}
