//! The lab itself, with Linux as the router: what fails here is no fault of genkan's.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use genkan_tests::client::{Bulk, ask, datagrams, echo, fetch, resolve, resolve6};
use genkan_tests::client6::Client6;
use genkan_tests::ethernet_isp::EthernetIsp;
use genkan_tests::internet::Internet;
use genkan_tests::lab::{Lab, WEB, WEB6, web};
use genkan_tests::netns::{Namespace, veth};
use genkan_tests::peers::Delegation;
use genkan_tests::wait_for;
use genkan_tests::watch::{Limits, Watch};
use hickory_proto::rr::RecordType;

#[test]
fn transfers_through_linux_are_whole_and_the_watch_is_content() {
    const LENGTH: u64 = 30_000_000;
    let _lab = Lab::new("lab-linux");
    let (desk, router, far) = (Namespace::new("desk"), Namespace::new("router"), Namespace::new("far"));
    veth((&desk, "eth0"), (&router, "lan0"));
    veth((&far, "eth0"), (&router, "core0"));
    router.sysctl("net.ipv4.ip_forward", "1");
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
    router.ip(&["address", "add", "203.0.113.1/24", "dev", "core0"]);
    desk.ip(&["address", "add", "192.168.1.2/24", "dev", "eth0"]);
    desk.ip(&["route", "add", "default", "via", "192.168.1.1"]);
    far.ip(&["address", "add", &format!("{WEB}/24"), "dev", "eth0"]);
    far.ip(&["route", "add", "default", "via", "203.0.113.1"]);
    let _internet = Internet::start(&far, WEB);

    desk.inside(|| {
        assert_eq!(resolve(web(53), "www.example.test."), Ok(vec![WEB]));
        let texts = ask(SocketAddr::from((WEB, 53)), "big.example.test.", RecordType::TXT, false);
        assert_eq!(texts.map(|texts| texts.len()), Ok(12));
        echo(web(7), "hello").expect("TCP passes");
        assert_eq!(datagrams(web(7), 100, 4000), Ok(100));
        assert!(fetch(web(80), "/address").expect("HTTP passes").starts_with("192.168.1.2:"));
    });

    let limits = Limits { ethernet: 1500, pppoe: 1492 };
    for (way, end) in [(Bulk::Down, &desk), (Bulk::Up, &far)] {
        let watch = Watch::start(end, "eth0", limits);
        way.transfer(&desk, web(80), LENGTH);
        let report = watch.finish();
        println!("  {report:?}");
        report.assert_clean("the receiver", LENGTH / 65_536);
        assert!(report.large > 0 && report.partial > 0, "the senders' offloads are on");
    }
}

#[test]
fn a_namespace_and_its_processes_end_with_the_test() {
    let _lab = Lab::new("lab-end");
    let namespace = Namespace::new("short");
    let name = namespace.name().to_string();
    let mut child = namespace.command("sleep").arg("600").spawn().expect("sleep is there");
    while genkan_tests::netns::text(
        &std::process::Command::new("ip").args(["netns", "pids", &name]).output().unwrap(),
    )
    .is_empty()
    {}
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _namespace = namespace;
        std::panic::resume_unwind(Box::new("as a failing test does"));
    }));
    assert!(panicked.is_err());
    child.wait().expect("it was ended");
    assert!(!std::path::Path::new(&format!("/run/netns/{name}")).exists());
}

#[test]
fn a_host_of_radvd_and_kea_is_seen_with_all_that_it_has() {
    let lab = Lab::new("lab-ipv6");
    let desk = Namespace::new("desk");
    let isp = EthernetIsp::new(&desk);
    desk.ip(&["link", "set", "wan0", "down"]);
    desk.ip(&["link", "set", "wan0", "name", "eth0"]);
    desk.ip(&["link", "set", "eth0", "up"]);
    let link = Ipv6Addr::new(0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 0);
    let services = isp.ipv6(&lab, Delegation { link: Some(link), ..Delegation::default() });
    let host = Client6::slaac(&desk);
    let address = host.wait_address_in(link, 64, Duration::from_secs(15));
    assert!(
        (3500..=3600).contains(&address.preferred) && (7100..=7200).contains(&address.valid),
        "{address:?}"
    );
    assert_eq!(host.routers().map(|routers| routers.len()), Ok(1));
    assert_eq!((host.source(), host.fetch()), (Ok(address.address), Ok(address.address)));
    let told = host.advertisement().expect("radvd advertises");
    assert_eq!((told.lifetime, told.managed, told.other, &told.dns[..]), (1800, false, true, &[WEB6][..]));
    assert_eq!(told.lifetimes("2001:db8:fffe::/64"), Ok((3600, 7200)));
    let lease = host.dhcp(&lab, false).expect("Kea answers");
    assert_eq!((lease.address, &lease.dns[..]), (None, &[WEB6][..]));
    let server = SocketAddr::from((WEB6, 53));
    assert_eq!(desk.inside(|| resolve6(server, "www.example.test.")), Ok(vec![WEB6]));
    drop(services);
    wait_for("radvd's good-bye to be heard", Duration::from_secs(5), || match host.routers() {
        Ok(routers) if routers.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });

    let _services = isp.ipv6(&lab, Delegation { link: Some(link), managed: true, ..Delegation::default() });
    let lease = host.dhcp(&lab, true).expect("Kea leases");
    let leased = lease.address.expect("an address");
    assert_eq!(leased.segments()[7] >> 8, 1, "from Kea's pool: {leased}");
    assert!(host.addresses().is_ok_and(|all| all.iter().any(|one| one.address == leased)));
}
