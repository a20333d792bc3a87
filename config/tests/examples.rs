//! Every example is valid, and warns of nothing but what this version does not support.

mod host;

use genkan_config::schema::{Bridge, Device, Uplink, Zone};
use genkan_config::{Config, Loaded, key};
use genkan_netstack::settings::{Authentication, Endpoint, Network, PrefixRequest};
use host::{CANARY, KEY, TestHost};

fn load(name: &str) -> Loaded {
    Config::load_on(format!("examples/{name}.toml"), &TestHost).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn examples_check_without_a_word() {
    let examples = [
        "minimal",
        "two-sessions",
        "bridge-ports",
        "concentrator",
        "cable",
        "guest",
        "vpn-site-to-site",
        "vpn-road-warriors",
        "vpn-bridged-lan",
    ];
    for name in examples {
        let loaded = load(name);
        assert_eq!(loaded.warnings.render(false), "", "{name}");
    }
}

#[test]
fn the_whole_contract_is_valid_and_supported() {
    assert_eq!(load("gateway").warnings.render(false), "");
}

#[test]
fn the_contract_is_read_to_its_last_value() {
    let config = load("gateway").config;
    assert_eq!(config.system.hostname, "genkan");
    assert_eq!(config.ports[0].device, Device::Nic("eth0".into()));
    assert_eq!(config.ports[1].device, Device::Tap("tap-lan".into()));
    let names: Vec<&str> = config.wans.iter().map(|wan| wan.name.as_str()).collect();
    assert_eq!(names, ["isp", "isp-v6"]);
    let Uplink::Pppoe(pppoe) = &config.wans[0].uplink else { panic!() };
    assert_eq!(pppoe.password.expose(), CANARY.as_bytes());
    assert_eq!((pppoe.mtu, pppoe.echo.interval.as_secs(), pppoe.echo.failures), (1492, 10, 3));
    assert_eq!(
        pppoe.authentication,
        [Authentication::ChapMd5, Authentication::MsChapV2, Authentication::Pap]
    );
    assert_eq!(config.wans[1].prefix_delegation, Some(PrefixRequest { length: Some(56) }));
    let lan = &config.lans[0];
    assert_eq!(lan.address.to_string(), "192.168.1.1/24");
    assert_eq!(lan.dhcp.as_ref().unwrap().lease.as_secs(), 12 * 3600);
    assert_eq!(lan.prefix.as_ref().unwrap().subnet, 1);
    assert_eq!(lan.hosts[0].name, "nas");
    assert_eq!(lan.hosts[0].ipv6, Some("::10".parse().unwrap()));
    assert_eq!(config.nat.flows_per_host, 4096);
    assert_eq!((config.port_forwards[0].port, config.port_forwards[0].to_port), (8443, 443));
    let filter = &config.filters[0];
    let written = include_str!("../examples/gateway.toml").lines().nth(filter.line as usize - 1);
    assert_eq!(written, Some("[[filter]]"));
    assert_eq!((filter.from, filter.to), (Zone::Wan, Zone::Lan));
    assert_eq!(filter.ports, [22..=22, 443..=443]);
    assert_eq!(filter.destination, Some(Network::V6Suffix("::10/64".parse().unwrap())));
    let vpn = &config.vpns[0];
    assert_eq!((vpn.listen_port, vpn.mtu, &vpn.bridge), (51820, None, &None));
    assert_eq!(key::text(vpn.private_key.expose()).as_str(), KEY);
    assert_eq!(vpn.peers[0].keepalive.unwrap().as_secs(), 25);
    let friend = Endpoint::Name { host: "friend.example".to_owned(), port: 51820 };
    assert_eq!((vpn.peers[0].name.as_str(), &vpn.peers[0].endpoint), ("xTIBA5rb…", &Some(friend)));
    assert_eq!(config.capture_ring, 8 << 20);
}

#[test]
fn a_vpn_has_addresses_of_both_families_and_peers_with_networks() {
    let config = load("vpn-site-to-site").config;
    let vpn = &config.vpns[0];
    assert_eq!(vpn.ipv4.unwrap().to_string(), "10.77.0.1/24");
    assert_eq!(vpn.ipv6, Some("fd00:77::1/64".parse().unwrap()));
    let peer = &vpn.peers[0];
    assert_eq!(peer.name, "office");
    assert_eq!(key::text(peer.preshared_key.as_ref().unwrap().expose()).as_str(), KEY);
    let allowed: Vec<String> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.77.0.2/32", "fd00:77::2/128", "192.168.2.0/24"]);
    assert_eq!(config.filters[0].from, Zone::Vpn);
}

#[test]
fn a_bridged_vpn_has_the_options_that_are_written_and_the_defaults_of_the_rest() {
    let config = load("vpn-bridged-lan").config;
    let bridge = Bridge {
        lan: "games".to_owned(),
        vni: 42,
        ra_guard: true,
        isolate_dhcp: true,
        suppress: true,
        hub: false,
    };
    assert_eq!(config.vpns[0].bridge, Some(bridge));
}

#[test]
fn host_uniq_and_names_that_an_isp_demands_are_kept() {
    let config = load("two-sessions").config;
    let Uplink::Pppoe(pppoe) = &config.wans[1].uplink else { panic!() };
    assert_eq!(pppoe.host_uniq.as_deref(), Some(&[0x00, 0xc0, 0xff, 0xee][..]));
    assert_eq!(pppoe.service_name, b"internet");
    assert_eq!(pppoe.ac_name.as_deref(), Some(&b"bras7"[..]));
    assert_eq!(pppoe.authentication, [Authentication::MsChapV2]);
}

#[test]
fn a_concentrator_has_its_users() {
    let config = load("concentrator").config;
    let concentrator = &config.concentrators[0];
    assert_eq!(concentrator.users.len(), 2);
    assert_eq!(concentrator.users[0].password.expose(), b"change this");
    assert_eq!(concentrator.users[1].password.expose(), CANARY.as_bytes());
    assert_eq!(concentrator.users[1].ipv4, Some("100.64.10.1".parse().unwrap()));
    assert_eq!(concentrator.users[1].prefix, Some("2001:db8:0:ff00::/56".parse().unwrap()));
    assert_eq!(concentrator.prefix_pool.unwrap().delegate, 56);
    assert_eq!((concentrator.sessions, concentrator.sessions_per_mac), (4000, 2));
}

/// TR-124 .6: passwords are never displayed.
#[test]
fn debug_output_of_a_configuration_shows_no_secret() {
    for name in ["gateway", "concentrator", "vpn-site-to-site"] {
        let shown = format!("{:?}", load(name));
        assert!(!shown.contains(CANARY) && !shown.contains(KEY) && !shown.contains("change this"), "{shown}");
    }
}

/// Whatever is cut off or flipped, a check ends with a verdict.
#[test]
fn no_file_makes_a_check_panic() {
    struct Text(Vec<u8>);
    impl genkan_config::Host for Text {
        fn read(&self, path: &std::path::Path) -> std::io::Result<genkan_config::HostFile> {
            match path.to_str() {
                Some("broken.toml") => Ok(genkan_config::HostFile { content: self.0.clone(), mode: 0o600 }),
                _ => TestHost.read(path),
            }
        }
        fn devices(&self) -> Option<Vec<String>> {
            None
        }
    }
    for name in ["gateway", "concentrator", "two-sessions", "vpn-site-to-site"] {
        let whole = std::fs::read(format!("examples/{name}.toml")).unwrap();
        for cut in (0..whole.len()).step_by(3) {
            let mut flipped = whole.clone();
            flipped[cut] ^= 1 << (cut % 7);
            for content in [whole[..cut].to_vec(), flipped] {
                match Config::load_on("broken.toml", &Text(content)) {
                    Ok(loaded) => assert_eq!(loaded.warnings.errors(), 0),
                    Err(report) => assert!(report.errors() > 0 && !report.render(true).is_empty()),
                }
            }
        }
    }
}
