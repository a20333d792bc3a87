/* The entry of cards whose drivers have XDP. */
#ifndef GENKAN_XDP_H
#define GENKAN_XDP_H

#include "count.h"
#include "encapsulate.h"
#include "lookup.h"
#include "maps.h"
#include "parse.h"
#include "redirect.h"
#include "rewrite.h"
#include "sample.h"

/* Makes the frame what it is on the other side. All questions first, then room, then what is written. */
static __always_inline enum verdict carry_xdp(struct xdp_md *ctx, const struct port *port)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip;
    __u32 length = end - data, excess;
    struct sample *sample = NULL;
    struct packet packet = {};
    struct way way = {};
    enum verdict verdict;

    verdict = parse(data, end, length, port, &packet);
    if (verdict != CARRIED)
        return verdict;
    verdict = look_up(&packet, port, &way);
    if (verdict != CARRIED)
        return verdict;
    if (packet.total > way.mtu)
        return TOO_BIG;
    if (may_be_zeros(data + packet.front + IPV4_HEADER, end, &packet, &way))
        return NOT_CARRIED;
    if (!redirect_xdp(&way))
        return OTHER_ENTRY;

    if (is_sampled(port, &way)) {
        sample = new_sample(ctx->ingress_ifindex, &packet, &way, false);
        if (sample)
            sample->before_length = copy_xdp(ctx, sample->before);
    }
    if (way.length != packet.front && bpf_xdp_adjust_head(ctx, (int)packet.front - (int)way.length))
        return NO_ROOM;
    /* Padding stays behind. */
    excess = length - packet.front - packet.total;
    if (excess && bpf_xdp_adjust_tail(ctx, -(int)excess))
        return REDIRECT_FAILED;

    data = (void *)(long)ctx->data;
    end = (void *)(long)ctx->data_end;
    ip = encapsulate(data, end, &packet, packet.total, &way);
    if (!ip)
        return REDIRECT_FAILED;
    if (packet.version == IPV4) {
        rewrite_header4(ip, &way);
        rewrite_ports(ip + IPV4_HEADER, &packet, &way);
        if (!rewrite_checksum(ip + IPV4_HEADER, end, &packet, &way))
            return REDIRECT_FAILED;
    } else {
        rewrite_header6(ip);
    }
    if (sample) {
        sample->after_length = copy_xdp(ctx, sample->after);
        show(sample);
    }
    count_carried(&packet, &way, 1, packet.total);
    return CARRIED;
}

SEC("xdp")
int genkan_xdp(struct xdp_md *ctx)
{
    const struct port *port = port_of(ctx->ingress_ifindex);
    enum verdict verdict = NOT_A_PORT;

    if (port)
        verdict = carry_xdp(ctx, port);
    count(verdict);
    switch (verdict) {
    case CARRIED:
        return XDP_REDIRECT;
    case REDIRECT_FAILED:
        return XDP_DROP;
    /* The entry behind this one can send it. */
    case OTHER_ENTRY:
    case NOT_A_PORT:
        return XDP_PASS;
    default:
        return port ? punt_xdp(ctx, port) : XDP_PASS;
    }
}

#endif
