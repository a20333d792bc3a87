//! Row 9: WireGuard, beside other programs that do it in user space; routed, bridged, and with eight peers.
//!
//! ```text
//!  desk eth0 ── lan0 site wan0 ──┬── wan0 hub lan0 ── eth0 far desk
//!   192.168.1.2      10.77.0.2   │   10.77.0.1        192.168.0.2
//!                     site … 9 ──┘
//! ```
//!
//! All sites run the same program, on the same two processors as the senders, the receivers and whatever is between. Linux
//! routes between the tunnel's device and the LAN, but for genkan, which does that itself. Bridged, all are on the
//! hub's LAN; there the others have the kernel's bridge and VXLAN.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::stats::Rounds;
use super::{Report, Row, attempt};
use crate::friends::PORT;
use crate::gateway::Genkan;
use crate::internet::Internet;
use crate::lab::{self, Lab};
use crate::netns::{Namespace, veth};
use crate::peers::{Keys, Peer, WireGuardGo};
use crate::wait_for;

const ROUNDS: usize = 3;
/// Bulk alone.
const BULK: Duration = Duration::from_secs(3);
/// Round trips without and with bulk beside them, in a round, unless the environment has [`SECONDS`].
const TRIPS: Duration = Duration::from_secs(6);
/// Seconds of them, to measure longer.
const SECONDS: &str = "GENKAN_VPN_SECONDS";
/// Between two probes.
const PACE: Duration = Duration::from_millis(2);
/// Octets of a probe's payload.
const PROBE: usize = 64;
const QUANTILES: [f64; 4] = [0.5, 0.99, 0.999, 1.0];

/// What ends the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Genkan,
    WireGuardGo,
    Boringtun,
    Gotatun,
}

impl Program {
    const OTHERS: [Program; 3] = [Program::WireGuardGo, Program::Boringtun, Program::Gotatun];

    fn name(self) -> &'static str {
        match self {
            Program::Genkan => "genkan",
            Program::WireGuardGo => "wireguard-go",
            Program::Boringtun => "boringtun-cli",
            Program::Gotatun => "gotatun-cli",
        }
    }

    /// The words of its command line, but for the device's name.
    fn words(self) -> Vec<String> {
        // Where the Makefile has cargo install them.
        let own = |name: &str| lab::target().join("bench-peers/bin").join(name).display().to_string();
        match self {
            Program::Genkan => Vec::new(),
            Program::WireGuardGo => vec!["wireguard-go".into(), "-f".into()],
            Program::Boringtun => vec![own("boringtun-cli"), "-f".into(), "--disable-drop-privileges".into()],
            Program::Gotatun => vec![own("gotatun"), "-f".into(), "--disable-drop-privileges".into()],
        }
    }
}

/// How the sites are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Two sites, each with a network of its own.
    Routed,
    /// Two sites on one Ethernet.
    Bridged,
    /// A hub and as many sites, each with a network of its own.
    Eight,
}

impl Shape {
    /// Sites beside the hub.
    fn sites(self) -> u8 {
        if self == Shape::Eight { 8 } else { 1 }
    }

    fn name(self) -> &'static str {
        match self {
            Shape::Routed => "routed",
            Shape::Bridged => "bridged",
            Shape::Eight => "eight",
        }
    }

    /// The network of a site's LAN, without the last number.
    fn lan(self, site: u8) -> String {
        format!("192.168.{}", if self == Shape::Bridged { 0 } else { site })
    }

    /// The last numbers of a site's router's and desk's addresses there.
    fn hosts(self, site: u8) -> (u8, u8) {
        if self == Shape::Bridged { (1 + 2 * site, 2 + 2 * site) } else { (1, 2) }
    }

    /// What is behind a site, for the others.
    fn behind(self, site: u8) -> Vec<String> {
        let mut networks = vec![format!("{}/32", inner(site))];
        if self != Shape::Bridged {
            networks.push(format!("{}.0/24", self.lan(site)));
        }
        networks
    }
}

/// What ends a site's tunnels.
enum Router {
    Genkan(Genkan),
    Other(WireGuardGo),
}

/// One end of tunnels. The hub is number 0.
struct Site {
    desk: Namespace,
    _namespace: Namespace,
    router: Router,
}

impl Site {
    fn process(&self) -> u32 {
        match &self.router {
            Router::Genkan(genkan) => genkan.process(),
            Router::Other(tunnel) => tunnel.process(),
        }
    }
}

/// Sites of one program.
struct Network {
    program: Program,
    shape: Shape,
    /// The hub first.
    sites: Vec<Site>,
    /// What is between them, where they are more than two.
    _street: Option<Namespace>,
    /// The services of the hub's desk.
    _internet: Internet,
    bulk: Rounds,
    cost: Rounds,
    idle: [Rounds; 4],
    beside: [Rounds; 4],
    lost: u64,
}

