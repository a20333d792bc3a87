//! Captures of simulated lives, replayed: the gateway comes to the same states, whoever captured and whatever it draws.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use genkan::capture::{Direction, Interface, Packet, Writer};
use genkan::replay::{Both, Options, Outcome, Replay, What};
use genkan_config::Config;
use genkan_netstack::frame::Frame;
use genkan_netstack::id::PortId;
use genkan_netstack::settings::Authentication;
use genkan_netstack::sim::Heard;
use genkan_netstack::status::WanStatus;
use genkan_netstack::time::Duration;
use genkan_tests::gateway::program;
use genkan_tests::household::{Household, INSIDE, LINE, Sessions, USER, dual_stack_gateway, dual_stack_isp};
use genkan_tests::replayed::{self, text};
use pcap_file::pcap::{PcapPacket, PcapWriter};

/// The wall clock at the start of a simulated life.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// The configuration of the simulated household's gateway.
fn config() -> Config {
    replayed::config(&replayed::dialled(USER), "correct horse")
}

/// A life, as it was heard at the household's gateway.
struct Life {
    heard: Vec<Heard>,
    uplink: WanStatus,
}

fn uplink(household: &mut Household) -> WanStatus {
    let now = household.world.now();
    let node = household.gateway;
    household.world.gateway(node).expect("the gateway runs").status(now).wans.remove(0)
}

fn live(household: &mut Household, span: Duration) -> Life {
    let gateway = household.gateway;
    household.world.listen(gateway);
    // What it said at its start, nobody has heard: it is started again.
    let state = household.world.crash(gateway);
    drop(state);
    household.world.start(gateway, &dual_stack_gateway(Sessions::One), &Default::default());
    household.world.run_for(span);
    Life { heard: household.world.heard(), uplink: uplink(household) }
}

fn ordinary(seed: u64) -> Life {
    live(&mut Household::dual_stack(seed, Sessions::One), Duration::from_secs(90))
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay");
    fs::create_dir_all(&folder).expect("the build folder can be written");
    folder
}

/// The life as `genkan capture` writes it: every port by its name, with directions.
fn ours(life: &Life, name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.pcapng"));
    let ports = ["wan0", "lan0"].map(|name| Interface { name: name.to_owned(), description: String::new() });
    let mut writer = Writer::new(Vec::new(), &ports, &[]).expect("a capture can be begun");
    for Heard { at, port, sent, frame } in &life.heard {
        let direction = if *sent { Direction::Sent } else { Direction::Received };
        let at = EPOCH + at.since(genkan_netstack::time::Instant::ZERO);
        let packet = Packet::of(port.0, direction, at, &Frame::from_bytes(frame), true);
        writer.write(&packet).expect("a frame can be written");
    }
    fs::write(&path, std::mem::take(writer.get_mut())).expect("the build folder can be written");
    path
}

/// The life as tcpdump writes it on a port: no names, no directions, microseconds.
fn theirs(life: &Life, port: PortId, name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.pcap"));
    let mut writer = PcapWriter::new(Vec::new()).expect("a capture can be begun");
    for Heard { at, frame, .. } in life.heard.iter().filter(|heard| heard.port == port) {
        let length = u32::try_from(frame.len()).expect("a frame");
        let at = EPOCH + at.since(genkan_netstack::time::Instant::ZERO);
        writer.write_packet(&PcapPacket::new(at, length, frame)).expect("a frame can be written");
    }
    fs::write(&path, writer.into_writer()).expect("the build folder can be written");
    path
}

fn replay(capture: &Path, seed: u64) -> (Replay, Vec<Outcome>) {
    replayed::replay(&config(), capture, seed)
}

/// What has to be the same, whoever lived.
fn line(uplink: &WanStatus) -> String {
    let ipv6 = uplink.ipv6.as_ref();
    format!(
        "{} session {:?} peer {:?} address {:?} gateway {:?} dns {:?} mtu {:?} prefixes {:?}",
        uplink.state,
        uplink.session_id,
        uplink.peer_mac,
        uplink.address,
        uplink.gateway,
        uplink.dns,
        uplink.mtu,
        ipv6.map(|ipv6| ipv6.prefixes.iter().map(|prefix| prefix.prefix.to_string()).collect::<Vec<_>>()),
    )
}

#[track_caller]
fn assert_same_line(life: &Life, replay: &Replay, outcomes: &[Outcome]) {
    let status = replay.gateway().status(replay.now());
    assert_eq!(line(&status.wans[0]), line(&life.uplink), "{}", text(replay, outcomes));
    assert!(replay.gateway().balance().holds());
}

