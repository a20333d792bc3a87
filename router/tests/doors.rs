//! The doors by which frames reach the kernel half: what is attached to real devices, what of it outlives the program, and
//! what comes to user space behind it. In network namespaces; as root.

use std::path::Path;
use std::time::{Duration, Instant};

use genkan::fastpath::entry::Entry;
use genkan::fastpath::layout::{self, VERDICTS};
use genkan::fastpath::load::{self, Kernel, Left, Options, Sizes};
use genkan::fastpath::pins::Pins;
use genkan::fastpath::plan::{self, Planned};
use genkan::poll::Epoll;
use genkan::port::{self, Port, Spec};
use genkan_config::Config;
use genkan_netstack::frame::{Batch, Frame, Pool, vlan};

mod lab;

use lab::{Directory, Namespace, in_a_moment, nic, tap, wire};

const SIZES: Sizes =
    Sizes { flows4: 1024, flows6: 1024, links: 16, adjacencies: 64, sessions: 16, samples: 1 << 16 };
const OPTIONS: Options = Options { seed: [1, 2], sample_mask: u32::MAX };

/// A host with a card, and its neighbour.
fn host_and_peer(name: &str) -> [Namespace; 2] {
    let [host, peer] = ["host", "peer"].map(|n| Namespace::new(&format!("{name}-{n}")));
    wire(&host, "eth0", &peer, "p0");
    host.sh("ip addr add 10.0.0.1/24 dev eth0");
    peer.sh("ip addr add 10.0.0.2/24 dev p0");
    [host, peer]
}

fn answers(peer: &Namespace) -> bool {
    peer.try_sh("ip neigh flush all; ping -c 1 -W 1 10.0.0.1").0
}

/// A kernel half in the host's namespace, attached to ports.
fn attach(
    host: &Namespace,
    pins: Option<&Pins>,
    ports: &mut [(&mut Port, Entry)],
) -> (Kernel, Vec<load::Attached>) {
    host.run(|| {
        let (mut kernel, _tables) = Kernel::load(&SIZES, &OPTIONS, pins).unwrap();
        let mut attached = Vec::new();
        for (number, (port, entry)) in (0..).zip(ports) {
            let ifindex = port.index().cast_unsigned();
            let record = layout::Port {
                ifindex,
                number,
                link: 0,
                own: port.mac().0,
                pppoe: 1,
                ..layout::Port::default()
            };
            kernel.set_port(&record).unwrap();
            attached.push(kernel.attach(number, port, *entry));
        }
        kernel.settle().unwrap();
        (kernel, attached)
    })
}

/// Frames that the kernel half has looked at.
fn seen(kernel: &Kernel) -> u64 {
    kernel.verdicts().unwrap().iter().sum()
}

fn verdict(kernel: &Kernel, name: &str) -> u64 {
    kernel.verdicts().unwrap()[VERDICTS.iter().position(|verdict| *verdict == name).unwrap()]
}

fn frame(own: [u8; 6], ethertype: u16, payload: &[u8]) -> Frame {
    let mut octets = [&own[..], &[2, 0, 0, 0, 0, 9], &ethertype.to_be_bytes(), payload].concat();
    octets.resize(octets.len().max(60), 0);
    Frame::from_bytes(&octets)
}

