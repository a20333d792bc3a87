#!/bin/sh
# dhclient's script: tells LEASE what was given, and sets the address.
case $reason in
    PREINIT6 | EXPIRE6 | RELEASE6 | STOP6 | FAIL6 | DEPREF6) exit 0 ;;
esac
[ -z "$new_ip6_address" ] || ip -6 address replace "$new_ip6_address/128" dev "$interface" \
    preferred_lft "$new_preferred_life" valid_lft "$new_max_life" nodad
{
    echo "address $new_ip6_address"
    echo "dns $new_dhcp6_name_servers"
    echo "domain $new_dhcp6_domain_search"
} > "$LEASE.new"
mv "$LEASE.new" "$LEASE"
