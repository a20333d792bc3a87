//! radvd, which advertises a router.

use std::process::{Child, Stdio};
use std::time::Duration;

use super::delegation::{Delegation, Dhcp6};
use crate::lab::{Lab, WEB6};
use crate::netns::{Namespace, stop};

/// radvd in a namespace, until dropped.
#[derive(Debug)]
pub struct Radvd(Child);

impl Radvd {
    /// Starts it on `device`, which has a link-local address.
    #[track_caller]
    pub fn start(lab: &Lab, namespace: &Namespace, device: &str, delegation: Delegation) -> Radvd {
        let path = lab.secret("radvd.conf", &config(device, delegation));
        namespace.sysctl("net.ipv6.conf.all.forwarding", "1");
        if let Some(link) = delegation.link {
            namespace.ip(&["route", "replace", &format!("{link}/64"), "dev", device]);
        }
        let child = namespace
            .command("radvd")
            .args(["-n", "-m", "stderr", "-u", "root", "-C"])
            .arg(path)
            .arg("-p")
            .arg(lab.folder().join("radvd.pid"))
            .stdout(Stdio::null())
            .stderr(lab.log_file("radvd"))
            .spawn();
        Radvd(
            child
                .unwrap_or_else(|error| panic!("cannot start radvd: {error}; `make setup-test` installs it")),
        )
    }
}

impl Drop for Radvd {
    /// Ends it; it says good-bye with a router lifetime of 0.
    fn drop(&mut self) {
        stop(&mut self.0, Duration::from_secs(2));
    }
}

/// Its configuration: a default router, the flags and the link's prefix of `delegation`, and a name server.
pub(super) fn config(device: &str, delegation: Delegation) -> String {
    let on = |flag: bool| if flag { "on" } else { "off" };
    let Delegation { server, link, managed, preferred, valid, .. } = delegation;
    let prefix = link.map_or_else(String::new, |link| {
        format!(
            "  prefix {link}/64 {{ AdvOnLink off; AdvAutonomous {}; AdvPreferredLifetime {preferred}; \
             AdvValidLifetime {valid}; }};\n",
            on(!managed)
        )
    });
    format!(
        "interface {device} {{\n  AdvSendAdvert on;\n  IgnoreIfMissing on;\n  MinRtrAdvInterval 3;\n  \
         MaxRtrAdvInterval 4;\n  AdvDefaultLifetime 1800;\n  AdvManagedFlag {};\n  AdvOtherConfigFlag {};\n{prefix}  \
         RDNSS {WEB6} {{ }};\n}};\n",
        on(managed),
        on(server != Dhcp6::Off)
    )
}
