/* The bare redirect for a guest, whose first two cards are devices 2 and 3: from the one to the other, and nothing else. `ip` loads it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int bare(struct xdp_md *ctx)
{
	return bpf_redirect(ctx->ingress_ifindex ^ 1, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
