//! Our client against our servers, on a line that loses, doubles and delays packets, in virtual time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::dhcp6::Duid;
use crate::dhcp6::client::{Client, ClientSettings, Event};
use crate::dhcp6::delegate::{self, Delegator, DelegatorSettings};
use crate::dhcp6::server::{OfferedPrefix, Server, ServerSettings};
use crate::frame::Frame;
use crate::id::{Ipv6Cidr, Mac, SubscriberId};
use crate::machine::Cx;
use crate::rng::{Rng, SeededRng};
use crate::settings::{PrefixPool, PrefixRequest};
use crate::time::{Duration, Instant, earliest};

const CPE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const ISP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const SESSION: SubscriberId = SubscriberId(4);

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

/// The ISP's end of the line.
enum Isp {
    Delegator(Delegator),
    Server(Server),
}

struct Line {
    client: Client,
    isp: Isp,
    rng: SeededRng,
    now: Instant,
    /// Lost packets in a hundred.
    loss: u64,
    /// Packets on their way: when they arrive, to the client or not, and in which order they were sent.
    under_way: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    sent: u64,
    told: Vec<Event>,
    /// What the ISP routes to the session.
    routed: BTreeSet<Ipv6Cidr>,
}

impl Line {
    fn new(
        seed: u64,
        loss: u64,
        isp: impl FnOnce(&mut Cx<'_>) -> Isp,
        prefix: Option<PrefixRequest>,
    ) -> Self {
        let mut rng = SeededRng::from_u64(seed);
        let now = Instant::from_secs(100);
        let isp = isp(&mut Cx { now, rng: &mut rng });
        let duid = Duid::link_layer(Mac([2, 0, 0, 0, 0, 2]));
        let client = Client::new(ClientSettings { duid, iaid: 1, prefix });
        let (told, routed, under_way) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Line { client, isp, rng, now, loss, under_way, sent: 0, told, routed }
    }

    fn delegating(seed: u64, loss: u64) -> Self {
        let settings = DelegatorSettings {
            duid: Duid::link_layer(Mac([2, 0, 0, 0, 0, 1])),
            pool: PrefixPool { prefix: cidr("2001:db8:aa00::/40"), delegate: 56 },
            fixed: BTreeMap::new(),
            dns: Vec::new(),
        };
        let isp = |cx: &mut Cx<'_>| {
            let mut delegator = Delegator::new(settings);
            delegator.open(cx, SESSION, "alice", CPE, ISP);
            Isp::Delegator(delegator)
        };
        Line::new(seed, loss, isp, Some(PrefixRequest { length: Some(56) }))
    }

    fn up(&mut self) {
        self.client.start(&mut Cx { now: self.now, rng: &mut self.rng }, CPE);
    }

