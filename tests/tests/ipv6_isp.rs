//! Dual stack over PPPoE: the ISP is pppd with radvd, and Kea or WIDE's dhcp6s delegates.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use genkan_tests::client::{fetch, resolve6};
use genkan_tests::client6::Client6;
use genkan_tests::lab::{PASSWORD, USERNAME, USERNAME6, WEB6, web};
use genkan_tests::peers::{Delegation, Dhcp6, Server};
use genkan_tests::replayed;
use genkan_tests::street::GuestStreet;
use genkan_tests::wait_for;
use genkan_tests::wire::Wire;

const PATIENCE: Duration = Duration::from_secs(60);

/// The /64 of this number in the first prefix that the ISP delegates.
fn subnet(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x100, number, 0, 0, 0, 0)
}

fn server(delegation: Delegation) -> Server {
    Server { ipv6: Some(delegation), ..Server::default() }
}

/// From a cold start to a page, with what a host needs on the way. RFC 7084 WAA-7, WPD-1, WPD-2, WPD-6, L-1, L-2, L-6, L-9,
/// L-10, L-11.
#[test]
fn a_host_gets_an_address_a_router_names_and_a_page() {
    for dhcp6 in [Dhcp6::Kea, Dhcp6::Wide] {
        let name = format!("ipv6-cold-{dhcp6:?}").to_lowercase();
        let street =
            GuestStreet::dual_stack(&name, server(Delegation { server: dhcp6, ..Delegation::default() }));
        let desk = street.desk();
        let address = desk.wait_address_in(subnet(1), 64, PATIENCE);
        assert!(address.preferred <= 2700 && address.valid <= 5400, "RFC 9096 L-16: {address:?}");
        assert!(desk.routers().is_ok_and(|routers| routers.len() == 1), "{:?}", desk.routers());

        // The router has no address of the ISP's, and one of the prefix.
        street.house.desk.run(&format!("ping -c 1 -W 3 {}", Ipv6Addr::from(u128::from(subnet(1)) | 1)));

        let told = desk.advertisement().expect("an advertisement");
        assert!(told.lifetime > 0 && !told.managed && told.other, "{}", told.all);
        assert!(told.lifetimes(&format!("{}/64", subnet(1))).is_ok(), "{}", told.all);
        assert_eq!(told.domains, ["home.arpa"], "{}", told.all);
        let router = *told.dns.first().expect("a name server");
        let lease = desk.dhcp(&street.lab, false).expect("an answer to an Information-request");
        assert_eq!((lease.address, &lease.dns, lease.domain.as_str()), (None, &told.dns, "home.arpa"));
        let answer =
            street.house.desk.inside(|| resolve6(SocketAddr::new(router.into(), 53), "www.example.test."));
        assert_eq!(answer, Ok(vec![WEB6]));

        wait_for("a page over IPv6", Duration::from_secs(10), || {
            // Nobody translates: the far side sees the host itself.
            let seen = desk.fetch()?;
            if seen == address.address { Ok(()) } else { Err(format!("the far host saw {seen}")) }
        });
        street.lab.lease(&street.house.desk, "eth0");
        street.house.desk.inside(|| fetch(web(80), "/address")).expect("a page over IPv4");
    }
}

