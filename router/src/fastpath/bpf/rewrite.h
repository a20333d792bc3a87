/* Making a packet what it is on the other side, as netstack/src/forward/rewrite.rs does. */
#ifndef GENKAN_REWRITE_H
#define GENKAN_REWRITE_H

#include "lookup.h"
#include "octets.h"
#include "parse.h"

/* Change of the sum by one hop less, which is the upper octet of its word. */
#define ONE_HOP bpf_htons(0xfeff)

/* A checksum after a change of what it sums (RFC 1624 equation 3). */
static __always_inline __u16 updated(__u16 field, __u32 delta)
{
    return ~fold((__u64)(__u16)~field + delta);
}

/* Where the checksum is in the transport header. */
static __always_inline __u32 checksum_of(const struct packet *packet)
{
    switch (packet->protocol) {
    case IPPROTO_TCP:
        return TCP_CHECKSUM;
    case IPPROTO_UDP:
        return UDP_CHECKSUM;
    default:
        return ICMP_CHECKSUM;
    }
}

/* True when only a look at the whole packet could tell its checksum: an update cannot tell zeros from a sum of 0xffff, and an
 * echo reply may be all zeros (RFC 1624 §3). */
static __always_inline bool may_be_zeros(void *at, void *end, const struct packet *packet, const struct way *way)
{
    if (packet->version != IPV4 || !packet->reply || way->ports >> 16)
        return false;
    return at + UDP_HEADER > end || updated(load16(at + ICMP_CHECKSUM), way->port_delta) == 0;
}

/* One hop less, and the new addresses. `ip` has a whole header. */
static __always_inline void rewrite_header4(void *ip, const struct way *way)
{
    store16(ip + 10, updated(load16(ip + 10), way->address_delta + ONE_HOP));
    store8(ip + 8, load8(ip + 8) - 1);
    store64(ip + 12, way->addresses);
}

static __always_inline void rewrite_header6(void *ip)
{
    store8(ip + 7, load8(ip + 7) - 1);
}

/* The new ports, or the new identifier. `at` has UDP_HEADER octets. */
static __always_inline void rewrite_ports(void *at, const struct packet *packet, const struct way *way)
{
    if (packet->protocol != IPPROTO_ICMP)
        store32(at, way->ports);
    else
        store16(at + 4, packet->reply ? way->ports >> 16 : way->ports);
}

/* The checksum over them. False when it is beyond `end`, which it never is. */
static __always_inline bool rewrite_checksum(void *at, void *end, const struct packet *packet, const struct way *way)
{
    __u32 both = way->address_delta + way->port_delta;
    __u16 field, new;

    switch (packet->protocol) {
    case IPPROTO_TCP:
        if (at + TCP_HEADER > end)
            return false;
        store16(at + TCP_CHECKSUM, updated(load16(at + TCP_CHECKSUM), both));
        break;
    case IPPROTO_UDP:
        field = load16(at + UDP_CHECKSUM);
        new = updated(field, both);
        /* None stays none, and none is left (RFC 768). */
        if (field)
            store16(at + UDP_CHECKSUM, new ? new : 0xffff);
        break;
    default:
        store16(at + ICMP_CHECKSUM, updated(load16(at + ICMP_CHECKSUM), way->port_delta));
    }
    return true;
}

#endif
