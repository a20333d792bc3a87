//! Which frames are control, and which are bulk, as a classic BPF program for a packet socket.
//!
//! Control is what keeps links and leases alive: PPPoE discovery, every PPP protocol from 0x8000 on (network control,
//! LCP, authentication), ARP, DHCP, DHCPv6, and ICMPv6's router and neighbour discovery. Bulk is TCP in frames of more than
//! [`PROMPT`] octets, also within PPPoE: its senders fill whatever queue there is, and they alone do not mind when what is
//! small overtakes what is large. Everything else is data. All programs are the same test with other results, and
//! no test reads beyond the frame (the kernel would drop a frame for that), so every frame reaches exactly one of the
//! sockets.
//!
//! When data is received behind the ingress classifier, IP packets and PPPoE sessions reach sockets of their own there,
//! and a program more accepts what is neither control nor theirs ([`Class::Rest`]).
//!
//! The kernel has taken an 802.1Q tag out of a frame before a packet socket sees it, so tags move nothing here, but that
//! the sockets behind the classifier do not get what bears one.

use crate::sys::packet::Instruction;

/// A class of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What keeps links and leases alive.
    Control,
    /// TCP in large frames.
    Bulk,
    /// Everything else.
    Data,
    /// Of bulk and data, what has no socket behind the ingress classifier: other ethertypes than [`super::guard::DIVERTED`], and
    /// what bears a VLAN tag.
    Rest,
}

// Operations of classic BPF (the kernel's Documentation/networking/filter.rst).
const LOAD_WORD: u16 = 0x20;
const LOAD_LEN: u16 = 0x80;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_X_HEADER: u16 = 0xb1;
const SUBTRACT_X: u16 = 0x1c;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Octets of the largest frame that is never bulk: requests, acknowledgements, keystrokes.
pub const PROMPT: u32 = 256;
/// IP protocol number of TCP.
const TCP: u32 = 6;

const ETHERTYPE: u32 = 12;
const PAYLOAD: u32 = 14;
const WHOLE_FRAME: u32 = u32::MAX;
/// An ancillary datum (SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT): 1 when the kernel has taken a tag out.
const TAG_PRESENT: u32 = 0xffff_f000 + 48;

/// Where a jump leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Control,
    /// Bulk; its ethertypes are all diverted.
    Bulk,
    /// Data of an ethertype that is diverted.
    Data,
    /// Data of another one.
    Other,
    Label(&'static str),
}

/// A program whose jumps are not resolved yet.
#[derive(Default)]
struct Assembler {
    code: Vec<(u16, u32, To, To)>,
    labels: Vec<(&'static str, usize)>,
}

impl Assembler {
    fn operation(&mut self, code: u16, operand: u32) {
        self.code.push((code, operand, To::Next, To::Next));
    }

    fn branch(&mut self, code: u16, operand: u32, holds: To, fails: To) {
        self.code.push((code, operand, holds, fails));
    }

    fn label(&mut self, name: &'static str) {
        self.labels.push((name, self.code.len()));
    }

    /// Resolves the jumps and adds the endings.
    fn finish(mut self, class: Class) -> Vec<Instruction> {
        let accept = |code: &mut Assembler, accepts: bool| {
            code.operation(RETURN, if accepts { WHOLE_FRAME } else { 0 });
        };
        self.label(CONTROL);
        accept(&mut self, class == Class::Control);
        self.label(BULK);
        if matches!(class, Class::Bulk | Class::Data) {
            accept(&mut self, class == Class::Bulk);
        }
        self.label(DATA);
        if class == Class::Rest {
            self.operation(LOAD_WORD, TAG_PRESENT);
            self.branch(JUMP_EQUAL, 0, To::Label(NOTHING), To::Next);
        }
        self.label(OTHER);
        accept(&mut self, matches!(class, Class::Data | Class::Rest));
        if class == Class::Rest {
            self.label(NOTHING);
            accept(&mut self, false);
        }
        self.resolve()
    }

