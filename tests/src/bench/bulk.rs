//! Bulk TCP through the lab: genkan, over PPPoE, beside Linux's nft masquerade on plain IP, in one run.
//!
//! Both have the same LAN host and the same far host, over virtual cables with every offload on. On genkan's side the ISP
//! is a genkan, too, and works on the same cores: the kernel of a test machine may lack PPPoE.

use std::fmt::Write as _;
use std::time::Duration;

use super::Report;
use super::stats::Rounds;
use crate::client::{drain, pour};
use crate::gateway::Genkan;
use crate::internet::Internet;
use crate::lab::{CORE, Lab, WEB, web};
use crate::netns::{Namespace, veth};
use crate::topology::{Dial, House, Isp, Port, Terms};

const LENGTH: u64 = 400_000_000;
const ROUNDS: usize = 3;

/// Rates in Mb/s, a round after the other.
#[derive(Debug, Default)]
struct Rates {
    down: Rounds,
    up: Rounds,
}

impl Rates {
    fn measure(&mut self, from: &Namespace) {
        self.down
            .0
            .push(from.inside(|| drain(web(80), LENGTH)).unwrap_or_else(|error| panic!("down: {error}")));
        self.up.0.push(from.inside(|| pour(web(80), LENGTH)).unwrap_or_else(|error| panic!("up: {error}")));
    }
}

/// Measures, interleaved.
pub fn measure() -> Report {
    let lab = Lab::new("bulk");
    let (linux, _linux_far, _internet) = linux();
    let (house, _provider, _running) = genkan(&lab);
    let (mut a, mut b, mut control) = (Rates::default(), Rates::default(), Rates::default());
    for _ in 0..ROUNDS {
        a.measure(&linux.desk);
        b.measure(&house.desk);
        control.measure(&linux.desk);
    }
    let mut table = String::from(
        "Linux translates plain IP. genkan dials PPPoE, and the ISP is a second genkan on the same processors. Every offload \
         of the senders is on.\n\n\
         | bulk TCP, one connection | down, Mb/s | up, Mb/s | down, ratio | up, ratio |\n|---|---|---|---|---|\n",
    );
    for (name, rates) in
        [("nft masquerade", &a), ("nft masquerade again (control)", &control), ("genkan, PPPoE", &b)]
    {
        let _ = writeln!(
            table,
            "| {name} | {:.0} | {:.0} | {} | {} |",
            rates.down.median(),
            rates.up.median(),
            rates.down.to(&a.down),
            rates.up.to(&a.up),
        );
    }
    let _ = writeln!(
        table,
        "\nMedians of {ROUNDS} rounds of {} MB; a ratio is to nft masquerade in the same round: median (lowest–highest).",
        LENGTH / 1_000_000
    );
    Report { rows: Vec::new(), text: table }
}

/// A house whose router is Linux.
struct Linux {
    desk: Namespace,
    _router: Namespace,
}

fn linux() -> (Linux, Namespace, Internet) {
    let (desk, router, far) = (Namespace::new("desk"), Namespace::new("linux"), Namespace::new("far"));
    veth((&desk, "eth0"), (&router, "lan0"));
    veth((&router, "core0"), (&far, "eth0"));
    router.sysctl("net.ipv4.ip_forward", "1");
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
    router.ip(&["address", "add", &format!("{CORE}/24"), "dev", "core0"]);
    desk.ip(&["address", "add", "192.168.1.2/24", "dev", "eth0"]);
    desk.ip(&["route", "add", "default", "via", "192.168.1.1"]);
    far.ip(&["address", "add", &format!("{WEB}/24"), "dev", "eth0"]);
    router.run("nft add table ip nat");
    router.run("nft add chain ip nat post { type nat hook postrouting priority 100 ; }");
    router.run("nft add rule ip nat post oifname core0 masquerade");
    router.run("nft add table ip filter");
    router.run("nft add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }");
    router.run("nft add rule ip filter forward ct state established,related accept");
    router.run("nft add rule ip filter forward iifname lan0 accept");
    let internet = Internet::start(&far, WEB);
    (Linux { desk, _router: router }, far, internet)
}

fn genkan(lab: &Lab) -> (House, Isp, [Genkan; 2]) {
    let provider = Isp::default();
    let house = House::new(Port::Nic, Port::Nic);
    veth((&house.router, "wan0"), (&provider.namespace, "access0"));
    let isp = provider.start(lab, Terms::default());
    let gateway = house.start(lab, Dial::default(), "");
    gateway.wait_up("isp", Duration::from_secs(30));
    lab.lease(&house.desk, "eth0");
    (house, provider, [gateway, isp])
}
