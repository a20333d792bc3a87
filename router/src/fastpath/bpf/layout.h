/* What the kernel half and the program share: the maps and what is in them.
 *
 * `layout.rs` says the same in Rust, and a test compares the two. Numbers are the machine's own byte order, except those of
 * type __be16 and __be32, which are as on the wire. The program is the only writer, but for the members that say "kernel".
 */
#ifndef GENKAN_LAYOUT_H
#define GENKAN_LAYOUT_H

#include <linux/types.h>

/* Version of this layout. A program that finds maps of another version does not read them. */
#define LAYOUT 1

/* Index into the arrays of two that have one element for each version of IP. */
#define IPV4 0
#define IPV6 1

/* The link of a port without any. */
#define NO_LINK 0xffff

/* Ports are found at their device's number modulo this. */
#define PORT_SLOTS 1024
/* Receive queues of a port that an AF_XDP socket can have. */
#define QUEUES 16
/* Most ports. */
#define PORTS 64

/* A port, in `ports` at ifindex % PORT_SLOTS. */
struct port {
    __u32 ifindex; /* the device; 0 where there is no port */
    __u16 number;  /* index in `exits` */
    __u16 link;    /* what IP frames for `own` come in by: a LAN or the segment of an uplink; or NO_LINK */
    __u8 own[6];   /* the router's address for that link */
    __u8 pppoe;    /* 1 when PPPoE sessions may run on it */
    __u8 sampled;  /* 1 when samples of its frames may be taken */
};

/* What tells a PPPoE session, in `sessions`. Its value is the number of its link, a __u32. */
struct session_key {
    __u16 port;
    __be16 id;
    __u8 peer[6];
    __u8 own[6];
};

/* What packets come in or go out by, in `links` at its number: a LAN, an uplink or a subscriber's session. */
struct link {
    __u32 epoch[2]; /* of each version of IP; a flow of another epoch is not carried */
    __u64 identity; /* of the name in the configuration, for the next program: see adopt.rs */
};

/* To whom packets leave, in `adjacencies` at its number. Its sequence is odd while it is written, or unused. */
struct adjacency {
    __u32 sequence;
    __u32 ifindex;
    __u16 port;      /* index in `exits` */
    __u16 link;
    __u16 mtu;       /* largest IP packet, in octets */
    __u8 length;     /* of `header`: 14, or 22 with PPPoE, whose length and protocol are filled in for each packet */
    __u8 flags;
    __u8 header[22];
    __u8 padding[2];
    __u8 address[16]; /* of the station, IPv4 in the first four; for the next program: see adopt.rs */
};

/* The other port can be reached from XDP (`exits` has it). */
#define ADJACENT_XDP 1
/* Frames go to the device as if we had received them from it: it is a tap. */
#define ADJACENT_TAP 2
/* Whoever the device belongs to completes partial checksums behind a PPPoE header: the kernel before it sends, because the
 * device has been told to complete none, or what is behind a tap. */
#define ADJACENT_CHECKSUM 4

/* What tells a direction of an IPv4 flow. Of an ICMP echo request the first port is the identifier and the second 8, of a
 * reply the first is 8 and the second the identifier. */
struct key4 {
    __be32 source;
    __be32 destination;
    __be16 ports[2];
    __u16 link;
    __u8 protocol;
    __u8 zero;
};

/* The same of IPv6. Of an ICMPv6 echo the types are 128 in both directions. */
struct key6 {
    __be32 source[4];
    __be32 destination[4];
    __be16 ports[2];
    __u16 link;
    __u8 protocol;
    __u8 zero;
};

/* What every direction of a flow has. */
struct course {
    __u32 adjacency;
    __u32 ingress_epoch; /* of the link that packets come in by, when it was written */
    __u32 egress_epoch;  /* of the link that they leave by */
    __u16 ingress_port;  /* number of the port that they come by */
    __u16 tick;          /* kernel: of its own clock when it last looked for `last` */
    __u32 last;    /* kernel: coarse time of the last packet, in units of 2^30 ns since the system started */
    __u32 packets; /* kernel: carried, modulo 2^32 */
    __u32 octets;  /* kernel: of those, from the IP header on, modulo 2^32 */
};

