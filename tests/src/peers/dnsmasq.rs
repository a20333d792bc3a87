//! dnsmasq as an ISP's DHCPv4 server, on plain Ethernet.

use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::lab::{Lab, WEB};
use crate::netns::{Namespace, stop};

/// dnsmasq in a namespace, until dropped.
#[derive(Debug)]
pub struct Dhcp4(Child);

impl Dhcp4 {
    /// Leases `first` to `last` on `device`, which has the address `router`/24. A lease lasts two minutes, dnsmasq's least, and is
    /// to be renewed after 15 s.
    #[track_caller]
    pub fn start(
        lab: &Lab,
        namespace: &Namespace,
        device: &str,
        router: Ipv4Addr,
        first: Ipv4Addr,
        last: Ipv4Addr,
    ) -> Dhcp4 {
        let child = namespace
            .command("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="])
            .args(["--log-dhcp", "--log-facility=-", "--bind-interfaces", "--dhcp-authoritative"])
            .arg(format!("--interface={device}"))
            .arg(format!("--dhcp-leasefile={}", lab.folder().join("dhcp4.leases").display()))
            .arg(format!("--dhcp-range={first},{last},255.255.255.0,120"))
            .arg(format!("--dhcp-option=option:router,{router}"))
            .arg("--dhcp-option=option:T1,15")
            .arg(format!("--dhcp-option=option:dns-server,{WEB}"))
            .stdout(Stdio::null())
            .stderr(lab.log_file("dnsmasq"))
            .spawn();
        Dhcp4(
            child.unwrap_or_else(|error| {
                panic!("cannot start dnsmasq: {error}; `make setup-test` installs it")
            }),
        )
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Dhcp4 {
    fn drop(&mut self) {
        stop(&mut self.0, Duration::from_secs(2));
    }
}