/// A frame of every class, all different.
fn every_class(own: [u8; 6]) -> Vec<Frame> {
    let ppp = |protocol: u16, body: &[u8]| {
        let len = (body.len() + 2) as u16;
        [&[0x11, 0, 0, 1][..], &len.to_be_bytes(), &protocol.to_be_bytes(), body].concat()
    };
    let ip4 = |protocol: u8, ports: [u8; 4]| {
        let mut packet = [0; 40];
        (packet[0], packet[3], packet[8], packet[9]) = (0x45, 40, 64, protocol);
        packet[12..20].copy_from_slice(&[10, 0, 0, 2, 192, 0, 2, 1]);
        packet[20..24].copy_from_slice(&ports);
        packet
    };
    let ip6 = |next: u8, body: [u8; 8]| {
        let mut packet = [0; 48];
        (packet[0], packet[5], packet[6], packet[7]) = (0x60, 8, next, 255);
        packet[40..].copy_from_slice(&body);
        packet
    };
    let mut tagged = frame(own, 0x0800, &ip4(17, [0, 9, 0, 9]));
    assert!(vlan::put_on(&mut tagged, 0x8100, 7));
    vec![
        frame(own, 0x8863, &[0x11, 0x09, 0, 0, 0, 0]),
        frame(own, 0x8864, &ppp(0xc021, &[9, 1, 0, 8, 0, 0, 0, 0])),
        frame(own, 0x8864, &ppp(0x0021, &ip4(17, [0, 1, 0, 1]))),
        frame(own, 0x8864, &ppp(0x0057, &ip6(17, [0, 1, 0, 1, 0, 8, 0, 0]))),
        frame(own, 0x8864, &[0x21, 0, 0, 1, 0, 2, 0, 0x21]),
        frame(own, 0x0806, &[1; 28]),
        frame(own, 0x0800, &ip4(6, [0, 80, 0, 80])),
        frame(own, 0x0800, &ip4(17, [0, 68, 0, 67])),
        frame(own, 0x0800, &[0; 46]),
        frame(own, 0x86dd, &ip6(17, [0, 80, 0, 80, 0, 8, 0, 0])),
        frame(own, 0x86dd, &ip6(58, [135, 0, 0, 0, 0, 0, 0, 0])),
        frame([0xff; 6], 0x0800, &ip4(17, [1, 1, 1, 1])),
        frame([2, 0, 0, 0, 0, 7], 0x0800, &ip4(17, [2, 2, 2, 2])),
        frame(own, 0x88cc, &[3; 46]),
        frame(own, 0x1234, &[4; 46]),
        frame(own, 46, &[5; 46]),
        tagged,
    ]
}

/// Sends a frame of every class and says which did not arrive exactly once, and as it was.
fn lost_or_repeated(sender: &mut Port, receiver: &mut Port) -> Vec<String> {
    let frames = every_class(receiver.mac().0);
    let (mut pool, mut batch) = (Pool::default(), Batch::new());
    // What the namespaces said by themselves.
    while receiver.receive(&mut batch, &mut pool, 64).unwrap() > 0 {}
    batch.clear();
    let mut queue: Batch = frames.iter().cloned().collect();
    sender.transmit(&mut queue, &mut pool).unwrap();
    assert!(queue.is_empty());
    while receiver.receive(&mut batch, &mut pool, 64).unwrap() > 0 {}
    let count = |frame: &Frame| batch.iter().filter(|got| got.bytes() == frame.bytes()).count();
    frames
        .iter()
        .filter(|frame| count(frame) != 1)
        .map(|f| format!("{}× {:02x?}", count(f), f.bytes()))
        .collect()
}

const NONE: [String; 0] = [];

#[test]
fn behind_the_ingress_every_class_of_frame_arrives_exactly_once() {
    let [host, peer] = host_and_peer("once");
    let [state, other] = [Directory::new("once"), Directory::new("once-peer")];
    let mut sender = peer.open(&nic("p0", &other));
    let mut port = host.open(&Spec { entry: Entry::Tc, ..nic("eth0", &state) });
    assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE, "without a kernel half");
    let (kernel, attached) = attach(&host, None, &mut [(&mut port, Entry::Tc)]);
    assert_eq!(attached, [load::Attached { entry: Entry::Tc, why: None }]);
    let before = seen(&kernel);
    assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE, "behind the kernel half");
    assert_eq!(seen(&kernel) - before, every_class([0; 6]).len() as u64);
    for (name, least) in [("not_plain", 6), ("not_for_us", 2), ("ppp_control", 1), ("odd_pppoe", 1)] {
        assert!(verdict(&kernel, name) >= least, "{name}");
    }
    host.run(|| drop(kernel));
    assert_eq!(
        lost_or_repeated(&mut sender, &mut port),
        NONE,
        "the program outlives its maps' owner harmlessly"
    );
}

#[test]
fn before_the_driver_hands_it_on_every_class_of_frame_arrives_exactly_once() {
    let [host, peer] = host_and_peer("driver");
    let [state, other] = [Directory::new("driver"), Directory::new("driver-peer")];
    let mut sender = peer.open(&nic("p0", &other));
    for entry in [Entry::Xdp, Entry::Both] {
        let mut port = host.open(&Spec { entry, ..nic("eth0", &state) });
        let (kernel, attached) = attach(&host, None, &mut [(&mut port, entry)]);
        assert_eq!(attached, [load::Attached { entry, why: None }]);
        // Native mode, not the generic one.
        let shown = host.sh("ip link show eth0");
        assert!(shown.contains(" xdp ") && !shown.contains("xdpgeneric"), "{shown}");
        assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE, "{entry}");
        host.run(|| drop((kernel, port)));
        assert!(!host.sh("ip link show eth0").contains("xdp"));
    }
}

