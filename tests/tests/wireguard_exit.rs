//! A VPN as the way out: friends lend each other theirs, with wireguard-go.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use genkan_tests::client::{datagrams, fetch, resolve, transfers};
use genkan_tests::friends::{Friends, INNER, INNER6, INVITED, OUTER, PORT, reach, seen_at, unreachable};
use genkan_tests::gateway::program;
use genkan_tests::lab::{WEB, web, web6};
use genkan_tests::netns::{Namespace, text};
use genkan_tests::peers::Peer;

const PATIENCE: Duration = Duration::from_secs(20);
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

/// A provider of the kind that sends a file for wg-quick and knows no address but the one in it.
#[test]
fn a_provider_that_knows_one_address_is_the_lans_way_out() {
    let friends = Friends::new("wireguard-provider");
    let Friends { anna, isp, house, keys, lab, .. } = &friends;
    let file = format!(
        "[Interface]\nPrivateKey = {}\nAddress = {INNER}/32, {INNER6}/128\nDNS = {}\n\n\
         [Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0, {}/32\nEndpoint = {}\n",
        keys.private,
        anna.inner(),
        anna.go.keys.public,
        anna.inner(),
        anna.endpoint()
    );
    let (file, out) = (lab.secret("provider.conf", &file), lab.folder().join("vpn.toml"));
    let imported = Command::new(program()).args(["vpn", "import"]).arg(&file).arg("--out").arg(&out).output();
    let imported = imported.expect("the program can be started");
    assert!(imported.status.success(), "{}", text(&imported));
    let lines = std::fs::read_to_string(&out).expect("the lines are there");
    let forward = format!(
        "\n[[port-forward]]\nwan = \"isp\"\nprotocol = \"tcp\"\nport = 8080\nto = \"{}:80\"\n",
        anna.inner()
    );
    let gateway = friends.open(&(lines + &forward), WEB);
    let (desk, _) = friends.desk();
    anna.go.meet(
        lab,
        Peer {
            public: &keys.public,
            preshared: None,
            endpoint: None,
            allowed: &format!("{INNER}/32,{INNER6}/128"),
            keepalive: 0,
        },
    );
    // She is a router, and the ISP finds her customer by her.
    anna.host.sysctl("net.ipv4.ip_forward", "1");
    isp.namespace.ip(&["route", "add", &format!("{INNER}/32"), "via", &anna.endpoint().ip().to_string()]);
    reach(&house.desk, anna.inner());
    let seen = |host: &Namespace, server| {
        let page = host.inside(|| fetch(server, "/address")).expect("a page");
        page.parse::<SocketAddr>().map(|seen| seen.ip())
    };
    assert_eq!(seen(&house.desk, web(80)), Ok(INNER.into()), "the far host sees the provider's customer");
    transfers(&house.desk, web(80), LENGTH);
    let whole = house.desk.inside(|| datagrams(web(7), 64, 1000)).expect("UDP can be sent");
    assert_eq!(whole, 64);
    house.desk.run(&format!("ping -c 2 -i 0.2 -W 2 {WEB}"));
    // IPv6 is not translated. The desk is told at once, and would use IPv4.
    let begun = Instant::now();
    let refused = house.desk.inside(|| fetch(web6(80), "/address"));
    assert!(refused.is_err() && begun.elapsed() < Duration::from_secs(2), "{refused:?}");

    // Nothing begins from the provider; but it has a server that the house opens to the world.
    for to in [INNER, desk] {
        unreachable(&anna.host, to);
    }
    assert_eq!(seen(&isp.far.host, (OUTER, 8080).into()), Ok(INNER.into()), "the server sees its customer");
    gateway.end();
}

/// What `genkan vpn peer` prints is all that a new friend needs: `wg` reads what `wg-quick` leaves of it, and the addresses,
/// networks and name server are those that it names.
#[test]
fn what_is_printed_for_a_new_peer_brings_it_into_the_vpn() {
    let friends = Friends::new("wireguard-printed");
    let Friends { anna, ben, house, lab, keys, .. } = &friends;
    let gateway = friends.start(&[ben.table(""), INVITED.into()].concat());
    let (config, shared) = (gateway.config().to_owned(), lab.folder().join("anna.psk"));
    let printed = Command::new(program())
        .args(["vpn", "peer"])
        .arg(&config)
        .args(["anna", "--endpoint", &OUTER.to_string(), "--preshared-key-file"])
        .arg(&shared)
        .output()
        .expect("the program can be started");
    assert!(printed.status.success(), "{}", text(&printed));
    let (file, said) = (String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&printed.stderr));
    let lines = &said[said.find("[[vpn.friends.peer]]").expect("there are lines to add")..];
    let whole = std::fs::read_to_string(&config).expect("the configuration is there") + "\n" + lines;
    std::fs::write(&config, whole).expect("the configuration can be written");
    let gateway = gateway.again(lab, &house.router);
    gateway.wait_up("isp", PATIENCE);
    let (desk, desk6) = friends.desk();

    let quick = lab.secret("anna.conf", &file);
    let stripped = Command::new("wg-quick").arg("strip").arg(&quick).output().expect("wg-quick is there");
    assert!(stripped.status.success(), "{}", text(&stripped));
    anna.go.read(&lab.secret("stripped.conf", &text(&stripped)));
    let named = |key: &str| {
        let value = file.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        value
            .unwrap_or_else(|| panic!("no {key} in {file}"))
            .split(", ")
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // As wg-quick does it, but that the way to the gateway itself needs no second routing table here.
    let (host, device) = (&anna.host, &anna.go.device);
    host.ip(&["address", "flush", "dev", device, "scope", "global"]);
    for family in ["-4", "-6"] {
        host.ip(&[family, "route", "flush", "dev", device]);
    }
    host.ip(&["route", "add", &format!("{OUTER}/32"), "via", &anna.endpoint_at(1, 0).ip().to_string()]);
    let addresses = named("Address");
    for address in &addresses {
        host.ip(&["address", "add", address, "dev", device]);
    }
    for network in named("AllowedIPs") {
        let halves = match network.as_str() {
            "0.0.0.0/0" => ["0.0.0.0/1", "128.0.0.0/1"],
            "::/0" => ["::/1", "8000::/1"],
            other => panic!("{other} is not everything"),
        };
        halves.iter().for_each(|half| host.ip(&["route", "add", half, "dev", device]));
    }

    for to in [IpAddr::from(INNER), INNER6.into(), desk.into(), desk6.into()] {
        reach(host, to);
    }
    let own: Vec<IpAddr> =
        addresses.iter().filter_map(|address| address.split('/').next()?.parse().ok()).collect();
    assert_eq!(own.len(), 2, "{addresses:?}");
    own.iter().for_each(|address| reach(&house.desk, *address));
    let server: IpAddr = named("DNS")[0].parse().expect("an address");
    let found = host.inside(|| resolve((server, 53).into(), "www.example.test."));
    assert_eq!(found, Ok(vec![WEB]));
    // The whole of the Internet is behind the gateway.
    transfers(host, web(80), LENGTH);
    let page = host.inside(|| fetch(web(80), "/address")).expect("a page by the gateway");
    assert_eq!(page.parse::<SocketAddr>().map(|seen| seen.ip()), Ok(OUTER.into()));
    assert!(anna.go.shown(&keys.public).handshake > 0);
    gateway.end();
}
