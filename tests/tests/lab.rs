//! The lab itself, with Linux as the router: what fails here is no fault of genkan's.

use std::net::SocketAddr;

use genkan_tests::client::{ask, datagrams, download, echo, fetch, resolve, upload};
use genkan_tests::internet::{Blob, Internet};
use genkan_tests::lab::{Lab, WEB, web};
use genkan_tests::netns::{Namespace, veth};
use genkan_tests::watch::{Limits, Watch};
use hickory_proto::rr::RecordType;

#[test]
fn transfers_through_linux_are_whole_and_the_watch_is_content() {
    const LENGTH: u64 = 100_000_000;
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
    let expected = Blob::default().hash(LENGTH);
    for (transfer, end) in [(download as fn(_, _) -> _, &desk), (upload, &far)] {
        let watch = Watch::start(end, "eth0", limits);
        let done = desk.inside(|| transfer(web(80), LENGTH)).expect("a transfer ends");
        println!("100 MB through Linux: {:.0} Mb/s", done.megabits());
        assert_eq!((done.length, &done.hash), (LENGTH, &expected));
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
