//! Faults of uplinks, by peers that misbehave and frames made by hand.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::explain::{Diagnosis, StepState};
use crate::frame::{Batch, Frame};
use crate::gateway::Gateway;
use crate::id::{Ipv4Cidr, Mac, PortId, WanId};
use crate::secret::Secret;
use crate::settings::{
    Authentication, Concentrator, Echo, Port, PppoeClient, PrefixRequest, Settings, Uplink, User, Vlan, Wan,
    WanIpv6,
};
use crate::sim::{CableId, End, Impairment, NodeId, World};
use crate::state::State;
use crate::time::{Duration, Instant};
use crate::wire::ppp::{code, protocol};
use crate::wire::pppoe::{Code, DiscoveryWriter, HEADER_LEN, tag};

const LINE: PortId = PortId(0);
const OURS: Mac = Mac([2, 0, 0, 0, 1, 0]);
const BRAS: Mac = Mac([2, 0, 0, 0, 9, 0]);
/// The password, which no diagnosis may ever show.
pub(super) const SECRET: &str = "canary-7f3a";

pub(super) fn port(mac: Mac) -> Port {
    Port { name: String::from("wan0"), mac, mtu: 1500, vlan: None, offload: false }
}

pub(super) fn wan() -> Wan {
    Wan {
        name: "isp".into(),
        port: LINE,
        uplink: Uplink::Pppoe(PppoeClient {
            username: "alice".into(),
            password: Secret::new(SECRET),
            service_name: vec![],
            ac_name: None,
            host_uniq: None,
            authentication: vec![Authentication::ChapMd5, Authentication::Pap],
            mtu: 1492,
            echo: Echo::default(),
        }),
        ipv4: true,
        ipv6: None,
    }
}

fn dialled(wan: &mut Wan) -> &mut PppoeClient {
    match &mut wan.uplink {
        Uplink::Pppoe(pppoe) => pppoe,
        other => panic!("{other:?} does not dial"),
    }
}

pub(super) fn client(wan: Wan) -> Settings {
    Settings { hostname: "genkan".into(), ports: vec![port(OURS)], wans: vec![wan], ..Settings::default() }
}

pub(super) fn isp() -> Concentrator {
    Concentrator {
        name: "bras".into(),
        port: LINE,
        ac_name: "bras1".into(),
        service_names: vec![],
        address: [198, 51, 100, 1].into(),
        pool: Ipv4Cidr { address: [198, 51, 100, 0].into(), prefix: 24 },
        prefix_pool: None,
        dns: vec![[9, 9, 9, 9].into()],
        authentication: vec![Authentication::ChapMd5],
        users: vec![User { name: "alice".into(), password: Secret::new(SECRET), ipv4: None, prefix: None }],
        mtu: 1492,
        echo: Echo::default(),
        sessions: 100,
        sessions_per_mac: 4,
    }
}

pub(super) fn concentrator(settings: Concentrator) -> Settings {
    Settings { ports: vec![port(BRAS)], concentrators: vec![settings], ..Settings::default() }
}

/// Nothing that is shown may hold the password.
pub(super) fn checked(diagnosis: Diagnosis) -> Diagnosis {
    let json = serde_json::to_string(&diagnosis).unwrap();
    assert!(!json.contains(SECRET) && !diagnosis.to_string().contains(SECRET), "{json}");
    for step in &diagnosis.steps {
        assert!(!step.came.as_deref().unwrap_or_default().contains(SECRET));
    }
    diagnosis
}

/// The step that fails is this one, and the words of its causes or its clause hold all of these.
#[track_caller]
pub(super) fn fails(diagnosis: &Diagnosis, step: &str, phrases: &[&str]) {
    let failed = diagnosis.failed().unwrap_or_else(|| panic!("nothing fails:\n{diagnosis}"));
    assert_eq!(failed.name, step, "{diagnosis}");
    assert_eq!(failed.causes.len(), 2, "{diagnosis}");
    assert!(!failed.advice.is_empty() && failed.meaning.is_some(), "{diagnosis}");
    let text = diagnosis.to_string();
    for phrase in phrases {
        assert!(text.contains(phrase), "{phrase:?} is missing:\n{diagnosis}");
    }
    assert!(diagnosis.sentence.contains(step), "{diagnosis}");
}