    /// Lets both live until then.
    fn until(&mut self, end: Instant) {
        loop {
            self.collect();
            let isp = match &self.isp {
                Isp::Delegator(delegator) => delegator.poll_timeout(),
                Isp::Server(server) => server.poll_timeout(),
            };
            let arrival = self.under_way.keys().next().map(|key| key.0);
            let next = earliest(earliest(self.client.poll_timeout(), isp), arrival);
            let Some(next) = next.filter(|&next| next <= end) else { break };
            self.now = next.max(self.now);
            let cx = &mut Cx { now: self.now, rng: &mut self.rng };
            self.client.handle_timeout(cx);
            match &mut self.isp {
                Isp::Delegator(delegator) => delegator.handle_timeout(cx),
                Isp::Server(server) => server.handle_timeout(cx),
            }
            while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= cx.now) {
                let (to_client, packet) = entry.remove();
                // What comes twice, or too late, is refused, and that is all.
                let _ = match (&mut self.isp, to_client) {
                    (_, true) => self.client.handle(cx, &packet),
                    (Isp::Delegator(delegator), _) => delegator.handle(cx, SESSION, &packet),
                    (Isp::Server(server), _) => server.handle(cx, &packet),
                };
            }
        }
        self.now = end;
    }

    fn collect(&mut self) {
        let mut frame = Frame::with_capacity(2048);
        while self.client.poll_transmit(&mut frame) {
            self.send(false, frame.bytes().to_vec());
            frame.reset();
        }
        loop {
            let sent = match &mut self.isp {
                Isp::Delegator(delegator) => delegator.poll_transmit(&mut frame).is_some(),
                Isp::Server(server) => server.poll_transmit(&mut frame),
            };
            if !sent {
                break;
            }
            self.send(true, frame.bytes().to_vec());
            frame.reset();
        }
        self.told.extend(core::iter::from_fn(|| self.client.poll_event()));
        if let Isp::Delegator(delegator) = &mut self.isp {
            while let Some(event) = delegator.poll_event() {
                match event {
                    delegate::Event::Delegated { prefix, .. } => assert!(self.routed.insert(prefix)),
                    delegate::Event::Withdrawn { prefix, .. } => assert!(self.routed.remove(&prefix)),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, to_client: bool, packet: Vec<u8>) {
        let copies = if self.rng.below(100) < self.loss { 0 } else { 1 + self.rng.below(100) / 80 };
        for _ in 0..copies {
            let at = self.now + Duration::from_millis(1 + self.rng.below(1500));
            self.sent += 1;
            self.under_way.insert((at, self.sent), (to_client, packet.clone()));
        }
    }

    fn hold(&self) -> Vec<Ipv6Cidr> {
        self.client.prefixes().iter().map(|lease| lease.prefix).collect()
    }
}

#[test]
fn a_prefix_is_got_and_kept_on_a_bad_line() {
    for seed in 0..40 {
        let loss = seed % 4 * 15;
        let mut line = Line::delegating(seed, loss);
        line.up();
        line.until(line.now + Duration::from_secs(600));
        let [prefix] = line.hold()[..] else { panic!("seed {seed}: no prefix after ten minutes") };
        assert_eq!(line.routed, BTreeSet::from([prefix]), "what the client has is what the ISP routes");
        // For a week.
        line.until(line.now + Duration::from_secs(7 * 86_400));
        assert_eq!(
            (line.hold(), &line.routed),
            ([prefix].to_vec(), &BTreeSet::from([prefix])),
            "seed {seed}"
        );
        let lost = line.told.iter().find(|event| matches!(event, Event::Lost { .. }));
        assert_eq!(lost, None, "seed {seed}");
    }
}

#[test]
fn a_line_that_is_dead_for_hours_ends_the_prefix_on_both_sides_and_brings_it_back() {
    for seed in 0..10 {
        let mut line = Line::delegating(seed, 0);
        line.up();
        line.until(line.now + Duration::from_secs(60));
        let had = line.hold();
        line.loss = 100;
        line.until(line.now + Duration::from_secs(3 * 3600));
        assert!(line.hold().is_empty() && line.routed.is_empty(), "seed {seed}");
        line.loss = 0;
        // SOL_MAX_RT, a tenth more, and the time to talk.
        line.until(line.now + Duration::from_secs(3600 + 360 + 10));
        assert_eq!(line.hold(), had, "seed {seed}: the user's prefix is the same");
    }
}

/// RFC 9096 WPD-9, WPD-10: over redials and restarts, the same prefix.
#[test]
fn rfc9096_wpd_10_the_prefix_is_the_same_over_redials_and_restarts() {
    let mut line = Line::delegating(3, 10);
    line.up();
    line.until(line.now + Duration::from_secs(100));
    let had = line.hold();
    assert_eq!(had.len(), 1);
    for life in 0..10 {
        let remembered = line.client.remembered().to_vec();
        let cx = &mut Cx { now: line.now, rng: &mut line.rng };
        line.client.stop(cx);
        let Isp::Delegator(delegator) = &mut line.isp else { panic!("a delegator") };
        delegator.close(cx, SESSION);
        line.until(line.now + Duration::from_secs(5));
        assert!(line.hold().is_empty() && line.routed.is_empty());
        if life % 2 == 0 {
            let duid = Duid::link_layer(Mac([2, 0, 0, 0, 0, 2]));
            let prefix = Some(PrefixRequest { length: Some(56) });
            line.client = Client::new(ClientSettings { duid, iaid: 1, prefix });
            line.client.restore(&mut Cx { now: line.now, rng: &mut line.rng }, remembered);
        }
        let Isp::Delegator(delegator) = &mut line.isp else { panic!("a delegator") };
        let cx = &mut Cx { now: line.now, rng: &mut line.rng };
        delegator.open(cx, SESSION, "alice", CPE, ISP);
        line.up();
        line.until(line.now + Duration::from_secs(100));
        assert_eq!(line.hold(), had, "life {life}");
        assert_eq!(line.routed.iter().copied().collect::<Vec<_>>(), had);
    }
}

#[test]
fn a_managed_link_gives_addresses_on_a_bad_line_and_renumbers() {
    for seed in 0..20 {
        let settings = ServerSettings {
            duid: Duid::link_layer(Mac([2, 0, 0, 0, 0, 1])),
            source: ISP,
            stateful: true,
            hosts: Vec::new(),
            router_name: "genkan".to_string(),
        };
        let mut line = Line::new(seed, 20, |cx| Isp::Server(Server::new(cx, settings)), None);
        let offer = |line: &mut Line, prefix: &str| {
            let until = |seconds| line.now + Duration::from_secs(seconds);
            let offered = OfferedPrefix {
                prefix: cidr(prefix),
                preferred_until: until(1800),
                valid_until: until(3600),
            };
            let Isp::Server(server) = &mut line.isp else { panic!("a server") };
            server.set_prefixes(&[offered]);
        };
        offer(&mut line, "2001:db8:1::/64");
        line.up();
        line.client.advise(&mut Cx { now: line.now, rng: &mut line.rng }, true, true);
        line.until(line.now + Duration::from_secs(300));
        let [first] = line.client.addresses() else { panic!("seed {seed}: one address") };
        let first = first.address;
        assert!(cidr("2001:db8:1::/64").contains(first));
        offer(&mut line, "2001:db8:2::/64");
        line.until(line.now + Duration::from_secs(1500));
        let [second] = line.client.addresses() else { panic!("seed {seed}: one address") };
        assert_eq!(second.address, cidr("2001:db8:2::/64").with_suffix(first), "seed {seed}");
    }
}
