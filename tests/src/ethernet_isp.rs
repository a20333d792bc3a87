//! An ISP without PPPoE: Linux as its router, dnsmasq for DHCPv4, radvd, and Kea for addresses and prefixes.

use std::net::Ipv4Addr;

use crate::lab::{CORE, CORE6, Lab};
use crate::netns::{Namespace, veth};
use crate::peers::{Delegation, Dhcp4, Services6};
use crate::topology::{Far, far_host};

/// The ISP's router on the access network, 198.51.100.0/24.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The first address that DHCP leases.
pub const FIRST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// The last one.
pub const LAST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);

/// The ISP; `access0` towards subscribers is wired up, what runs on it is the caller's to say.
#[derive(Debug)]
pub struct EthernetIsp {
    /// The far side.
    pub far: Far,
    /// Where it runs.
    pub namespace: Namespace,
}

impl EthernetIsp {
    /// Builds it, with a cable to `wan0` of `router`.
    #[track_caller]
    pub fn new(router: &Namespace) -> EthernetIsp {
        EthernetIsp::cabled(|isp| veth((router, "wan0"), (isp, "access0")))
    }

    /// Builds it; `lay` lays the cable that ends in its `access0`.
    #[track_caller]
    pub fn cabled(lay: impl FnOnce(&Namespace)) -> EthernetIsp {
        let (namespace, host) = (Namespace::new("isp"), Namespace::new("far"));
        veth((&namespace, "core0"), (&host, "eth0"));
        lay(&namespace);
        for device in ["core0", "access0"] {
            namespace.speak_ipv6(device);
        }
        namespace.ip(&["address", "add", &format!("{CORE}/24"), "dev", "core0"]);
        namespace.ip(&["address", "add", &format!("{CORE6}/64"), "dev", "core0", "nodad"]);
        namespace.ip(&["address", "add", &format!("{ROUTER}/24"), "dev", "access0"]);
        namespace.sysctl("net.ipv4.ip_forward", "1");
        namespace.sysctl("net.ipv6.conf.all.forwarding", "1");
        EthernetIsp { far: Far { internet: far_host(&host), host }, namespace }
    }

    /// Starts dnsmasq.
    #[track_caller]
    pub fn dhcp4(&self, lab: &Lab) -> Dhcp4 {
        Dhcp4::start(lab, &self.namespace, "access0", ROUTER, FIRST, LAST)
    }

    /// Starts radvd and Kea.
    #[track_caller]
    pub fn ipv6(&self, lab: &Lab, delegation: Delegation) -> Services6 {
        Services6::start(lab, &self.namespace, "access0", delegation)
    }
}