/// It is up, and this is worth a word.
#[track_caller]
pub(super) fn notices(diagnosis: &Diagnosis, step: &str, phrase: &str) {
    let found = diagnosis.steps.iter().find(|found| found.name == step).unwrap();
    assert_eq!(found.state, StepState::Done, "{diagnosis}");
    assert!(found.meaning.is_some() && diagnosis.sentence.contains(phrase), "{diagnosis}");
    assert!(!diagnosis.healthy);
}

/// A customer and an ISP, of our own kind, on a cable.
pub(super) struct Street {
    pub(super) world: World,
    pub(super) us: NodeId,
    isp: NodeId,
    cable: CableId,
}

impl Street {
    pub(super) fn new(ours: &Settings, theirs: &Settings) -> Street {
        let mut world = World::new(5);
        let isp = world.add_gateway(theirs);
        let us = world.add_gateway(ours);
        let cable = world.connect(End(us, LINE), End(isp, LINE));
        Street { world, us, isp, cable }
    }

    pub(super) fn run(&mut self, seconds: u64) -> Diagnosis {
        self.world.run_for(Duration::from_secs(seconds));
        let now = self.world.now();
        checked(self.world.gateway(self.us).unwrap().explain_wan(now, WanId(0)).unwrap())
    }
}

/// A customer alone, whose line is in the test's hands.
pub(super) struct Alone {
    pub(super) gateway: Gateway,
    pub(super) now: Instant,
}

impl Alone {
    pub(super) fn new(settings: &Settings) -> Alone {
        let now = Instant::from_secs(1000);
        Alone { gateway: Gateway::new(settings, &State::default(), [7; 32], now), now }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.gateway.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due) + Duration::from_nanos(1);
            self.gateway.handle_timeout(self.now);
        }
        self.now = end;
        while self.gateway.poll_event().is_some() {}
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.gateway.receive(self.now, LINE, &mut Batch::from([Frame::from_bytes(bytes)]));
    }

    pub(super) fn sent(&mut self) -> Vec<Vec<u8>> {
        let (batch, _) = self.gateway.outgoing(LINE).unwrap();
        batch.drain(..).map(|frame| frame.bytes().to_vec()).collect()
    }

    pub(super) fn explain(&self) -> Diagnosis {
        checked(self.gateway.explain_wan(self.now, WanId(0)).unwrap())
    }

    /// Plays the concentrator for this long: each frame of ours is given to `answer`, and what it says comes in.
    pub(super) fn play(&mut self, seconds: u64, mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>>) {
        for _ in 0..seconds * 10 {
            let end = self.now + Duration::from_millis(100);
            while let Some(due) = self.gateway.poll_timeout().filter(|&due| due <= end) {
                self.now = self.now.max(due) + Duration::from_nanos(1);
                self.gateway.handle_timeout(self.now);
            }
            self.now = end;
            for _ in 0..20 {
                let sent = self.sent();
                if sent.is_empty() {
                    break;
                }
                for frame in sent.iter().flat_map(|frame| answer(frame)) {
                    self.receive(&frame);
                }
            }
        }
    }
}

/// The answer to a discovery packet of ours, with these tags besides our Host-Uniq.
fn discovery(question: &[u8], from: Mac, code: Code, session: u16, tags: &[(u16, &[u8])]) -> Vec<u8> {
    let packet = crate::wire::pppoe::Discovery::parse(&question[14..]).unwrap();
    let mut frame = Frame::with_capacity(1600);
    let mut writer = DiscoveryWriter::begin(&mut frame, from, OURS, code, session);
    for (kind, value) in tags {
        writer = writer.tag(*kind, value);
    }
    assert!(writer.tag_if(tag::HOST_UNIQ, packet.find(tag::HOST_UNIQ)).finish());
    frame.bytes().to_vec()
}

/// A discovery packet of a session, unasked.
fn discovery_of(from: Mac, code: Code, session: u16) -> Vec<u8> {
    let mut frame = Frame::with_capacity(1600);
    assert!(DiscoveryWriter::begin(&mut frame, from, OURS, code, session).finish());
    frame.bytes().to_vec()
}

/// The discovery code of a frame of ours.
fn kind(frame: &[u8]) -> Option<Code> {
    (frame[12..14] == [0x88, 0x63]).then(|| Code::from_value(frame[15])).flatten()
}

