//! What genkan is measured against: routers that are the kernel's own, each between two namespaces with an instrument.
//!
//! ```text
//!  desk  eth0 ── lan0  router  core0 ── eth0  far
//!   192.168.1.64/26   192.168.1.1   203.0.113.1   203.0.113.80, before 198.18.0.0/15
//! ```
//!
//! The generator sends by one `eth0`, and the sink is on the other one.

use super::instrument::{Header, Instrument, Kind, Load, Way};
use crate::lab::{CORE, WEB};
use crate::netns::{Namespace, veth};

/// What the router does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// nft masquerade with a stateful filter, on plain IP.
    Masquerade,
    /// Forwarding without netfilter.
    Forwarding,
    /// An XDP program that redirects everything.
    Redirect,
    /// An XDP program that redirects what a BPF hash map has, on the way up.
    Reference,
    /// An XDP program that counts and drops: the generator's ceiling.
    Drop,
}

/// A router with an instrument around it.
pub struct Line {
    /// Generator and sinks.
    pub instrument: Instrument,
    /// The router's side.
    pub router: Namespace,
    /// The LAN's side.
    pub desk: Namespace,
    /// The WAN's side, where there is one.
    pub far: Option<Namespace>,
}

impl Line {
    /// Builds a router of the kernel's own.
    pub fn of(peer: Peer) -> Line {
        let (desk, router, far) = (Namespace::new("desk"), Namespace::new("linux"), Namespace::new("far"));
        wire(&desk, &router);
        veth((&router, "core0"), (&far, "eth0"));
        far.ip(&["address", "add", &format!("{WEB}/24"), "dev", "eth0"]);
        let mut instrument = Instrument::load();
        instrument.attach("generate", &desk, "idle0");
        instrument.attach("sink_down", &desk, "eth0");
        instrument.attach("sink_up", &far, "eth0");
        instrument.aim(Way::Up, &desk, "eth0", towards(&router, "lan0"));
        instrument.aim(Way::Down, &far, "eth0", towards(&router, "core0"));
        match peer {
            Peer::Masquerade | Peer::Forwarding => {
                route(&router, peer);
                instrument.attach("pass", &router, "core0");
            }
            Peer::Redirect => {
                instrument.cross(Way::Up, &router, "core0");
                instrument.cross(Way::Down, &router, "lan0");
                instrument.attach("cross_up", &router, "lan0");
                instrument.attach("cross_down", &router, "core0");
            }
            Peer::Reference => {
                instrument.cross(Way::Up, &router, "core0");
                instrument.attach("cross_known", &router, "lan0");
                instrument.attach("pass", &router, "core0");
            }
            Peer::Drop => instrument.attach("sink_up", &router, "lan0"),
        }
        Line { instrument, router, desk, far: Some(far) }
    }

    /// Sends first packets of so many flows up, and answers, slowly enough, until every flow is established in both
    /// directions.
    ///
    /// # Panics
    ///
    /// When packets get lost, or are not what they should be.
    pub fn establish(&mut self, flows: u32, rate: f64) {
        let learn = |way, rate| Load { way, kind: Kind::Learn, flows, rate: Some(rate), probes: 0 };
        let mut again = false;
        let pass = |line: &mut Line, way, rate| {
            // Neighbours are looked for first, and packets may be dropped meanwhile.
            line.instrument.send(learn(way, 1e4), 500);
            if way == Way::Up {
                line.instrument.answer_what_came();
            }
            line.instrument.send(learn(way, rate), u64::from(flows))
        };
        // What has been established by then is carried on the next pass, so less and less can get lost.
        let mut rate = rate;
        for _ in 0..6 {
            let [up, down] = [Way::Up, Way::Down].map(|way| pass(self, way, rate));
            let lost = up.lost() + down.lost();
            let wrong = self.instrument.seen(Way::Up).wrong + self.instrument.seen(Way::Down).wrong;
            assert_eq!(wrong, 0, "packets came out with wrong checksums");
            if again && lost * 1_000 <= up.sent + down.sent {
                return;
            }
            again = true;
            rate *= 0.8;
        }
        panic!("packets of {flows} flows get lost, although they come slowly");
    }
}

/// The LAN's side: one cable, and a host that has all addresses of the flows.
pub fn wire(desk: &Namespace, router: &Namespace) {
    veth((router, "lan0"), (desk, "eth0"));
    furnish(desk);
}

/// Gives the LAN's end of a cable its address, answers for the hosts whose packets the generator sends, and has a place for the
/// generator.
pub fn furnish(desk: &Namespace) {
    desk.ip(&["address", "add", "192.168.1.2/24", "dev", "eth0"]);
    // The generator is attached where nothing ever comes: the kernel then knows it, and does not stop for a grace period
    // of RCU at the begin and the end of each BPF_PROG_RUN.
    veth((desk, "idle0"), (desk, "idle1"));
    desk.ip(&["route", "add", "local", "192.168.1.64/26", "dev", "eth0"]);
}

/// The header of frames to a router's device.
fn towards(router: &Namespace, device: &str) -> Header {
    Header { destination: mac(&router.fact(device, "address")), source: [2, 0, 0, 0, 3, 0], session: [0; 2] }
}

/// An Ethernet address, from its usual form.
///
/// # Panics
///
/// When it is none.
pub fn mac(text: &str) -> [u8; 6] {
    let octets: Vec<u8> = text.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    octets.try_into().unwrap_or_else(|_| panic!("{text} is no Ethernet address"))
}

fn route(router: &Namespace, peer: Peer) {
    router.ip(&["address", "add", "192.168.1.1/24", "dev", "lan0"]);
    router.ip(&["address", "add", &format!("{CORE}/24"), "dev", "core0"]);
    router.ip(&["route", "add", "198.18.0.0/15", "via", &WEB.to_string()]);
    router.sysctl("net.ipv4.ip_forward", "1");
    // Frames that another device redirects into a cable's end are taken in only by a peer that polls.
    for device in ["lan0", "core0"] {
        router.run(&format!("ethtool -K {device} gro on"));
    }
    if peer == Peer::Forwarding {
        return;
    }
    router.run("nft add table ip nat");
    router.run("nft add chain ip nat post { type nat hook postrouting priority 100 ; }");
    router.run("nft add rule ip nat post oifname core0 masquerade");
    router.run("nft add table ip filter");
    router.run("nft add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }");
    router.run("nft add rule ip filter forward ct state established,related accept");
    router.run("nft add rule ip filter forward iifname lan0 accept");
    router.sysctl("net.netfilter.nf_conntrack_udp_timeout", "600");
    router.sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", "600");
}

/// Room in the machine's connection tracking, which is not enough at first; given back when dropped.
pub struct Room([(&'static str, String); 2]);

impl Room {
    /// Makes room for so many flows, and as many buckets as are good for them.
    ///
    /// # Panics
    ///
    /// When the kernel refuses.
    pub fn of(flows: u32) -> Room {
        const PATHS: [&str; 2] =
            ["/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_buckets"];
        let room = Room(PATHS.map(|path| (path, std::fs::read_to_string(path).unwrap_or_default())));
        for (path, value) in PATHS.into_iter().zip([flows, flows / 2]) {
            std::fs::write(path, value.to_string())
                .unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        }
        room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            let _ = std::fs::write(path, value);
        }
    }
}