#[test]
fn where_xdp_is_refused_frames_enter_a_little_later_and_the_reason_is_told() {
    let [host, peer] = host_and_peer("refused");
    let [state, other] = [Directory::new("refused"), Directory::new("refused-peer")];
    let mut sender = peer.open(&nic("p0", &other));
    let mut port = host.open(&Spec { entry: Entry::Xdp, ..nic("eth0", &state) });
    let (first, _) = attach(&host, None, &mut [(&mut port, Entry::Xdp)]);
    // The driver runs one program, and it is somebody else's.
    let (kernel, attached) = attach(&host, None, &mut [(&mut port, Entry::Xdp)]);
    assert_eq!(attached[0].entry, Entry::Tc);
    assert!(attached[0].why.as_ref().unwrap().contains("native XDP is refused"), "{attached:?}");
    host.run(|| drop(first));
    let before = seen(&kernel);
    assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE);
    assert!(seen(&kernel) > before);
}

fn folder(state: &Directory) -> Vec<String> {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let pins = Path::new("/sys/fs/bpf/genkan")
        .join(state.0.canonicalize().unwrap().to_str().unwrap()[1..].replace('-', "%2d").replace('/', "-"));
    let mut names = list(&pins);
    names.extend(list(&pins.join("links")).iter().map(|link| link.rsplit('-').next().unwrap().to_owned()));
    names.sort();
    names
}

#[test]
fn a_run_that_ends_without_a_word_leaves_what_the_next_one_goes_on_with() {
    let [host, peer] = host_and_peer("survive");
    host.sh("ip link set eth0 mtu 1400");
    let [state, other] = [Directory::new("survive"), Directory::new("survive-peer")];
    let mut sender = peer.open(&nic("p0", &other));
    assert!(Left::open(&state.0).is_none());
    let mut generation = 0;
    for entry in [Entry::Tc, Entry::Tc, Entry::Xdp, Entry::Both, Entry::Both, Entry::Tc] {
        let pins = Pins::make(&state.0).unwrap();
        let spec = Spec { entry, pins: Some(pins.clone()), wanted_mtu: Some(1450), ..nic("eth0", &state) };
        let mut port = host.open(&spec);
        assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE, "between two runs, {entry}");
        let (kernel, attached) = attach(&host, Some(&pins), &mut [(&mut port, entry)]);
        generation += 1;
        assert_eq!(attached, [load::Attached { entry, why: None }]);
        let mut expected =
            vec!["current".into(), "links".into(), format!("layout{}-{generation}", layout::LAYOUT)];
        expected.push("egress".into());
        expected.push(if entry.tc() { "divert" } else { "ingress" }.into());
        expected.extend(entry.xdp().then(|| "xdp".into()));
        expected.sort();
        assert_eq!(folder(&state), expected, "{entry}");
        let before = seen(&kernel);
        assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE, "{entry}");
        assert!(seen(&kernel) > before, "frames enter the new kernel half");
        host.run(|| {
            kernel.leave();
            port.leave();
        });
        let left = Left::open(&state.0).expect("it has left maps");
        assert_eq!(left.maps().ports.len(), 1);
        // The host stays away from the card.
        assert!(host.sh("ip link show eth0").contains("mtu 1450"));
        assert_eq!(host.run(|| port::restore(&state.0, &["eth0"])).unwrap(), NONE);
        host.sh("ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 arp on");
        assert!(!answers(&peer));
        host.sh("ip addr del 10.0.0.1/24 dev eth0; ip link set eth0 arp off");
    }
    // In good order.
    let pins = Pins::make(&state.0).unwrap();
    let mut port = host.open(&Spec { entry: Entry::Tc, pins: Some(pins.clone()), ..nic("eth0", &state) });
    let (kernel, _) = attach(&host, Some(&pins), &mut [(&mut port, Entry::Tc)]);
    host.run(|| drop((port, kernel)));
    drop(sender);
    assert_eq!(folder(&state), NONE);
    assert!(in_a_moment(|| answers(&peer)));
    let shown = host.sh("ip link show eth0; ip addr show eth0");
    assert!(shown.contains("mtu 1400") && !shown.contains("xdp") && shown.contains("10.0.0.1/24"), "{shown}");
}

