/* The kernel half with programs beside it that stop after a part of its steps: what one takes longer than the one before is
 * what its last step costs. Each redirects its frame in the end, as the whole program does. They know only what the instrument
 * sends: UDP in IPv4, LAN -> PPPoE. */
#include "../../../../router/src/fastpath/bpf/fastpath.bpf.c"

enum step {
	REDIRECT, /* nothing but to redirect */
	PORT,     /* the port is looked up, and a verdict counted */
	PARSE,    /* all headers are read and verified */
	INDEX,    /* the key is hashed, and its bucket read */
	FLOW,     /* the flow's record is found and copied */
	ADJACENCY,/* the next hop is copied, and both epochs are compared */
	ROOM,     /* the frame has room for PPPoE, and the header */
	REWRITE,  /* addresses, ports and checksums are written */
};

/* The compiler may not leave out what `value` takes. */
#define needed(value) asm volatile("" : : "r"((__u64)(value)))

static __always_inline void look_into_bucket(const struct packet *packet)
{
	__u64 hash = finish(mix(mix(seed[0], packet->addresses[0]), rest_of(packet)));
	struct bucket *bucket = bucket_of(&index4, hash);

	if (bucket)
		needed(once(bucket->entries[0]));
}

/* Does all steps up to `last`. */
static __always_inline bool walk(struct xdp_md *ctx, enum step last)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip;
	struct packet packet = {};
	struct way way = {};
	struct gate gate = {};
	struct port *port;

	if (last == REDIRECT)
		return true;
	port = port_of(ctx->ingress_ifindex);
	count(CARRIED);
	if (!port)
		return false;
	if (last == PORT)
		return true;
	if (parse(data, end, end - data, port, &packet) != CARRIED)
		return false;
	needed(packet.addresses[0]);
	needed(packet.ports);
	needed(packet.total);
	if (last == PARSE)
		return true;
	if (last == INDEX) {
		look_into_bucket(&packet);
		return true;
	}
	if (last == FLOW) {
		if (!find4(&packet, &way, &gate))
			return false;
		needed(way.addresses);
		needed(way.ports);
		needed(gate.adjacency);
		return true;
	}
	if (look_up(&packet, port, &way) != CARRIED || packet.total > way.mtu)
		return false;
	needed(way.header[0]);
	needed(way.header[1]);
	needed(way.header[2]);
	if (last == ADJACENCY)
		return true;
	if (way.length != packet.front && bpf_xdp_adjust_head(ctx, (int)packet.front - (int)way.length))
		return false;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ip = encapsulate(data, end, &packet, packet.total, &way);
	if (!ip)
		return false;
	if (last == ROOM)
		return true;
	rewrite_header4(ip, &way);
	rewrite_ports(ip + IPV4_HEADER, &packet, &way);
	return rewrite_checksum(ip + IPV4_HEADER, end, &packet, &way);
}

#define STEP(name, last) \
	SEC("xdp") \
	int name(struct xdp_md *ctx) \
	{ \
		return walk(ctx, last) ? bpf_redirect_map(&exits, 1, 0) : XDP_ABORTED; \
	}

STEP(step_redirect, REDIRECT)
STEP(step_port, PORT)
STEP(step_parse, PARSE)
STEP(step_index, INDEX)
STEP(step_flow, FLOW)
STEP(step_adjacency, ADJACENCY)
STEP(step_room, ROOM)
STEP(step_rewrite, REWRITE)
