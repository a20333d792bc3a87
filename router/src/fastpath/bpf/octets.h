/* Octets of a frame, read and written as the machine's words, whether aligned or not: the machines that this runs on can.
 * A value read so is "as on the wire"; sums of such values are right in either order of octets (RFC 1071 §2 B). */
#ifndef GENKAN_OCTETS_H
#define GENKAN_OCTETS_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the words of a key are put together for little-endian machines"
#endif

static __always_inline __u8 load8(const void *at)
{
    return *(const __u8 *)at;
}

static __always_inline __u16 load16(const void *at)
{
    return *(const __u16 *)at;
}

static __always_inline __u32 load32(const void *at)
{
    return *(const __u32 *)at;
}

static __always_inline __u64 load64(const void *at)
{
    return *(const __u64 *)at;
}

static __always_inline void store8(void *at, __u8 value)
{
    *(__u8 *)at = value;
}

static __always_inline void store16(void *at, __u16 value)
{
    *(__u16 *)at = value;
}

static __always_inline void store32(void *at, __u32 value)
{
    *(__u32 *)at = value;
}

static __always_inline void store64(void *at, __u64 value)
{
    *(__u64 *)at = value;
}

/* Adds the carries back in until none are left. Of what is not 0 the result is not 0 either. */
static __always_inline __u32 fold(__u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

#endif