#[test]
fn a_crash_at_any_moment_leaves_something_that_the_next_run_repairs() {
    let [host, peer] = host_and_peer("crash");
    let [state, other] = [Directory::new("crash"), Directory::new("crash-peer")];
    let mut sender = peer.open(&nic("p0", &other));
    let spec = |pins: &Pins| Spec { entry: Entry::Both, pins: Some(pins.clone()), ..nic("eth0", &state) };
    for step in 0..4 {
        let pins = Pins::make(&state.0).unwrap();
        host.run(|| {
            // Loaded; attached; settled; and a port that was opened alone.
            let mut port = Port::open(&spec(&pins)).unwrap();
            if step == 3 {
                return port.leave();
            }
            let (mut kernel, _) = Kernel::load(&SIZES, &OPTIONS, Some(&pins)).unwrap();
            if step > 0 {
                assert_eq!(kernel.attach(0, &mut port, Entry::Both).entry, Entry::Both);
            }
            if step > 1 {
                kernel.settle().unwrap();
            }
            kernel.leave();
            port.leave();
        });
        let pins = Pins::make(&state.0).unwrap();
        let mut port = host.open(&spec(&pins));
        let (kernel, attached) = attach(&host, Some(&pins), &mut [(&mut port, Entry::Both)]);
        assert_eq!(attached[0], load::Attached { entry: Entry::Both, why: None }, "step {step}");
        assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE, "step {step}");
        assert_eq!(folder(&state).iter().filter(|name| name.starts_with("layout")).count(), 1);
        host.run(|| {
            kernel.leave();
            port.leave();
        });
    }
    // Without a daemon.
    load::flush(&state.0).unwrap();
    assert_eq!(host.run(|| port::restore(&state.0, &[])).unwrap(), ["eth0"]);
    assert_eq!(folder(&state), NONE);
    drop(sender);
    assert!(in_a_moment(|| answers(&peer)));
    assert!(Left::open(&state.0).is_none());
    load::flush(&state.0).unwrap();
}

#[test]
fn a_run_without_a_kernel_half_ends_what_the_last_one_left() {
    let [host, peer] = host_and_peer("without");
    let [state, other] = [Directory::new("without"), Directory::new("without-peer")];
    let mut sender = peer.open(&nic("p0", &other));
    let planned = |entry| {
        let planned =
            Planned { port: "eth0".into(), device: "eth0".into(), entry, why: String::new(), denied: false };
        let mut specs = [nic("eth0", &state)];
        let pins = load::prepare(&[planned], &mut specs, &state.0);
        let [spec] = specs;
        assert_eq!((spec.entry, spec.pins.as_ref()), (entry, pins.as_ref()));
        (host.open(&spec), pins)
    };
    for given_up in [true, false] {
        let (mut port, pins) = planned(Entry::Both);
        let (kernel, _) = attach(&host, pins.as_ref(), &mut [(&mut port, Entry::Both)]);
        host.run(|| {
            kernel.leave();
            port.leave();
        });
        // The host has a new address that comes back with the others.
        host.sh(&format!("ip addr add 10.0.0.{}/24 dev eth0", if given_up { 8 } else { 9 }));
        let mut port = if given_up {
            let (mut port, _) = planned(Entry::Both);
            load::give_up(std::iter::once(&mut port), &state.0);
            port
        } else {
            planned(Entry::None).0
        };
        assert_eq!(folder(&state), NONE);
        // The kernel takes off what is not pinned any more a moment later.
        let start = Instant::now();
        while host.sh("ip link show eth0").contains("xdp") {
            assert!(start.elapsed() < Duration::from_secs(5), "the program stays");
        }
        assert_eq!(lost_or_repeated(&mut sender, &mut port), NONE);
        assert!(!answers(&peer));
        host.run(|| drop(port));
    }
    drop(sender);
    let shown = host.sh("ip addr show eth0");
    assert!(
        ["10.0.0.1/24", "10.0.0.8/24", "10.0.0.9/24"].iter().all(|address| shown.contains(address)),
        "{shown}"
    );
    assert!(in_a_moment(|| answers(&peer)));
}

#[test]
fn a_device_in_another_namespace_has_no_door() {
    let [host, elsewhere] = ["host", "else"].map(|n| Namespace::new(&format!("elsewhere-{n}")));
    let state = Directory::new("elsewhere");
    let mut port = elsewhere.open(&Spec { entry: Entry::Tc, ..tap("tap0", true, &state) });
    let (_kernel, attached) = attach(&host, None, &mut [(&mut port, Entry::Tc)]);
    assert_eq!(attached[0].entry, Entry::None);
    assert!(attached[0].why.as_ref().unwrap().contains("another network namespace"));
}