/* A direction of an IPv4 flow, in `flows4`. Its sequence is odd while it is written, or unused. */
struct flow4 {
    __u32 sequence;
    struct key4 key;
    struct course course;
    __be32 source;      /* what the addresses and ports become */
    __be32 destination;
    __be16 ports[2];
    __be16 address_delta; /* change of the sum, as on the wire (RFC 1624) */
    __be16 port_delta;
};

/* A direction of an IPv6 flow, in `flows6`. */
struct flow6 {
    __u32 sequence;
    struct key6 key;
    struct course course;
};

/* Where a flow is found, in `index4` and `index6`: buckets, of which the key's hash chooses one. An entry is 0, or the hash's
 * uppermost eight bits above the number of the flow plus one. It may be at any place of the bucket. A reader begins at the
 * place that the hash's bits from FIRST_PLACE on say, and goes round: there it mostly is, so the processor guesses right, and
 * goes on while it waits for the memory.
 *
 * The index grows with the number of flows, bucket by bucket (linear hashing), so that few flows touch little memory. In the
 * place of its first bucket it has an extent, and then the buckets. That of a hash has the number of its low bits under
 * `mask`; where there is none of that number yet, the uppermost of these bits does not count. A bucket that is added takes from
 * one that has been there what is its own; whoever reads meanwhile finds it in the one or in the other, or leaves the packet to
 * user space.
 *
 * The hash of a key, taken as 64-bit words of the machine, is h after: h = seed[0]; then for each word h = (h ^ word) *
 * HASH_FACTOR, h ^= h >> 32; at last h = (h ^ seed[1]) * HASH_FACTOR, h ^= h >> 29. The seed is drawn anew by each program, so
 * that nobody outside can aim at one bucket; whoever could would only keep flows in user space. */
#define BUCKET 16
#define NUMBER_BITS 24
#define FIRST_PLACE 48
#define HASH_FACTOR 0x9fb21c651e98df25ULL

struct bucket {
    __u32 entries[BUCKET];
};

struct extent {
    __u32 mask;    /* the least power of two that is not less than `buckets`, less one */
    __u32 buckets; /* 0: one */
};

/* What a link has carried, in `usage` at its number, for each processor. */
struct usage {
    __u64 rx_packets;
    __u64 rx_octets; /* from the IP header on */
    __u64 tx_packets;
    __u64 tx_octets;
};

/* What became of a frame, in `verdicts` at this number, for each processor. All but the first mean: to user space, as it
 * was. */
enum verdict {
    CARRIED,
    NOT_A_PORT,      /* the device is none of ours */
    NOT_PLAIN,       /* neither IP nor a PPPoE session's: ARP, discovery, VLAN tags, other protocols */
    NOT_FOR_US,      /* for another station: to be bridged */
    ODD_PPPOE,       /* version, type, code or length is not what it should be */
    NO_SESSION,      /* no session of that id with that station */
    PPP_CONTROL,     /* a session's, but not IP */
    MALFORMED,       /* a length or checksum does not hold */
    OPTIONS,         /* IP options or extension headers */
    FRAGMENT,
    HOPS,            /* none left */
    NOT_CARRIED,     /* a protocol that the kernel path does not carry, ICMP other than echo */
    SERVICE,         /* DHCP */
    TCP_CONTROL,     /* SYN, FIN or RST */
    NO_FLOW,
    STALE,           /* the flow is of an earlier epoch, or its station not known any more */
    MOVED,           /* the flow's packets came by another port until now */
    TOO_BIG,         /* larger than the MTU */
    LARGE_SEGMENT,   /* to be cut before a PPPoE header goes on, and not by the kernel */
    OTHER_ENTRY,     /* XDP cannot send there; the other entry point can */
    NO_ROOM,         /* the driver left no room for a header */
    REDIRECT_FAILED, /* the frame was lost: the other device took no more */
    VERDICTS,
};

/* A frame before and after, in the ring `samples`. */
#define SAMPLE 2048

struct sample {
    __u32 ingress_ifindex;
    __u32 egress_ifindex;
    __u32 before_length; /* octets of the whole frame; at most SAMPLE of them are here */
    __u32 after_length;
    __u32 flow;          /* number in flows4 or flows6 */
    __u32 version;       /* IPV4 or IPV6 */
    __u32 partial;       /* 1 when the checksum of TCP or UDP was still to be completed */
    __u8 before[SAMPLE];
    __u8 after[SAMPLE];
};

#endif
