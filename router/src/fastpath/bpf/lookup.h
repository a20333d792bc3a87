/* From what tells a flow to the way that its packets go: the flow, both links' epochs, and the next hop. Everything that is
 * needed is copied, under the guard of the sequences. */
#ifndef GENKAN_LOOKUP_H
#define GENKAN_LOOKUP_H

#include "layout.h"
#include "maps.h"
#include "octets.h"
#include "parse.h"

struct way {
    struct course *course; /* of the flow, to be counted in */
    __u32 number;          /* of the flow */
    __u64 addresses;       /* what they become, of IPv4 */
    __u32 ports;
    __u32 address_delta;
    __u32 port_delta;

    __u32 ifindex;
    __u32 exit;
    __u32 link; /* what it leaves by */
    __u32 mtu;
    __u32 length; /* of the header: ETHERNET or ENCAPSULATION */
    __u32 flags;
    __u64 header[3];
};

/* What a reader of a sequence does between its reads. x86 never lets a read overtake another, so it is the compiler alone
 * that has to be held; elsewhere an atomic operation is a barrier. */
#if defined(__TARGET_ARCH_x86)
#define READ_BARRIER() asm volatile("" ::: "memory")
#else
#define READ_BARRIER()                               \
    do {                                             \
        __u64 nothing = 0;                           \
        __sync_lock_test_and_set(&nothing, 1);       \
        asm volatile("" : : "r"(&nothing) : "memory"); \
    } while (0)
#endif

#define once(value) (*(volatile typeof(value) *)&(value))

static __always_inline __u64 mix(__u64 hash, __u64 word)
{
    hash = (hash ^ word) * HASH_FACTOR;
    return hash ^ hash >> 32;
}

static __always_inline __u64 finish(__u64 hash)
{
    hash = (hash ^ seed[1]) * HASH_FACTOR;
    return hash ^ hash >> 29;
}

/* The last eight octets of a key. */
static __always_inline __u64 rest_of(const struct packet *packet)
{
    return packet->ports | (__u64)(packet->link & 0xffff) << 32 | (__u64)packet->protocol << 48;
}

/* The bucket that a hash chooses. */
static __always_inline struct bucket *bucket_of(void *index, __u32 hash)
{
    __u32 place = 0, mask, buckets;
    const struct extent *extent = bpf_map_lookup_elem(index, &place);
    __u64 is_there;

    if (!extent)
        return NULL;
    buckets = once(extent->buckets);
    READ_BARRIER();
    mask = once(extent->mask);
    place = hash & mask;
    /* All ones or all zeros, without a branch that nobody could guess; the compiler would make one of it. */
    is_there = (__s64)((__u64)place - buckets) >> 63;
    asm volatile("" : "+r"(is_there));
    place = (place & (mask >> 1 | is_there)) + 1;
    return bpf_map_lookup_elem(index, &place);
}

/* What a way takes from its flow's course. False when it is not for this port. */
struct gate {
    __u32 adjacency;
    __u32 ingress_epoch;
    __u32 egress_epoch;
    __u32 ingress_port;
};

static __always_inline void copy_course(const struct course *course, struct gate *gate)
{
    gate->adjacency = once(course->adjacency);
    gate->ingress_epoch = once(course->ingress_epoch);
    gate->egress_epoch = once(course->egress_epoch);
    gate->ingress_port = once(course->ingress_port);
}