#[test]
fn a_tap_with_a_door_stays_for_the_next_run_and_vanishes_in_good_order() {
    let host = Namespace::new("stay");
    let state = Directory::new("stay");
    let there = || host.try_sh("ip link show tap0").0;
    let open = |entry| {
        let pins = Pins::make(&state.0).unwrap();
        (host.open(&Spec { entry, pins: Some(pins.clone()), ..tap("tap0", true, &state) }), pins)
    };
    let (mut port, pins) = open(Entry::Tc);
    let (kernel, attached) = attach(&host, Some(&pins), &mut [(&mut port, Entry::Tc)]);
    assert_eq!(attached, [load::Attached { entry: Entry::Tc, why: None }]);
    host.sh("ip addr add 10.0.0.1/24 dev tap0");
    let before = seen(&kernel);
    host.try_sh("ping -c 1 -W 1 10.0.0.2");
    assert!(seen(&kernel) > before, "what leaves the host enters the kernel half");
    let ready = Epoll::new().unwrap();
    ready.add(port.fd(), 0).unwrap();
    let mut tokens = Vec::new();
    ready.wait(&mut tokens, Some(Duration::from_secs(5))).unwrap();
    assert!(!tokens.is_empty(), "and comes to us when it is not carried");
    host.run(|| {
        kernel.leave();
        port.leave();
    });
    assert!(there() && host.sh("ip addr show tap0").contains("10.0.0.1/24"));
    host.run(|| port::restore(&state.0, &["tap0"])).unwrap();
    assert!(there());

    // The next run has it, and takes it away.
    let (mut port, pins) = open(Entry::Tc);
    let (kernel, attached) = attach(&host, Some(&pins), &mut [(&mut port, Entry::Tc)]);
    assert_eq!(attached[0].entry, Entry::Tc);
    host.run(|| drop((port, kernel)));
    assert!(!there());
    assert_eq!(folder(&state), NONE);

    // Or the one after it, without a kernel half, or nobody but a command.
    for without in [true, false] {
        let (port, _) = open(Entry::Tc);
        port.leave();
        assert!(there());
        if without {
            let (port, _) = open(Entry::None);
            port.leave();
        } else {
            host.run(|| port::restore(&state.0, &[])).unwrap();
        }
        assert!(!there());
    }
    // A device that somebody else lets stay is not ours to take away.
    host.sh("ip tuntap add tap0 mode tap");
    let (port, _) = open(Entry::Tc);
    drop(port);
    assert!(there());
    assert_eq!(state.0.read_dir().unwrap().count(), 0);
}

/// A virtual device of each kind, and one that is not there.
#[test]
fn each_port_of_a_real_machine_is_told_its_door_and_why() {
    let host = Namespace::new("plan");
    let state = Directory::new("plan");
    host.sh("ip link add v0 type veth peer name v1; ip link add b0 type bridge");
    let plan = |mode: &str| {
        let file = state.0.join("gateway.toml");
        let text = format!(
            "[port.a]\nnic = \"v0\"\n[port.b]\nnic = \"b0\"\n[port.c]\ntap = \"tap7\"\n[port.d]\nnic = \"n7\"\n\
             [port.e]\nnic = \"v1\"\nvlan = 7\n[wan.up]\nport = \"e\"\ndhcp = true\n\
             [lan.home]\nports = [\"a\", \"b\", \"c\", \"d\"]\naddress = \"10.0.0.1/24\"\n\
             [fast-path]\nmode = \"{mode}\"\n[system]\nstate-dir = \"{}\"\n",
            state.0.display()
        );
        std::fs::write(&file, text).unwrap();
        let loaded = Config::load(&file).unwrap_or_else(|report| panic!("{}", report.render(false)));
        host.run(|| plan::plan(&loaded.config)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        plan("auto"),
        [
            "port a (v0): tc: a veth, whose peer would send no large segments to XDP",
            "port b (b0): tc: its driver (bridge) has no native XDP",
            "port c (tap7): tc: a tap, whose frames leave the host at its egress",
            "port d (n7): user space: there is no card n7",
            "port e (v1): user space: the kernel path takes no frames with VLAN tags",
        ]
    );
    assert_eq!(
        plan("xdp")[0],
        "port a (v0): XDP and tc: the configuration says `mode = \"xdp\"`; tc carries what goes to b0, where XDP \
         cannot send"
    );
    assert!(
        plan("off").iter().all(|line| line.ends_with("user space: the configuration says `mode = \"off\"`"))
    );
}
