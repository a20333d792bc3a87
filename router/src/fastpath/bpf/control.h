/* Which frames are control: the same test as that of the sockets' filters, in src/port/nic/classify.rs. */
#ifndef GENKAN_CONTROL_H
#define GENKAN_CONTROL_H

#include "octets.h"
#include "parse.h"

/* True for what keeps links and leases alive: PPPoE discovery, PPP protocols from 0x8000 on, ARP, DHCP, DHCPv6, and router
 * and neighbour discovery. */
static __always_inline bool is_control(void *data, void *end)
{
    void *ip = data + ETHERNET, *at;
    __be16 port;
    __u8 type;

    if (ip > end)
        return false;
    switch (bpf_ntohs(load16(data + 12))) {
    case ETH_P_PPP_DISC:
    case ETH_P_ARP:
        return true;
    case ETH_P_PPP_SES:
        return data + ENCAPSULATION <= end && load8(data + 20) & 0x80;
    case ETH_P_IP:
        if (ip + IPV4_HEADER > end || load8(ip + 9) != IPPROTO_UDP || load16(ip + 6) & bpf_htons(0x1fff))
            return false;
        at = ip + ((load8(ip) & 0x0f) << 2);
        if (at + 4 > end)
            return false;
        port = load16(at + 2);
        return port == bpf_htons(67) || port == bpf_htons(68);
    case ETH_P_IPV6:
        at = ip + IPV6_HEADER;
        if (at + 4 > end)
            return false;
        type = load8(ip + 6);
        port = load16(at + 2);
        if (type == IPPROTO_UDP)
            return port == bpf_htons(546) || port == bpf_htons(547);
        return type == ICMPV6 && load8(at) >= 133 && load8(at) <= 137;
    default:
        return false;
    }
}

#endif
