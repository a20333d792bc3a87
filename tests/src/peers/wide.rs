//! WIDE's DHCPv6: dhcp6s, which delegates, and dhcp6c, which asks. Both run in the guest.

use super::delegation::Delegation;
use crate::guest::Guest;
use crate::lab::WEB6;

/// The part of a script that starts dhcp6s on the session `$1` with the peer `$2`. dhcp6s delegates to clients that its
/// configuration names by DUID: a loop learns the DUID from its log, and starts it again. What has ended stays a zombie
/// until the guest's init runs something else; it has no command line any more.
pub(super) fn serve(delegation: Delegation) -> String {
    let Delegation { prefix, length, preferred, valid, .. } = delegation;
    format!(
        "cd /run/test
         echo 'option domain-name-servers {WEB6};' > dhcp6s.conf
         dhcp6s -f -D -c dhcp6s.conf $1 > dhcp6s.log 2>&1 &
         server=$!
         (while true; do
             duid=$(sed -n 's/.*client ID \\([0-9a-f:]*\\).*/\\1/p' dhcp6s.log | head -n 1)
             [ -n \"$duid\" ] && break
             grep -q dhcp6s /proc/$server/cmdline || exit
             sleep 0.2
         done
         kill $server
         while grep -q dhcp6s /proc/$server/cmdline; do sleep 0.1; done
         echo \"host subscriber {{ duid $duid; prefix {prefix}/{length} {preferred} {valid}; }};\" >> dhcp6s.conf
         ip -6 route replace {prefix}/{length} via $2 dev $1
         exec dhcp6s -f -D -c dhcp6s.conf $1 > dhcp6s-2.log 2>&1) > /dev/null 2>&1 &"
    )
}

/// Starts dhcp6c on `device`, for a prefix of `length` of which `lan` gets the subnet `subnet`.
#[track_caller]
pub(super) fn ask(guest: &mut Guest, device: &str, lan: &str, subnet: u32, length: u8) {
    guest.write(
        "/run/test/dhcp6c.conf",
        &format!(
            "interface {device} {{ send ia-pd 1; request domain-name-servers; }};\n\
             id-assoc pd 1 {{ prefix-interface {lan} {{ sla-id {subnet}; sla-len {}; }}; }};\n",
            64 - length
        ),
    );
    guest.run(&format!(
        "setsid dhcp6c -f -D -c /run/test/dhcp6c.conf -p /run/test/dhcp6c.pid {device} > /run/test/dhcp6c.log 2>&1 &"
    ));
}