/// The hub's desk.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);

fn outer(site: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + site], PORT))
}

fn inner(site: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 1 + site)
}

impl Network {
    fn new(lab: &Lab, program: Program, shape: Shape) -> Network {
        let numbers = 0..=shape.sites();
        let namespaces: Vec<_> = numbers.clone().map(|site| Namespace::new(&format!("site{site}"))).collect();
        let street = join(&namespaces);
        let keys: Vec<_> = numbers.clone().map(|_| Keys::generate()).collect();
        let sites: Vec<_> = numbers
            .zip(namespaces)
            .map(|(site, namespace)| {
                let desk = Namespace::new(&format!("desk{site}"));
                veth((&namespace, "lan0"), (&desk, "eth0"));
                let (lan, (router, host)) = (shape.lan(site), shape.hosts(site));
                desk.ip(&["address", "add", &format!("{lan}.{host}/24"), "dev", "eth0"]);
                desk.ip(&["route", "add", "default", "via", &format!("{lan}.{router}")]);
                let router = match program {
                    Program::Genkan => Router::Genkan(genkan(lab, &namespace, shape, site, &keys)),
                    other => Router::Other(tunnel(lab, &namespace, other, shape, site, &keys)),
                };
                Site { desk, _namespace: namespace, router }
            })
            .collect();
        for site in sites.iter().skip(1) {
            wait_for(&format!("a tunnel of {}'s", program.name()), Duration::from_secs(20), || {
                site.desk.pings(FAR)
            });
        }
        let internet = Internet::start(&sites[0].desk, FAR);
        Network {
            program,
            shape,
            sites,
            _street: street,
            _internet: internet,
            bulk: Rounds::default(),
            cost: Rounds::default(),
            idle: Default::default(),
            beside: Default::default(),
            lost: 0,
        }
    }

    fn measure(&mut self) {
        let before = self.spent();
        let desks = self.sites.iter().skip(1).map(|site| &site.desk);
        let gigabits: f64 = thread::scope(|scope| {
            let pulls: Vec<_> = desks.map(|desk| scope.spawn(|| desk.inside(|| pull(BULK)))).collect();
            pulls.into_iter().map(|pull| pull.join().expect("no panic")).sum()
        });
        self.bulk.0.push(gigabits / BULK.as_secs_f64());
        self.cost.0.push((self.spent() - before) / gigabits);
        if self.shape == Shape::Eight {
            return;
        }
        let time = trips();
        let desk = &self.sites[1].desk;
        let (idle, _) = desk.inside(|| probe(time));
        let over = AtomicBool::new(false);
        let (beside, lost) = thread::scope(|scope| {
            scope.spawn(|| {
                desk.inside(|| {
                    while !over.load(Ordering::Relaxed) {
                        pull(Duration::from_millis(500));
                    }
                });
            });
            let delays = desk.inside(|| probe(time));
            over.store(true, Ordering::Relaxed);
            delays
        });
        self.lost += lost;
        for (rounds, delays) in [(&mut self.idle, idle), (&mut self.beside, beside)] {
            for (rounds, quantile) in rounds.iter_mut().zip(QUANTILES) {
                let at = ((delays.len() as f64 * quantile) as usize).min(delays.len().saturating_sub(1));
                rounds.0.push(delays.get(at).copied().unwrap_or(f64::NAN));
            }
        }
    }

    /// Seconds of a processor that all the programs have taken so far.
    fn spent(&self) -> f64 {
        self.sites.iter().map(|site| seconds(site.process())).sum()
    }
}

/// How long round trips are measured in a round.
fn trips() -> Duration {
    let seconds = std::env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(TRIPS, Duration::from_secs)
}

/// A cable between two sites' `wan0`, or a switch between more, which is returned.
fn join(namespaces: &[Namespace]) -> Option<Namespace> {
    if let [one, other] = namespaces {
        veth((one, "wan0"), (other, "wan0"));
        return None;
    }
    let street = Namespace::new("street");
    street.ip(&["link", "add", "br0", "type", "bridge"]);
    street.ip(&["link", "set", "br0", "up"]);
    for (number, namespace) in namespaces.iter().enumerate() {
        let port = format!("site{number}");
        veth((&street, &port), (namespace, "wan0"));
        street.ip(&["link", "set", &port, "master", "br0"]);
    }
    Some(street)
}

/// Seconds of a processor that a process has taken so far.
fn seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may have spaces in it: utime and stime are the 14th and the 15th.
    let words: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

