//! Lives of a dual-stack household, in virtual time: bad lines, crashes, redials, and an ISP that delegates another prefix
//! when it likes.
//!
//! The invariants: whenever the line has been good for 60 s the LAN is online by both families; and no host holds an
//! address for new connections that the ISP does not route for longer than a Router Advertisement may take to come.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use genkan_netstack::id::Ipv6Cidr;
use genkan_netstack::ndp::advertise::MAX_INTERVAL;
use genkan_netstack::settings::{Echo, Settings, Uplink};
use genkan_netstack::sim::Impairment;
use genkan_netstack::state::State;
use genkan_netstack::time::{Duration, Instant};
use genkan_tests::household::{Household, Sessions, dual_stack_gateway, dual_stack_isp};

const GOOD: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A number from the environment that asks for more or fewer than `usual`.
fn how_many(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn below(household: &mut Household, bound: u64) -> u64 {
    household.world.rng().below(bound)
}

/// A time of up to `bound`.
fn some_time(household: &mut Household, bound: Duration) -> Duration {
    Duration::from_millis(below(household, bound.as_millis() as u64))
}

fn some_impairment(household: &mut Household) -> Impairment {
    if below(household, 4) == 0 {
        return Impairment::cut();
    }
    Impairment {
        loss: below(household, 700_000) as u32,
        duplicate: below(household, 300_000) as u32,
        reorder: below(household, 300_000) as u32,
        delay: some_time(household, Duration::from_millis(400)),
        jitter: some_time(household, Duration::from_millis(400)),
    }
}

/// Since when the client has had addresses for new connections that the ISP does not route.
#[derive(Default)]
struct Astray(BTreeMap<Ipv6Addr, Instant>);

impl Astray {
    /// Looks at the client and at the ISP; returns for how long the worst address has been astray.
    fn look(&mut self, household: &mut Household) -> Duration {
        let now = household.world.now();
        let preferred = household.preferred_addresses();
        let routed = household.routed_prefixes();
        let is_routed = |address: &Ipv6Addr| routed.iter().any(|prefix| prefix.contains(*address));
        self.0.retain(|address, _| preferred.contains(address) && !is_routed(address));
        for address in preferred.into_iter().filter(|address| !is_routed(address)) {
            self.0.entry(address).or_insert(now);
        }
        self.0.values().map(|since| now.since(*since)).max().unwrap_or_default()
    }
}

/// A time of trouble: the line is bad, and now and then one side, or the client, loses its power, or the ISP ends all
/// sessions and has forgotten which prefix was whose.
fn trouble(household: &mut Household, sessions: Sessions) {
    let impairment = some_impairment(household);
    household.world.impair(household.line, impairment);
    for _ in 0..below(household, 4) {
        let span = some_time(household, Duration::from_secs(40));
        household.world.run_for(span);
        let off = some_time(household, Duration::from_secs(30));
        match below(household, 6) {
            0 => {
                let state = household.world.crash(household.gateway);
                household.world.run_for(off);
                household.world.start(household.gateway, &dual_stack_gateway(sessions), &state);
            }
            1 => {
                household.world.crash(household.isp);
                household.world.run_for(off);
                household.world.start(household.isp, &dual_stack_isp(), &State::default());
            }
            2 => {
                let state = household.world.shut_down(household.isp);
                household.world.run_for(off);
                household.world.start(household.isp, &dual_stack_isp(), &state);
            }
            3 => household.world.restart_host(household.client),
            4 => {
                let impairment = some_impairment(household);
                household.world.impair(household.line, impairment);
            }
            _ => {}
        }
    }
    household.world.impair(household.line, Impairment::default());
}

fn live(seed: u64) {
    let sessions = if seed.is_multiple_of(2) { Sessions::One } else { Sessions::Two };
    let mut household = Household::dual_stack(seed, sessions);
    for act in 0..4 {
        household.world.run_for(GOOD);
        household.world.run_for(Duration::from_secs(3));
        let online = [
            household.online_within(Duration::from_secs(3)),
            household.online_by_ipv6_within(Duration::from_secs(3)),
        ];
        let astray = Astray::default().look(&mut household);
        assert!(
            online == [true, true] && astray.is_zero(),
            "life {seed} with {sessions:?}, act {act}: the line was good for 60 s and the LAN is online {online:?} by IPv4 and \
             IPv6; what happened:\n{}",
            household.report()
        );
        household.assert_balance();
        trouble(&mut household, sessions);
        household.assert_balance();
    }
}

/// RFC 7084 WLL-3, WPD-4; TR-124 WAN.PPP IPv6.5: both families come back by themselves, whatever happened, over one session
/// or two.
#[test]
fn whenever_the_line_is_good_for_a_minute_the_lan_is_online_by_both_families() {
    for seed in 0..how_many("GENKAN_LIVES", 100) {
        live(seed);
    }
}

/// A household in which every night the ISP ends all sessions and, on about half of them, delegates another prefix. Ten
/// years of that are `GENKAN_NIGHTS=3650`, as `make soak` has them; `GENKAN_SEED` makes them other nights.
struct Nights {
    seed: u64,
    sessions: Sessions,
    household: Household,
    gateway: Settings,
    isp: Settings,
    astray: Astray,
    prefixes: u64,
}

impl Nights {
    /// The time between two of the client's pings by day, and at night.
    const SELDOM: Duration = Duration::from_secs(6 * 3600);
    const OFTEN: Duration = Duration::from_secs(2);
    /// What the client itself needs once it could be online: to see that nobody has its address, and to ping.
    const HOST: Duration = Duration::from_secs(5);
    /// The keepalive by day. A session that is dead shows at night when the client pings.
    const ECHO: Echo = Echo { interval: Duration::from_secs(4 * 3600), failures: 3 };

    fn new(seed: u64, sessions: Sessions) -> Self {
        let (mut gateway, mut isp) = (dual_stack_gateway(sessions), dual_stack_isp());
        for wan in &mut gateway.wans {
            if let Uplink::Pppoe(pppoe) = &mut wan.uplink {
                pppoe.echo = Self::ECHO;
            }
        }
        isp.concentrators[0].echo = Self::ECHO;
        let household = Household::dual_stack_with(seed, &gateway, &isp);
        let astray = Astray::default();
        Nights { seed, sessions, household, gateway, isp, astray, prefixes: 0 }
    }

    /// Lets `span` pass, and looks after each `step` of it.
    fn pass(&mut self, span: Duration, step: Duration, night: u64) {
        let end = self.household.world.now() + span;
        while self.household.world.now() < end {
            let left = end.since(self.household.world.now());
            self.household.world.run_for(step.min(left));
            let astray = self.astray.look(&mut self.household);
            assert!(
                astray <= MAX_INTERVAL,
                "seed {}, {:?}, night {night}: for {astray:?} the client has held an address for new connections that the \
                 ISP does not route; what happened:\n{}",
                self.seed,
                self.sessions,
                self.household.report()
            );
        }
    }

    /// Another prefix of the subscriber's own, from tonight on.
    fn renumber(&mut self) {
        self.prefixes += 1;
        let prefix: Ipv6Cidr = "2001:db8:2000::/36".parse().unwrap();
        let prefix = prefix.subnet(56, self.prefixes % (1 << 20));
        let carrier = self.carrier();
        for user in &mut self.isp.concentrators[0].users {
            user.prefix = prefix.filter(|_| user.name == carrier);
        }
    }

    /// The login that carries IPv6.
    fn carrier(&self) -> &'static str {
        match self.sessions {
            Sessions::One => genkan_tests::household::USER,
            Sessions::Two => genkan_tests::household::USER_IPV6,
        }
    }

    fn night(&mut self, night: u64) {
        self.ping_every(Self::OFTEN);
        self.spoil_the_line();
        let household = &mut self.household;
        // What ends: the sessions in good order, or the ISP without a word; with or without the gateway.
        let state = match below(household, 4) {
            0 => household.world.crash(household.isp),
            _ => household.world.shut_down(household.isp),
        };
        let off = some_time(household, Duration::from_secs(10));
        let (killed, renumbers) = (below(household, 10) == 0, below(household, 2) == 0);
        self.pass(off, SECOND, night);
        let kept = killed.then(|| self.household.world.crash(self.household.gateway));
        if renumbers {
            self.renumber();
        }
        self.household.world.start(self.household.isp, &self.isp, &state);
        if let Some(kept) = kept {
            let off = some_time(&mut self.household, Duration::from_secs(20));
            self.pass(off, SECOND, night);
            self.household.world.start(self.household.gateway, &self.gateway, &kept);
        }
        // Mostly the losses do not matter. When they do, the line becomes good, and that must be enough.
        let back = self.is_back_within(GOOD / 2, night) || {
            self.household.world.impair(self.household.line, Impairment::default());
            self.is_back_within(GOOD + Self::HOST, night)
        };
        assert!(
            back,
            "seed {}, {:?}, night {night}: the line has been good for 60 s and the LAN is not online by both families; what \
             happened:\n{}",
            self.seed,
            self.sessions,
            self.household.report()
        );
        self.household.assert_balance();
    }

    /// Waits until the client has been answered by both families since now, at an address that the ISP routes.
    fn is_back_within(&mut self, span: Duration, night: u64) -> bool {
        let start = self.household.world.now();
        loop {
            let passed = self.household.world.now().since(start);
            let household = &mut self.household;
            if household.online_within(passed)
                && household.online_by_ipv6_within(passed)
                && !household.preferred_addresses().is_empty()
                && self.astray.0.is_empty()
            {
                return true;
            }
            if passed >= span {
                return false;
            }
            self.pass(SECOND, SECOND, night);
        }
    }

    fn day(&mut self, night: u64) {
        self.spoil_the_line();
        self.ping_every(Self::SELDOM);
        // Long enough for the Router Advertisement that tells of what the client has missed.
        self.pass(2 * MAX_INTERVAL, Duration::from_secs(100), night);
        let hours = Duration::from_secs(22 * 3600);
        let more = some_time(&mut self.household, Duration::from_secs(2 * 3600));
        self.pass(hours + more, Duration::from_secs(2 * 3600), night);
        self.household.assert_balance();
    }

    /// 1 to 5 % of what is on the line is lost from now on, and 1 % of what is on the LAN.
    fn spoil_the_line(&mut self) {
        let household = &mut self.household;
        let loss = 10_000 + below(household, 40_000) as u32;
        let impairment =
            |loss| Impairment { loss, delay: Duration::from_millis(10), ..Impairment::default() };
        household.world.impair(household.line, impairment(loss));
        household.world.impair(household.lan, impairment(10_000));
    }

    fn ping_every(&mut self, interval: Duration) {
        let now = self.household.world.now();
        if let Some(client) = self.household.world.host(self.household.client) {
            client.ping_every(now, interval);
        }
    }
}

fn nights(sessions: Sessions) {
    let mut nights = Nights::new(how_many("GENKAN_SEED", 1), sessions);
    nights.pass(GOOD, SECOND, 0);
    for night in 0..how_many("GENKAN_NIGHTS", 60) {
        nights.night(night);
        nights.day(night);
    }
}

/// RFC 9096 L-13, L-15, WPD-9, WPD-10; RFC 7084 WPD-4: nightly redials, with losses on the line, prefixes that change, and
/// a gateway that is killed between two of them.
#[test]
fn rfc9096_whatever_the_nights_bring_no_host_keeps_an_address_that_leads_nowhere() {
    nights(Sessions::One);
}

/// The same when IPv6 has a session of its own.
#[test]
fn rfc9096_whatever_the_nights_bring_to_two_sessions_no_host_keeps_an_address_that_leads_nowhere() {
    nights(Sessions::Two);
}
