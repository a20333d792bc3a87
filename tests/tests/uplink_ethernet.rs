//! Uplinks without PPPoE: DHCP with dnsmasq, Kea and radvd, and static addresses.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use genkan_tests::client::fetch;
use genkan_tests::client6::Client6;
use genkan_tests::ethernet_isp::{EthernetIsp, FIRST, LAST, ROUTER};
use genkan_tests::gateway::Genkan;
use genkan_tests::lab::{Lab, WEB, web};
use genkan_tests::peers::Delegation;
use genkan_tests::topology::{House, Port};
use genkan_tests::wait_for;

const PATIENCE: Duration = Duration::from_secs(30);
const LAN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 1, 0, 0, 0, 0);
const LINK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 0);

fn street(name: &str) -> (Lab, House, EthernetIsp) {
    let lab = Lab::new(name);
    let house = House::new(Port::Nic, Port::Nic);
    let isp = EthernetIsp::new(&house.router);
    (lab, house, isp)
}

fn start(lab: &Lab, house: &House) -> Genkan {
    let uplink =
        "[wan.isp]\nport = \"wan0\"\ndhcp = true\nipv6 = true\nprefix-delegation = { length = 56 }\n";
    house.run(lab, uplink, "prefix = { from = \"isp\", subnet = 1 }\n", "")
}

/// The address that the far host sees over IPv4.
fn seen(house: &House) -> Result<String, String> {
    let page = house.desk.inside(|| fetch(web(80), "/address"))?;
    Ok(page.split(':').next().unwrap_or_default().to_string())
}

/// RFC 7084 W-1, W-3, W-4, WLL-1, WAA-1, WPD-1: the address by SLAAC, the prefix by DHCPv6.
#[test]
fn dhcp_and_advertisements_bring_a_lan_online() {
    let (lab, house, isp) = street("ethernet-slaac");
    let _dhcp4 = isp.dhcp4(&lab);
    let _services = isp.ipv6(&lab, Delegation { link: Some(LINK), ..Delegation::default() });
    let gateway = start(&lab, &house);
    let address = gateway.wait_up("isp", PATIENCE).address;
    lab.lease(&house.desk, "eth0");
    wait_for("a page over IPv4", PATIENCE, || seen(&house));
    assert_eq!(seen(&house), Ok(address.clone()));
    let leased: Ipv4Addr = address.parse().expect("an address");
    assert!((FIRST..=LAST).contains(&leased), "{leased}");

    let wan = gateway.wait_prefix("isp", "2001:db8:100::/56", PATIENCE);
    assert!(wan.all.contains("2001:db8:fffe:"), "an address by SLAAC: {}", wan.all);
    let desk = Client6::slaac(&house.desk);
    let address = desk.wait_address_in(LAN, 64, PATIENCE).address;
    wait_for("a page over IPv6", PATIENCE, || desk.fetch());
    assert_eq!(desk.fetch(), Ok(address));
}

/// RFC 7084 WAA-4, WAA-6: an advertisement with the M flag has the router ask for an address.
#[test]
fn an_isp_that_leases_addresses_is_asked_for_one() {
    let (lab, house, isp) = street("ethernet-managed");
    let _dhcp4 = isp.dhcp4(&lab);
    let _services = isp.ipv6(&lab, Delegation { link: Some(LINK), managed: true, ..Delegation::default() });
    let gateway = start(&lab, &house);
    let wan = gateway.wait_prefix("isp", "2001:db8:100::/56", PATIENCE);
    assert!(wan.all.contains("2001:db8:fffe::1"), "an address from Kea's pool: {}", wan.all);
    let desk = Client6::slaac(&house.desk);
    desk.wait_address_in(LAN, 64, PATIENCE);
    wait_for("a page over IPv6", PATIENCE, || desk.fetch());
}

#[test]
fn a_static_uplink_brings_a_lan_online() {
    let (lab, house, _isp) = street("ethernet-static");
    let uplink = format!(
        "[wan.isp]\nport = \"wan0\"\nstatic = {{ address = \"198.51.100.2/24\", gateway = \"{ROUTER}\", dns = [\"{WEB}\"] }}\n"
    );
    let gateway = house.run(&lab, &uplink, "", "");
    let wan = gateway.wait_up("isp", PATIENCE);
    assert_eq!((wan.address.as_str(), wan.mtu), ("198.51.100.2", 1500), "{}", wan.all);
    lab.lease(&house.desk, "eth0");
    house.desk.run(&format!("ping -c 2 -i 0.3 -W 3 -M do -s 1472 {WEB}"));
    assert_eq!(seen(&house), Ok("198.51.100.2".into()));
}