/// Draws from the far desk for this long; how many gigabits came.
fn pull(time: Duration) -> f64 {
    use std::io::{Read, Write};
    let end = Instant::now() + time;
    let mut stream = TcpStream::connect((FAR, 80)).expect("the far desk serves");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "GET /blob/{} HTTP/1.1\r\n\r\n", 1_u64 << 40).expect("the far desk listens");
    let (mut buffer, mut got) = (vec![0; 1 << 18], 0);
    while Instant::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(more) => got += more,
        }
    }
    got as f64 * 8.0 / 1e9
}

/// Round trips to the far desk's echo, one each [`PACE`]: in milliseconds, the shortest first, and how many never came
/// back.
fn probe(time: Duration) -> (Vec<f64>, u64) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    socket.connect((FAR, 7)).expect("a UDP socket connects at once");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let begin = Instant::now();
    let count = (time.as_secs_f64() / PACE.as_secs_f64()) as u32;
    let mut delays = thread::scope(|scope| {
        let hearing = scope.spawn(|| {
            let (mut delays, mut buffer) = (Vec::new(), [0; PROBE]);
            while let Ok(length) = socket.recv(&mut buffer) {
                let now = begin.elapsed();
                if let Some(octets) = buffer[..length].first_chunk() {
                    let sent = Duration::from_nanos(u64::from_be_bytes(*octets));
                    delays.push((now - sent).as_secs_f64() * 1e3);
                }
            }
            delays
        });
        for number in 0..count {
            let due = PACE * number;
            thread::sleep(due.saturating_sub(begin.elapsed()));
            let mut payload = [0; PROBE];
            payload[..8].copy_from_slice(&(begin.elapsed().as_nanos() as u64).to_be_bytes());
            let _ = socket.send(&payload);
        }
        hearing.join().expect("no panic")
    });
    delays.sort_by(f64::total_cmp);
    let lost = u64::from(count) - delays.len() as u64;
    (delays, lost)
}

/// The sites that a site has tunnels to.
fn others(shape: Shape, site: u8) -> std::ops::RangeInclusive<u8> {
    if site == 0 { 1..=shape.sites() } else { 0..=0 }
}

fn tunnel(
    lab: &Lab,
    namespace: &Namespace,
    program: Program,
    shape: Shape,
    site: u8,
    keys: &[Keys],
) -> WireGuardGo {
    namespace.ip(&["address", "add", &format!("{}/24", outer(site).ip()), "dev", "wan0"]);
    let words = program.words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut tunnel = WireGuardGo::other(lab, namespace, &words, PORT, 1440);
    tunnel.take(lab, keys[usize::from(site)].clone());
    namespace.ip(&["address", "add", &format!("{}/24", inner(site)), "dev", &tunnel.device]);
    for other in others(shape, site) {
        let (public, allowed) = (&keys[usize::from(other)].public, shape.behind(other).join(","));
        let endpoint = Some(outer(other));
        tunnel.meet(lab, Peer { public, preshared: None, endpoint, allowed: &allowed, keepalive: 0 });
    }
    if shape == Shape::Bridged {
        let (local, remote) = (inner(site), inner(1 - site));
        let vxlan = format!("link add vx0 type vxlan id 42 local {local} remote {remote} dstport 4789");
        namespace.ip(&vxlan.split(' ').collect::<Vec<_>>());
        namespace.ip(&["link", "add", "br0", "type", "bridge"]);
        for device in ["vx0", "lan0"] {
            namespace.ip(&["link", "set", device, "mtu", "1500", "master", "br0", "up"]);
        }
        namespace.ip(&["link", "set", "br0", "up"]);
    } else {
        let (router, _) = shape.hosts(site);
        namespace.ip(&["address", "add", &format!("{}.{router}/24", shape.lan(site)), "dev", "lan0"]);
        namespace.sysctl("net.ipv4.ip_forward", "1");
        for other in others(shape, site) {
            namespace.ip(&["route", "add", &format!("{}.0/24", shape.lan(other)), "dev", &tunnel.device]);
        }
    }
    tunnel
}

fn genkan(lab: &Lab, namespace: &Namespace, shape: Shape, site: u8, keys: &[Keys]) -> Genkan {
    let role = format!("{}{site}", shape.name());
    let key: PathBuf = lab.secret(&format!("{role}.key"), &keys[usize::from(site)].private);
    let (router, _) = shape.hosts(site);
    // The way out leads nowhere; all that is reached is on the segment.
    let mut config = format!(
        "[port.wan0]\nnic = \"wan0\"\n\n[port.lan0]\nnic = \"lan0\"\n\n\
         [wan.isp]\nport = \"wan0\"\nstatic = {{ address = \"{}/24\", gateway = \"192.0.2.254\" }}\n\n\
         [lan.home]\nports = [\"lan0\"]\naddress = \"{}.{router}/24\"\n\n\
         [vpn.friends]\nprivate-key-file = {:?}\nlisten-port = {PORT}\naddress = \"{}/24\"\n",
        outer(site).ip(),
        shape.lan(site),
        key.display().to_string(),
        inner(site),
    );
    if shape == Shape::Bridged {
        config += "bridge = { lan = \"home\", vni = 42 }\n";
    }
    for other in others(shape, site) {
        let _ = write!(
            config,
            "\n[[vpn.friends.peer]]\nname = \"site{other}\"\npublic-key = \"{}\"\nendpoint = \"{}\"\nallowed-ips = {:?}\n",
            keys[usize::from(other)].public,
            outer(other),
            shape.behind(other),
        );
    }
    config += "\n[[filter]]\nfrom = \"vpn\"\nto = \"lan\"\naction = \"accept\"\n";
    let genkan = Genkan::start(lab, namespace, &role, &config);
    genkan.wait_up("isp", Duration::from_secs(10));
    genkan
}