/// The PPP packet of a session's frame: protocol, code, identifier, data.
fn ppp(frame: &[u8]) -> Option<(u16, u8, u8, Vec<u8>)> {
    if frame[12..14] != [0x88, 0x64] {
        return None;
    }
    let at = 14 + HEADER_LEN;
    let protocol = u16::from_be_bytes([frame[at], frame[at + 1]]);
    if protocol < 0x8000 {
        // Network data: the first two octets stand in the place of code and identifier.
        return Some((protocol, frame[at + 2], frame[at + 3], frame[at + 4..].to_vec()));
    }
    let length = usize::from(u16::from_be_bytes([frame[at + 4], frame[at + 5]]));
    Some((protocol, frame[at + 2], frame[at + 3], frame[at + 6..at + 2 + length].to_vec()))
}

/// A frame of session 7 to us with a PPP packet.
pub(super) fn session(protocol: u16, code: u8, identifier: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = protocol.to_be_bytes().to_vec();
    packet.extend([code, identifier]);
    packet.extend(u16::try_from(data.len() + 4).unwrap().to_be_bytes());
    packet.extend(data);
    let mut frame = Frame::from_bytes(&packet);
    assert!(crate::wire::pppoe::push_session(&mut frame, BRAS, OURS, 7));
    frame.bytes().to_vec()
}

/// A concentrator that grants session 7 and opens LCP, demanding proof as `authentication` says; what comes later goes to
/// `then`.
fn granting(
    authentication: &'static [u8],
    mut then: impl FnMut(u16, u8, u8, &[u8]) -> Vec<Vec<u8>>,
) -> impl FnMut(&[u8]) -> Vec<Vec<u8>> {
    move |frame: &[u8]| match kind(frame) {
        Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
        Some(Code::Padr) => vec![discovery(frame, BRAS, Code::Pads, 7, &[(tag::SERVICE_NAME, b"")])],
        Some(_) => vec![],
        None => match ppp(frame) {
            Some((protocol::LCP, code::CONFIGURE_REQUEST, id, data)) => {
                let mut wish = vec![5, 6, 9, 9, 9, 9];
                if !authentication.is_empty() {
                    wish.extend([3, u8::try_from(authentication.len() + 2).unwrap()]);
                    wish.extend(authentication);
                }
                vec![
                    session(protocol::LCP, code::CONFIGURE_ACK, id, &data),
                    session(protocol::LCP, code::CONFIGURE_REQUEST, 1, &wish),
                ]
            }
            Some((protocol, code, id, data)) => then(protocol, code, id, &data),
            None => vec![],
        },
    }
}

fn offer(question: &[u8], from: Mac, ac_name: &[u8]) -> Vec<u8> {
    discovery(question, from, Code::Pado, 0, &[(tag::SERVICE_NAME, b""), (tag::AC_NAME, ac_name)])
}

const PAP: &[u8] = &[0xc0, 0x23];
const CHAP: &[u8] = &[0xc2, 0x23, 5];
/// The octets of PAP's and CHAP's packets.
const REFUSED: u8 = 3;
const CHAP_FAILURE: u8 = 4;

#[test]
fn a_line_in_order_is_healthy_and_says_what_each_step_brought() {
    let mut street = Street::new(&client(wan()), &concentrator(isp()));
    let diagnosis = street.run(20);
    assert!(diagnosis.healthy, "{diagnosis}");
    assert_eq!(diagnosis.sentence, "wan isp is up");
    let text = diagnosis.to_string();
    for phrase in [" with \"bras1\"", "authentication        ok: CHAP", "198.51.100.", "MTU", "9.9.9.9"] {
        assert!(text.contains(phrase), "{phrase}:\n{text}");
    }
}

#[test]
fn fault_no_carrier() {
    let mut alone = Alone::new(&client(wan()));
    alone.gateway.set_trouble(LINE, Some("eth0 has no carrier".into()));
    alone.pass(30);
    let diagnosis = alone.explain();
    fails(&diagnosis, "link", &["eth0 has no carrier", "unplugged"]);
    assert!(diagnosis.steps.iter().skip(1).all(|step| step.state != StepState::Failed), "{diagnosis}");
}

