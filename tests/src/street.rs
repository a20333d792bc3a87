//! A house and its ISP, the line between them laid and both gateways running.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::client6::Client6;
use crate::gateway::{Genkan, Wan};
use crate::guest::Guest;
use crate::lab::Lab;
use crate::netns::veth;
use crate::peers::Server;
use crate::topology::{Dial, Far, House, Isp, Port, Terms, guest_isp};

/// Everything from the desk to the far host.
#[derive(Debug)]
pub struct Street {
    /// The house's genkan.
    pub gateway: Genkan,
    /// The ISP's genkan.
    pub isp: Genkan,
    /// The house.
    pub house: House,
    /// The ISP.
    pub provider: Isp,
    /// The lab of it all.
    pub lab: Lab,
}

impl Street {
    /// Builds it. `more` is added to the gateway's configuration. Whether the session comes up is the caller's to see.
    #[track_caller]
    pub fn new(name: &str, dial: Dial<'_>, terms: Terms<'_>, more: &str) -> Street {
        Street::with(name, dial, terms, |_| more.into())
    }

    /// The same when what is added needs the lab.
    #[track_caller]
    pub fn with(name: &str, dial: Dial<'_>, terms: Terms<'_>, more: impl FnOnce(&Lab) -> String) -> Street {
        let lab = Lab::new(name);
        let provider = Isp::default();
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let isp = provider.start(&lab, terms);
        let gateway = house.start(&lab, dial, &more(&lab));
        Street { gateway, isp, house, provider, lab }
    }

    /// Waits until the session is up.
    #[track_caller]
    pub fn wait_up(&self) -> Wan {
        self.gateway.wait_up("isp", Duration::from_secs(20))
    }

    /// As if the machine had been started anew since the gateway was killed: its next run dials.
    ///
    /// # Panics
    ///
    /// When the state file is none.
    #[track_caller]
    pub fn boot_anew(&self) {
        let file = self.lab.folder().join("router.state/state.json");
        // A gateway that was killed early has written none.
        let Ok(text) = fs::read_to_string(&file) else { return };
        let mut state: Value = serde_json::from_str(&text).expect("it is JSON");
        state["boot"] = "00000000-0000-4000-8000-000000000000".into();
        fs::write(&file, state.to_string()).expect("the lab's folder can be written");
    }

    /// Runs the gateway again, after it has been killed or has ended. Its state folder is kept.
    #[track_caller]
    #[must_use]
    pub fn restart(self) -> Street {
        let gateway = self.gateway.again(&self.lab, &self.house.router);
        Street { gateway, ..self }
    }
}

/// A house whose ISP is the guest, with pppoe-server and pppd.
#[derive(Debug)]
pub struct GuestStreet {
    /// The house's genkan.
    pub gateway: Genkan,
    /// The ISP.
    pub guest: Guest,
    /// The far side.
    pub far: Far,
    /// The house.
    pub house: House,
    /// The lab of it all.
    pub lab: Lab,
}

impl GuestStreet {
    /// The house dials for both families, and its LAN has subnet 1 of the delegated prefix.
    #[track_caller]
    pub fn dual_stack(name: &str, server: Server) -> GuestStreet {
        let dial = Dial {
            wan: "ipv6 = true\nprefix-delegation = { length = 56 }\n",
            lan: "prefix = { from = \"isp\", subnet = 1 }\n",
            ..Dial::default()
        };
        GuestStreet::with(name, server, |lab, house| house.start(lab, dial, ""))
    }

    /// `start` runs the house's genkan. Whether a session comes up is the caller's to see.
    #[track_caller]
    pub fn with(name: &str, server: Server, start: impl FnOnce(&Lab, &House) -> Genkan) -> GuestStreet {
        let lab = Lab::new(name);
        let mut guest = Guest::obtain(&lab);
        let far = guest_isp(&mut guest);
        let house = House::new(Port::Nic, Port::Nic);
        guest.plug(0, &house.router, "wan0");
        server.start(&mut guest);
        let gateway = start(&lab, &house);
        GuestStreet { gateway, guest, far, house, lab }
    }

    /// The desk, configured by advertisements, from nothing.
    #[track_caller]
    pub fn desk(&self) -> Client6<'_> {
        Client6::slaac(&self.house.desk)
    }

    /// Runs the gateway again, after it has been killed. Its state folder is kept.
    #[track_caller]
    #[must_use]
    pub fn restart(self) -> GuestStreet {
        let gateway = self.gateway.again(&self.lab, &self.house.router);
        GuestStreet { gateway, ..self }
    }
}
