//! More than one of a thing: sessions on one port, ports of one LAN.

use std::net::Ipv4Addr;
use std::time::Duration;

use genkan_tests::client::{echo, fetch};
use genkan_tests::gateway::Genkan;
use genkan_tests::internet::Internet;
use genkan_tests::lab::{GATEWAY, Lab, WEB, web};
use genkan_tests::netns::{Namespace, text, veth};
use genkan_tests::recording::Recording;
use genkan_tests::wait_for;

const LONG: Duration = Duration::from_secs(30);

/// A house with two sessions on one port, and two ISPs on the same line:
///
/// ```text
/// desk eth0 ── lan0 router wan0 ── access ┬ access0 isp1 core0 ┬ core ── eth0 far host
///                                         └ access0 isp2 core0 ┘
/// ```
struct Line {
    gateway: Genkan,
    isps: Vec<Genkan>,
    desk: Namespace,
    router: Namespace,
    bras: Vec<Namespace>,
    _far: (Internet, Namespace),
    _switches: Namespace,
    lab: Lab,
}

/// What an ISP gives a user.
fn address_of(isp: u8, user: u8) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 4 * (isp - 1), 8 + user)
}

fn isp(lab: &Lab, number: u8) -> String {
    let users: String = (1..=2)
        .map(|user| {
            let ipv4 = address_of(number, user);
            format!("[[user]]\nname = \"user{user}\"\npassword = \"password {user}\"\nipv4 = \"{ipv4}\"\n")
        })
        .collect();
    let users = lab.secret(&format!("users{number}.toml"), &users).display().to_string();
    let pool = Ipv4Addr::new(100, 64, 4 * (number - 1), 0);
    format!(
        "[port.access0]\nnic = \"access0\"\n\n[port.core0]\nnic = \"core0\"\n\n\
         [lan.core]\nports = [\"core0\"]\naddress = \"203.0.113.{number}/24\"\n\n\
         [concentrator.bras]\nport = \"access0\"\nac-name = \"bras{number}\"\npool = \"{pool}/22\"\n\
         dns = [\"{WEB}\"]\nusers-file = {users:?}\n\n\
         [[filter]]\nfrom = \"concentrator\"\nto = \"lan\"\naction = \"accept\"\n"
    )
}

impl Line {
    /// `second` is the concentrator that the second session dials: 1 or 2.
    #[track_caller]
    fn new(name: &str, second: u8) -> Line {
        let lab = Lab::new(name);
        let (desk, router, far) = (Namespace::new("desk"), Namespace::new("router"), Namespace::new("far"));
        let switches = Namespace::new("switches");
        for bridge in ["access", "core"] {
            switches.ip(&["link", "add", bridge, "type", "bridge"]);
            switches.ip(&["link", "set", bridge, "up"]);
        }
        let plug = |bridge: &str, port: &str, end: (&Namespace, &str)| {
            veth((&switches, port), end);
            switches.ip(&["link", "set", port, "master", bridge]);
        };
        veth((&router, "lan0"), (&desk, "eth0"));
        plug("access", "house", (&router, "wan0"));
        plug("core", "far", (&far, "eth0"));
        far.ip(&["address", "add", &format!("{WEB}/24"), "dev", "eth0"]);
        far.ip(&["route", "add", "100.64.0.0/22", "via", "203.0.113.1"]);
        far.ip(&["route", "add", "100.64.4.0/22", "via", "203.0.113.2"]);
        let internet = Internet::start(&far, WEB);
        let (mut isps, mut bras) = (Vec::new(), Vec::new());
        for number in [1, 2] {
            let namespace = Namespace::new(&format!("isp{number}"));
            plug("access", &format!("access{number}"), (&namespace, "access0"));
            plug("core", &format!("core{number}"), (&namespace, "core0"));
            isps.push(Genkan::start(&lab, &namespace, &format!("isp{number}"), &isp(&lab, number)));
            bras.push(namespace);
        }
        let mut config = String::from("[port.wan0]\nnic = \"wan0\"\n\n[port.lan0]\nnic = \"lan0\"\n\n");
        for (wan, user, bras) in [("first", 1, 1), ("second", 2, second)] {
            let secret = lab.secret(&format!("{wan}.secret"), &format!("password {user}"));
            config.push_str(&format!(
                "[wan.{wan}]\nport = \"wan0\"\npppoe.username = \"user{user}\"\npppoe.password-file = {:?}\n\
                 pppoe.ac-name = \"bras{bras}\"\npppoe.echo = {{ interval = \"1s\", failures = 3 }}\n\n",
                secret.display().to_string()
            ));
        }
        config.push_str(&format!(
            "[lan.home]\nports = [\"lan0\"]\naddress = \"{GATEWAY}/24\"\n\
             dhcp = {{ range = \"192.168.1.100-192.168.1.199\" }}\n"
        ));
        let gateway = Genkan::start(&lab, &router, "router", &config);
        Line { gateway, isps, desk, router, bras, _far: (internet, far), _switches: switches, lab }
    }

