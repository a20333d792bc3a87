//! The kernel path where genkan's own machine is a guest: native XDP on virtio-net cards, AF_XDP, and tc without TCX.
//!
//! The guest's kernel is Debian's 6.1. Nothing here goes by `GENKAN_FAST_PATH`: each scenario says what it is about.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use genkan_tests::client::{conversing, datagrams, fetch, transfers};
use genkan_tests::ethernet_isp::EthernetIsp;
use genkan_tests::guest::Guest;
use genkan_tests::lab::{Lab, web};
use genkan_tests::netns::Namespace;
use genkan_tests::peers::{Dhcp4, Server};
use genkan_tests::topology::{Far, guest_isp};
use genkan_tests::virtio::{DHCP, LAN, NARROW, PPPOE, Router, STUBBORN, WAN};
use genkan_tests::wait_for;

const DATAGRAMS: u32 = 200;

/// An uplink, and the octets of a transfer over it.
#[derive(Debug, Clone, Copy)]
struct Uplink {
    config: &'static str,
    length: u64,
}

const ETHERNET: Uplink = Uplink { config: DHCP, length: 5_000_000 };
/// pppoe-server handles every frame in user space, on a processor that is emulated.
const SLOW: Uplink = Uplink { config: PPPOE, length: 1_000_000 };

impl Uplink {
    /// Most of the packets of [`Uplink::transfers`], without acknowledgements.
    fn packets(self) -> u64 {
        (2 * self.length / 1460 + 2 * u64::from(DATAGRAMS)) * 9 / 10
    }

    /// Bulk both ways and datagrams, whole.
    #[track_caller]
    fn transfers(self, desk: &Namespace, name: &str) {
        let Uplink { length, .. } = self;
        println!("{name}:");
        transfers(desk, web(80), length);
        let whole = desk.inside(|| datagrams(web(7), DATAGRAMS, 1000)).expect("UDP can be sent");
        assert_eq!(whole, DATAGRAMS, "{name}");
    }
}

/// A lab with a desk on the guest's LAN card.
fn desk(name: &str) -> (Lab, Guest, Namespace) {
    let lab = Lab::new(name);
    let mut guest = Guest::router(&lab);
    let desk = Namespace::new("desk");
    guest.plug(LAN, &desk, "eth0");
    (lab, guest, desk)
}

/// An ISP that leases addresses on plain Ethernet.
fn ethernet(lab: &Lab, guest: &mut Guest) -> (EthernetIsp, Dhcp4) {
    let isp = EthernetIsp::cabled(|isp| guest.plug(WAN, isp, "access0"));
    let dhcp = isp.dhcp4(lab);
    (isp, dhcp)
}

/// pppoe-server and pppd, in the other guest.
fn pppoe(lab: &Lab, guest: &mut Guest) -> (Guest, Far) {
    let mut peer = Guest::obtain(lab);
    let far = guest_isp(&mut peer);
    peer.join(0, guest, WAN);
    // It takes a while to start a program where every instruction is emulated.
    Server { patience: 60, ..Server::default() }.start(&mut peer);
    (peer, far)
}

/// What is not for the kernel half comes to user space by AF_XDP, and what user space makes of it arrives.
#[track_caller]
fn misses(router: &mut Router, desk: &Namespace) {
    let before = router.by_af_xdp();
    // Datagrams in pieces are user space's.
    let whole = desk.inside(|| datagrams(web(7), 32, 4000)).expect("UDP can be sent");
    assert_eq!(whole, 32);
    let more = router.by_af_xdp() - before;
    println!("{more} frames by AF_XDP for 32 datagrams of 4000 octets there and back");
    assert!(more >= 2 * 3 * 32, "{more} frames came by AF_XDP");
}

/// The kernel path off and on, over one uplink.
#[track_caller]
fn with_and_without(lab: &Lab, guest: Guest, desk: &Namespace, uplink: Uplink) -> Router {
    let mut router = Router { guest };
    router.configure("off", uplink.config, &[LAN]);
    router.run();
    router.wait_up();
    lab.lease(desk, "eth0");
    uplink.transfers(desk, "user space");
    router.is_confined();
    let off = router.fast_path().expect_err("the configuration says off");
    assert!(off.contains("no port has an entry"), "{off}");
    router.flush();

    router.configure("auto", uplink.config, &[LAN]);
    router.run();
    router.wait_up();
    for card in [LAN, WAN] {
        let port = router.port(card);
        assert_eq!(port["entry"], "xdp", "{port}");
        assert_eq!(port["why"], "its driver (virtio_net) has native XDP");
        assert_eq!(port["miss"], "AF_XDP sockets on 4 receive queues");
    }
    uplink.transfers(desk, "XDP");
    let carried = wait_for("packets in the kernel path", Duration::from_secs(10), || {
        let now = router.fast_path()?;
        if now.carried >= uplink.packets() { Ok(now) } else { Err(now.all) }
    });
    println!("{}", carried.all);
    misses(&mut router, desk);
    let after = router.fast_path().expect("a kernel path");
    assert_eq!(after.different, 0, "{}", after.all);
    assert!(after.same > 0, "no sample was compared: {}", after.all);
    router
}