#[test]
fn fault_no_concentrator() {
    let mut alone = Alone::new(&client(wan()));
    alone.pass(30);
    let diagnosis = alone.explain();
    fails(
        &diagnosis,
        "discovery",
        &["not in bridge mode", "VLAN", "PADI to everyone, for any service,", "came back   nothing"],
    );
}

#[test]
fn fault_a_concentrator_that_answered_before_is_silent() {
    let mut street = Street::new(&client(wan()), &concentrator(isp()));
    assert!(street.run(20).healthy);
    let isp = street.isp;
    let _ = street.world.crash(isp);
    fails(&street.run(200), "discovery", &["has worked before", "lost its connection", "PADS of"]);
}

#[test]
fn fault_wrong_vlan() {
    let mut settings = client(wan());
    settings.ports[0].vlan = Some(Vlan { id: 7, control_priority: 0 });
    let mut alone = Alone::new(&settings);
    let mut tagged = vec![0xff; 6];
    tagged.extend(BRAS.0);
    tagged.extend([0x81, 0, 0, 6, 0x88, 0x63]);
    tagged.extend([0; 46]);
    alone.receive(&tagged);
    alone.pass(30);
    fails(&alone.explain(), "discovery", &["of VLAN 6; ours is VLAN 7", "is not the ISP's"]);
    let mut alone = Alone::new(&client(wan()));
    alone.receive(&tagged);
    alone.pass(30);
    fails(&alone.explain(), "discovery", &["of VLAN 6; ours is without a tag"]);
}

#[test]
fn fault_another_concentrator_or_service_than_the_configuration_wants() {
    let mut uplink = wan();
    dialled(&mut uplink).ac_name = Some(b"bras9".to_vec());
    let mut street = Street::new(&client(uplink), &concentrator(isp()));
    fails(&street.run(30), "discovery", &["\"bras1\" answered", "`pppoe.ac-name` has a typing error"]);
    let mut uplink = wan();
    dialled(&mut uplink).service_name = b"gold".to_vec();
    let mut alone = Alone::new(&client(uplink));
    alone.play(10, |frame| match kind(frame) {
        Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
        _ => vec![],
    });
    fails(
        &alone.explain(),
        "discovery",
        &["for the service \"gold\"", "`pppoe.service-name` has a typing error"],
    );
}

#[test]
fn fault_refusals_in_pads() {
    for (kind_of, clause, cause) in [
        (tag::SERVICE_NAME_ERROR, "Service-Name-Error", "not switched for this service"),
        (tag::AC_SYSTEM_ERROR, "AC-System-Error", "the one of before still runs"),
        (tag::GENERIC_ERROR, "Generic-Error", "account is blocked"),
    ] {
        let mut alone = Alone::new(&client(wan()));
        alone.play(8, |frame| match kind(frame) {
            Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
            Some(Code::Padr) => {
                vec![discovery(frame, BRAS, Code::Pads, 0, &[(kind_of, b"no more\x1b sessions")])]
            }
            _ => vec![],
        });
        fails(&alone.explain(), "discovery", &[clause, cause, "\"no more sessions\""]);
    }
}

#[test]
fn fault_offer_without_confirmation() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(12, |frame| match kind(frame) {
        Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
        _ => vec![],
    });
    fails(&alone.explain(), "discovery", &["does not answer our PADR", "another router's"]);
}

#[test]
fn fault_padt_at_once() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(20, |frame| match kind(frame) {
        Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
        Some(Code::Padr) => vec![
            discovery(frame, BRAS, Code::Pads, 7, &[(tag::SERVICE_NAME, b"")]),
            discovery(frame, BRAS, Code::Padt, 7, &[(tag::GENERIC_ERROR, b"go away")]),
        ],
        _ => vec![],
    });
    fails(
        &alone.explain(),
        "discovery",
        &["ends every session at once", "two devices on this line dial", "go away"],
    );
}