    /// The address that the far host sees a new connection of the desk's come from.
    fn seen_as(&self) -> Result<String, String> {
        let page = self.desk.inside(|| fetch(web(80), "/address"))?;
        page.split(':').next().map(str::to_owned).ok_or(page.clone())
    }

    /// The session of an uplink, and the seconds that it has been up.
    #[track_caller]
    fn session(&self, wan: usize) -> (u64, u64) {
        let status = self.gateway.status().expect("it answers");
        let wan = &status["wans"][wan];
        assert_eq!(wan["state"], "up", "{wan}");
        (wan["session_id"].as_u64().unwrap_or_default(), wan["since_s"].as_u64().unwrap_or_default())
    }
}

#[test]
fn two_logins_at_one_concentrator() {
    let line = Line::new("several-logins", 1);
    for (wan, user) in [("first", 1), ("second", 2)] {
        assert_eq!(line.gateway.wait_up(wan, LONG).address, address_of(1, user).to_string());
    }
    let status = line.isps[0].status().expect("the ISP answers");
    let sessions = status["concentrators"][0]["sessions"].as_array().cloned().unwrap_or_default();
    let mut users: Vec<_> = sessions.iter().filter_map(|session| session["user"].as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["user1", "user2"], "{status}");
    line.lab.lease(&line.desk, "eth0");
    assert_eq!(line.seen_as(), Ok(address_of(1, 1).to_string()), "the default route is the first's");
    // Both end in good order.
    let Line { gateway, isps, .. } = line;
    gateway.end();
    wait_for("no session at the ISP", Duration::from_secs(5), || {
        let status = isps[0].status()?;
        let left = status["concentrators"][0]["sessions"].as_array().map(Vec::len);
        if left == Some(0) { Ok(()) } else { Err(status.to_string()) }
    });
}

