//! The one place where the kernel's own PPPoE is measured beside ours: an emulated guest that is the router, first genkan, then
//! pppd with the kernel's PPPoE, nft masquerade and a stateful filter.
//!
//! ```text
//!  desk eth0 ── eth0 guest: the router eth1 ── access0 isp: genkan's concentrator ── far host
//! ```
//!
//! Every instruction of the guest is emulated, so the guest is by far the slowest part of the way, and what it does in a second is
//! what its router costs. The ISP runs on the machine itself. Datagrams come from the instrument and end in its sink, in front of
//! the ISP's concentrator: who sends and who takes in shares the processors with the guest, and is to leave them to it.

use std::fmt::Write as _;
use std::time::Duration;

use super::instrument::{Header, Instrument, Kind, Load, Way};
use super::peers::{furnish, mac};
use super::stats::Rounds;
use super::{Report, Row};
use crate::client::{drain, pour};
use crate::guest::Guest;
use crate::lab::{GATEWAY, Lab, web};
use crate::netns::Namespace;
use crate::peers::Client;
use crate::topology::{Isp, Terms};
use crate::virtio::{LAN, PPPOE, Router, WAN};

const ROUNDS: usize = 3;
const LENGTH: u64 = 20_000_000;
/// Datagrams a second that are offered, one after the other: the most that arrives at any of these rates counts.
const OFFERED: [u32; 8] = [16_000, 32_000, 64_000, 96_000, 128_000, 192_000, 256_000, 384_000];
const SPAN: Duration = Duration::from_millis(1500);
/// Datagrams a second that each router forwards without loss, to see what one costs.
const STEADY: u32 = 32_000;
const LOAD: Load = Load { way: Way::Up, kind: Kind::Load, flows: 64, rate: None, probes: 0 };

/// What the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// genkan, with this mode of the kernel path.
    Genkan(&'static str),
    /// pppd.
    Linux,
    /// A redirect from card to card: what the emulated machine can do at most. No session, so no bulk.
    Bare,
}

static BARE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bare.o"));

#[derive(Debug, Default)]
struct Measured {
    small: Rounds,
    /// Processor time for a datagram, in µs: the guest's processors, and QEMU's own work on its cards.
    cost: [Rounds; 2],
    down: Rounds,
    up: Rounds,
}

/// Measures, a way after the other, round by round.
pub fn measure() -> Report {
    let lab = Lab::new("bench-guest");
    let mut guest = Guest::router(&lab);
    let desk = Namespace::new("desk");
    guest.plug(LAN, &desk, "eth0");
    furnish(&desk);
    desk.ip(&["route", "add", "default", "via", &GATEWAY.to_string()]);
    let isp = Isp::default();
    guest.plug(WAN, &isp.namespace, "access0");
    guest.take_redirected();
    let mut instrument = Instrument::load();
    instrument.attach("generate", &desk, "idle0");
    instrument.attach("sink_up", &isp.namespace, "access0");
    let station = mac(guest.run(&format!("cat /sys/class/net/eth{LAN}/address")).trim());
    let header = Header { destination: station, source: [2, 0, 0, 0, 3, 0], session: [0; 2] };
    instrument.aim(Way::Up, &desk, "eth0", header);
    let concentrator = isp.start(&lab, Terms::default());
    let routers = [What::Genkan("auto"), What::Linux, What::Genkan("off"), What::Linux, What::Bare];
    let mut all = routers.map(|what| (what, Measured::default()));
    let mut router = Router { guest };
    for round in 1..=ROUNDS {
        for (what, measured) in &mut all {
            eprintln!("round {round} of {ROUNDS}: {what:?}");
            begin(&mut router, *what);
            measured.small.0.push(small(&mut instrument));
            for (rounds, cost) in measured.cost.iter_mut().zip(cost(&mut instrument, &router.guest)) {
                rounds.0.push(cost);
            }
            let rate =
                |result: Result<f64, String>| result.unwrap_or_else(|error| panic!("{what:?}: {error}"));
            if *what != What::Bare {
                measured.down.0.push(rate(desk.inside(|| drain(web(80), LENGTH))));
                measured.up.0.push(rate(desk.inside(|| pour(web(80), LENGTH))));
            }
            end(&mut router, *what);
        }
    }
    concentrator.end();
    let [(_, xdp), (_, linux), (_, user), (_, control), (_, bare)] = &all;
    let mut text = format!(
        "A guest of two emulated processors is the router between a desk and an ISP. Datagrams of 64 octets in {} flows are offered at \
         rates from {} to {} a second; the most that comes out counts. What one costs is measured at {STEADY} a second: time of the \
         guest's processors, which are emulated, and of QEMU for its cards, which is not. Bulk is one TCP connection of {} MB. \
         {ROUNDS} rounds; a ratio is to pppd in the same round.\n\n\
         | the guest runs | datagrams a second | small, ratio | guest's processors, µs a datagram | ratio | QEMU's cards, µs a datagram | \
         bulk down, Mb/s | down, ratio | bulk up, Mb/s | up, ratio |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
        LOAD.flows,
        OFFERED[0],
        OFFERED[OFFERED.len() - 1],
        LENGTH / 1_000_000
    );
    for (name, it) in [
        ("pppd, the kernel's PPPoE, nft masquerade + stateful filter", linux),
        ("the same again (control)", control),
        ("genkan, kernel path", xdp),
        ("genkan, user space alone", user),
        ("a bare redirect by XDP from card to card, without PPPoE, NAT and filter", bare),
    ] {
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {} | {:.1} | {} | {:.1} | {} | {} | {} | {} |",
            it.small.median(),
            it.small.to(&linux.small),
            it.cost[0].median(),
            it.cost[0].to(&linux.cost[0]),
            it.cost[1].median(),
            whole(&it.down),
            it.down.to(&linux.down),
            whole(&it.up),
            it.up.to(&linux.up)
        );
    }
    let rows = vec![Row::new("15", xdp.small.to(&linux.small), control.small.to(&linux.small))];
    Report { rows, text }
}

