#!/bin/sh
# Called by udhcpc with what happened: configures the client's interface, and keeps the lease's words in $LEASE.
case "$1" in
deconfig)
    ip -4 address flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
    for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; break; done
    {
        printf 'address %s\nmask %s\nrouter %s\n' "$ip" "$mask" "$router"
        printf 'dns %s\ndomain %s\nntp %s\n' "$dns" "$domain" "$ntpsrv"
    } > "$LEASE"
    ;;
esac
