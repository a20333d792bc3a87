//! A house and its ISP, the line between them laid and both gateways running.

use std::time::Duration;

use crate::gateway::{Genkan, Wan};
use crate::lab::Lab;
use crate::netns::veth;
use crate::topology::{Dial, House, Isp, Port, Terms};

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
        let lab = Lab::new(name);
        let provider = Isp::default();
        let house = House::new(Port::Nic, Port::Nic);
        veth((&house.router, "wan0"), (&provider.namespace, "access0"));
        let isp = provider.start(&lab, terms);
        let gateway = house.start(&lab, dial, more);
        Street { gateway, isp, house, provider, lab }
    }

    /// Waits until the session is up.
    #[track_caller]
    pub fn wait_up(&self) -> Wan {
        self.gateway.wait_up("isp", Duration::from_secs(20))
    }

    /// Runs the gateway again, after it has been killed or has ended. Its state folder is kept.
    #[track_caller]
    #[must_use]
    pub fn restart(self) -> Street {
        let gateway = self.gateway.again(&self.lab, &self.house.router);
        Street { gateway, ..self }
    }
}
