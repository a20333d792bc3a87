//! A VPN as the way out: friends lend each other theirs, with wireguard-go.

use std::net::{IpAddr, SocketAddr};

use genkan_tests::client::{fetch, transfers};
use genkan_tests::friends::{Friends, INNER, OUTER, PORT, reach, seen_at, unreachable};
use genkan_tests::lab::{web, web6};
use genkan_tests::peers::Peer;

const LENGTH: u64 = 5_000_000;

/// Anna is the LAN's way out, though she is reached by that same way; ben's way out is the gateway.
#[test]
fn friends_lend_each_other_their_way_out() {
    let friends = Friends::new("wireguard-exit");
    let Friends { anna, ben, isp, house, keys, lab } = &friends;
    let everywhere = ["0.0.0.0/0".to_string(), "::/0".to_string()];
    let tables =
        [anna.table_of(&everywhere, &format!("endpoint = \"{}\"\n", anna.endpoint())), ben.table("")];
    let gateway = friends.start(&tables.concat());
    let (desk, desk6) = friends.desk();
    anna.meet(lab, keys, None, None);
    // What is for the house comes back by anna: the ISP knows nobody else there.
    isp.namespace.ip(&["route", "add", "192.168.1.0/24", "via", &anna.endpoint().ip().to_string()]);
    let (lan6, anna6) = ("2001:db8:100:1::/64", anna.endpoint6().ip().to_string());
    isp.namespace.ip(&["route", "add", lan6, "via", &anna6]);
    anna.host.sysctl("net.ipv4.ip_forward", "1");
    anna.host.sysctl("net.ipv6.conf.all.forwarding", "1");
    reach(&house.desk, anna.inner());
    for (server, from) in [(web(80), IpAddr::from(desk)), (web6(80), desk6.into())] {
        let page = house.desk.inside(|| fetch(server, "/address")).expect("a page by anna");
        let seen = page.parse::<SocketAddr>().map(|seen| seen.ip());
        assert_eq!(seen, Ok(from), "the far host sees whoever comes by anna as they are");
    }
    transfers(&house.desk, web(80), LENGTH);
    assert_eq!(seen_at(&gateway, anna.name), Ok(anna.endpoint()), "the way to anna is not through anna");

    // Nobody has invited friends into the LAN.
    unreachable(&anna.host, desk);
    reach(&anna.host, INNER);
    gateway.end();

    // Ben sends everything to the gateway but what is for the gateway.
    let gateway = friends.start(&ben.table(""));
    let device = ben.go.device.clone();
    ben.go.meet(
        lab,
        Peer {
            public: &keys.public,
            preshared: None,
            endpoint: Some((OUTER, PORT).into()),
            allowed: "0.0.0.0/0,::/0",
            keepalive: 0,
        },
    );
    let router = ben.endpoint_at(1, 0).ip().to_string();
    ben.host.ip(&["route", "add", &format!("{OUTER}/32"), "via", &router]);
    ben.host.ip(&["route", "add", "0.0.0.0/1", "dev", &device]);
    ben.host.ip(&["route", "add", "128.0.0.0/1", "dev", &device]);
    let page = ben.host.inside(|| fetch(web(80), "/address")).expect("a page by the gateway");
    let seen = page.parse::<SocketAddr>().map(|seen| seen.ip());
    assert_eq!(seen, Ok(OUTER.into()), "the far host sees the gateway");
    transfers(&ben.host, web(80), LENGTH);
    unreachable(&ben.host, desk);
    gateway.end();
}
