use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::id::{Ipv4Cidr, PortId};
use crate::rng::SeededRng;
use crate::settings;

const ISP: WanId = WanId(0);
const OTHER: WanId = WanId(1);
const HOME: LanId = LanId(0);
const GUEST: LanId = LanId(1);

fn cidr(text: &str) -> Ipv6Cidr {
    text.parse().unwrap()
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn settings(lans: &[(&str, WanId, u64)]) -> Settings {
    let lan = |(index, (name, from, subnet)): (usize, &(&str, WanId, u64))| settings::Lan {
        name: (*name).into(),
        ports: vec![PortId(index as u16)],
        address: Ipv4Cidr { address: [192, 168, index as u8, 1].into(), prefix: 24 },
        dhcp: None,
        prefix: Some(LanPrefix { from: *from, subnet: *subnet }),
        dhcp6: settings::Dhcp6::Stateless,
        domain: "home.arpa".into(),
        hosts: vec![],
    };
    let lans = lans.iter().enumerate().map(lan).collect();
    Settings { lans, ula: Ula::Off, ..Settings::default() }
}

fn start(settings: &Settings, seed: u64, now: Instant, state: State) -> Addressing {
    Addressing::new(settings, &state, &mut Cx { now, rng: &mut SeededRng::from_u64(seed) })
}

fn new(settings: &Settings) -> Addressing {
    start(settings, 1, at(0), State::default())
}

fn delegation(prefix: &str, until: u64) -> Delegation {
    let preferred_until = at(until / 2);
    Delegation { prefix: cidr(prefix), preferred_until, valid_until: at(until), exclude: None }
}

fn source(prefixes: &[&str]) -> Source {
    Source {
        delegations: prefixes.iter().map(|prefix| delegation(prefix, 100_000)).collect(),
        carries: true,
        default_route: true,
        mtu: Some(1492),
    }
}

fn down(source: &Source) -> Source {
    Source { carries: false, default_route: false, mtu: None, ..source.clone() }
}

fn prefixes(addressing: &Addressing, lan: LanId) -> Vec<String> {
    addressing.lan(lan).unwrap().held.iter().map(|held| held.prefix.to_string()).collect()
}

fn stale(addressing: &Addressing, lan: LanId) -> Vec<(String, u64)> {
    let stale = &addressing.lan(lan).unwrap().stale;
    stale.iter().map(|stale| (stale.prefix.to_string(), stale.until.as_secs())).collect()
}

/// RFC 7084 L-2: one /64 for each LAN. RFC 7084 WPD-3: of any size, and told when it is too small.
#[test]
fn rfc7084_l_2_each_lan_has_its_own_64_by_number() {
    for (delegated, home, guest) in [
        ("2001:db8:0:100::/56", "2001:db8:0:101::/64", "2001:db8:0:10f::/64"),
        ("2001:db8:0:100::/60", "2001:db8:0:101::/64", "2001:db8:0:10f::/64"),
        ("2001:db8::/48", "2001:db8:0:1::/64", "2001:db8:0:f::/64"),
    ] {
        let mut site = new(&settings(&[("home", ISP, 1), ("guest", ISP, 15)]));
        let changes = site.update(at(0), &[source(&[delegated])]);
        assert_eq!(changes.len(), 2);
        assert_eq!((prefixes(&site, HOME), prefixes(&site, GUEST)), (vec![home.into()], vec![guest.into()]));
        assert_eq!(changes[0], (HOME, vec![Event::Assigned(cidr(home))]));
    }
}

#[test]
fn rfc7084_wpd_3_a_prefix_too_small_for_two_lans_is_told_and_serves_the_first() {
    let mut site = new(&settings(&[("home", ISP, 0), ("guest", ISP, 1)]));
    let changes = site.update(at(0), &[source(&["2001:db8:0:5::/64"])]);
    assert_eq!(prefixes(&site, HOME), ["2001:db8:0:5::/64"]);
    assert_eq!(prefixes(&site, GUEST), Vec::<String>::new());
    let problem = Problem::TooSmall { delegated: cidr("2001:db8:0:5::/64"), subnet: 1 };
    assert_eq!(changes[1], (GUEST, vec![Event::Without(problem)]));
    assert_eq!(site.lan(GUEST).unwrap().problem, Some(problem));
    assert!(problem.to_string().contains("one LAN's only"), "{problem}");
    // Told once, not at every renewal.
    assert_eq!(site.update(at(10), &[source(&["2001:db8:0:5::/64"])]), vec![]);
    // A larger one mends it.
    site.update(at(20), &[source(&["2001:db8:0:4::/62"])]);
    assert_eq!(site.lan(GUEST).unwrap().problem, None);
    assert_eq!(prefixes(&site, GUEST), ["2001:db8:0:5::/64"]);
    let small = Problem::TooSmall { delegated: cidr("2001:db8::/60"), subnet: 16 };
    assert!(small.to_string().contains("the subnets 0 to 15"), "{small}");
}

/// RFC 7084 WPD-8: what the ISP excludes is no LAN's.
#[test]
fn rfc7084_wpd_8_an_excluded_part_is_not_assigned() {
    let mut site = new(&settings(&[("home", ISP, 0), ("guest", ISP, 1)]));
    let mut excluding = source(&["2001:db8::/56"]);
    excluding.delegations[0].exclude = Some(cidr("2001:db8::/64"));
    site.update(at(0), &[excluding]);
    assert_eq!(site.lan(HOME).unwrap().problem, Some(Problem::Excluded { excluded: cidr("2001:db8::/64") }));
    assert_eq!(prefixes(&site, GUEST), ["2001:db8:0:1::/64"]);
}

#[test]
fn a_redial_that_brings_the_same_prefix_back_loses_nothing() {
    let mut site = new(&settings(&[("home", ISP, 1)]));
    let up = source(&["2001:db8::/56"]);
    site.update(at(0), core::slice::from_ref(&up));
    assert!(site.lan(HOME).unwrap().is_online(at(0), core::slice::from_ref(&up)));

    let prefix = cidr("2001:db8:0:1::/64");
    let changes = site.update(at(100), &[down(&up)]);
    assert_eq!(changes, vec![(HOME, vec![Event::Deprecated(prefix)])]);
    let held = site.lan(HOME).unwrap().held[0];
    assert_eq!((held.preferred_until.lifetime(at(100)), held.valid_until), (0, at(100_000)));
    assert!(!site.lan(HOME).unwrap().is_online(at(100), &[down(&up)]));

    let changes = site.update(at(160), core::slice::from_ref(&up));
    assert_eq!(changes, vec![(HOME, vec![Event::Assigned(prefix)])]);
    assert_eq!(stale(&site, HOME), vec![]);
}

/// RFC 9096 L-13.
#[test]
fn rfc9096_l_13_a_lost_prefix_is_stale_for_5400_s_from_the_same_step_on() {
    let mut site = new(&settings(&[("home", ISP, 1)]));
    site.update(at(0), &[source(&["2001:db8::/56"])]);
    let (old, new) = (cidr("2001:db8:0:1::/64"), cidr("2001:db8:1:1::/64"));
    let changes = site.update(at(1000), &[source(&["2001:db8:1::/56"])]);
    assert_eq!(changes, vec![(HOME, vec![Event::Assigned(new), Event::Lost(old)])]);
    assert_eq!(prefixes(&site, HOME), [new.to_string()]);
    assert_eq!(stale(&site, HOME), [(old.to_string(), 6400)]);
    // Renewals do not prolong it.
    site.update(at(5000), &[source(&["2001:db8:1::/56"])]);
    assert_eq!(stale(&site, HOME), [(old.to_string(), 6400)]);
    assert_eq!(site.poll_timeout(), Some(at(6400)));
    site.update(at(6399), &[source(&["2001:db8:1::/56"])]);
    assert_eq!(stale(&site, HOME).len(), 1);
    let changes = site.update(at(6400), &[source(&["2001:db8:1::/56"])]);
    assert_eq!(changes, vec![(HOME, vec![])]);
    assert_eq!(stale(&site, HOME), vec![]);
    // One that comes back is stale no longer.
    site.update(at(7000), &[source(&["2001:db8::/56"])]);
    assert_eq!(
        (prefixes(&site, HOME), stale(&site, HOME)),
        (vec![old.to_string()], vec![(new.to_string(), 12_400)])
    );
}

/// RFC 9096 L-13: even after a crash.
#[test]
fn rfc9096_l_13_what_the_last_run_announced_is_stale_when_nobody_delegates_it_again() {
    let settings = settings(&[("home", ISP, 1)]);
    let mut site = new(&settings);
    site.update(at(0), &[source(&["2001:db8::/56"])]);
    site.update(at(1000), &[source(&["2001:db8:1::/56"])]);
    let crash = |site: &Addressing, now: Instant| {
        let state = State { lan_prefixes: site.announced(), ..State::default() };
        start(&settings, 2, now, state)
    };
    let mut site = crash(&site, at(1100));
    // The uplink remembers its delegation, and has not dialled yet.
    site.update(at(1100), &[down(&source(&["2001:db8:1::/56"]))]);
    assert_eq!(prefixes(&site, HOME), ["2001:db8:1:1::/64"]);
    assert_eq!(stale(&site, HOME), [("2001:db8:0:1::/64".to_string(), 6400)]);
    // Another crash, and the ISP gives another prefix: both are told.
    let mut site = crash(&site, at(1200));
    site.update(at(1200), &[source(&["2001:db8:2::/56"])]);
    assert_eq!(
        stale(&site, HOME),
        [("2001:db8:0:1::/64".to_string(), 6400), ("2001:db8:1:1::/64".to_string(), 6600)]
    );
    // What has been told for long enough is not told by the next run.
    let site = crash(&site, at(6500));
    assert_eq!(stale(&site, HOME), [("2001:db8:1:1::/64".to_string(), 6600)]);
}

/// DHCPv6: a prefix is valid to its last second, and no longer.
#[test]
fn a_delegation_that_ends_takes_its_prefix_along() {
    let mut site = new(&settings(&[("home", ISP, 1)]));
    let up = source(&["2001:db8::/56"]);
    site.update(at(0), core::slice::from_ref(&up));
    assert_eq!(site.poll_timeout(), Some(at(100_000)));
    site.update(at(99_999), core::slice::from_ref(&up));
    assert_eq!(prefixes(&site, HOME).len(), 1);
    let changes = site.update(at(100_000), core::slice::from_ref(&up));
    assert_eq!(changes, vec![(HOME, vec![Event::Lost(cidr("2001:db8:0:1::/64"))])]);
}

#[test]
fn two_uplinks_renumber_each_its_own_lans() {
    let mut site = new(&settings(&[("home", ISP, 1), ("guest", OTHER, 1)]));
    let (isp, other) = (source(&["2001:db8::/56"]), source(&["2001:db8:f::/56"]));
    site.update(at(0), &[isp.clone(), other.clone()]);
    let changes = site.update(at(10), &[isp, down(&other)]);
    assert_eq!(changes, vec![(GUEST, vec![Event::Deprecated(cidr("2001:db8:f:1::/64"))])]);
    // The same prefix by both is the first LAN's.
    let both = [source(&["2001:db8::/56"]), source(&["2001:db8::/56"])];
    site.update(at(20), &both);
    assert_eq!(site.lan(GUEST).unwrap().problem, Some(Problem::Taken { prefix: cidr("2001:db8:0:1::/64") }));
}

/// RFC 7084 ULA-1, ULA-2, ULA-3.
#[test]
fn rfc7084_ula_1_to_3_the_sites_own_prefix_is_drawn_once_kept_and_configurable() {
    let mut settings = settings(&[("home", ISP, 1), ("guest", ISP, 2)]);
    settings.ula = Ula::Generated;
    let draw = |settings: &Settings, seed, kept| {
        start(settings, seed, at(0), State { ula: kept, ..State::default() })
    };
    let mut site = draw(&settings, 1, None);
    let ula = site.ula().unwrap();
    assert!(cidr("fd00::/8").covers(ula) && ula.prefix == 48 && ula.network() == ula);
    assert_ne!(draw(&settings, 2, None).ula(), Some(ula), "drawn at random");
    assert_eq!(draw(&settings, 3, Some(ula)).ula(), Some(ula), "kept");

    // It lasts through everything, and alone it makes no LAN online.
    site.update(at(0), &[Source::default()]);
    let (home, guest) = (prefixes(&site, HOME), prefixes(&site, GUEST));
    assert!(home.len() == 1 && guest.len() == 1 && home != guest);
    assert!(
        !site
            .lan(HOME)
            .unwrap()
            .is_online(at(0), &[Source { carries: true, default_route: true, ..Source::default() }])
    );
    site.update(at(1), &[source(&["2001:db8::/56"])]);
    assert_eq!(prefixes(&site, HOME)[1..], home);
    let lasting = site.lan(HOME).unwrap().lasting_address().unwrap();
    assert!(ula.contains(lasting) && lasting.to_string().ends_with("::1"));
    // A LAN keeps its part when others come before it.
    settings.lans.remove(0);
    let mut fewer = draw(&settings, 4, Some(ula));
    fewer.update(at(0), &[]);
    assert_eq!(prefixes(&fewer, HOME), guest);

    settings.ula = Ula::Given(cidr("fd12:3456:789a::/48"));
    assert_eq!(draw(&settings, 5, Some(ula)).ula(), Some(cidr("fd12:3456:789a::/48")));
    settings.ula = Ula::Off;
    assert_eq!(draw(&settings, 6, Some(ula)).ula(), None);
}

#[test]
fn the_list_of_stale_prefixes_is_bounded_and_keeps_the_newest() {
    let mut site = new(&settings(&[("home", ISP, 0)]));
    for n in 0..40u64 {
        let prefix = Ipv6Cidr { address: Ipv6Addr::new(0x2001, 0xdb8, n as u16, 0, 0, 0, 0, 0), prefix: 56 };
        site.update(at(n), &[source(&[&prefix.to_string()])]);
    }
    let stale = stale(&site, HOME);
    assert_eq!(stale.len(), STALE);
    assert_eq!(stale.last().unwrap().0, "2001:db8:26::/64");
}