/// tcpdump's capture of our session with pppd, radvd and Kea, replayed: the session, the address and the prefix are the same.
#[test]
fn a_capture_of_our_session_replays_to_the_same_states() {
    let mut wire = None;
    let street = GuestStreet::with("ipv6-replay", server(Delegation::default()), |lab, house| {
        wire = Some(Wire::listen(lab, &house.router, "wan0", ""));
        let secret = lab.secret("isp.secret", PASSWORD).display().to_string();
        let wan = format!(
            "[wan.isp]\nport = \"wan0\"\npppoe.username = \"{USERNAME}\"\n\
             pppoe.password-file = {secret:?}\nipv6 = true\nprefix-delegation = {{ length = 56 }}\n\n"
        );
        house.run(lab, &wan, "prefix = { from = \"isp\", subnet = 1 }\n", "")
    });
    street.gateway.wait_log("both families", PATIENCE, |line| line.contains("online: address"));
    street.gateway.wait_prefix("isp", "2001:db8:100::/56", PATIENCE);
    let before = street.gateway.wan("isp").expect("a status");
    let capture = wire.expect("tcpdump runs").finish();
    let config = replayed::config(&replayed::dialled(USERNAME), PASSWORD);
    let (replay, outcomes) = replayed::replay(&config, &capture, 1);
    let wan = replay.gateway().status(replay.now()).wans.remove(0);
    let story = replayed::text(&replay, &outcomes);
    let address = wan.address.map(|address| address.to_string());
    assert_eq!((wan.state, address.as_deref()), ("up", Some(before.address.as_str())), "{story}");
    let prefixes = wan.ipv6.map(|ipv6| ipv6.prefixes).unwrap_or_default();
    let prefixes: Vec<String> = prefixes.iter().map(|prefix| prefix.prefix.to_string()).collect();
    assert_eq!(prefixes, ["2001:db8:100::/56"], "{story}");
}

/// An ISP with one login for IPv4 and one for IPv6. RFC 7084 WLL-3.
#[test]
fn two_sessions_on_a_port_carry_a_family_each_and_redial_alone() {
    let mut street = GuestStreet::with("ipv6-two-sessions", server(Delegation::default()), |lab, house| {
        let secret = lab.secret("isp.secret", PASSWORD).display().to_string();
        let wan = |name: &str, user: &str, families: &str| {
            format!(
                "[wan.{name}]\nport = \"wan0\"\npppoe.username = \"{user}\"\npppoe.password-file = {secret:?}\n\
                 pppoe.echo = {{ interval = \"1s\", failures = 3 }}\n{families}\n\n"
            )
        };
        let uplinks = wan("v4", USERNAME, "ipv6 = false")
            + &wan("v6", USERNAME6, "ipv4 = false\nipv6 = true\nprefix-delegation = { length = 56 }");
        house.run(lab, &uplinks, "prefix = { from = \"v6\", subnet = 1 }\n", "")
    });
    street.gateway.wait_up("v4", PATIENCE);
    street.gateway.wait_prefix("v6", "2001:db8:100::/56", PATIENCE);
    let desk = Client6::slaac(&street.house.desk);
    let address = desk.wait_address_in(subnet(1), 64, PATIENCE).address;
    street.lab.lease(&street.house.desk, "eth0");
    let session = |wan: &str| {
        let wan = street.gateway.wan(wan).expect("a status");
        (wan.session, wan.up)
    };
    let works = |family: &str| {
        wait_for(&format!("a page over {family}"), Duration::from_secs(30), || match family {
            "v4" => street.house.desk.inside(|| fetch(web(80), "/address")).map(|_| ()),
            _ => desk.fetch().map(|_| ()),
        });
    };
    works("v4");
    works("v6");

    let device6 = Server::device6(&mut street.guest);
    let device4 = if device6 == "ppp0" { "ppp1" } else { "ppp0" };
    for (ends, device, stays) in [("v6", device6.as_str(), "v4"), ("v4", device4, "v6")] {
        let before = (session(ends).0, session(stays));
        Server::hang_up(&mut street.guest, device);
        wait_for(&format!("{ends} to be dialled again"), PATIENCE, || {
            let now = session(ends);
            if now.1 && now.0 != before.0 { Ok(()) } else { Err(format!("{now:?}")) }
        });
        assert_eq!(session(stays), before.1, "{stays} stays as it is while {ends} is dialled again");
        works("v4");
        works("v6");
    }
    assert!(desk.address_in(subnet(1), 64).is_ok_and(|now| now.address == address && now.preferred > 0));
}

