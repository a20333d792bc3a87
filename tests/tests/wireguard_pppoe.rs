//! A VPN over PPPoE: less room, and another address after each redial. The far host has wireguard-go.

use std::time::{Duration, Instant};

use genkan_tests::client::{echo, transfers};
use genkan_tests::friends::{BEHIND, INNER, PORT, peer_status, vpn};
use genkan_tests::lab::WEB;
use genkan_tests::netns::text;
use genkan_tests::packets::offers;
use genkan_tests::peers::{Keys, Peer, WireGuardGo};
use genkan_tests::street::Street;
use genkan_tests::topology::{Dial, Terms};
use genkan_tests::wait_for;
use genkan_tests::wire::Wire;

const FAR: &str = "10.77.0.2";
const LENGTH: u64 = 5_000_000;
const KEEPALIVE: u64 = 3;

#[test]
fn a_tunnel_over_pppoe_has_60_octets_less_and_outlives_a_redial() {
    let keys = Keys::generate();
    // The far host's key is in the gateway's configuration, so it is made first.
    let far_keys = Keys::generate();
    let more = |lab: &_| {
        vpn(lab, &keys, "")
            + &format!(
                "[[vpn.friends.peer]]\nname = \"far\"\npublic-key = \"{}\"\nendpoint = \"{WEB}:{PORT}\"\n\
                 allowed-ips = [\"{FAR}/32\"]\nkeepalive = \"{KEEPALIVE}s\"\n",
                far_keys.public
            )
    };
    let mut street = Street::with("wireguard-pppoe", Dial::default(), Terms::default(), more);
    let far = &street.provider.far.host;
    let mut go = WireGuardGo::start(&street.lab, far, PORT, 1432);
    go.take(&street.lab, far_keys);
    go.meet(
        &street.lab,
        Peer { public: &keys.public, preshared: None, endpoint: None, allowed: BEHIND, keepalive: 0 },
    );
    far.ip(&["address", "add", &format!("{FAR}/32"), "dev", &go.device]);
    for network in ["10.77.0.0/24", "192.168.1.0/24"] {
        far.ip(&["route", "add", network, "dev", &go.device]);
    }
    let before = street.wait_up();
    street.lab.lease(&street.house.desk, "eth0");
    let desk = &street.house.desk;
    wait_for("the far host to answer", Duration::from_secs(20), || desk.pings(FAR));
    assert_eq!(
        go.shown(&keys.public).endpoint.map(|from| from.ip().to_string()),
        Some(before.address.clone())
    );

    let wire = Wire::listen(&street.lab, far, &go.device, "tcp");
    let server = |port: u16| (FAR.parse::<std::net::Ipv4Addr>().expect("an address"), port).into();
    desk.inside(|| echo(server(7), "how large?")).expect("an echo");
    assert_eq!(offers(&wire.end()), [(4, 1392), (4, 1392)]);
    let said = text(&desk.try_run(&format!("ping -c 1 -W 2 -M do -s {} {FAR}", 1433 - 28)));
    assert!(said.contains("mtu = 1432") || said.contains("mtu=1432"), "{said}");
    desk.run(&format!("ping -c 2 -i 0.2 -W 2 -M do -s {} {FAR}", 1432 - 28));
    transfers(desk, server(80), LENGTH);

    // The ISP goes without a word and comes back with other addresses. Only the far host has something to say: it learns by
    // the gateway's keepalive where that is now.
    street.isp.kill();
    let gone = Instant::now();
    street.isp = street.provider.start(&street.lab, Terms { pool: "100.65.0.0/16", ..Terms::default() });
    let gateway = &street.gateway;
    let after = wait_for("another address", Duration::from_secs(60), || match gateway.wan("isp") {
        Ok(wan) if wan.up && wan.address.starts_with("100.65.") => Ok(wan),
        other => Err(format!("{other:?}")),
    });
    let up = Instant::now();
    wait_for("the far host to reach the gateway", Duration::from_secs(KEEPALIVE + 2), || {
        street.provider.far.host.pings(INNER)
    });
    println!(
        "another address after {:.1} s, traffic {:.1} s later",
        (up - gone).as_secs_f32(),
        up.elapsed().as_secs_f32()
    );
    assert!(up.elapsed() <= Duration::from_secs(KEEPALIVE + 1), "after {} ms", up.elapsed().as_millis());
    let seen = go.shown(&keys.public).endpoint.map(|from| from.ip().to_string());
    assert_eq!(seen, Some(after.address), "{} before", before.address);
    let peer = peer_status(gateway, "far").expect("a peer");
    assert!(peer["handshake_age_s"].as_u64().is_some(), "{peer}");
}