    fn resolve(self) -> Vec<Instruction> {
        let end = self.code.len() - 1;
        let place = |to: To, next: usize| match to {
            To::Next => next,
            To::Control => self.place(CONTROL),
            To::Bulk => self.place(BULK),
            To::Data => self.place(DATA),
            To::Other => self.place(OTHER),
            To::Label(name) => self.place(name),
        };
        let skip = |to: To, at: usize| {
            u8::try_from(place(to, at + 1).min(end).saturating_sub(at + 1)).unwrap_or(u8::MAX)
        };
        (self.code.iter().enumerate())
            .map(|(at, (code, operand, holds, fails))| Instruction {
                code: *code,
                jump_true: skip(*holds, at),
                jump_false: skip(*fails, at),
                operand: *operand,
            })
            .collect()
    }

    fn place(&self, name: &str) -> usize {
        self.labels.iter().find(|(label, _)| *label == name).map_or(usize::MAX, |(_, at)| *at)
    }
}

const CONTROL: &str = "control";
const BULK: &str = "bulk";
const DATA: &str = "data";
const OTHER: &str = "other";
const NOTHING: &str = "nothing";

/// The program that accepts the frames of a class.
pub fn program(class: Class) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let long_enough = |code: &mut Assembler, len: u32| {
        code.operation(LOAD_LEN, 0);
        code.branch(JUMP_GREATER_EQUAL, len, To::Next, To::Data);
    };
    // Of a protocol number that has been loaded: what is not TCP goes on at `other`.
    let bulk = |code: &mut Assembler, other: To| {
        code.branch(JUMP_EQUAL, TCP, To::Next, other);
        code.operation(LOAD_LEN, 0);
        code.branch(JUMP_GREATER_EQUAL, PROMPT + 1, To::Bulk, To::Data);
    };
    // The DHCP ports, client and server, differ in the last bit or by one: both are listed.
    let ports = |code: &mut Assembler, first: u32, second: u32| {
        code.branch(JUMP_EQUAL, first, To::Control, To::Next);
        code.branch(JUMP_EQUAL, second, To::Control, To::Data);
    };

    code.operation(LOAD_LEN, 0);
    code.branch(JUMP_GREATER_EQUAL, PAYLOAD, To::Next, To::Other);
    code.operation(LOAD_HALF, ETHERTYPE);
    code.branch(JUMP_EQUAL, 0x8863, To::Control, To::Next);
    code.branch(JUMP_EQUAL, 0x0806, To::Control, To::Next);
    code.branch(JUMP_EQUAL, 0x8864, To::Label("pppoe"), To::Next);
    code.branch(JUMP_EQUAL, 0x0800, To::Label("ipv4"), To::Next);
    code.branch(JUMP_EQUAL, 0x86dd, To::Label("ipv6"), To::Other);

    code.label("pppoe");
    long_enough(&mut code, PAYLOAD + 8);
    code.operation(LOAD_HALF, PAYLOAD + 6);
    code.branch(JUMP_GREATER_EQUAL, 0x8000, To::Control, To::Next);
    code.branch(JUMP_EQUAL, 0x0021, To::Label("ppp ipv4"), To::Next);
    code.branch(JUMP_EQUAL, 0x0057, To::Next, To::Data);
    long_enough(&mut code, PAYLOAD + 8 + 40);
    code.operation(LOAD_BYTE, PAYLOAD + 8 + 6);
    bulk(&mut code, To::Data);
    code.label("ppp ipv4");
    long_enough(&mut code, PAYLOAD + 8 + 20);
    code.operation(LOAD_BYTE, PAYLOAD + 8 + 9);
    bulk(&mut code, To::Data);

    code.label("ipv4");
    long_enough(&mut code, PAYLOAD + 20);
    code.operation(LOAD_BYTE, PAYLOAD + 9);
    code.branch(JUMP_EQUAL, 17, To::Label("udp4"), To::Next);
    bulk(&mut code, To::Data);
    code.label("udp4");
    code.operation(LOAD_HALF, PAYLOAD + 6);
    code.branch(JUMP_SET, 0x1fff, To::Data, To::Next);
    code.operation(LOAD_X_HEADER, PAYLOAD);
    code.operation(LOAD_LEN, 0);
    // Without the header's length; a frame too short wraps round to no small number, so that is tested first.
    code.branch(JUMP_GREATER_EQUAL, PAYLOAD + 60 + 4, To::Label("udp"), To::Next);
    code.operation(SUBTRACT_X, 0);
    code.branch(JUMP_GREATER_EQUAL, 0x8000_0000, To::Data, To::Next);
    code.branch(JUMP_GREATER_EQUAL, PAYLOAD + 4, To::Next, To::Data);
    code.label("udp");
    code.operation(LOAD_HALF_INDEXED, PAYLOAD + 2);
    ports(&mut code, 67, 68);

