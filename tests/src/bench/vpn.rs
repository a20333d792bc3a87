//! Row 9: WireGuard, beside other programs that do it in user space.
//!
//! ```text
//!  desk eth0 ── lan0 site wan0 ── wan0 site lan0 ── eth0 desk
//!   192.168.1.2      10.77.0.1    10.77.0.2         192.168.2.2
//! ```
//!
//! Both sites run the same program, on the same two processors as the sender, the receiver and whatever is between. Linux
//! routes between the tunnel's device and the LAN, but for genkan, which does that itself.

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
/// Round trips without and with bulk beside them.
const IDLE: Duration = Duration::from_secs(4);
const BESIDE: Duration = Duration::from_secs(8);
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

/// One end of a tunnel.
struct Site {
    desk: Namespace,
    _router: Namespace,
    /// Where genkan is not.
    tunnel: Option<WireGuardGo>,
    genkan: Option<Genkan>,
}

impl Site {
    fn process(&self) -> u32 {
        match (&self.tunnel, &self.genkan) {
            (Some(tunnel), _) => tunnel.process(),
            (_, Some(genkan)) => genkan.process(),
            _ => 0,
        }
    }
}

/// Two sites of one program.
struct Pair {
    program: Program,
    sites: [Site; 2],
    /// Its services, on the second site's desk.
    _internet: Internet,
    bulk: Rounds,
    cost: Rounds,
    idle: [Rounds; 4],
    beside: [Rounds; 4],
    lost: u64,
}

const FAR: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 2);

fn outer(site: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + site], PORT))
}

