/* From a frame to what tells its flow. Every length is checked against the frame and every header looked at, as the
 * Forwarder does (netstack/src/forward/parse.rs, ipv6/parse.rs, ingress.rs); what it does not let through by the short way is
 * not let through here. */
#ifndef GENKAN_PARSE_H
#define GENKAN_PARSE_H

#include <stdbool.h>

#include <linux/if_ether.h>
#include <linux/in.h>

#include "layout.h"
#include "maps.h"
#include "octets.h"

/* Octets before the IP packet: Ethernet, or Ethernet, PPPoE and PPP. */
#define ETHERNET 14
#define ENCAPSULATION 22
/* The most that is read of a frame: up to a whole TCP header without options in IPv6 in PPPoE. */
#define HEADERS (ENCAPSULATION + IPV6_HEADER + TCP_HEADER)

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define TCP_HEADER 20
/* Of UDP, and of an ICMP echo. */
#define UDP_HEADER 8

/* Where the checksum is in each transport header. */
#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6
#define ICMP_CHECKSUM 2

#define ICMPV6 58
#define HOP_BY_HOP 0
#define ROUTING 43
#define FRAGMENT_HEADER 44
#define DESTINATION_OPTIONS 60

#define FIN 0x01
#define SYN 0x02
#define RST 0x04

struct packet {
    __u32 front;    /* octets before the IP header */
    __u32 received; /* octets from there on, as the link counts them */
    __u32 total;    /* octets of the IP packet */
    __u32 version;  /* IPV4 or IPV6 */
    __u32 protocol;
    __u32 transport; /* octets of the IP header and the transport header */
    __u32 link;      /* what it came in by */
    __u32 ports;     /* source and destination port, or identifier and type, as on the wire */
    bool reply;      /* of ICMP: an echo reply */
    __u64 addresses[4];
};

/* TCP and UDP ports and, in their place, what tells an ICMP echo. `payload` octets begin at `at`. */
static __always_inline enum verdict parse_transport(void *at, void *end, __u32 payload, struct packet *packet)
{
    bool v4 = packet->version == IPV4;

    packet->reply = false;
    if (packet->protocol == IPPROTO_TCP) {
        __u32 header;

        if (payload < TCP_HEADER || at + TCP_HEADER > end)
            return MALFORMED;
        header = load8(at + 12) >> 4 << 2;
        if (header < TCP_HEADER || header > payload)
            return MALFORMED;
        if (load8(at + 13) & (SYN | FIN | RST))
            return TCP_CONTROL;
        packet->ports = load32(at);
        packet->transport += header;
        return CARRIED;
    }
    if (packet->protocol == IPPROTO_UDP) {
        __u32 length;
        __be16 destination;

        if (payload < UDP_HEADER || at + UDP_HEADER > end)
            return MALFORMED;
        length = bpf_ntohs(load16(at + 4));
        if (length < UDP_HEADER || length > payload)
            return MALFORMED;
        /* IPv6 has no datagrams without a checksum (RFC 8200 §8.1). */
        if (!v4 && load16(at + UDP_CHECKSUM) == 0)
            return MALFORMED;
        destination = load16(at + 2);
        if (v4 && (destination == bpf_htons(67) || destination == bpf_htons(68)))
            return SERVICE;
        if (!v4 && (destination == bpf_htons(546) || destination == bpf_htons(547)))
            return SERVICE;
        packet->ports = load32(at);
        packet->transport += UDP_HEADER;
        return CARRIED;
    }
    if (packet->protocol == (v4 ? IPPROTO_ICMP : ICMPV6)) {
        __u32 query = v4 ? 8 : 128, answer = v4 ? 0 : 129, type, identifier;

        if (payload < UDP_HEADER || at + UDP_HEADER > end)
            return MALFORMED;
        type = load8(at);
        identifier = load16(at + 4);
        if (type == query)
            packet->ports = identifier | (__u32)bpf_htons(query) << 16;
        else if (type == answer)
            packet->ports = bpf_htons(query) | identifier << 16;
        else
            return NOT_CARRIED;
        packet->reply = type == answer;
        packet->transport += UDP_HEADER;
        return CARRIED;
    }
    return NOT_CARRIED;
}

/* `available` octets are there from `ip` on, of which those before `end` can be read. */
static __always_inline enum verdict parse4(void *ip, void *end, __u32 available, struct packet *packet)
{
    __u64 sum = 0;
    __u8 first;

    if (ip + IPV4_HEADER > end)
        return MALFORMED;
    first = load8(ip);
    if (first != 0x45)
        return first > 0x45 && first <= 0x4f ? OPTIONS : MALFORMED;
    packet->total = bpf_ntohs(load16(ip + 2));
    if (packet->total < IPV4_HEADER || packet->total > available)
        return MALFORMED;
    sum = (__u64)load32(ip) + load32(ip + 4) + load32(ip + 8) + load32(ip + 12) + load32(ip + 16);
    if (fold(sum) != 0xffff)
        return MALFORMED;
    /* More fragments, or an offset. */
    if (load16(ip + 6) & bpf_htons(0x3fff))
        return FRAGMENT;
    if (load8(ip + 8) <= 1)
        return HOPS;
    packet->version = IPV4;
    packet->protocol = load8(ip + 9);
    packet->transport = IPV4_HEADER;
    packet->addresses[0] = load64(ip + 12);
    return parse_transport(ip + IPV4_HEADER, end, packet->total - IPV4_HEADER, packet);
}