    code.label("ipv6");
    long_enough(&mut code, PAYLOAD + 40 + 4);
    code.operation(LOAD_BYTE, PAYLOAD + 6);
    code.branch(JUMP_EQUAL, 58, To::Label("icmpv6"), To::Next);
    code.branch(JUMP_EQUAL, 17, To::Label("udp6"), To::Next);
    bulk(&mut code, To::Data);
    code.label("udp6");
    code.operation(LOAD_HALF, PAYLOAD + 40 + 2);
    ports(&mut code, 546, 547);

    // Router solicitation 133 to redirect 137.
    code.label("icmpv6");
    code.operation(LOAD_BYTE, PAYLOAD + 40);
    code.branch(JUMP_GREATER_EQUAL, 133, To::Next, To::Data);
    code.branch(JUMP_GREATER_EQUAL, 138, To::Data, To::Control);
    code.finish(class)
}

#[cfg(test)]
mod tests {
    use super::super::guard::DIVERTED;
    use super::*;

    /// Runs a program as the kernel does on a frame out of which it has taken a tag or not; `None` when the program reads
    /// beyond the frame.
    fn run(program: &[Instruction], frame: &[u8], tagged: bool) -> Option<u32> {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
        let byte = |at: u32| frame.get(at as usize).copied().map(u32::from);
        let half = |at: u32| Some(byte(at)? << 8 | byte(at.checked_add(1)?)?);
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            at += 1;
            let mut branch = |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
            match code {
                LOAD_LEN => a = frame.len() as u32,
                LOAD_WORD if operand == TAG_PRESENT => a = tagged.into(),
                LOAD_BYTE => a = byte(operand)?,
                LOAD_HALF => a = half(operand)?,
                LOAD_HALF_INDEXED => a = half(x + operand)?,
                LOAD_X_HEADER => x = (byte(operand)? & 0xf) * 4,
                SUBTRACT_X => a = a.wrapping_sub(x),
                JUMP_EQUAL => branch(a == operand),
                JUMP_GREATER_EQUAL => branch(a >= operand),
                JUMP_SET => branch(a & operand != 0),
                RETURN => return Some(operand),
                other => panic!("no such operation {other:#x}"),
            }
        }
    }

    fn accepts(class: Class, frame: &[u8], tagged: bool) -> bool {
        run(&program(class), frame, tagged).expect("reads beyond the frame") > 0
    }

    /// The class of a frame. Shows also that the sockets of either kind of port get it once.
    fn class(frame: &[u8]) -> Class {
        for tagged in [false, true] {
            let ethertype = frame.get(12..14).map(|octets| u16::from_be_bytes([octets[0], octets[1]]));
            let diverted = !tagged && ethertype.is_some_and(|ethertype| DIVERTED.contains(&ethertype));
            let sockets = [
                accepts(Class::Control, frame, tagged),
                accepts(Class::Rest, frame, tagged),
                diverted && accepts(Class::Bulk, frame, false),
                diverted && accepts(Class::Data, frame, false),
            ];
            assert_eq!(sockets.iter().filter(|gets| **gets).count(), 1, "{sockets:?} {frame:02x?}");
        }
        match [Class::Control, Class::Bulk, Class::Data].map(|class| accepts(class, frame, false)) {
            [true, false, false] => Class::Control,
            [false, true, false] => Class::Bulk,
            [false, false, true] => Class::Data,
            all => panic!("a frame reaches exactly one socket, not {all:?}"),
        }
    }

    fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
    }

    fn udp4(options: usize, offset: u16, port: u16) -> Vec<u8> {
        let mut packet = vec![0; 20 + options + 8];
        packet[0] = 0x40 | (5 + options / 4) as u8;
        packet[6..8].copy_from_slice(&offset.to_be_bytes());
        packet[9] = 17;
        packet[22 + options..24 + options].copy_from_slice(&port.to_be_bytes());
        frame(0x0800, &packet)
    }

    fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = [0; 40];
        packet[0] = 0x60;
        packet[6] = next;
        frame(0x86dd, &[&packet[..], payload].concat())
    }

    fn ppp(protocol: u16) -> Vec<u8> {
        frame(0x8864, &[&[0x11, 0, 0, 1, 0, 8][..], &protocol.to_be_bytes(), &[0; 8]].concat())
    }

    /// A frame of `len` octets with a TCP packet in it.
    fn tcp(ethertype: u16, ppp: &[u8], v6: bool, len: usize) -> Vec<u8> {
        let mut packet = vec![0; len - 14 - ppp.len()];
        packet[0] = if v6 { 0x60 } else { 0x45 };
        packet[if v6 { 6 } else { 9 }] = 6;
        frame(ethertype, &[ppp, &packet].concat())
    }

    fn samples() -> Vec<(Vec<u8>, Class)> {
        use Class::{Bulk, Control, Data};
        let (ppp4, ppp6) = ([0x11, 0, 0, 1, 0, 99, 0, 0x21], [0x11, 0, 0, 1, 0, 99, 0, 0x57]);
        vec![
            (frame(0x8863, &[0; 46]), Control),
            (frame(0x0806, &[0; 46]), Control),
            (ppp(0xc021), Control),
            (ppp(0xc223), Control),
            (ppp(0x8021), Control),
            (ppp(0x0021), Data),
            (ppp(0x0057), Data),
            (udp4(0, 0, 67), Control),
            (udp4(0, 0, 68), Control),
            (udp4(40, 0, 67), Control),
            (udp4(4, 0, 53), Data),
            (udp4(0, 100, 67), Data),
            (frame(0x0800, &[0x45; 60]), Data),
            (ip6(17, &[0, 0, 2, 34, 0, 0, 0, 0]), Control),
            (ip6(17, &[0, 0, 2, 35, 0, 0, 0, 0]), Control),
            (ip6(17, &[0, 0, 0, 53, 0, 0, 0, 0]), Data),
            (ip6(58, &[133, 0, 0, 0]), Control),
            (ip6(58, &[137, 0, 0, 0]), Control),
            (ip6(58, &[128, 0, 0, 0]), Data),
            (ip6(58, &[138, 0, 0, 0]), Data),
            (frame(0x88cc, &[0; 46]), Data),
            (tcp(0x0800, &[], false, 256), Data),
            (tcp(0x0800, &[], false, 257), Bulk),
            (tcp(0x86dd, &[], true, 256), Data),
            (tcp(0x86dd, &[], true, 257), Bulk),
            (tcp(0x8864, &ppp4, false, 256), Data),
            (tcp(0x8864, &ppp4, false, 257), Bulk),
            (tcp(0x8864, &ppp6, true, 256), Data),
            (tcp(0x8864, &ppp6, true, 257), Bulk),
            (tcp(0x88cc, &[], false, 300), Data),
            (frame(0x0800, &[&[0x45; 9][..], &[17], &[0; 300]].concat()), Data),
        ]
    }

    /// Issues of routers that starve their own sessions: control frames have a queue that data cannot fill.
    #[test]
    fn what_keeps_links_and_leases_alive_is_control() {
        for (frame, expected) in samples() {
            assert_eq!(class(&frame), expected, "{frame:02x?}");
        }
    }

    #[test]
    fn every_frame_cut_or_damaged_reaches_exactly_one_socket() {
        for (frame, _) in samples() {
            for len in 0..=frame.len() {
                class(&frame[..len]);
            }
            for bit in 0..frame.len() * 8 {
                let mut damaged = frame.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                for len in [damaged.len(), damaged.len() - 1, 38, 37] {
                    class(&damaged[..len.min(damaged.len())]);
                }
            }
        }
    }
}
