//! Senders leave checksums and segmentation to the device, and bridges and virtual machines pass such frames on. A
//! router that gets this wrong falls to 100 KB/s, or sends packets that the next hop drops. So: transfers with every
//! offload of the sender on, over cards and over taps, both ways, and a look at every frame that leaves the router.

use std::time::Duration;

use genkan_tests::client::{Bulk, datagrams};
use genkan_tests::lab::{Lab, web};
use genkan_tests::netns::{Namespace, veth};
use genkan_tests::topology::{Dial, House, Isp, Port, Terms};
use genkan_tests::watch::{Limits, Watch};

const LENGTH: u64 = 30_000_000;
/// Fewer full-size packets cannot carry that much.
const PACKETS: u64 = LENGTH / 65_536;

fn offloads(namespace: &Namespace, device: &str) -> String {
    let features = namespace.run(&format!("ethtool -k {device}"));
    let wanted = ["tx-checksumming:", "tcp-segmentation-offload:", "generic-segmentation-offload:"];
    features
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn whole_and_clean(name: &str, wan: Port, lan: Port) {
    let lab = Lab::new(name);
    let provider = Isp::default();
    let house = House::new(wan, lan);
    if wan == Port::Nic {
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
    }
    let gateway = house.start(&lab, Dial::default(), "");
    if wan == Port::Tap {
        house.hand_over("wan0", &provider.namespace, "access0");
    }
    let isp = provider.start(&lab, Terms::default());
    gateway.wait_up("isp", Duration::from_secs(30));
    lab.lease(&house.desk, "eth0");
    for (namespace, device) in [(&house.desk, "eth0"), (&provider.far.host, "eth0")] {
        let on = offloads(namespace, device);
        assert_eq!(on.matches(": on").count(), 3, "every offload of the sender is on by default: {on}");
    }

    let limits = Limits { ethernet: 1500, pppoe: 1492 };
    let places = [
        ("the desk", &house.desk, "eth0"),
        ("the far host", &provider.far.host, "eth0"),
        ("the concentrator", &provider.namespace, "access0"),
    ];
    for way in Bulk::BOTH {
        let watches =
            places.map(|(place, namespace, device)| (place, Watch::start(namespace, device, limits)));
        let done = way.transfer(&house.desk, web(80), LENGTH);
        assert!(done.megabits() > 40.0, "{way} at {:.1} Mb/s", done.megabits());
        for (place, watch) in watches {
            let report = watch.finish();
            println!("  at {place}: {report:?}");
            // On the way that data takes, every octet of it is seen; on the other only acknowledgements are.
            let data = (place == "the desk") == (way == Bulk::Down);
            report.assert_clean(place, if data { PACKETS } else { 1 });
        }
    }
    let whole = house.desk.inside(|| datagrams(web(7), 64, 4000)).expect("UDP can be sent");
    assert_eq!(whole, 64, "datagrams that have to be cut");
    gateway.end();
    isp.end();
}

#[test]
fn over_cards() {
    whole_and_clean("offload-cards", Port::Nic, Port::Nic);
}

#[test]
fn over_taps() {
    whole_and_clean("offload-taps", Port::Tap, Port::Tap);
}

#[test]
fn from_a_tap_to_a_card() {
    whole_and_clean("offload-mixed", Port::Nic, Port::Tap);
}
