/* The test frames, and what the programs and `instrument.rs` share. aya compares the sizes.
 *
 * Each frame is a UDP packet of 50 octets, in 64 octets of Ethernet or in 72 of Ethernet and PPPoE. Its payload says that it
 * is ours, whose flow it is and when it left.
 */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* What the sink does with a frame. */
#define LOAD 0  /* counts it */
#define LEARN 1 /* also checks it, and remembers how it was translated, so that answers can be made */
#define PROBE 2 /* the far side sends it back, the near side takes its time */

#define UP 0   /* LAN to WAN; the sink on the WAN's side */
#define DOWN 1 /* WAN to LAN; the sink on the LAN's side */

/* A flow's number is 6 bits of host, 9 bits of source port, and then the far host. */
#define HOST_BITS 6
#define SOCKET_BITS 15
#define FIRST_HOST 0xc0a80140 /* 192.168.1.64 */
#define FIRST_FAR 0xc6120000  /* 198.18.0.0 (RFC 2544) */
#define FIRST_PORT 1024
#define FAR_PORT 9

#define MAGIC 0x6e616b67

/* What the generator is to do, in `jobs`. */
struct job {
	__u32 flows; /* from 0 to this, in turns */
	__u32 next;  /* by the program: the next flow */
	__u32 kind;  /* of the frames */
	__u32 probes; /* each of so many frames is a probe, a power of two; 0: none is */
	__u32 way;   /* UP or DOWN */
	__u32 pppoe; /* 1: with a PPPoE header */
	__u64 interval; /* ns from a frame to the next; 0: as fast as can be */
	__u64 due;   /* by the program: when the next frame is to leave */
	__u64 sent;  /* by the program */
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__be16 session;
	__u16 padding;
};

/* What a sink has seen, in `seen` for each way and processor. */
struct seen {
	__u64 frames; /* test frames, of every kind */
	__u64 wrong;  /* of those to learn from: a checksum does not hold */
	__u64 other;  /* passed on */
};

/* The outside of a socket: where answers go. In `outsides`, for each socket. */
struct outside {
	__be32 address;
	__be16 port;
	__u16 padding;
};

/* The link-level header of the last frame that was learnt from. */
struct header {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__be16 session;
	__u16 pppoe;
};

struct payload {
	__u32 magic;
	__u32 flow;
	__u32 stamp[2];
	__u32 kind;
	__u16 padding;
} __attribute__((packed));

struct packet {
	struct iphdr ip;
	struct udphdr udp;
	struct payload payload;
} __attribute__((packed));

struct pppoe {
	__u8 version;
	__u8 code;
	__be16 session;
	__be16 length;
	__be16 protocol;
} __attribute__((packed));

#define PLAIN_FRAME (sizeof(struct ethhdr) + sizeof(struct packet))
#define PPPOE_FRAME (PLAIN_FRAME + sizeof(struct pppoe))

struct ends {
	__be32 source, destination;
	__be16 source_port, destination_port;
};

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

/* The sum of the UDP header without its checksum, of the payload and of the pseudo header. */
static __always_inline __u64 udp_sum(const struct packet *packet)
{
	const struct payload *payload = &packet->payload;
	__u64 sum = (__u64)packet->ip.saddr + packet->ip.daddr + bpf_htons(IPPROTO_UDP) + packet->udp.len;

	sum += (__u64)packet->udp.source + packet->udp.dest + packet->udp.len;
	return sum + payload->magic + payload->flow + payload->stamp[0] + payload->stamp[1] + payload->kind;
}

static __always_inline __u64 ip_sum(const struct packet *packet)
{
	const __u16 *words = (const void *)packet;
	__u64 sum = 0;

#pragma unroll
	for (int word = 0; word < 10; word++)
		sum += words[word];
	return sum;
}

static __always_inline void write_packet(struct packet *packet, const struct ends *ends, __u32 flow, __u32 kind, __u64 stamp)
{
	packet->ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(sizeof(*packet)),
		.frag_off = bpf_htons(0x4000),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = ends->source,
		.daddr = ends->destination,
	};
	packet->ip.check = ~fold((__u64)bpf_htons(0x4500) + bpf_htons(sizeof(*packet)) + bpf_htons(0x4000) + bpf_htons(0x4011) +
				 ends->source + ends->destination);
	packet->payload = (struct payload){
		.magic = MAGIC,
		.flow = flow,
		.stamp = { (__u32)stamp, (__u32)(stamp >> 32) },
		.kind = kind,
	};
	packet->udp = (struct udphdr){
		.source = ends->source_port,
		.dest = ends->destination_port,
		.len = bpf_htons(sizeof(packet->udp) + sizeof(packet->payload)),
	};
	packet->udp.check = ~fold(udp_sum(packet));
	/* 0 would mean that there is none (RFC 768). */
	if (!packet->udp.check)
		packet->udp.check = 0xffff;
}

#endif