#[test]
fn a_capture_of_ours_replays_to_the_same_line_whatever_is_drawn() {
    let life = ordinary(1);
    assert_eq!(life.uplink.state, "up");
    assert!(life.uplink.ipv6.as_ref().is_some_and(|ipv6| !ipv6.prefixes.is_empty()), "{:?}", life.uplink);
    let capture = ours(&life, "ours");
    for seed in 0..20 {
        let (replay, outcomes) = replay(&capture, seed);
        assert_same_line(&life, &replay, &outcomes);
    }
}

#[test]
fn a_capture_of_the_line_alone_without_names_replays_to_the_same_line() {
    for seed in 0..5 {
        let life = ordinary(100 + seed);
        let capture = theirs(&life, LINE, &format!("theirs-{seed}"));
        let (replay, outcomes) = replay(&capture, seed);
        assert_same_line(&life, &replay, &outcomes);
    }
}

#[test]
fn the_lans_packets_are_translated_and_sent_as_they_were() {
    let life = ordinary(3);
    let (replay, outcomes) = replay(&ours(&life, "flows"), 9);
    // IPv4, ICMP, an echo reply.
    let echo = |frame: &[u8]| {
        frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&1) && frame.get(34) == Some(&0)
    };
    let to_lan = |outcome: &&Outcome| matches!(&outcome.what, What::Sent { port, frame, .. } if *port == INSIDE && echo(frame));
    let replies: Vec<&Outcome> = outcomes.iter().filter(to_lan).collect();
    assert!(
        replies.len() > 40,
        "{} replies to the LAN's pings:\n{}",
        replies.len(),
        text(&replay, &outcomes)
    );
    for reply in replies {
        let What::Sent { captured: Some(captured), .. } = &reply.what else {
            panic!("the capture has it: {}", replay.text(reply))
        };
        assert!(captured.same, "{}", replay.text(reply));
    }
}

#[test]
fn the_same_capture_and_seed_give_the_same_text_and_the_same_file() {
    let capture = ours(&ordinary(4), "same");
    let run = |seed| {
        let options = Options { seed, ..Options::default() };
        let mut replay = Replay::open(&config(), &capture, &options).expect("it replays");
        let mut both = Both::new(Vec::new(), &replay).expect("a capture can be begun");
        let mut said = String::new();
        while let Some(outcome) = replay.next() {
            said += &replay.text(&outcome);
            both.write(&outcome).expect("a frame can be written");
        }
        (said, both.into_inner())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1, "what is drawn follows from the seed");
}

/// RFC 2759: the server's proof in the capture is about another challenge of ours, and still it counts.
#[test]
fn each_authentication_is_carried() {
    for authentication in [Authentication::Pap, Authentication::ChapMd5, Authentication::MsChapV2] {
        let mut isp = dual_stack_isp();
        isp.concentrators[0].authentication = vec![authentication];
        let mut household = Household::dual_stack_with(5, &dual_stack_gateway(Sessions::One), &isp);
        let life = live(&mut household, Duration::from_secs(40));
        assert_eq!(life.uplink.state, "up", "{authentication:?}");
        let (replay, outcomes) = replay(&ours(&life, &format!("{authentication:?}")), 2);
        assert_same_line(&life, &replay, &outcomes);
    }
}

#[test]
fn a_line_that_was_lost_and_dialled_again_is_so_in_the_replay() {
    for seed in 0..5 {
        let mut household = Household::dual_stack(seed, Sessions::One);
        let gateway = household.gateway;
        household.world.listen(gateway);
        household.world.crash(gateway);
        household.world.start(gateway, &dual_stack_gateway(Sessions::One), &Default::default());
        household.world.run_for(Duration::from_secs(60));
        // The concentrator forgets everything, and is away for a while.
        let isp = household.isp;
        household.world.crash(isp);
        household.world.run_for(Duration::from_secs(100));
        household.world.start(isp, &dual_stack_isp(), &Default::default());
        household.world.run_for(Duration::from_secs(150));
        let life = Life { heard: household.world.heard(), uplink: uplink(&mut household) };
        assert_eq!(life.uplink.state, "up");
        for (capture, of) in [
            (ours(&life, &format!("redial-{seed}")), "ours"),
            (theirs(&life, LINE, &format!("redial-{seed}")), "theirs"),
        ] {
            let (replay, outcomes) = replay(&capture, seed);
            let words = text(&replay, &outcomes);
            assert_eq!(
                line(&replay.gateway().status(replay.now()).wans[0]),
                line(&life.uplink),
                "{of}:\n{words}"
            );
        }
    }
}

