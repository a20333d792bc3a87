/* The instrument: programs that make test frames, take them in, and stand for peers. `instrument.rs` drives them. */
#include "frame.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} jobs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SOCKET_BITS);
	__type(key, __u32);
	__type(value, struct outside);
} outsides SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct header);
} headers SEC(".maps");

/* Round trips of probes, in units of 2^8 ns; the last takes all longer ones. */
#define DELAYS 65536
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DELAYS);
	__type(key, __u32);
	__type(value, __u64);
} delays SEC(".maps");

/* Where the generator sends, for each way. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} exits SEC(".maps");

/* Where the bare redirect sends, for each way. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} crossing SEC(".maps");

/* The program whose time is measured. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

/* The one lookup of the reference program. */
struct tuple {
	struct ends ends;
	__u32 protocol;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 17);
	__type(key, struct tuple);
	__type(value, __u64);
} tuples SEC(".maps");

/* Which ends the packets of a flow have. */
static __always_inline int ends_of(const struct job *job, __u32 flow, struct ends *ends)
{
	__u32 far = bpf_htonl(FIRST_FAR + (flow >> SOCKET_BITS));
	__u32 socket = flow & ((1 << SOCKET_BITS) - 1);

	if (job->way == UP) {
		ends->source = bpf_htonl(FIRST_HOST + (flow & ((1 << HOST_BITS) - 1)));
		ends->source_port = bpf_htons(FIRST_PORT + (socket >> HOST_BITS));
		ends->destination = far;
		ends->destination_port = bpf_htons(FAR_PORT);
	} else {
		struct outside *outside = bpf_map_lookup_elem(&outsides, &socket);
		if (!outside)
			return -1;
		ends->source = far;
		ends->source_port = bpf_htons(FAR_PORT);
		ends->destination = outside->address;
		ends->destination_port = outside->port;
	}
	return 0;
}

/* Writes the next frame, whole: the page may hold one that has been all the way. */
static __always_inline int write_frame(struct xdp_md *ctx, struct job *job, __u64 now)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	__u32 flow = job->next, kind = job->kind;
	struct packet *packet;
	struct ends ends;

	if (ends_of(job, flow, &ends))
		return -1;
	if (job->pppoe) {
		struct pppoe *pppoe = data + sizeof(*ethernet);
		packet = (void *)(pppoe + 1);
		if ((void *)(packet + 1) > end)
			return -1;
		ethernet->h_proto = bpf_htons(ETH_P_PPP_SES);
		pppoe->version = 0x11;
		pppoe->code = 0;
		pppoe->session = job->session;
		pppoe->length = bpf_htons(sizeof(*packet) + 2);
		pppoe->protocol = bpf_htons(0x0021);
	} else {
		packet = data + sizeof(*ethernet);
		if ((void *)(packet + 1) > end)
			return -1;
		ethernet->h_proto = bpf_htons(ETH_P_IP);
	}
	__builtin_memcpy(ethernet->h_dest, job->destination, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, job->source, ETH_ALEN);
	if (job->probes && !(job->sent & (job->probes - 1)))
		kind = PROBE;
	write_packet(packet, &ends, flow, kind, now);
	job->next = flow + 1 < job->flows ? flow + 1 : 0;
	job->sent++;
	return 0;
}

static __always_inline struct job *job(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&jobs, &zero);
}

/* The generator, for BPF_PROG_RUN with live frames. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct job *todo = job();
	__u64 now = 0;

	if (!todo)
		return XDP_ABORTED;
	if (todo->interval || todo->probes)
		now = bpf_ktime_get_ns();
	if (todo->interval) {
		if (now < todo->due)
			return XDP_DROP;
		/* What could not leave in time is late, not lost; but after a long pause there is no burst. */
		todo->due = (now - todo->due > 1000000 ? now : todo->due) + todo->interval;
	}
	if (write_frame(ctx, todo, now))
		return XDP_ABORTED;
	return bpf_redirect_map(&exits, todo->way, 0);
}

/* For BPF_PROG_RUN that repeats on one page: undoes what the target did to it, then runs the target on the next frame. */
SEC("xdp")
int feed(struct xdp_md *ctx)
{
	struct job *todo = job();
	long wanted, length;

	if (!todo)
		return XDP_ABORTED;
	wanted = todo->pppoe ? PPPOE_FRAME : PLAIN_FRAME;
	length = ctx->data_end - ctx->data;
	if (length != wanted && bpf_xdp_adjust_head(ctx, length - wanted))
		return XDP_ABORTED;
	if (write_frame(ctx, todo, 0))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &targets, 0);
	return XDP_ABORTED;
}

/* What `feed` costs by itself: a target that does nothing. */
SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	return XDP_REDIRECT;
}