/// Programs, classifiers and pins that are left in the guest.
fn attached(guest: &mut Guest) -> String {
    guest.run(
        "/usr/sbin/ip -details link show | grep -o 'prog/xdp.*'
         for card in eth0 eth1 eth2 eth3; do /usr/sbin/tc qdisc show dev $card clsact; done
         find /sys/fs/bpf -mindepth 2
         true",
    )
}

/// Every entry has its reason; a card that cannot have XDP has tc, by clsact on this kernel.
#[test]
fn each_card_gets_the_entry_that_it_can_have_and_says_why() {
    let (lab, mut guest, desk) = desk("guest-xdp-entries");
    let (_isp, _dhcp) = ethernet(&lab, &mut guest);
    let others = [NARROW, STUBBORN].map(|card| {
        let host = Namespace::new("other");
        guest.plug(card, &host, "eth0");
        host
    });
    let mut router = Router { guest };
    router.configure("auto", DHCP, &[LAN, NARROW, STUBBORN]);
    let explained = router.command("check --explain-fast-path");
    println!("{explained}");
    for said in [
        "port lan0 (eth0): XDP and tc: its driver (virtio_net) has native XDP; tc carries what goes to eth2, where XDP cannot \
         send",
        "port wan (eth1): XDP and tc: its driver (virtio_net) has native XDP; tc carries what goes to eth2, where XDP cannot \
         send",
        "port lan2 (eth2): tc: XDP needs a queue of its own for each of 2 processors; 1 of 1 are in use",
        "port lan3 (eth3): tc: its driver (virtio_net) has XDP only where the host gives it whole frames (in QEMU by \
         `ctrl_guest_offloads=on`)",
    ] {
        assert!(explained.contains(said), "{said}: {explained}");
    }
    router.run();
    router.wait_up();
    for (card, entry) in [(LAN, "both"), (WAN, "both"), (NARROW, "tc"), (STUBBORN, "tc")] {
        let port = router.port(card);
        println!("{port}");
        assert_eq!(port["entry"], entry, "{port}");
    }
    for host in [&desk, &others[0], &others[1]] {
        lab.lease(host, "eth0");
        host.inside(|| fetch(web(80), "/address")).expect("a page");
    }
    for (host, name) in others.iter().zip(["a card with one queue", "a card that gets large segments"]) {
        let before = router.fast_path().expect("a kernel path").carried;
        ETHERNET.transfers(host, name);
        let after = router.fast_path().expect("a kernel path");
        println!("{}", after.all);
        // The datagrams, and large segments: these are few.
        assert!(after.carried - before > 500 && after.different == 0, "{name}: {}", after.all);
    }
    router.flush();
    assert_eq!(attached(&mut router.guest), "");
}

#[test]
fn an_ethernet_uplink_is_carried_by_xdp() {
    let (lab, mut guest, desk) = desk("guest-xdp-ethernet");
    let (_isp, _dhcp) = ethernet(&lab, &mut guest);
    let mut router = with_and_without(&lab, guest, &desk, ETHERNET);
    router.flush();
    assert_eq!(attached(&mut router.guest), "");
}

/// With pppd at the other end. kill -9 in the midst of it all: pppd is not asked anything, and nothing is lost.
#[test]
fn a_pppoe_uplink_is_carried_by_xdp_and_outlives_kill_9() {
    let (lab, mut guest, desk) = desk("guest-xdp-pppoe");
    let (mut peer, _far) = pppoe(&lab, &mut guest);
    let mut router = with_and_without(&lab, guest, &desk, SLOW);

    let before = router.wan().expect("a status");
    let log = "/run/test/pppd-server.log";
    let asked = |peer: &mut Guest| peer.try_run(&format!("grep -c 'Conf[A-Z]' {log}")).output;
    let (conf, process) = (asked(&mut peer), peer.run("pidof pppd"));
    let stream =
        desk.inside(|| TcpStream::connect_timeout(&web(7), Duration::from_secs(10)).expect("a stream"));
    conversing(stream, |talk| {
        talk.wait_beyond(20, "before", Duration::from_secs(20));
        router.kill();
        let (killed, alone) = (Instant::now(), talk.rounds());
        thread::sleep(Duration::from_secs(2));
        let alone = talk.rounds() - alone;
        println!("{alone} rounds in two seconds without a program");
        assert!(alone > 5, "the kernel carried {alone} rounds in two seconds");
        router.run();
        println!("{} s without a program", killed.elapsed().as_secs_f32());
        let after = router.wan().expect("a status");
        assert_eq!((after.session, &after.address), (before.session, &before.address));
        talk.wait_beyond(talk.rounds() + 20, "afterwards", Duration::from_secs(10));
    });
    let fast_path = router.fast_path().expect("a kernel path");
    println!("{}", fast_path.all);
    assert!(fast_path.carried > 20 && fast_path.different == 0, "{}", fast_path.all);
    assert_eq!(router.wan().expect("a status").session, before.session);
    assert_eq!(asked(&mut peer), conf, "{}", peer.run(&format!("tail -30 {log}")));
    assert_eq!(peer.run("pidof pppd"), process, "the same pppd serves");
    router.flush();
    assert_eq!(attached(&mut router.guest), "");
}