/// Whatever others have captured is replayed as far as it goes, or refused with a reason.
#[test]
fn every_public_capture_is_replayed_or_refused_with_a_reason() {
    let (mut replayed, mut frames, mut reasons) = (0, 0, Vec::new());
    let config = config();
    for path in genkan_tests::capture_file::public() {
        for at in ["wan0", "lan0"] {
            let options = Options { at: Some(at.to_owned()), ..Options::default() };
            match Replay::open(&config, &path, &options) {
                Ok(mut replay) => {
                    replayed += 1;
                    let mut last = Duration::ZERO;
                    while let Some(outcome) = replay.next() {
                        frames += u32::from(matches!(outcome.what, What::Received { .. }));
                        let text = replay.text(&outcome);
                        // Two lines where the captured router sent something else.
                        let unlike = matches!(&outcome.what, What::Sent { captured: Some(captured), .. } if !captured.same);
                        assert_eq!(
                            text.lines().count(),
                            1 + usize::from(unlike),
                            "{}: {text}",
                            path.display()
                        );
                        if !matches!(outcome.what, What::Missed { .. }) {
                            assert!(outcome.at >= last, "{}: time goes back", path.display());
                            last = outcome.at;
                        }
                    }
                    assert!(replay.gateway().balance().holds(), "{}", path.display());
                }
                Err(error) => reasons.push(format!("{error}\n")),
            }
        }
    }
    assert!(replayed > 500 && frames > 2000, "{replayed} replays, {frames} frames");
    for reason in &reasons {
        let names_it = reason.contains(".pcap");
        assert!(names_it && (reason.contains("it holds") || reason.contains("cannot read")), "{reason}");
    }
}

/// Captures whose lengths and counts lie, packed so that a small file is a large one. Each is replayed as far as it goes, or
/// refused, in an address space that none of them would fit into.
#[test]
fn hostile_captures_are_replayed_in_bounded_memory() {
    const SPACE_KIB: u32 = 100_000;
    const LARGE: usize = 200 << 20;
    let block = |kind: u32, length: u32| [kind.to_be_bytes(), length.to_be_bytes()].concat();
    let section = [
        &block(0x0a0d_0d0a, 28)[..],
        &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0],
        &[0xff; 8],
        &28_u32.to_be_bytes(),
    ]
    .concat();
    let pcap =
        [&[0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1][..]].concat();
    // An interface with a name of 60,000 octets, again and again.
    let name = [&[0, 2, 0xea, 0x60][..], &[b'x'; 60_000], &[0; 4]].concat();
    let length = u32::try_from(name.len() + 20).unwrap();
    let interface = [&block(1, length)[..], &[0, 1, 0, 0, 0, 0, 0, 0], &name, &length.to_be_bytes()].concat();
    let hostile = [
        ("block", [&section[..], &block(6, 0xffff_fff0)].concat(), vec![0; 1 << 20]),
        ("unknown-block", [&section[..], &block(77, 0x0c80_0000)].concat(), vec![0; 1 << 20]),
        ("frame", [&pcap[..], &[0, 0, 0, 1, 0, 0, 0, 0], &[0xff; 8]].concat(), vec![0; 1 << 20]),
        ("interfaces", section.clone(), interface),
    ];
    let folder = folder().join("hostile");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("gateway.toml");
    fs::write(&file, replayed::dialled(USER)).unwrap();
    for (name, head, filling) in hostile {
        let path = folder.join(format!("{name}.pcap.gz"));
        let mut packed = GzEncoder::new(BufWriter::new(File::create(&path).unwrap()), Compression::fast());
        packed.write_all(&head).unwrap();
        for _ in 0..LARGE / filling.len() {
            packed.write_all(&filling).unwrap();
        }
        packed.finish().unwrap();
        let line = format!("ulimit -v {SPACE_KIB} && exec \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line, "sh"]).arg(program()).arg("replay").arg(&file).arg(&path);
        let output = shell.output().expect("there is a shell");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{name}: {} {said}", output.status);
        assert!(!said.contains("panicked") && said.len() < 100_000, "{name}: {said}");
        fs::remove_file(path).unwrap();
    }
}

/// TR-124 WAN.PPP.6: what is written of both sides holds no password.
#[test]
fn tr124_wan_ppp_6_no_password_is_written_or_printed() {
    let mut isp = dual_stack_isp();
    isp.concentrators[0].authentication = vec![Authentication::Pap];
    let mut household = Household::dual_stack_with(6, &dual_stack_gateway(Sessions::One), &isp);
    let life = live(&mut household, Duration::from_secs(20));
    let secret = b"correct horse";
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    // tcpdump blanks nothing.
    let capture = theirs(&life, LINE, "secret");
    assert!(holds(&fs::read(&capture).expect("it was written")));
    let mut replay = Replay::open(&config(), &capture, &Options::default()).expect("it replays");
    let mut both = Both::new(Vec::new(), &replay).expect("a capture can be begun");
    let mut said = String::new();
    while let Some(outcome) = replay.next() {
        said += &replay.text(&outcome);
        both.write(&outcome).expect("a frame can be written");
    }
    assert!(said.contains("PAP Authenticate-Request"), "{said}");
    assert!(!holds(said.as_bytes()) && !holds(&both.into_inner()));
}