/// TR-124 WAN.PPP.IPv6.5, RFC 7084 WLL-3: an ISP without IPv6 has customers over IPv4.
#[test]
fn an_isp_that_refuses_ipv6cp_keeps_ipv4() {
    let street = GuestStreet::dual_stack("ipv6-refused", Server::default());
    street.gateway.wait_up("isp", PATIENCE);
    street.lab.lease(&street.house.desk, "eth0");
    street.house.desk.inside(|| fetch(web(80), "/address")).expect("a page over IPv4");
    let wan = street.gateway.wan6("isp").expect("a status");
    assert!(!wan.up && wan.prefixes.is_empty(), "{}", wan.all);
    street.gateway.wait_explained("isp", &["is up, but IPV6CP fails", "no IPv6 on this kind of line"]);
    // Hosts hear of a router for what the LAN has, but not of a way out. RFC 7084 G-4, ULA-5.
    let told = street.desk().advertisement();
    assert!(told.as_ref().map_or(true, |told| told.lifetime == 0), "{told:?}");
}

/// TR-124 WAN.PPP.IPv6.5: the other way round.
#[test]
fn an_isp_that_refuses_ipcp_keeps_ipv6() {
    let server = Server { ipv4: false, ..server(Delegation::default()) };
    let street = GuestStreet::dual_stack("ipv4-refused", server);
    street.gateway.wait_prefix("isp", "2001:db8:100::/56", PATIENCE);
    street.gateway.wait_explained("isp", &["is up, but IPCP fails", "DS-Lite"]);
    let desk = street.desk();
    let address = desk.wait_address_in(subnet(1), 64, PATIENCE).address;
    wait_for("a page over IPv6", Duration::from_secs(10), || desk.fetch());
    assert_eq!(desk.fetch(), Ok(address));
}

/// RFC 7084 WPD-3, L-2, L-5: of any prefix, every LAN has the /64 that the configuration says, or the user hears why not.
#[test]
fn lans_share_a_prefix_as_far_as_it_goes() {
    // Numbers of the LANs' subnets, and of the prefix that is delegated.
    for (length, second) in [(56, 0xab), (60, 0xf), (64, 1)] {
        let delegation = Delegation { length, ..Delegation::default() };
        let street = GuestStreet::with(&format!("ipv6-lans-{length}"), server(delegation), |lab, house| {
            let secret = lab.secret("isp.secret", PASSWORD).display().to_string();
            let lan = |name: &str, port: u8, subnet: u16| {
                format!(
                    "[port.lan{port}]\nnic = \"lan{port}\"\n[lan.{name}]\nports = [\"lan{port}\"]\n\
                     address = \"192.168.{port}.1/24\"\nprefix = {{ from = \"isp\", subnet = {subnet} }}\n"
                )
            };
            let config = format!(
                "[port.wan0]\nnic = \"wan0\"\n[wan.isp]\nport = \"wan0\"\npppoe.username = \"{USERNAME}\"\n\
                 pppoe.password-file = {secret:?}\nipv6 = true\nprefix-delegation = {{ length = 56 }}\n"
            ) + &lan("home", 0, 0)
                + &lan("work", 1, second);
            genkan_tests::gateway::Genkan::start(lab, &house.router, "router", &config)
        });
        street.gateway.wait_prefix("isp", &format!("2001:db8:100::/{length}"), PATIENCE);
        let (nas, desk) = (Client6::slaac(&street.house.nas), Client6::slaac(&street.house.desk));
        nas.wait_address_in(subnet(0), 64, PATIENCE);
        wait_for("a page from the first LAN", Duration::from_secs(10), || nas.fetch());
        if length < 64 {
            let address = desk.wait_address_in(subnet(second), 64, PATIENCE).address;
            wait_for("a page from the second LAN", Duration::from_secs(10), || desk.fetch());
            assert_eq!(desk.fetch(), Ok(address));
        } else {
            let phrases = ["prefix delegation fails", "too small for the LANs", "lan work"];
            street.gateway.wait_explained("isp", &phrases);
            wait_for("the second LAN's problem to be told", Duration::from_secs(10), || {
                let status = street.gateway.status()?;
                let problem = status["lans"][1]["ipv6"]["problem"].as_str().unwrap_or_default();
                let told = problem.contains("2001:db8:100::/64")
                    && street.gateway.log().lines().any(|line| line.contains("work") && line.contains("/64"));
                if told { Ok(()) } else { Err(status["lans"].to_string()) }
            });
            assert!(desk.address_in(subnet(second), 64).is_err());
        }
    }
}