#[test]
fn fault_rogue_concentrator() {
    const ROGUE: Mac = Mac([2, 0, 0, 0, 6, 6]);
    // It was never known which of the two is the right one.
    let refusing = |frame: &[u8]| match kind(frame) {
        Some(Code::Padi) => vec![offer(frame, ROGUE, b"rogue"), offer(frame, BRAS, b"bras1")],
        Some(Code::Padr) => {
            let asked = Mac(*frame.first_chunk().unwrap());
            vec![discovery(frame, asked, Code::Pads, 0, &[(tag::GENERIC_ERROR, b"no")])]
        }
        _ => vec![],
    };
    let mut alone = Alone::new(&client(wan()));
    alone.play(12, refusing);
    let phrases = ["more than one concentrator", "\"rogue\" (02:00:00:00:06:06)"];
    fails(&alone.explain(), "discovery", &phrases);
    // The line was online by another one before.
    let mut alone = Alone::new(&client(wan()));
    alone.play(10, without_proof(with_address));
    assert!(alone.explain().healthy, "{}", alone.explain());
    alone.receive(&discovery_of(BRAS, Code::Padt, 7));
    alone.play(12, refusing);
    let [several, rogue] = phrases;
    fails(&alone.explain(), "discovery", &[several, rogue, "a PPPoE server", "`pppoe.ac-name`"]);
}

#[test]
fn fault_lcp_silent() {
    // While it still asks, and when it has begun anew.
    for seconds in [10, 60] {
        let mut alone = Alone::new(&client(wan()));
        alone.play(seconds, |frame| match kind(frame) {
            Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
            Some(Code::Padr) => vec![discovery(frame, BRAS, Code::Pads, 7, &[(tag::SERVICE_NAME, b"")])],
            _ => vec![],
        });
        fails(
            &alone.explain(),
            "LCP",
            &["nobody answers LCP", "0x8864", "LCP Configure-Request: MRU 1492, magic number,"],
        );
    }
}

#[test]
fn fault_lcp_loop() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(30, |frame| match kind(frame) {
        Some(Code::Padi) => vec![offer(frame, BRAS, b"bras1")],
        Some(Code::Padr) => vec![discovery(frame, BRAS, Code::Pads, 7, &[(tag::SERVICE_NAME, b"")])],
        Some(_) => vec![],
        None => match ppp(frame) {
            // Whatever we say comes back.
            Some((protocol, code, id, data)) => vec![session(protocol, code, id, &data)],
            None => vec![],
        },
    });
    fails(&alone.explain(), "LCP", &["looped back", "loop plug"]);
}

#[test]
fn fault_no_common_authentication() {
    let mut uplink = wan();
    dialled(&mut uplink).authentication = vec![Authentication::ChapMd5];
    let mut alone = Alone::new(&client(uplink));
    let mut id = 1;
    alone.play(
        30,
        granting(PAP, |protocol, code, _, _| match (protocol, code) {
            (protocol::LCP, code::CONFIGURE_NAK) => {
                id += 1;
                vec![session(
                    protocol::LCP,
                    code::CONFIGURE_REQUEST,
                    id,
                    &[5, 6, 9, 9, 9, 9, 3, 4, 0xc0, 0x23],
                )]
            }
            (protocol::LCP, code::CONFIGURE_REJECT) => {
                vec![session(protocol::LCP, code::TERMINATE_REQUEST, 90, b"peer refused to authenticate")]
            }
            _ => vec![],
        }),
    );
    fails(
        &alone.explain(),
        "LCP",
        &["no authentication protocol in common", "the ISP demands PAP", "narrower"],
    );
}

#[test]
fn fault_wrong_password_by_pap() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(
        15,
        granting(PAP, |protocol, code, id, _| match (protocol, code) {
            (protocol::PAP, 1) => vec![session(protocol::PAP, REFUSED, id, b"\x0bbad account")],
            _ => vec![],
        }),
    );
    let diagnosis = alone.explain();
    fails(&diagnosis, "authentication", &["(PAP): \"bad account\"", "typing error", "as \"alice\""]);
    assert!(diagnosis.steps.iter().any(|step| step.name == "LCP" && step.state == StepState::Done));
}