/// The median without decimals.
fn whole(rounds: &Rounds) -> String {
    if rounds.0.is_empty() { String::from("–") } else { format!("{:.0}", rounds.median()) }
}

fn begin(router: &mut Router, what: What) {
    match what {
        What::Genkan(mode) => {
            router.configure(mode, PPPOE, &[LAN]);
            router.run();
            router.wait_up();
        }
        What::Linux => {
            router.guest.run(&format!(
                "ip link set eth{WAN} up; ip link set eth{LAN} up; ip address add {GATEWAY}/24 dev eth{LAN}"
            ));
            Client { card: "eth1", ..Client::default() }.start(&mut router.guest);
            Client::wait_up(&mut router.guest);
            router.guest.write("/run/test/rules", RULES);
            router.guest.run(
                "ip route replace default dev ppp100
                 echo 1 > /proc/sys/net/ipv4/ip_forward
                 nft -f /run/test/rules",
            );
        }
        What::Bare => {
            router.guest.write("/run/test/bare.o", BARE);
            for (card, device) in [(LAN, 2), (WAN, 3)] {
                router.guest.run(&format!(
                    "[ $(cat /sys/class/net/eth{card}/ifindex) = {device} ] && ip link set eth{card} up && \
                     /usr/sbin/ip link set eth{card} xdpdrv object /run/test/bare.o section xdp"
                ));
            }
        }
    }
}

/// What a Linux router has that does what genkan does: masquerade, a stateful filter, the clamp of the segment size.
const RULES: &str = "
table ip router {
    chain nat {
        type nat hook postrouting priority 100;
        oifname ppp100 masquerade
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        oifname ppp100 tcp flags syn tcp option maxseg size set rt mtu
        ct state established,related accept
        iifname eth0 accept
    }
}
";

fn end(router: &mut Router, what: What) {
    match what {
        What::Genkan(_) => router.flush(),
        What::Linux => {
            router.guest.run(&format!(
                "nft flush ruleset
                 killall pppd; while pidof pppd >/dev/null; do sleep 0.1; done
                 ip address flush dev eth{LAN}; rm -f /run/test/*.log"
            ));
        }
        What::Bare => drop(router.guest.run(&format!(
            "/usr/sbin/ip link set eth{LAN} xdpdrv off; /usr/sbin/ip link set eth{WAN} xdpdrv off"
        ))),
    }
}

/// Most datagrams a second that come out.
fn small(instrument: &mut Instrument) -> f64 {
    // The flows begin, and the kernel path takes them.
    instrument.offer(LOAD, OFFERED[0], SPAN);
    OFFERED.into_iter().map(|rate| instrument.offer(LOAD, rate, SPAN).rate()).fold(0.0, f64::max)
}

/// What a datagram costs, in µs.
fn cost(instrument: &mut Instrument, guest: &Guest) -> [f64; 2] {
    let before = guest.processor_time();
    let outcome = instrument.offer(LOAD, STEADY, SPAN);
    let after = guest.processor_time();
    [0, 1].map(|part| (after[part] - before[part]).as_secs_f64() * 1e6 / outcome.received as f64)
}