/* Where the packet of a test frame begins, or 0. */
static __always_inline struct packet *packet_of(void *data, void *end, struct pppoe **pppoe)
{
	struct ethhdr *ethernet = data;
	struct packet *packet = data + sizeof(*ethernet);

	*pppoe = 0;
	if ((void *)(packet + 1) > end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_PPP_SES)) {
		*pppoe = data + sizeof(*ethernet);
		packet = (void *)(*pppoe + 1);
		if ((void *)(packet + 1) > end || (*pppoe)->protocol != bpf_htons(0x0021))
			return 0;
	} else if (ethernet->h_proto != bpf_htons(ETH_P_IP)) {
		return 0;
	}
	if (*(__u8 *)packet != 0x45 || packet->ip.protocol != IPPROTO_UDP || packet->payload.magic != MAGIC)
		return 0;
	return packet;
}

/* Reads the headers, and looks one thing up. */
static __always_inline int look_up(struct xdp_md *ctx)
{
	struct pppoe *pppoe;
	struct packet *packet = packet_of((void *)(long)ctx->data, (void *)(long)ctx->data_end, &pppoe);
	struct tuple tuple = { .protocol = IPPROTO_UDP };

	if (!packet)
		return XDP_ABORTED;
	tuple.ends = (struct ends){
		.source = packet->ip.saddr,
		.destination = packet->ip.daddr,
		.source_port = packet->udp.source,
		.destination_port = packet->udp.dest,
	};
	return bpf_map_lookup_elem(&tuples, &tuple) ? XDP_REDIRECT : XDP_PASS;
}

/* The reference. */
SEC("xdp")
int reference(struct xdp_md *ctx)
{
	return look_up(ctx);
}

/* The reference between two ports: what it has found it redirects. */
SEC("xdp")
int cross_known(struct xdp_md *ctx)
{
	int verdict = look_up(ctx);

	return verdict == XDP_REDIRECT ? bpf_redirect_map(&crossing, UP, 0) : verdict;
}

static __always_inline void learn(struct ethhdr *ethernet, struct pppoe *pppoe, struct packet *packet)
{
	__u32 zero = 0, socket = packet->payload.flow & ((1 << SOCKET_BITS) - 1);
	struct outside *outside = bpf_map_lookup_elem(&outsides, &socket);
	struct header *header = bpf_map_lookup_elem(&headers, &zero);

	if (!outside || !header)
		return;
	outside->address = packet->ip.saddr;
	outside->port = packet->udp.source;
	__builtin_memcpy(header->destination, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(header->source, ethernet->h_source, ETH_ALEN);
	header->session = pppoe ? pppoe->session : 0;
	header->pppoe = pppoe != 0;
}

static __always_inline int turn_round(struct ethhdr *ethernet, struct packet *packet)
{
	__u8 station[ETH_ALEN];
	__be32 address = packet->ip.saddr;
	__be16 port = packet->udp.source;

	__builtin_memcpy(station, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, station, ETH_ALEN);
	packet->ip.saddr = packet->ip.daddr;
	packet->ip.daddr = address;
	packet->udp.source = packet->udp.dest;
	packet->udp.dest = port;
	return XDP_TX;
}

static __always_inline void take_time(const struct payload *payload)
{
	__u64 now = bpf_ktime_get_ns(), stamp = (__u64)payload->stamp[1] << 32 | payload->stamp[0];
	__u64 units = (now - stamp) >> 8;
	__u32 index = units < DELAYS ? units : DELAYS - 1;
	__u64 *count = bpf_map_lookup_elem(&delays, &index);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* The sinks: take the test's frames in, and pass everything else on. */
static __always_inline int sink(struct xdp_md *ctx, __u32 way)
{
	void *data = (void *)(long)ctx->data;
	struct seen *count = bpf_map_lookup_elem(&seen, &way);
	struct pppoe *pppoe;
	struct packet *packet = packet_of(data, (void *)(long)ctx->data_end, &pppoe);

	if (!count)
		return XDP_ABORTED;
	if (!packet) {
		count->other++;
		return XDP_PASS;
	}
	count->frames++;
	if (packet->payload.kind == LOAD)
		return XDP_DROP;
	if (packet->payload.kind == PROBE) {
		if (way == UP)
			return turn_round(data, packet);
		take_time(&packet->payload);
		return XDP_DROP;
	}
	if (fold(ip_sum(packet)) != 0xffff || fold(udp_sum(packet) + packet->udp.check) != 0xffff)
		count->wrong++;
	if (way == UP)
		learn(data, pppoe, packet);
	return XDP_DROP;
}

SEC("xdp")
int sink_up(struct xdp_md *ctx)
{
	return sink(ctx, UP);
}

SEC("xdp")
int sink_down(struct xdp_md *ctx)
{
	return sink(ctx, DOWN);
}

/* The bare redirect: from one port to the other, and nothing else. */
SEC("xdp")
int cross_up(struct xdp_md *ctx)
{
	return bpf_redirect_map(&crossing, UP, 0);
}

SEC("xdp")
int cross_down(struct xdp_md *ctx)
{
	return bpf_redirect_map(&crossing, DOWN, 0);
}

/* A veth takes in what its peer sends back by XDP_TX only when it has a program, whatever that does. */
SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
