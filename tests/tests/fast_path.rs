//! The kernel path under traffic: what it carries is right, what happens beside it does not harm the traffic, and what it
//! loses comes back through user space.
//!
//! Cards are ends of virtual cables, so the kernel half sits at their ingress (tc). `tests/equivalence.rs` compares it with
//! user space frame by frame; every other lab runs with it, too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use genkan_tests::client::{datagrams, download, open, upload};
use genkan_tests::gateway::{FastPath, Genkan};
use genkan_tests::internet::Blob;
use genkan_tests::lab::{Lab, web};
use genkan_tests::netns::{Namespace, stop, veth};
use genkan_tests::topology::{Dial, House, Isp, Port, Terms};
use genkan_tests::wait_for;

const LENGTH: u64 = 20_000_000;

/// A house online, its ISP a genkan.
struct Line {
    gateway: Genkan,
    house: House,
    isp: Genkan,
    provider: Isp,
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
        Line { gateway, house, isp, provider, lab }
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
        wait_carried(&self.gateway, before, more)
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

#[track_caller]
fn wait_carried(gateway: &Genkan, before: &FastPath, more: u64) -> FastPath {
    wait_for("packets in the kernel path", Duration::from_secs(10), || {
        let now = gateway.fast_path()?;
        if now.carried >= before.carried + more { Ok(now) } else { Err(now.all) }
    })
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

/// What tcpdump sees on a cable: the kernel shows it what is redirected, too.
struct Cable<'a> {
    tcpdump: Child,
    file: PathBuf,
    namespace: &'a Namespace,
    ours: String,
}

impl Cable<'_> {
    #[track_caller]
    fn record<'a>(lab: &Lab, namespace: &'a Namespace, device: &str) -> Cable<'a> {
        let file = lab.logs().join("cable.pcap");
        let _ = std::fs::remove_file(&file);
        let mut tcpdump = namespace.command("tcpdump");
        tcpdump.args(["-Z", "root", "-U", "-s", "96", "-B", "32768", "-i", device, "-w"]).arg(&file);
        let tcpdump = tcpdump.stderr(Stdio::null()).spawn().expect("tcpdump is installed");
        wait_for("tcpdump to listen", Duration::from_secs(10), || {
            std::fs::metadata(&file).map_err(|error| error.to_string()).map(drop)
        });
        let ours = namespace.run(&format!("cat /sys/class/net/{device}/address"));
        Cable { tcpdump, file, namespace, ours: ours.trim().into() }
    }

    /// Whether it still records.
    fn is_running(&mut self) -> bool {
        self.tcpdump.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// When the router sent what `filter` describes, in seconds, and what tcpdump says of it.
    fn sent(&self, filter: &str) -> Vec<(f64, String)> {
        let file = self.file.display();
        let line = format!("tcpdump -n -tt -r {file} ether src {} and {filter}", self.ours);
        let parsed = |line: &str| {
            let (time, rest) = line.split_once(' ')?;
            Some((time.parse().ok()?, rest.to_owned()))
        };
        self.namespace.run(&line).lines().filter_map(parsed).collect()
    }
}

/// Datagrams and a stream, a packet each millisecond, until `going` is false. Returns how many datagrams came back.
fn chatter(house: &House, going: &AtomicBool) -> u32 {
    house.desk.inside(|| {
        let socket = open(web(7)).expect("a socket");
        socket.set_nonblocking(true).expect("a mode");
        let mut stream = TcpStream::connect(web(7)).ok();
        let (mut back, mut buffer) = (0, [0; 2048]);
        while going.load(Ordering::Relaxed) {
            // While there is no line nothing gets through: that is what is watched.
            let _ = socket.send(&[1; 500]);
            while socket.recv(&mut buffer).is_ok() {
                back += 1;
            }
            if let Some(talking) = &mut stream {
                talking.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
                let _ = talking.write(&[2; 100]);
                let _ = talking.read(&mut buffer);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        back
    })
}

/// Lesson: a redial with another address. The flows of the old address end with it, in the kernel, too.
#[test]
fn a_redial_under_traffic_sends_nothing_with_the_old_address() {
    let Line { gateway, house, mut isp, provider, lab } = Line::new("fast-path-redial");
    let old = gateway.wan("isp").expect("a status").address;
    let mut cable = Cable::record(&lab, &house.router, "wan0");
    let fast_path = || gateway.fast_path().expect("there is a kernel path");
    let going = AtomicBool::new(true);
    let new = std::thread::scope(|scope| {
        let talking = scope.spawn(|| chatter(&house, &going));
        wait_carried(&gateway, &fast_path(), 2000);
        isp.kill();
        isp = provider.start(&lab, Terms { pool: "100.65.0.0/16", ..Terms::default() });
        let new = wait_for("another address", Duration::from_secs(60), || match gateway.wan("isp") {
            Ok(wan) if wan.up && wan.address.starts_with("100.65.") => Ok(wan.address),
            other => Err(format!("{other:?}")),
        });
        wait_carried(&gateway, &fast_path(), 2000);
        going.store(false, Ordering::Relaxed);
        let back = talking.join().expect("the traffic goes on");
        assert!(back > 2000, "{back} datagrams came back");
        new
    });
    assert!(cable.is_running(), "tcpdump ended before the redial was over");
    stop(&mut cable.tcpdump, Duration::from_secs(5));
    let padi = cable.sent("pppoed").into_iter().find(|(_, line)| line.contains("PADI"));
    let (redialled, _) = padi.expect("it has dialled again");
    let (mut before, mut after) = (cable.sent("pppoes"), cable.sent("pppoes"));
    for (packets, address) in [(&mut before, &old), (&mut after, &new)] {
        let source = format!(" {address}.");
        packets.retain(|(_, line)| line.split(" > ").next().is_some_and(|head| head.contains(&source)));
    }
    assert!(before.len() > 1000 && after.len() > 1000, "{} and {} packets", before.len(), after.len());
    let late: Vec<_> = before.iter().filter(|(time, _)| *time >= redialled).collect();
    assert!(late.is_empty(), "{} packets of {old} after the redial began: {:?}", late.len(), late.first());
    println!("{} packets of {old}, then {} of {new}", before.len(), after.len());
    drop(cable);
    Line { gateway, house, isp, provider, lab }.end();
}
