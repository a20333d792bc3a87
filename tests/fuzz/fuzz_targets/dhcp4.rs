//! A life of the DHCP server. Its replies fit the port, and it never leases an address twice.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use genkan_fuzz::{Life, Step, World};
use genkan_netstack::dhcp4::Dhcp4;
use genkan_netstack::frame::Frame;
use genkan_netstack::id::{Ipv4Cidr, Mac, PortId};
use genkan_netstack::settings;
use genkan_netstack::time::Duration;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let lan = settings::Lan {
        name: "home".into(),
        ports: vec![PortId(0)],
        address: Ipv4Cidr { address: Ipv4Addr::new(192, 168, 1, 1), prefix: 24 },
        dhcp: Some(settings::Dhcp4 {
            range: Ipv4Addr::new(192, 168, 1, 100)..=Ipv4Addr::new(192, 168, 1, 103),
            lease: Duration::from_secs(600),
        }),
        domain: "home.arpa".into(),
        hosts: vec![settings::Host {
            name: "nas".into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            ipv4: Some(Ipv4Addr::new(192, 168, 1, 10)),
        }],
    };
    let mut world = World::default();
    let mut server = Dhcp4::new(&lan, Mac([2, 0, 0, 0, 0, 1]), 1500, "genkan").expect("the LAN has a server");
    for step in Life(data) {
        match step {
            Step::Frame(frame) => drop(server.handle(&mut world.cx(), frame)),
            Step::Wait(time) => {
                world.now = world.now + time;
                server.handle_timeout(&mut world.cx());
            }
        }
        let mut frame = Frame::with_capacity(2048);
        while server.poll_transmit(&mut frame) {
            assert!(frame.len() <= 1514, "a reply of {} octets", frame.len());
            frame.reset();
        }
        while server.poll_event().is_some() {}
        let mut addresses = BTreeSet::new();
        for lease in server.leases() {
            assert!(addresses.insert(lease.address), "{} is leased twice", lease.address);
        }
    }
});
