/* The entries of sources of large segments: the ingress of a card, and the egress of a tap, where frames are on their way to
 * us. Here a frame may be in pieces, stand for many, and have a checksum that is still to be completed. */
#ifndef GENKAN_TC_H
#define GENKAN_TC_H

#include "count.h"
#include "encapsulate.h"
#include "lookup.h"
#include "maps.h"
#include "parse.h"
#include "redirect.h"
#include "rewrite.h"
#include "sample.h"

/* Brings the headers into the piece that can be read directly. */
static __always_inline void pull_headers(struct __sk_buff *skb)
{
    __u32 linear = skb->data_end - skb->data, length = skb->len;

    if (linear < HEADERS && linear < length)
        bpf_skb_pull_data(skb, length < HEADERS ? length : HEADERS);
}

/* True when the transport's checksum, at `offset`, is that of the pseudo-header alone. Nothing says so; but the kernel, asked
 * to follow a change that is not of the pseudo-header, leaves such a checksum alone. */
static __always_inline bool is_partial(struct __sk_buff *skb, __u32 offset)
{
    __u16 before = 0, after = 0;

    if (bpf_skb_load_bytes(skb, offset, &before, sizeof(before)))
        return true;
    if (bpf_l4_csum_replace(skb, offset, 0, 1, 0) || bpf_skb_load_bytes(skb, offset, &after, sizeof(after)))
        return true;
    return before == after || bpf_skb_store_bytes(skb, offset, &before, sizeof(before), 0);
}

/* Takes the PPPoE header away. The kernel has no helper for it, but for VLAN tags, and two more tags make the header look like
 * a third and a fourth. */
static __always_inline bool pop_pppoe(struct __sk_buff *skb, const struct packet *packet)
{
    __be16 tag = bpf_htons(ETH_P_8021Q);
    __be16 tags[5] = {tag, 0, tag, 0, packet->version == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)};

    /* The first is in the frame once the second is pushed; that one is kept beside it. */
    return !bpf_skb_vlan_push(skb, tag, 0) && !bpf_skb_vlan_push(skb, tag, 0) &&
           !bpf_skb_store_bytes(skb, ETHERNET + 2, tags, sizeof(tags), 0) && !bpf_skb_vlan_pop(skb) &&
           !bpf_skb_vlan_pop(skb) && !bpf_skb_vlan_pop(skb) && !bpf_skb_vlan_pop(skb);
}

/* The transport's checksum, at `offset`, partial or not: a partial one follows the addresses alone. */
static __always_inline bool follow(struct __sk_buff *skb, __u32 offset, const struct packet *packet, const struct way *way)
{
    __u64 none = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

    if (packet->protocol != IPPROTO_ICMP &&
        bpf_l4_csum_replace(skb, offset, 0, way->address_delta, none | BPF_F_PSEUDO_HDR))
        return false;
    return !bpf_l4_csum_replace(skb, offset, 0, way->port_delta, none);
}

/* True when the kernel can cut a large segment whose packets of `size` octets leave by PPPoE. It puts the same header before
 * each of them, and no device sees that header, so all must be equally long: what the sender has to send without a pause is
 * cut so. A device that is told to complete no checksum does not cut either. */
static __always_inline bool is_even(const struct packet *packet, const struct way *way, __u32 segment)
{
    return packet->front == ETHERNET && packet->protocol == IPPROTO_TCP && packet->total > packet->transport &&
           (packet->total - packet->transport) % segment == 0 &&
           (way->flags & (ADJACENT_CHECKSUM | ADJACENT_TAP)) == ADJACENT_CHECKSUM;
}

