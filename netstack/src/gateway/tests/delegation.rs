//! A subscriber's gateway and its ISP's, from IPV6CP to the delegated prefix.

use super::*;
use crate::id::Ipv6Cidr;
use crate::settings::{PrefixPool, PrefixRequest, WanIpv6};
use crate::status::SubscriberStatus;

/// The two, joined by a line.
struct Line {
    ours: Node,
    isp: Node,
}

impl Line {
    fn new() -> Line {
        let mut settings = client(&["isp"]);
        settings.wans[0].ipv6 = Some(WanIpv6 { prefix: Some(PrefixRequest { length: Some(56) }) });
        Line { ours: Node::new(&settings), isp: Node::new(&provider()) }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            let at = self.ours.now + Duration::from_millis(100);
            self.ours.run_until(at);
            self.isp.run_until(at);
            loop {
                let (up, down) = (self.ours.sent(LINE), self.isp.sent(LINE));
                if up.is_empty() && down.is_empty() {
                    break;
                }
                self.isp.receive(LINE, up);
                self.ours.receive(LINE, down);
            }
        }
    }

    /// The ISP's gateway ends in good order and starts anew with what its state file holds.
    fn restart_isp(&mut self) {
        self.isp.gateway.shut_down(self.isp.now);
        let down = self.isp.sent(LINE);
        self.ours.receive(LINE, down);
        let (state, now) = (self.isp.gateway.state(), self.isp.now);
        let gateway = Gateway::new(&provider(), &state, [8; 32], now);
        self.isp = Node { gateway, now };
    }

    /// The one session as the ISP sees it.
    fn session(&self) -> SubscriberStatus {
        let mut status = self.isp.gateway.status(self.isp.now);
        let mut sessions = status.concentrators.remove(0).sessions;
        assert_eq!(sessions.len(), 1);
        sessions.remove(0)
    }

    /// The prefixes as the subscriber sees them.
    fn prefixes(&self) -> Vec<Ipv6Cidr> {
        let mut status = self.ours.gateway.status(self.ours.now);
        let ipv6 = status.wans.remove(0).ipv6.unwrap();
        ipv6.prefixes.iter().map(|prefix| prefix.prefix).collect()
    }
}

fn provider() -> Settings {
    let mut settings = isp();
    let prefix = "2001:db8::/40".parse().unwrap();
    settings.concentrators[0].prefix_pool = Some(PrefixPool { prefix, delegate: 56 });
    settings
}

/// RFC 7084 WLL-2, WPD-1. Lessons 13, 14: a prefix comes with the session, and the same one with the next.
#[test]
fn rfc7084_wpd_1_a_prefix_is_delegated_and_comes_back_with_the_session() {
    let mut line = Line::new();
    line.pass(20);
    let prefixes = line.prefixes();
    assert!(prefixes.len() == 1 && prefixes[0].prefix == 56, "{prefixes:?}");
    let session = line.session();
    assert_eq!((&session.prefixes, session.user.as_deref()), (&prefixes, Some("alice")));
    let ours = line.ours.gateway.status(line.ours.now).wans.remove(0);
    assert_eq!(session.link_local, ours.ipv6.unwrap().link_local);
    assert!(session.link_local.is_some() && session.address.is_some());

    line.restart_isp();
    line.pass(90);
    assert_eq!((line.session().prefixes, line.prefixes()), (prefixes.clone(), prefixes));
}
