//! Filter expressions (pcap-filter(7)), compiled by libpcap.

use std::io;

use pcap::{BpfProgram, Capture, Linktype};

use super::{layers, words};

/// A compiled filter expression.
pub struct Filter {
    program: BpfProgram,
    expression: String,
    inner: bool,
}

impl Filter {
    /// Compiles an expression such as `pppoed or (pppoes and icmp)`. With `inner` it is asked of the IP packets inside the
    /// frame as well, as if each came on a wire of its own. The error has libpcap's words.
    pub fn compile(expression: &str, inner: bool) -> io::Result<Self> {
        let invalid = |error: pcap::Error| {
            let words = words(&error);
            let text =
                format!("the filter `{expression}` is not valid: {words} (its language is pcap-filter(7))");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let dead = Capture::dead(Linktype::ETHERNET).map_err(invalid)?;
        let program = dead.compile(expression, true).map_err(invalid)?;
        Ok(Filter { program, expression: expression.to_owned(), inner })
    }

    /// True when the frame is one that the expression asks for.
    pub fn matches(&self, frame: &[u8]) -> bool {
        self.program.filter(frame) || self.inner && self.matches_inside(frame)
    }

    fn matches_inside(&self, frame: &[u8]) -> bool {
        layers::packets(frame).into_iter().any(|inner| {
            let header = [&[0; 12][..], &inner.ethertype.to_be_bytes()].concat();
            self.program.filter(&[&header, inner.packet].concat())
        })
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Filter").field(&self.expression).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_chooses_frames_by_libpcaps_rules() {
        let discovery = [&[0xff; 12][..], &[0x88, 0x63], &[0; 46]].concat();
        let arp = [&[0xff; 12][..], &[0x08, 0x06], &[0; 46]].concat();
        let filter = Filter::compile("pppoed", false).unwrap();
        assert!(filter.matches(&discovery) && !filter.matches(&arp));
        assert!(Filter::compile("", false).unwrap().matches(&arp), "no expression means every frame");
        assert!(!filter.matches(&[]), "a frame cut short matches nothing");
    }

    #[test]
    fn what_is_inside_is_asked_too_when_that_is_wanted() {
        use super::super::layers::tests::{pppoe, udp};
        let frame = pppoe(0x0021, &udp([10, 0, 0, 1], [10, 0, 0, 2], [5000, 53], b"question"));
        let expression = "udp port 53 and host 10.0.0.2";
        assert!(!Filter::compile(expression, false).unwrap().matches(&frame));
        assert!(Filter::compile(expression, true).unwrap().matches(&frame));
        assert!(!Filter::compile("tcp", true).unwrap().matches(&frame));
    }

    #[test]
    fn a_bad_expression_is_explained_in_libpcaps_words() {
        let error = Filter::compile("tcp prot 80", false).unwrap_err().to_string();
        assert!(error.contains("tcp prot 80") && error.contains("syntax error"), "{error}");
    }
}