/* Makes the frame what it is on the other side. All questions first, then room, then what is written. */
static __always_inline enum verdict carry_tc(struct __sk_buff *skb, const struct port *port)
{
    __u32 length = skb->len, segment = skb->gso_size, pieces = 1, size, checksum;
    struct sample *sample = NULL;
    struct packet packet = {};
    struct way way = {};
    void *data, *end, *ip;
    enum verdict verdict;

    if (skb->vlan_present)
        return NOT_PLAIN;
    pull_headers(skb);
    data = (void *)(long)skb->data;
    end = (void *)(long)skb->data_end;
    verdict = parse(data, end, length, port, &packet);
    if (verdict != CARRIED)
        return verdict;
    verdict = look_up(&packet, port, &way);
    if (verdict != CARRIED)
        return verdict;
    size = packet.total;
    if (segment) {
        if (packet.front != ETHERNET || packet.total != length - ETHERNET ||
            (packet.protocol != IPPROTO_TCP && packet.protocol != IPPROTO_UDP) ||
            (way.length != ETHERNET && !is_even(&packet, &way, segment)))
            return LARGE_SEGMENT;
        size = packet.transport + segment;
        if (size > packet.total)
            size = packet.total;
    }
    if (size > way.mtu)
        return TOO_BIG;
    if (may_be_zeros(data + packet.front + IPV4_HEADER, end, &packet, &way))
        return NOT_CARRIED;

    checksum = checksum_of(&packet) + (packet.version == IPV4 ? IPV4_HEADER : IPV6_HEADER);
    /* No device completes a checksum behind a PPPoE header; the kernel does, when the device is told to leave that to it. */
    if (way.length == ENCAPSULATION && !(way.flags & ADJACENT_CHECKSUM) && is_partial(skb, packet.front + checksum))
        return LARGE_SEGMENT;
    if (is_sampled(port, &way) && !segment) {
        sample = new_sample(skb->ifindex, &packet, &way, is_partial(skb, packet.front + checksum));
        if (sample)
            sample->before_length = copy_tc(skb, sample->before);
    }

    if (way.length > packet.front && bpf_skb_change_head(skb, ENCAPSULATION - ETHERNET, 0))
        return NO_ROOM;
    if (way.length < packet.front && !pop_pppoe(skb, &packet))
        return REDIRECT_FAILED;
    /* Padding stays behind. */
    if (length != packet.front + packet.total && bpf_skb_change_tail(skb, way.length + packet.total, 0))
        return REDIRECT_FAILED;
    if (packet.version == IPV4 && !follow(skb, way.length + checksum, &packet, &way))
        return REDIRECT_FAILED;

    data = (void *)(long)skb->data;
    end = (void *)(long)skb->data_end;
    ip = encapsulate(data, end, &packet, size, &way);
    if (!ip)
        return REDIRECT_FAILED;
    if (packet.version == IPV4) {
        rewrite_header4(ip, &way);
        rewrite_ports(ip + IPV4_HEADER, &packet, &way);
    } else {
        rewrite_header6(ip);
    }
    if (sample) {
        sample->after_length = copy_tc(skb, sample->after);
        show(sample);
    }
    if (segment && way.length != ETHERNET)
        pieces = (packet.total - packet.transport) / segment;
    count_carried(&packet, &way, pieces, packet.total + (pieces - 1) * packet.transport);
    redirect_tc(skb, &way);
    return CARRIED;
}

/* What becomes of a frame, which is counted. */
static __always_inline enum verdict enter_tc(struct __sk_buff *skb)
{
    const struct port *port = port_of(skb->ifindex);
    enum verdict verdict = port ? carry_tc(skb, port) : NOT_A_PORT;

    count(verdict);
    return verdict;
}

SEC("classifier")
int genkan_ingress(struct __sk_buff *skb)
{
    switch (enter_tc(skb)) {
    case CARRIED:
        return TC_ACT_REDIRECT;
    case REDIRECT_FAILED:
        return TC_ACT_SHOT;
    default:
        return punt_ingress(skb);
    }
}

SEC("classifier")
int genkan_tap(struct __sk_buff *skb)
{
    switch (enter_tc(skb)) {
    case CARRIED:
        return TC_ACT_REDIRECT;
    case REDIRECT_FAILED:
        return TC_ACT_SHOT;
    /* It goes on to us, who read from the tap. */
    default:
        return TC_ACT_OK;
    }
}

#endif
