/* What became of frames, what links and flows have carried. */
#ifndef GENKAN_COUNT_H
#define GENKAN_COUNT_H

#include "lookup.h"
#include "maps.h"
#include "parse.h"

/* A tick is two to this power of jiffies: from a quarter of a second to two and a half. */
#define TICK_BITS 8

/* Counts a verdict. */
static __always_inline void count(enum verdict verdict)
{
    __u32 number = verdict;
    __u64 *counter = bpf_map_lookup_elem(&verdicts, &number);

    if (counter)
        ++*counter;
}

/* Counts a packet that was carried, at its links and its flow. It leaves as `packets` packets of `octets` octets together, more
 * than one when the kernel has to cut it. The flow's numbers are written without a lock: its packets
 * come by one queue, so it is rare that two processors do; then one packet is missing, which nobody relies on. */
static __always_inline void count_carried(const struct packet *packet, const struct way *way, __u32 packets, __u32 octets)
{
    struct course *course = way->course;
    __u32 link = packet->link;
    __u16 tick = bpf_jiffies64() >> TICK_BITS;
    struct usage *used = bpf_map_lookup_elem(&usage, &link);

    if (used) {
        used->rx_packets++;
        used->rx_octets += packet->received;
    }
    link = way->link;
    used = bpf_map_lookup_elem(&usage, &link);
    if (used) {
        used->tx_packets += packets;
        used->tx_octets += octets;
    }
    /* The tick is but read, the time has to be asked for. */
    if (course->tick != tick) {
        course->tick = tick;
        course->last = bpf_ktime_get_coarse_ns() >> 30;
    }
    course->packets++;
    course->octets += packet->total;
}

#endif