static __always_inline bool find4(const struct packet *packet, struct way *way, struct gate *gate)
{
    __u64 addresses = packet->addresses[0], rest = rest_of(packet);
    __u64 hash = finish(mix(mix(seed[0], addresses), rest));
    __u32 first = hash >> FIRST_PLACE, tag = hash >> 56;
    struct bucket *bucket = bucket_of(&index4, hash);

    if (!bucket)
        return false;
#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < BUCKET; i++) {
        __u32 entry = once(bucket->entries[(first + i) % BUCKET]), number, sequence;
        struct flow4 *flow;

        if (entry >> NUMBER_BITS != tag)
            continue;
        /* There is no flow of the number that an empty entry says. */
        number = (entry & ((1 << NUMBER_BITS) - 1)) - 1;
        flow = bpf_map_lookup_elem(&flows4, &number);
        if (!flow)
            continue;
        sequence = once(flow->sequence);
        READ_BARRIER();
        if (sequence & 1 || load64(&flow->key) != addresses || load64(&flow->key.ports) != rest)
            continue;
        copy_course(&flow->course, gate);
        way->addresses = load64(&flow->source);
        way->ports = load32(flow->ports);
        way->address_delta = flow->address_delta;
        way->port_delta = flow->port_delta;
        READ_BARRIER();
        way->course = &flow->course;
        way->number = number;
        return once(flow->sequence) == sequence;
    }
    return false;
}

static __always_inline bool find6(const struct packet *packet, struct way *way, struct gate *gate)
{
    const __u64 *addresses = packet->addresses;
    __u64 rest = rest_of(packet), hash = seed[0];
    struct bucket *bucket;
    __u32 first, tag;

    hash = mix(mix(mix(mix(hash, addresses[0]), addresses[1]), addresses[2]), addresses[3]);
    hash = finish(mix(hash, rest));
    first = hash >> FIRST_PLACE;
    tag = hash >> 56;
    bucket = bucket_of(&index6, hash);
    if (!bucket)
        return false;
#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < BUCKET; i++) {
        __u32 entry = once(bucket->entries[(first + i) % BUCKET]), number, sequence;
        struct flow6 *flow;

        if (entry >> NUMBER_BITS != tag)
            continue;
        number = (entry & ((1 << NUMBER_BITS) - 1)) - 1;
        flow = bpf_map_lookup_elem(&flows6, &number);
        if (!flow)
            continue;
        sequence = once(flow->sequence);
        READ_BARRIER();
        if (sequence & 1 || load64(flow->key.source) != addresses[0] || load64(flow->key.source + 2) != addresses[1] ||
            load64(flow->key.destination) != addresses[2] || load64(flow->key.destination + 2) != addresses[3] ||
            load64(flow->key.ports) != rest)
            continue;
        copy_course(&flow->course, gate);
        READ_BARRIER();
        way->course = &flow->course;
        way->number = number;
        return once(flow->sequence) == sequence;
    }
    return false;
}

/* Whether what was handed over of this link still holds. */
static __always_inline bool is_current(__u32 number, __u32 version, __u32 epoch)
{
    struct link *link = bpf_map_lookup_elem(&links, &number);

    return link && once(link->epoch[version & 1]) == epoch;
}

static __always_inline enum verdict look_up(const struct packet *packet, const struct port *port, struct way *way)
{
    struct adjacency *adjacency;
    struct gate gate = {};
    __u32 sequence;

    if (packet->version == IPV4 ? !find4(packet, way, &gate) : !find6(packet, way, &gate))
        return NO_FLOW;
    if (gate.ingress_port != port->number)
        return MOVED;
    if (!is_current(packet->link, packet->version, gate.ingress_epoch))
        return STALE;

    adjacency = bpf_map_lookup_elem(&adjacencies, &gate.adjacency);
    if (!adjacency)
        return STALE;
    sequence = once(adjacency->sequence);
    READ_BARRIER();
    way->ifindex = once(adjacency->ifindex);
    way->exit = once(adjacency->port);
    way->link = once(adjacency->link);
    way->mtu = once(adjacency->mtu);
    way->length = once(adjacency->length) == ENCAPSULATION ? ENCAPSULATION : ETHERNET;
    way->flags = once(adjacency->flags);
    way->header[0] = load64(adjacency->header);
    way->header[1] = load64(adjacency->header + 8);
    way->header[2] = load64(adjacency->header + 16);
    READ_BARRIER();
    if (sequence & 1 || once(adjacency->sequence) != sequence)
        return STALE;
    if (!is_current(way->link, packet->version, gate.egress_epoch))
        return STALE;
    return CARRIED;
}

#endif
