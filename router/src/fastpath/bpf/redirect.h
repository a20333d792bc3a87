/* Where frames go that are carried, and those that are not. */
#ifndef GENKAN_REDIRECT_H
#define GENKAN_REDIRECT_H

#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "control.h"
#include "lookup.h"
#include "maps.h"

/* What the guard of a card lets leave. */
#define MARK 0x67656e6b

/* Asks for the frame to be sent by XDP; it is when the program returns XDP_REDIRECT. False when that device is not to be
 * reached. Nothing has been changed yet, so it can still go another way. */
static __always_inline bool redirect_xdp(const struct way *way)
{
    return way->flags & ADJACENT_XDP && bpf_redirect_map(&exits, way->exit, 0) == XDP_REDIRECT;
}

/* To user space: data by the socket of the receive queue, if it has one. Control frames have a packet socket of their own,
 * which data cannot fill. */
static __always_inline int punt_xdp(struct xdp_md *ctx, const struct port *port)
{
    __u32 queue = ctx->rx_queue_index;

    if (queue >= QUEUES || is_control((void *)(long)ctx->data, (void *)(long)ctx->data_end))
        return XDP_PASS;
    return bpf_redirect_map(&sockets, port->number * QUEUES + queue, XDP_PASS);
}

/* Asks for the frame to be sent by its device or, where that is a tap, to those behind it; it is when the program returns
 * TC_ACT_REDIRECT. */
static __always_inline void redirect_tc(struct __sk_buff *skb, const struct way *way)
{
    if (way->flags & ADJACENT_TAP) {
        bpf_redirect(way->ifindex, BPF_F_INGRESS);
    } else {
        skb->mark = MARK;
        bpf_redirect(way->ifindex, 0);
    }
}

/* To user space, and to nobody else. The packet sockets for IP and for PPPoE sessions come after this program, and the host's
 * own stack lets go of what is for another host; everything else has been taken by sockets that come before. Those have also
 * what bears a VLAN tag, which the kernel would forget now. */
static __always_inline int punt_ingress(struct __sk_buff *skb)
{
    __u32 type = skb->protocol;

    if (skb->vlan_present ||
        (type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6) && type != bpf_htons(ETH_P_PPP_SES)))
        return TC_ACT_SHOT;
    bpf_skb_change_type(skb, PACKET_OTHERHOST);
    return TC_ACT_OK;
}

#endif
