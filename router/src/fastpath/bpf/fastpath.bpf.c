/* The kernel half: carries packets of flows that were handed over, and leaves everything else to user space as it was.
 *
 * A frame is parsed (parse.h), its flow and next hop are looked up (lookup.h), its size is compared with the MTU; then room
 * is made, and the header (encapsulate.h), the addresses, ports and checksums (rewrite.h) are written. It leaves by another
 * device (redirect.h) and is counted (count.h). There are two entries: xdp.h and tc.h. What they share with the program is
 * in layout.h. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "tc.h"
#include "xdp.h"

char dual_license[] SEC("license") = "Dual MIT/GPL";
