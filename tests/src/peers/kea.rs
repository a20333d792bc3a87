//! Kea's DHCPv6 server.

use std::process::Child;
use std::time::Duration;

use super::delegation::Delegation;
use crate::lab::{Lab, WEB6};
use crate::netns::{Namespace, stop};
use crate::wait_for;

/// The hook that Kea runs when leases change: adds the route to a delegated prefix.
pub(super) const ROUTE: &str = "#!/bin/sh
[ \"$1\" = leases6_committed ] || exit 0
at=0
while [ $at -lt \"${LEASES6_SIZE:-0}\" ]; do
    eval address=\\$LEASES6_AT${at}_ADDRESS length=\\$LEASES6_AT${at}_PREFIX_LEN kind=\\$LEASES6_AT${at}_TYPE
    if [ \"$kind\" = IA_PD ]; then
        ip -6 route replace $address/$length via $QUERY6_REMOTE_ADDR dev $QUERY6_IFACE_NAME
    fi
    at=$((at + 1))
done
";

/// Kea in a namespace, until dropped. Its leases are kept while the lab lives.
#[derive(Debug)]
pub struct Kea(Child);

impl Kea {
    /// Starts it on `device`, which has a link-local address, and waits until it serves.
    #[track_caller]
    pub fn start(lab: &Lab, namespace: &Namespace, device: &str, delegation: Delegation) -> Kea {
        let folder = lab.folder().display().to_string();
        let route = lab.script("kea-route", ROUTE);
        let path = lab.secret("kea.conf", &config(device, delegation, &folder, &route.display().to_string()));
        let child = namespace
            .command("kea-dhcp6")
            .arg("-c")
            .arg(path)
            .envs([
                ("KEA_DHCP_DATA_DIR", folder.as_str()),
                ("KEA_PIDFILE_DIR", &folder),
                ("KEA_LOCKFILE_DIR", "none"),
            ])
            .env("KEA_LOGGER_DESTINATION", "stdout")
            .stdout(lab.log_file("kea"))
            .stderr(lab.log_file("kea"))
            .spawn();
        let kea = Kea(child.unwrap_or_else(|error| {
            panic!("cannot start kea-dhcp6: {error}; `make setup-test` installs it")
        }));
        wait_for("kea-dhcp6 to serve", Duration::from_secs(10), || {
            let sockets = namespace.run("ss -6 -l -u -n");
            if sockets.contains(":547 ") { Ok(()) } else { Err(sockets) }
        });
        kea
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Kea {
    fn drop(&mut self) {
        stop(&mut self.0, Duration::from_secs(2));
    }
}

/// Its configuration. `folder` takes its leases; `route` is the hook's script.
pub(super) fn config(device: &str, delegation: Delegation, folder: &str, route: &str) -> String {
    let Delegation { prefix, length, t1, t2, preferred, valid, managed, .. } = delegation;
    let addresses =
        if managed { r#""pools": [{ "pool": "2001:db8:fffe::100 - 2001:db8:fffe::1ff" }],"# } else { "" };
    format!(
        r#"{{ "Dhcp6": {{
  "data-directory": "{folder}",
  "interfaces-config": {{ "interfaces": ["{device}"] }},
  "lease-database": {{ "type": "memfile", "persist": true, "name": "{folder}/leases6.csv", "lfc-interval": 0 }},
  "hooks-libraries": [{{ "library": "{HOOK}", "parameters": {{ "name": "{route}", "sync": true }} }}],
  "renew-timer": {t1}, "rebind-timer": {t2}, "preferred-lifetime": {preferred}, "valid-lifetime": {valid},
  "option-data": [{{ "name": "dns-servers", "data": "{WEB6}" }}],
  "subnet6": [{{
    "id": 1, "subnet": "2001:db8:fffe::/64", "interface": "{device}", {addresses}
    "pd-pools": [{{ "prefix": "{prefix}", "prefix-len": {length}, "delegated-len": {length} }}]
  }}],
  "loggers": [{{ "name": "kea-dhcp6", "severity": "INFO", "output_options": [{{ "output": "stdout" }}] }}]
}} }}
"#
    )
}

/// Where Debian has it.
const HOOK: &str = "/usr/lib/x86_64-linux-gnu/kea/hooks/libdhcp_run_script.so";