#[test]
fn a_password_that_the_isp_repeats_is_blanked() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(
        15,
        granting(PAP, |protocol, code, id, _| match (protocol, code) {
            (protocol::PAP, 1) => {
                vec![session(protocol::PAP, REFUSED, id, b"\x1dcanary-7f3a is no good, alice")]
            }
            _ => vec![],
        }),
    );
    fails(&alone.explain(), "authentication", &["\"******** is no good, alice\""]);
    let events: Vec<String> =
        core::iter::from_fn(|| alone.gateway.poll_event()).map(|it| it.to_string()).collect();
    let status = serde_json::to_string(&alone.gateway.status(alone.now)).unwrap();
    for told in events.iter().chain([&status]) {
        assert!(!told.contains(SECRET), "{told}");
    }
    let told = "refused the username or password (PAP): \"******** is no good, alice\"";
    assert!(events.iter().any(|event| event.contains(told)), "{events:?}");
}

#[test]
fn notice_mtu_black_hole() {
    let mut uplink = wan();
    dialled(&mut uplink).mtu = 1500;
    let mut ours = client(uplink);
    ours.ports[0].mtu = 1508;
    let mut alone = Alone::new(&ours);
    let mut rest = without_proof(with_address);
    alone.play(40, |frame| match kind(frame) {
        Some(Code::Padr) => {
            let tags: [(u16, &[u8]); 2] = [(tag::SERVICE_NAME, b""), (0x0120, &[5, 220])];
            vec![discovery(frame, BRAS, Code::Pads, 7, &tags)]
        }
        // Larger frames get lost.
        _ if frame.len() > 1510 => vec![],
        _ => rest(frame),
    });
    notices(&alone.explain(), "MTU", "a black hole");
}

#[test]
fn fault_wrong_password_by_chap() {
    let mut street = Street::new(
        &client(wan()),
        &concentrator(Concentrator {
            users: vec![User {
                name: "alice".into(),
                password: Secret::new("other"),
                ipv4: None,
                prefix: None,
            }],
            ..isp()
        }),
    );
    fails(
        &street.run(15),
        "authentication",
        &["refuses the username or password (CHAP)", "CHAP Response as \"alice\""],
    );
    let mut alone = Alone::new(&client(wan()));
    // The session is still being ended.
    let mut challenged = false;
    alone.play(
        1,
        granting(CHAP, move |protocol, code, id, _| match (protocol, code) {
            (protocol::LCP, code::CONFIGURE_ACK) if !challenged => {
                challenged = true;
                vec![session(protocol::CHAP, 1, 9, b"\x04abcdbras1")]
            }
            (protocol::CHAP, 2) => vec![session(protocol::CHAP, CHAP_FAILURE, id, b"Kunde gesperrt")],
            _ => vec![],
        }),
    );
    fails(
        &alone.explain(),
        "authentication",
        &["(CHAP): \"Kunde gesperrt\"", "CHAP Failure: \"Kunde gesperrt\""],
    );
}

#[test]
fn fault_authentication_silent() {
    for seconds in [10, 60] {
        let mut alone = Alone::new(&client(wan()));
        alone.play(seconds, granting(PAP, |_, _, _, _| vec![]));
        fails(&alone.explain(), "authentication", &["RADIUS", "PAP Authenticate-Request as \"alice\""]);
    }
}

/// A concentrator that asks for no proof; what it says to IPCP and IPV6CP is `answer`'s.
pub(super) fn without_proof(
    mut answer: impl FnMut(u16, u8, u8, &[u8]) -> Vec<Vec<u8>>,
) -> impl FnMut(&[u8]) -> Vec<Vec<u8>> {
    granting(&[], move |protocol, code, id, data| match (protocol, code) {
        (protocol::LCP, code::ECHO_REQUEST) => {
            vec![session(protocol::LCP, code::ECHO_REPLY, id, &[9, 9, 9, 9])]
        }
        _ => answer(protocol, code, id, data),
    })
}

/// Gives the address 203.0.113.9 and two DNS servers.
pub(super) fn with_address(protocol: u16, kind: u8, id: u8, data: &[u8]) -> Vec<Vec<u8>> {
    match (protocol, kind) {
        (protocol::IPCP, code::CONFIGURE_REQUEST) if data[2..6] == [0; 4] => {
            let nak = [3, 6, 203, 0, 113, 9, 129, 6, 9, 9, 9, 9, 131, 6, 9, 9, 9, 10];
            vec![
                session(protocol::IPCP, code::CONFIGURE_REQUEST, 1, &[3, 6, 198, 51, 100, 1]),
                session(protocol::IPCP, code::CONFIGURE_NAK, id, &nak),
            ]
        }
        (protocol::IPCP, code::CONFIGURE_REQUEST) => {
            vec![session(protocol::IPCP, code::CONFIGURE_ACK, id, data)]
        }
        _ => vec![],
    }
}