impl Pair {
    fn new(lab: &Lab, program: Program) -> Pair {
        let [west, east] = ["west", "east"].map(Namespace::new);
        veth((&west, "wan0"), (&east, "wan0"));
        let desks = ["desk", "far"].map(Namespace::new);
        let keys = [Keys::generate(), Keys::generate()];
        let mut number = 0;
        let sites = [west, east].map(|router| {
            let own = number;
            number += 1;
            let desk = &desks[own];
            veth((&router, "lan0"), (desk, "eth0"));
            let lan = format!("192.168.{}", own + 1);
            desk.ip(&["address", "add", &format!("{lan}.2/24"), "dev", "eth0"]);
            desk.ip(&["route", "add", "default", "via", &format!("{lan}.1")]);
            (router, own as u8)
        });
        let mut desks = desks.into_iter();
        let sites = sites.map(|(router, own)| {
            let desk = desks.next().expect("there are two");
            let (ours, theirs) = (&keys[usize::from(own)], &keys[usize::from(1 - own)]);
            match program {
                Program::Genkan => {
                    let genkan = genkan(lab, &router, own, ours, theirs);
                    Site { desk, _router: router, tunnel: None, genkan: Some(genkan) }
                }
                other => {
                    let tunnel = tunnel(lab, &router, other, own, ours, theirs);
                    Site { desk, _router: router, tunnel: Some(tunnel), genkan: None }
                }
            }
        });
        wait_for(&format!("a tunnel of {}'s", program.name()), Duration::from_secs(20), || {
            let said = sites[0].desk.try_run(&format!("ping -c 1 -W 1 {FAR}"));
            if said.status.success() { Ok(()) } else { Err(crate::netns::text(&said)) }
        });
        let internet = Internet::start(&sites[1].desk, FAR);
        Pair {
            program,
            sites,
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
        let gigabits = self.sites[0].desk.inside(|| pull(BULK));
        self.bulk.0.push(gigabits / BULK.as_secs_f64());
        self.cost.0.push((self.spent() - before) / gigabits);
        let desk = &self.sites[0].desk;
        let (idle, _) = desk.inside(|| probe(IDLE));
        let over = AtomicBool::new(false);
        let (beside, lost) = thread::scope(|scope| {
            scope.spawn(|| {
                desk.inside(|| {
                    while !over.load(Ordering::Relaxed) {
                        pull(Duration::from_millis(500));
                    }
                });
            });
            let delays = desk.inside(|| probe(BESIDE));
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

    /// Seconds of a processor that both programs have taken so far.
    fn spent(&self) -> f64 {
        self.sites.iter().map(|site| seconds(site.process())).sum()
    }
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

fn tunnel(
    lab: &Lab,
    router: &Namespace,
    program: Program,
    own: u8,
    ours: &Keys,
    theirs: &Keys,
) -> WireGuardGo {
    router.ip(&["address", "add", &format!("{}/24", outer(own).ip()), "dev", "wan0"]);
    router.ip(&["address", "add", &format!("192.168.{}.1/24", own + 1), "dev", "lan0"]);
    router.sysctl("net.ipv4.ip_forward", "1");
    let words = program.words();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut tunnel = WireGuardGo::other(lab, router, &words, PORT, 1440);
    tunnel.take(lab, ours.clone());
    let allowed = format!("10.77.0.{}/32,192.168.{}.0/24", 2 - own, 2 - own);
    let endpoint = Some(outer(1 - own));
    tunnel.meet(
        lab,
        Peer { public: &theirs.public, preshared: None, endpoint, allowed: &allowed, keepalive: 0 },
    );
    router.ip(&["address", "add", &format!("10.77.0.{}/24", own + 1), "dev", &tunnel.device]);
    router.ip(&["route", "add", &format!("192.168.{}.0/24", 2 - own), "dev", &tunnel.device]);
    tunnel
}

fn genkan(lab: &Lab, router: &Namespace, own: u8, ours: &Keys, theirs: &Keys) -> Genkan {
    let role = ["west", "east"][usize::from(own)];
    let key: PathBuf = lab.secret(&format!("{role}.key"), &ours.private);
    let config = format!(
        "[port.wan0]\nnic = \"wan0\"\n\n[port.lan0]\nnic = \"lan0\"\n\n\
         [wan.isp]\nport = \"wan0\"\nstatic = {{ address = \"{}/24\", gateway = \"{}\" }}\n\n\
         [lan.home]\nports = [\"lan0\"]\naddress = \"192.168.{lan}.1/24\"\n\n\
         [vpn.friends]\nprivate-key-file = {:?}\nlisten-port = {PORT}\naddress = \"10.77.0.{lan}/24\"\n\n\
         [[vpn.friends.peer]]\nname = \"other\"\npublic-key = \"{}\"\nendpoint = \"{}\"\n\
         allowed-ips = [\"10.77.0.{other}/32\", \"192.168.{other}.0/24\"]\n\n\
         [[filter]]\nfrom = \"vpn\"\nto = \"lan\"\naction = \"accept\"\n",
        outer(own).ip(),
        outer(1 - own).ip(),
        key.display().to_string(),
        theirs.public,
        outer(1 - own),
        lan = own + 1,
        other = 2 - own,
    );
    let genkan = Genkan::start(lab, router, role, &config);
    genkan.wait_up("isp", Duration::from_secs(10));
    genkan
}

/// Measures, interleaved.
pub fn measure() -> Report {
    let lab = Lab::new("bench-vpn");
    let mut ours = Pair::new(&lab, Program::Genkan);
    let (mut others, mut missing) = (Vec::new(), Vec::new());
    for program in Program::OTHERS {
        match attempt(|| Pair::new(&lab, program)) {
            Ok(pair) => others.push(pair),
            Err(error) => missing.push(format!("{} was not measured: {error}\n", program.name())),
        }
    }
    let mut again = Pair::new(&lab, Program::WireGuardGo);
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        ours.measure();
        others.iter_mut().for_each(Pair::measure);
        again.measure();
    }
    // The best of each round: it is no one program's row.
    let best = |of: &dyn Fn(&Pair) -> &Rounds, better: fn(f64, f64) -> f64| {
        let of_round = |round: usize| others.iter().map(|pair| of(pair).0[round]).reduce(better);
        Rounds((0..ROUNDS).map(|round| of_round(round).unwrap_or(f64::NAN)).collect())
    };
    let go = others.iter().find(|pair| pair.program == Program::WireGuardGo).unwrap_or(&again);
    let row = |number, of: &dyn Fn(&Pair) -> &Rounds, better| {
        Row::new(number, of(&ours).to(&best(of, better)), of(&again).to(of(go)))
    };
    let rows = vec![
        row("9 bulk", &|pair| &pair.bulk, f64::max),
        row("9 cost", &|pair| &pair.cost, f64::min),
        row("9 p99.9", &|pair| &pair.beside[2], f64::min),
    ];
    let mut text = format!(
        "Two sites, both on the same processors as sender and receiver. One TCP connection for {} s; the cost is what both \
         programs take of a processor. Round trips of UDP, {PROBE} octets, one each {} ms: {} s idle, {} s beside one TCP \
         connection. {ROUNDS} rounds.\n\n\
         | program | bulk, Gb/s | processor, s per Gbit | idle: p50, ms | p99 | p99.9 | max | beside bulk: p50, ms | p99 | p99.9 | \
         max | lost |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        BULK.as_secs(),
        PACE.as_millis(),
        IDLE.as_secs(),
        BESIDE.as_secs()
    );
    let lines = [(&ours, "")].into_iter().chain(others.iter().map(|pair| (pair, "")));
    for (pair, more) in lines.chain([(&again, " again (control)")]) {
        let _ = write!(text, "| {}{more} | {} | {} ", pair.program.name(), pair.bulk, pair.cost);
        for rounds in pair.idle.iter().chain(&pair.beside) {
            let _ = write!(text, "| {:.2} ", rounds.median());
        }
        let _ = writeln!(text, "| {} |", pair.lost);
    }
    for line in missing {
        let _ = write!(text, "\n{line}");
    }
    Report { rows, text }
}
