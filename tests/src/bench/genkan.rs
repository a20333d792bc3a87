//! The router that all this is about: `genkan run`, dialled to a concentrator, with an instrument around it.
//!
//! ```text
//!  desk  eth0 ── lan0  router: genkan  wan0 ── access0  isp: genkan's concentrator
//!   192.168.1.64/26   192.168.1.1       PPPoE
//! ```
//!
//! The sink on `access0` takes the test's frames out of the sessions, and the generator sends answers there; the concentrator
//! sees only discovery and PPP's control frames.

use std::time::Duration;

use super::instrument::{Header, Instrument, Way};
use super::peers::{Line, mac, wire};
use crate::gateway::Genkan;
use crate::lab::{GATEWAY, Lab, PASSWORD, USERNAME};
use crate::netns::{Namespace, veth};
use crate::topology::{Isp, Terms};
use crate::wait_for;

/// A house with the router under test, and its ISP.
pub struct Dialled {
    /// The instrument and the namespaces.
    pub line: Line,
    /// The program under test.
    pub genkan: Option<Genkan>,
    /// The concentrator.
    pub isp: Genkan,
    /// Where it runs.
    pub provider: Isp,
}

impl Dialled {
    /// Dials. The kernel path is XDP; so many flows fit in its tables.
    pub fn new(lab: &Lab, flows: u32) -> Dialled {
        let (desk, router, provider) = (Namespace::new("desk"), Namespace::new("router"), Isp::default());
        wire(&desk, &router);
        veth((&router, "wan0"), (&provider.namespace, "access0"));
        let mut instrument = Instrument::load();
        instrument.attach("generate", &desk, "idle0");
        instrument.attach("sink_down", &desk, "eth0");
        instrument.attach("sink_up", &provider.namespace, "access0");
        let isp = provider.start(lab, Terms::default());
        let password = lab.secret("isp.secret", PASSWORD);
        let config = format!(
            "[port.lan0]\nnic = \"lan0\"\n\n[port.wan0]\nnic = \"wan0\"\n\n\
             [wan.isp]\nport = \"wan0\"\npppoe.username = \"{USERNAME}\"\npppoe.password-file = {:?}\n\n\
             [lan.home]\nports = [\"lan0\"]\naddress = \"{GATEWAY}/24\"\n\n\
             [nat]\nflows = {flows}\nflows-per-host = {flows}\ntimeouts = {{ udp = \"600s\" }}\n\n\
             [fast-path]\nmode = \"xdp\"\n",
            password.display().to_string()
        );
        let genkan = Genkan::start(lab, &router, "router", &config);
        genkan.wait_up("isp", Duration::from_secs(20));
        let station = gateway_station(&desk);
        let header = Header { destination: station, source: [2, 0, 0, 0, 3, 0], session: [0; 2] };
        instrument.aim(Way::Up, &desk, "eth0", header);
        // What stands before the packets on the way down, `answer_what_came` learns.
        instrument.aim(Way::Down, &provider.namespace, "access0", Header::default());
        let line = Line { instrument, router, desk, far: None };
        Dialled { line, genkan: Some(genkan), isp, provider }
    }

    /// The program under test.
    ///
    /// # Panics
    ///
    /// When it has been taken.
    pub fn genkan(&self) -> &Genkan {
        self.genkan.as_ref().expect("the program runs")
    }

    /// The number of the XDP program that is attached to one of the router's devices.
    ///
    /// # Panics
    ///
    /// When there is none: everything would go through user space.
    pub fn attached(&self, device: &str) -> u32 {
        let said = self.line.router.run(&format!("ip -json link show dev {device}"));
        let links: serde_json::Value = serde_json::from_str(&said).expect("ip writes JSON");
        let number = links[0]["xdp"]["prog"]["id"].as_u64();
        number.unwrap_or_else(|| panic!("genkan has attached no XDP program to {device}")) as u32
    }
}

/// The router's address on the LAN, as the LAN's host finds it.
fn gateway_station(desk: &Namespace) -> [u8; 6] {
    let found = wait_for("the router to answer on the LAN", Duration::from_secs(10), || {
        desk.try_run(&format!("ping -c 1 -W 1 {GATEWAY}"));
        let said = desk.run(&format!("ip neighbour show {GATEWAY} dev eth0"));
        let station = said.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
        station.map(str::to_string).ok_or(said)
    });
    mac(&found)
}