/// Two sites, each with its own network.
pub fn routed() -> Report {
    measure(Shape::Routed, ["9 bulk", "9 cost", "9 p99.9"])
}

/// Two sites on one Ethernet.
pub fn bridged() -> Report {
    measure(Shape::Bridged, ["9 bridged bulk", "9 bridged cost", "9 bridged p99.9"])
}

/// A hub and eight sites.
pub fn eight() -> Report {
    measure(Shape::Eight, ["9 eight bulk", "9 eight cost"])
}

/// Measures, interleaved. `numbers` are those of bulk, cost, and, where there are round trips, their delay.
fn measure<const N: usize>(shape: Shape, numbers: [&'static str; N]) -> Report {
    let lab = Lab::new(&format!("bench-vpn-{}", shape.name()));
    let mut ours = Network::new(&lab, Program::Genkan, shape);
    let (mut others, mut missing) = (Vec::new(), Vec::new());
    for program in Program::OTHERS {
        match attempt(|| Network::new(&lab, program, shape)) {
            Ok(network) => others.push(network),
            Err(error) => missing.push(format!("{} was not measured: {error}\n", program.name())),
        }
    }
    let mut again = Network::new(&lab, Program::WireGuardGo, shape);
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        ours.measure();
        others.iter_mut().for_each(Network::measure);
        again.measure();
    }
    // The best of each round: it is no one program's row.
    let best = |of: &dyn Fn(&Network) -> &Rounds, better: fn(f64, f64) -> f64| {
        let of_round = |round: usize| others.iter().map(|network| of(network).0[round]).reduce(better);
        Rounds((0..ROUNDS).map(|round| of_round(round).unwrap_or(f64::NAN)).collect())
    };
    let go = others.iter().find(|network| network.program == Program::WireGuardGo).unwrap_or(&again);
    let row = |number, of: &dyn Fn(&Network) -> &Rounds, better| {
        Row::new(number, of(&ours).to(&best(of, better)), of(&again).to(of(go)))
    };
    type Of<'a> = (&'a dyn Fn(&Network) -> &Rounds, fn(f64, f64) -> f64);
    let what: [Of<'_>; 3] = [
        (&|network| &network.bulk, f64::max),
        (&|network| &network.cost, f64::min),
        (&|network| &network.beside[2], f64::min),
    ];
    let rows = numbers.into_iter().zip(what).map(|(number, (of, better))| row(number, of, better)).collect();
    let mut text = format!(
        "{} and a hub, all on the same processors as senders and receivers. One TCP connection to each for {} s; the cost \
         is what all the programs take of a processor, without what the kernel does for them in interrupts. ",
        if shape == Shape::Eight { "Eight sites" } else { "A site" },
        BULK.as_secs(),
    );
    let mut heading = String::from("| program | bulk, Gb/s | processor, s per Gbit |");
    if shape != Shape::Eight {
        let _ = write!(
            text,
            "Round trips of UDP, {PROBE} octets, one each {} ms: {} s idle, as long beside one TCP connection. ",
            PACE.as_millis(),
            trips().as_secs(),
        );
        heading += " idle: p50, ms | p99 | p99.9 | max | beside bulk: p50, ms | p99 | p99.9 | max | lost |";
    }
    let columns = heading.matches('|').count() - 1;
    let _ = writeln!(text, "{ROUNDS} rounds.\n\n{heading}\n|{}", "---|".repeat(columns));
    let lines = [(&ours, "")].into_iter().chain(others.iter().map(|network| (network, "")));
    for (network, more) in lines.chain([(&again, " again (control)")]) {
        let _ = write!(text, "| {}{more} | {} | {} |", network.program.name(), network.bulk, network.cost);
        if shape != Shape::Eight {
            for rounds in network.idle.iter().chain(&network.beside) {
                let _ = write!(text, " {:.2} |", rounds.median());
            }
            let _ = write!(text, " {} |", network.lost);
        }
        text.push('\n');
    }
    for line in missing {
        let _ = write!(text, "\n{line}");
    }
    Report { rows, text }
}
