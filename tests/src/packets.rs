//! IP packets as a tunnel's device shows them.

/// The MSS that each SYN among IP packets offers, with the version of IP.
pub fn offers(packets: &[Vec<u8>]) -> Vec<(u8, u16)> {
    let offer = |packet: &Vec<u8>| {
        let version = packet.first()? >> 4;
        let (header, protocol) = match version {
            4 => (usize::from(packet[0] & 15) * 4, packet.get(9)?),
            _ => (40, packet.get(6)?),
        };
        let tcp = packet.get(header..).filter(|_| *protocol == 6)?;
        let end = usize::from(tcp.get(12)? >> 4) * 4;
        let mut options = tcp.get(20..end).filter(|_| tcp[13] & 2 != 0)?;
        loop {
            match options {
                [2, 4, high, low, ..] => return Some((version, u16::from_be_bytes([*high, *low]))),
                [1, rest @ ..] => options = rest,
                [_, length, ..] => options = options.get(usize::from(*length).max(2)..)?,
                _ => return None,
            }
        }
    };
    packets.iter().filter_map(offer).collect()
}
