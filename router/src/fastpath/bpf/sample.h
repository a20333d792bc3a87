/* Samples: now and then a frame before and after, for user space to do the same and compare. */
#ifndef GENKAN_SAMPLE_H
#define GENKAN_SAMPLE_H

#include "lookup.h"
#include "maps.h"
#include "parse.h"

/* Whether this packet of the flow is one of those. */
static __always_inline bool is_sampled(const struct port *port, const struct way *way)
{
    return port->sampled && (way->course->packets & sample_mask) == 0;
}

/* A sample to be filled in. It is not made in the ring itself: Linux 6.1 loses count of what was taken there and has to be
 * given back on every way out. */
static __always_inline struct sample *new_sample(__u32 ingress_ifindex, const struct packet *packet, const struct way *way,
                                                 bool partial)
{
    __u32 first = 0;
    struct sample *sample = bpf_map_lookup_elem(&scratch, &first);

    if (sample) {
        sample->ingress_ifindex = ingress_ifindex;
        sample->egress_ifindex = way->ifindex;
        sample->flow = way->number;
        sample->version = packet->version;
        sample->partial = partial;
    }
    return sample;
}

/* Shows it to user space; not when that is behind. */
static __always_inline void show(struct sample *sample)
{
    bpf_ringbuf_output(&samples, sample, sizeof(*sample), 0);
}

/* Octets of a frame that are copied: from 1 to SAMPLE, in a way that every verifier can follow. */
static __always_inline __u32 copied(__u32 length)
{
    __u32 most = length > SAMPLE ? SAMPLE : length;

    asm volatile("" : "+r"(most));
    return ((most - 1) & (SAMPLE - 1)) + 1;
}

/* Copies the frame of XDP. It lies in one piece, and Linux 5.15 has no other way to copy it. */
static __always_inline __u32 copy_xdp(struct xdp_md *ctx, __u8 *to)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 length = end - data;

    bpf_probe_read_kernel(to, copied(length), data);
    return length;
}

static __always_inline __u32 copy_tc(struct __sk_buff *skb, __u8 *to)
{
    __u32 length = skb->len;

    bpf_skb_load_bytes(skb, 0, to, copied(length));
    return length;
}

#endif
