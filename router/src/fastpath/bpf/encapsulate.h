/* The header in front of an IP packet. */
#ifndef GENKAN_ENCAPSULATE_H
#define GENKAN_ENCAPSULATE_H

#include "lookup.h"
#include "octets.h"
#include "parse.h"

/* Writes it to the front of a frame that has room for it. */
static __always_inline void write_ethernet(void *data, const struct way *way)
{
    store64(data, way->header[0]);
    store32(data + 8, (__u32)way->header[1]);
    store16(data + 12, (__u16)(way->header[1] >> 32));
}

/* With PPPoE it says how long the packet is, and of which protocol. */
static __always_inline void write_pppoe(void *data, const struct packet *packet, __u32 size, const struct way *way)
{
    store64(data, way->header[0]);
    store64(data + 8, way->header[1]);
    store16(data + 16, (__u16)way->header[2]);
    store16(data + 18, bpf_htons(size + 2));
    store16(data + 20, packet->version == IPV4 ? bpf_htons(0x0021) : bpf_htons(0x0057));
}

/* Puts the header before the IP packet, which is where it will stay and is `size` octets long on the wire, and returns where
 * that begins; NULL when there is no room for the header, or a transport header of UDP_HEADER octets does not follow. That
 * never is: both have been looked at. */
static __always_inline void *encapsulate(void *data, void *end, const struct packet *packet, __u32 size,
                                         const struct way *way)
{
    __u32 needed = packet->version == IPV4 ? IPV4_HEADER + UDP_HEADER : IPV6_HEADER;

    if (way->length == ENCAPSULATION) {
        if (data + ENCAPSULATION + needed > end)
            return NULL;
        write_pppoe(data, packet, size, way);
        return data + ENCAPSULATION;
    }
    if (data + ETHERNET + needed > end)
        return NULL;
    write_ethernet(data, way);
    return data + ETHERNET;
}

#endif