static __always_inline enum verdict parse6(void *ip, void *end, __u32 available, struct packet *packet)
{
    __u32 payload;

    if (ip + IPV6_HEADER > end)
        return MALFORMED;
    payload = bpf_ntohs(load16(ip + 4));
    packet->total = IPV6_HEADER + payload;
    if (load8(ip) >> 4 != 6 || payload == 0 || packet->total > available)
        return MALFORMED;
    packet->version = IPV6;
    packet->protocol = load8(ip + 6);
    switch (packet->protocol) {
    case HOP_BY_HOP:
    case ROUTING:
    case DESTINATION_OPTIONS:
        return OPTIONS;
    case FRAGMENT_HEADER:
        return FRAGMENT;
    }
    if (load8(ip + 7) <= 1)
        return HOPS;
    packet->transport = IPV6_HEADER;
    packet->addresses[0] = load64(ip + 8);
    packet->addresses[1] = load64(ip + 16);
    packet->addresses[2] = load64(ip + 24);
    packet->addresses[3] = load64(ip + 32);
    return parse_transport(ip + IPV6_HEADER, end, payload, packet);
}

/* A frame of a PPPoE session: its id, and the two stations, must be those of a session that we have. */
static __always_inline enum verdict parse_pppoe(void *data, void *end, __u32 length, const struct port *port,
                                                struct packet *packet)
{
    __u32 key[sizeof(struct session_key) / 4], payload, *link;
    enum verdict verdict;
    __be16 protocol;

    if (!port->pppoe)
        return NOT_PLAIN;
    if (data + ENCAPSULATION > end)
        return ODD_PPPOE;
    payload = bpf_ntohs(load16(data + 18));
    /* Version 1, type 1, code 0; the length is that of PPP, whose protocol is in it. */
    if (load16(data + 14) != bpf_htons(0x1100) || payload < 2 || ENCAPSULATION - 2 + payload > length)
        return ODD_PPPOE;
    packet->front = ENCAPSULATION;
    packet->received = payload - 2;
    protocol = load16(data + 20);
    if (protocol == bpf_htons(0x0021))
        verdict = parse4(data + ENCAPSULATION, end, packet->received, packet);
    else if (protocol == bpf_htons(0x0057))
        verdict = parse6(data + ENCAPSULATION, end, packet->received, packet);
    else
        return PPP_CONTROL;
    if (verdict != CARRIED)
        return verdict;

    /* A session_key in words, which is how the stack can be written. */
    key[0] = port->number | (__u32)load16(data + 16) << 16;
    key[1] = load32(data + 6);
    key[2] = load16(data + 10) | (__u32)load16(data) << 16;
    key[3] = load32(data + 2);
    link = bpf_map_lookup_elem(&sessions, key);
    if (!link)
        return NO_SESSION;
    packet->link = *link;
    return CARRIED;
}

/* A frame of a LAN, or of the segment of an uplink: for us, from a station. */
static __always_inline enum verdict parse_ethernet(void *data, void *end, __u32 length, const struct port *port,
                                                   __be16 type, struct packet *packet)
{
    __u16 high = load16(data + 6);
    __u32 low = load32(data + 8);
    enum verdict verdict;

    if (port->link == NO_LINK || load32(data) != load32(port->own) || load16(data + 4) != load16(port->own + 4))
        return NOT_FOR_US;
    /* Neither a group's address, nor none, nor ours. */
    if (high & bpf_htons(0x0100) || (high == 0 && low == 0) ||
        (high == load16(port->own) && low == load32(port->own + 2)))
        return MALFORMED;
    packet->front = ETHERNET;
    packet->link = port->link;
    verdict = type == bpf_htons(ETH_P_IP) ? parse4(data + ETHERNET, end, length - ETHERNET, packet)
                                          : parse6(data + ETHERNET, end, length - ETHERNET, packet);
    packet->received = packet->total;
    return verdict;
}

/* A frame of `length` octets, of which those from `data` to `end` can be read. */
static __always_inline enum verdict parse(void *data, void *end, __u32 length, const struct port *port,
                                          struct packet *packet)
{
    __be16 type;

    if (data + ETHERNET > end)
        return NOT_PLAIN;
    type = load16(data + 12);
    if (type == bpf_htons(ETH_P_PPP_SES))
        return parse_pppoe(data, end, length, port, packet);
    if (type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6))
        return parse_ethernet(data, end, length, port, type, packet);
    return NOT_PLAIN;
}

/* The port of a device. */
static __always_inline struct port *port_of(__u32 ifindex)
{
    __u32 slot = ifindex % PORT_SLOTS;
    struct port *port = bpf_map_lookup_elem(&ports, &slot);

    return port && port->ifindex == ifindex ? port : NULL;
}

#endif
