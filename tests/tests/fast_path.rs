//! The kernel path under traffic: what it carries is right, what happens beside it does not harm the traffic, and what it
//! loses comes back through user space.
//!
//! Cards are ends of virtual cables, so the kernel half sits at their ingress (tc). `tests/equivalence.rs` compares it with
//! user space frame by frame; every other lab runs with it, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use genkan_tests::client::{datagrams, download, upload};
use genkan_tests::gateway::{FastPath, Genkan};
use genkan_tests::internet::Blob;
use genkan_tests::lab::{Lab, web};
use genkan_tests::netns::veth;
use genkan_tests::topology::{Dial, House, Isp, Port, Terms};
use genkan_tests::wait_for;

const LENGTH: u64 = 20_000_000;

/// A house online, its ISP a genkan.
struct Line {
    gateway: Genkan,
    house: House,
    isp: Genkan,
    _provider: Isp,
    lab: Lab,
}

impl Line {
    #[track_caller]
    fn new(name: &str) -> Line {
        let lab = Lab::new(name);
        let provider = Isp::default();
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let gateway = house.start(&lab, Dial::default(), "");
        let isp = provider.start(&lab, Terms::default());
        gateway.wait_up("isp", Duration::from_secs(30));
        lab.lease(&house.desk, "eth0");
        Line { gateway, house, isp, _provider: provider, lab }
    }

    fn fast_path(&self) -> FastPath {
        self.gateway.fast_path().expect("there is a kernel path")
    }

    #[track_caller]
    fn transfer(&self, way: &str) {
        let work = if way == "down" { download } else { upload };
        let done = self.house.desk.inside(|| work(web(80), LENGTH));
        let done = done.unwrap_or_else(|error| panic!("{way}: {error}; {:?}", self.gateway.fast_path()));
        assert_eq!((done.length, done.hash), (LENGTH, Blob::default().hash(LENGTH)), "{way}");
    }

    /// Waits until the kernel half has carried so many packets more than `before`.
    #[track_caller]
    fn wait_carried(&self, before: &FastPath, more: u64) -> FastPath {
        wait_for("packets in the kernel path", Duration::from_secs(10), || {
            let now = self.gateway.fast_path()?;
            if now.carried >= before.carried + more { Ok(now) } else { Err(now.all) }
        })
    }

    #[track_caller]
    fn end(self) {
        let fast_path = self.fast_path();
        assert_eq!(fast_path.different, 0, "{}", fast_path.all);
        assert!(fast_path.same > 0, "no sample was compared: {}", fast_path.all);
        self.gateway.end();
        self.isp.end();
    }
}

#[test]
fn bulk_and_datagrams_are_carried_in_the_kernel_both_ways_and_counted() {
    let line = Line::new("fast-path-carries");
    let before = line.fast_path();
    line.transfer("down");
    // Full segments of 1,452 octets: nearly all of them in the kernel.
    let packets = LENGTH / 1452;
    let down = line.wait_carried(&before, packets * 9 / 10);
    line.transfer("up");
    let whole = line.house.desk.inside(|| datagrams(web(7), 200, 1000)).expect("UDP can be sent");
    assert_eq!(whole, 200);
    let after = line.wait_carried(&down, 200);
    println!("{}", after.all);
    let usage = wait_for("the session's usage", Duration::from_secs(5), || {
        let status = line.gateway.status()?;
        let usage = status["wans"][0]["usage"].clone();
        if usage["rx_packets"].as_u64() >= Some(packets) { Ok(usage) } else { Err(usage.to_string()) }
    });
    assert!(usage["rx_octets"].as_u64() > Some(LENGTH), "{usage}");
    line.end();
}

#[test]
fn maps_that_are_emptied_by_hand_under_traffic_are_filled_again() {
    let line = Line::new("fast-path-emptied");
    let going = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while going.load(Ordering::Relaxed) {
                line.transfer("down");
            }
        });
        for _ in 0..3 {
            let before = line.fast_path();
            line.wait_carried(&before, 2000);
            genkan_tests::fast_path::empty(&line.gateway, "index4");
            genkan_tests::fast_path::empty(&line.gateway, "flows4");
            let before = line.fast_path();
            line.wait_carried(&before, 2000);
        }
        going.store(false, Ordering::Relaxed);
        traffic.join().expect("the traffic goes on");
    });
    line.end();
}

#[test]
fn a_port_that_is_deleted_and_made_again_is_carried_again() {
    let line = Line::new("fast-path-port");
    line.transfer("down");
    line.house.router.ip(&["link", "del", "lan1"]);
    line.gateway
        .wait_log("that the card is gone", Duration::from_secs(10), |log| log.contains("lan1 is gone"));
    veth((&line.house.router, "lan1"), (&line.house.desk, "eth0"));
    line.gateway
        .wait_log("that the card is back", Duration::from_secs(10), |log| log.contains("lan1: works again"));
    line.lab.lease(&line.house.desk, "eth0");
    let before = line.fast_path();
    line.transfer("down");
    line.transfer("up");
    line.wait_carried(&before, LENGTH / 1452);
    line.end();
}