/// Refuses a protocol: LCP Protocol-Reject.
fn protocol_reject(protocol: u16) -> Vec<u8> {
    session(protocol::LCP, code::PROTOCOL_REJECT, 3, &[&protocol.to_be_bytes()[..], &[1, 1, 0, 4]].concat())
}

#[test]
fn fault_ipcp_refused() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(
        30,
        without_proof(|protocol, _, _, _| match protocol {
            protocol::IPCP => vec![protocol_reject(protocol::IPCP)],
            _ => vec![],
        }),
    );
    fails(&alone.explain(), "IPCP", &["DS-Lite", "LCP Protocol-Reject of IPCP"]);
}

#[test]
fn fault_ipcp_silent() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(60, without_proof(|_, _, _, _| vec![]));
    fails(&alone.explain(), "IPCP", &["does not answer IPCP", "no addresses left"]);
}

#[test]
fn fault_address_zero() {
    let mut alone = Alone::new(&client(wan()));
    alone.play(
        60,
        without_proof(|protocol, kind, id, data| match (protocol, kind) {
            (protocol::IPCP, code::CONFIGURE_REQUEST) => vec![
                session(protocol::IPCP, code::CONFIGURE_REQUEST, 1, &[3, 6, 198, 51, 100, 1]),
                session(protocol::IPCP, code::CONFIGURE_ACK, id, data),
            ],
            _ => vec![],
        }),
    );
    fails(&alone.explain(), "IPCP", &["0.0.0.0", "pool of addresses is empty"]);
}

#[test]
fn fault_ipv6cp_refused() {
    let uplink = Wan { ipv6: Some(WanIpv6 { prefix: Some(PrefixRequest::default()) }), ..wan() };
    let mut alone = Alone::new(&client(uplink));
    alone.play(
        30,
        without_proof(|protocol, kind, id, data| match (protocol, kind) {
            (protocol::IPV6CP, _) => vec![protocol_reject(protocol::IPV6CP)],
            _ => with_address(protocol, kind, id, data),
        }),
    );
    let diagnosis = alone.explain();
    fails(&diagnosis, "IPV6CP", &["is up, but IPV6CP fails", "no IPv6 on this kind of line"]);
}

#[test]
fn fault_echo_loss() {
    let mut street = Street::new(&client(wan()), &concentrator(isp()));
    assert!(street.run(20).healthy);
    let cable = street.cable;
    street.world.impair(cable, Impairment { loss: 1_000_000, ..Impairment::default() });
    notices(&street.run(25), "LCP", "leaves Echo-Requests unanswered");
    let diagnosis = street.run(8);
    fails(&diagnosis, "LCP", &["stopped answering our Echo-Requests", "the line was interrupted"]);
    street.world.impair(cable, Impairment::default());
    let back = (0..200).map(|_| street.run(1)).find(|told| told.sentence.contains("is up"));
    let back = back.expect("it dials again");
    assert!(back.healthy, "the new session has left nothing unanswered:\n{back}");
}

#[test]
fn notice_cgnat_and_private_addresses() {
    for (network, phrase) in [([100, 64, 0, 0], "carrier-grade NAT"), ([10, 9, 0, 0], "private one")] {
        let mut street = Street::new(
            &client(wan()),
            &concentrator(Concentrator { pool: Ipv4Cidr { address: network.into(), prefix: 16 }, ..isp() }),
        );
        notices(&street.run(20), "IPCP", phrase);
    }
}

#[test]
fn notice_mtu_capped_by_the_concentrator() {
    let mut uplink = wan();
    dialled(&mut uplink).mtu = 1500;
    let mut ours = client(uplink);
    ours.ports[0].mtu = 1508;
    let mut street = Street::new(&ours, &concentrator(isp()));
    notices(&street.run(20), "MTU", "the concentrator caps the packets");
    let mut uplink = wan();
    dialled(&mut uplink).mtu = 1500;
    let mut street = Street::new(&client(uplink), &concentrator(Concentrator { mtu: 1500, ..isp() }));
    notices(&street.run(20), "MTU", "our own port caps");
}
