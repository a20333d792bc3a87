//! What hosts notice when a delegated prefix stays, changes or ends. The ISP is pppd with radvd and Kea.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use genkan_tests::client6::Client6;
use genkan_tests::guest::Guest;
use genkan_tests::peers::{Delegation, Server};
use genkan_tests::street::GuestStreet;
use genkan_tests::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);
const OLD: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 1, 0, 0, 0, 0);
const NEW: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x200, 1, 0, 0, 0, 0);

/// An ISP that delegates the /56 of a LAN's /64.
fn server(lan: Ipv6Addr) -> Server {
    let [first, second, third, ..] = lan.segments();
    let prefix = Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0);
    Server { ipv6: Some(Delegation { prefix, ..Delegation::default() }), ..Server::default() }
}

/// The ISP dies and comes back; what it has leased it no longer knows.
fn replace(guest: &mut Guest, prefix: Ipv6Addr) {
    Server::kill(guest);
    guest.run("rm -rf /run/kea/*");
    server(prefix).start(guest);
}

/// Waits until the desk is online by the old prefix, and returns its address.
#[track_caller]
fn online(street: &GuestStreet) -> Ipv6Addr {
    let desk = street.desk();
    let address = desk.wait_address_in(OLD, 64, PATIENCE).address;
    wait_for("a page over IPv6", Duration::from_secs(10), || desk.fetch());
    address
}

/// RFC 9096 WPD-10: the ISP knows us again, and hosts notice nothing.
#[test]
fn a_redial_with_the_same_prefix_changes_no_address() {
    let mut street = GuestStreet::dual_stack("renumbering-same", server(OLD));
    let address = online(&street);
    let before = street.gateway.wan("isp").expect("a status");
    let device = Server::device6(&mut street.guest);
    Server::hang_up(&mut street.guest, &device);
    let desk = Client6::of(&street.house.desk);
    wait_for("another session with the prefix", PATIENCE, || {
        // While there is no session hosts are told to open no connection with it, and to keep it.
        let now = desk.address_in(OLD, 64).expect("the address stays");
        assert!(now.address == address && now.valid > 60, "{now:?}");
        let (wan, ipv6) = (street.gateway.wan("isp")?, street.gateway.wan6("isp")?);
        let again = wan.session != before.session && ipv6.up && ipv6.dhcp == "bound" && now.preferred > 0;
        if again { Ok(()) } else { Err(format!("{now:?}, {}", wan.all)) }
    });
    wait_for("a page over IPv6", Duration::from_secs(10), || desk.fetch());
    assert_eq!(desk.fetch(), Ok(address));
}

/// RFC 9096 L-13, RFC 7084 L-14: hosts leave the old prefix the moment the new one is there.
#[test]
fn a_redial_with_another_prefix_moves_every_host_at_once() {
    let mut street = GuestStreet::dual_stack("renumbering-new", server(OLD));
    let old = online(&street);
    replace(&mut street.guest, NEW);
    let desk = Client6::of(&street.house.desk);
    street.gateway.wait_prefix("isp", "2001:db8:200::/56", Duration::from_secs(90));
    let since = Instant::now();
    wait_for("the old address to be deprecated", Duration::from_secs(1), || match desk.address_in(OLD, 64) {
        Ok(address) if address.preferred > 0 => Err(format!("{address:?}")),
        _ => Ok(()),
    });
    println!("deprecated {} ms after the status told of the new prefix", since.elapsed().as_millis());
    // The host makes sure for a second that nobody else has its new address.
    let new = desk.wait_address_in(NEW, 64, Duration::from_secs(5)).address;
    assert_eq!(desk.source(), Ok(new), "new connections leave by the new address, not by {old}");
    wait_for("a page over IPv6", Duration::from_secs(10), || desk.fetch());
    assert_eq!(desk.fetch(), Ok(new));
    let told = desk.advertisement().expect("an advertisement");
    let (preferred, _) = told.lifetimes(&format!("{OLD}/64")).expect("the old prefix is still told of");
    assert_eq!(preferred, 0, "{}", told.all);
    assert!(told.lifetimes(&format!("{NEW}/64")).is_ok_and(|(preferred, _)| preferred > 0), "{}", told.all);
}

/// RFC 9096 L-13: what was announced before a crash is taken back after it.
#[test]
fn after_kill_9_the_prefix_from_before_is_announced_with_no_lifetime() {
    let mut street = GuestStreet::dual_stack("renumbering-crash", server(OLD));
    online(&street);
    street.gateway.kill();
    replace(&mut street.guest, NEW);
    let street = street.restart();
    street.gateway.wait_prefix("isp", "2001:db8:200::/56", Duration::from_secs(90));
    let desk = Client6::of(&street.house.desk);
    let new = desk.wait_address_in(NEW, 64, Duration::from_secs(10)).address;
    let told = desk.advertisement().expect("an advertisement");
    assert_eq!(told.lifetimes(&format!("{OLD}/64")), Ok((0, 0)), "{}", told.all);
    assert!(desk.address_in(OLD, 64).map_or(true, |address| address.preferred == 0));
    assert_eq!(desk.source(), Ok(new));
    wait_for("a page over IPv6", Duration::from_secs(10), || desk.fetch());
}

/// RFC 8415 T1, RFC 7084 G-4, G-5: a server that is dead at T1, at T2 and when the prefix expires, and then back.
#[test]
fn a_dead_dhcpv6_server_costs_the_prefix_when_it_expires_and_no_sooner() {
    let delegation = Delegation { t1: 6, t2: 12, preferred: 18, valid: 30, ..Delegation::default() };
    let server = Server { ipv6: Some(delegation), ..Server::default() };
    let mut street = GuestStreet::dual_stack("renumbering-dead", server);
    online(&street);
    let desk = Client6::of(&street.house.desk);
    // A lease that is renewed is good for its whole life again.
    street.gateway.wait_log("a renewal", Duration::from_secs(15), |line| {
        line.contains("DHCPv6: ") && line.ends_with(" renewed")
    });
    let bound = Instant::now();
    Delegation::kill_dhcp6(&mut street.guest);
    for (state, at) in [("renewing", 6), ("rebinding", 12)] {
        street.gateway.wait_wan6("isp", state, Duration::from_secs(15), |wan| wan.dhcp == state);
        let late = bound.elapsed().as_secs_f64() - f64::from(at);
        assert!((-1.0..2.5).contains(&late), "{state} after {:.1} s", bound.elapsed().as_secs_f64());
        desk.fetch().expect("the prefix works as before");
    }
    street
        .gateway
        .wait_wan6("isp", "the end of the prefix", Duration::from_secs(30), |wan| wan.prefixes.is_empty());
    let late = bound.elapsed().as_secs_f64() - 30.0;
    assert!((-1.0..2.5).contains(&late), "the prefix ended after {:.1} s", bound.elapsed().as_secs_f64());
    wait_for("the router to be none any more", Duration::from_secs(2), || match desk.routers() {
        Ok(routers) if routers.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    Delegation::restart_dhcp6(&mut street.guest);
    desk.wait_address_in(OLD, 64, PATIENCE);
    wait_for("a page over IPv6", Duration::from_secs(20), || desk.fetch());
}