/// RFC 4787 REQ-12 and the epochs: what is translated to an address that is gone is gone, the rest goes on.
#[test]
fn the_second_session_takes_over_and_each_redials_alone() {
    let mut line = Line::new("several-takeover", 2);
    line.gateway.wait_up("first", LONG);
    line.gateway.wait_up("second", LONG);
    line.lab.lease(&line.desk, "eth0");
    assert_eq!(line.seen_as(), Ok(address_of(1, 1).to_string()));
    let (second, _) = line.session(1);

    // The first ISP falls silent.
    line.isps[0].kill();
    wait_for("new connections to go by the second", LONG, || {
        let seen = line.seen_as()?;
        if seen == address_of(2, 2).to_string() { Ok(()) } else { Err(seen) }
    });
    line.desk.inside(|| echo(web(7), "by the second")).expect("TCP works");
    line.desk.run(&format!("ping -c 3 -i 0.2 -W 2 {WEB}"));
    let status = line.gateway.status().expect("it answers");
    assert_ne!(status["wans"][0]["state"], "up");
    assert!(status["wans"][0]["last_failure"].is_string(), "{status}");
    assert_eq!(line.session(1).0, second, "the second did not notice");

    // It comes back.
    let isp = line.isps.remove(0).again(&line.lab, &line.bras[0]);
    line.isps.insert(0, isp);
    line.gateway.wait_up("first", Duration::from_secs(90));
    assert_eq!(line.session(1).0, second, "the second was not redialled");
    wait_for("new connections to go by the first again", LONG, || {
        let seen = line.seen_as()?;
        if seen == address_of(1, 1).to_string() { Ok(()) } else { Err(seen) }
    });

    // The other way round nothing changes for anybody.
    let (first, _) = line.session(0);
    line.isps[1].kill();
    wait_for("the second to be missed", LONG, || match line.gateway.wan("second") {
        Ok(wan) if wan.state != "up" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(line.seen_as(), Ok(address_of(1, 1).to_string()));
    let isp = line.isps.remove(1).again(&line.lab, &line.bras[1]);
    line.isps.push(isp);
    line.gateway.wait_up("second", Duration::from_secs(90));
    assert_eq!(line.session(0).0, first, "the first was not redialled");
    assert!(line.router.run("ip -o link show wan0").contains("wan0"));
}

/// A LAN of two cards and a tap, a host on each.
#[test]
fn a_lan_of_cards_and_a_tap_is_one_network() {
    let lab = Lab::new("several-ports");
    let router = Namespace::new("router");
    let hosts: Vec<_> = (0..3).map(|number| Namespace::new(&format!("host{number}"))).collect();
    for (number, host) in hosts.iter().enumerate().take(2) {
        veth((&router, &format!("lan{number}")), (host, "eth0"));
    }
    let config = format!(
        "[port.lan0]\nnic = \"lan0\"\n\n[port.lan1]\nnic = \"lan1\"\n\n[port.lan2]\ntap = \"lan2\"\n\n\
         [lan.home]\nports = [\"lan0\", \"lan1\", \"lan2\"]\naddress = \"{GATEWAY}/24\"\n\
         dhcp = {{ range = \"192.168.1.100-192.168.1.199\" }}\n"
    );
    let gateway = Genkan::start(&lab, &router, "router", &config);
    router.ip(&["link", "set", "lan2", "down"]);
    router.ip(&["link", "set", "lan2", "netns", hosts[2].name(), "name", "eth0"]);
    hosts[2].ip(&["link", "set", "eth0", "up"]);

    let addresses: Vec<_> = hosts.iter().map(|host| lab.lease(host, "eth0").address).collect();
    for host in &hosts {
        host.run(&format!("ping -c 2 -i 0.2 -W 2 {GATEWAY}"));
        for address in &addresses {
            host.run(&format!("ping -c 2 -i 0.2 -W 2 {address}"));
        }
    }
    // The bridge has learned where everybody is: what two hosts say to each other no third one hears.
    let overheard = Recording::start(&lab, &gateway, "lan2", &["--at", "lan2", "--filter", "icmp"]);
    let heard = Recording::start(&lab, &gateway, "lan1", &["--at", "lan1", "--filter", "icmp"]);
    hosts[0].run(&format!("ping -c 3 -i 0.2 -W 2 {}", addresses[1]));
    wait_for("three pings and their answers", Duration::from_secs(5), || {
        let count = heard.frames().len();
        if count == 6 { Ok(()) } else { Err(format!("{count} frames")) }
    });
    assert_eq!(overheard.frames().len(), 0);
    // A broadcast is for all: each host is asked once and answers once.
    for (asked, address) in addresses.iter().enumerate() {
        for (asking, host) in hosts.iter().enumerate().filter(|(asking, _)| *asking != asked) {
            let output = text(&host.try_run(&format!("busybox arping -c 2 -w 5 -I eth0 {address}")));
            let answers = output.lines().filter(|line| line.contains("reply")).count();
            assert_eq!(answers, 2, "{asked} asked by {asking}: {output}");
        }
    }
    // TCP with the senders' offloads on, between a card and the tap, both ways.
    let servers = [0, 2].map(|number: usize| genkan_tests::internet::Echo::start(&hosts[number]));
    let line = "x".repeat(200_000);
    hosts[0].inside(|| echo((addresses[2], 7).into(), &line)).expect("from the card to the tap");
    hosts[2].inside(|| echo((addresses[0], 7).into(), &line)).expect("from the tap to the card");
    drop(servers);
    // A cable that is moved takes its host along.
    hosts[1].ip(&["link", "set", "eth0", "down"]);
    let mac = hosts[1].run("cat /sys/class/net/eth0/address").trim().to_owned();
    let moved = hosts[0].run("cat /sys/class/net/eth0/address").trim().to_owned();
    hosts[0].ip(&["link", "set", "eth0", "address", &mac]);
    hosts[0].ip(&["address", "replace", &format!("{}/24", addresses[1]), "dev", "eth0"]);
    hosts[0].run(&format!("ping -c 2 -i 0.2 -W 2 -I {} {}", addresses[1], addresses[2]));
    assert_ne!(mac, moved);
    assert_eq!(
        gateway.status().expect("it answers")["frames"]["dropped"]["internal"],
        serde_json::Value::Null
    );
    gateway.end();
}
