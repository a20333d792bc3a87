use super::*;
use crate::ndp::message::tests::octets;
use crate::rng::SeededRng;

/// A report of four groups, as a host on the Internet sent it.
const REPORT: &str = "6000000000600001fe80000000000000021517fffecce546ff020000000000000000000000000016\
    3a000502000001008f002a0e0000000402000000ff0200000000000000000db81122334402000000ff0200000000000000000001ffcce546\
    02000000ff0200000000000000000001ffa710ad02000000ff0200000000000000000001ff000002";
/// A query for all groups that grants 10 s, as a router sent it.
const QUERY_ALL: &str = "6000000000240001fe80000000000000b2a86efffe0cd4e8ff020000000000000000000000000001\
    3a000502000001008200623a2710000000000000000000000000000000000000023c0000";

const US: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const QUERIER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A query for `group` that grants one second; `extra` octets make it of version 2.
fn query(group: Ipv6Addr, extra: &[u8]) -> Vec<u8> {
    let mut message = Vec::from([130, 0, 0, 0, 0x03, 0xe8, 0, 0]);
    message.extend(group.octets());
    message.extend(extra);
    wrapped(QUERIER, 1, &ROUTER_ALERT, &message)
}

fn wrapped(source: Ipv6Addr, hop_limit: u8, hop_by_hop: &[u8], message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let len = message.len() as u32;
    let sum = Sum::pseudo_v6(source, ALL_NODES, ICMPV6, len).plus(Sum::of(&message)).checksum();
    set_u16(&mut message, 2, sum);
    let mut frame = Frame::with_capacity(2048);
    let header = Header { source, destination: ALL_NODES, hop_limit };
    assert!(header.write(HOP_BY_HOP, &[hop_by_hop, &message], &mut frame));
    frame.bytes().to_vec()
}

struct Bench {
    listener: Listener,
    rng: SeededRng,
    now: Instant,
}

impl Bench {
    fn new(groups: &[&str]) -> Self {
        let rng = SeededRng::from_u64(1);
        let mut bench = Bench { listener: Listener::default(), rng, now: Instant::from_secs(100) };
        bench.set(groups);
        bench
    }

    /// A listener whose groups are reported already.
    fn settled(groups: &[&str]) -> Self {
        let mut bench = Bench::new(groups);
        bench.wait(Duration::from_secs(5));
        assert_eq!(bench.listener.poll_timeout(), None);
        bench
    }

    fn set(&mut self, groups: &[&str]) {
        let groups = groups.iter().map(|group| ip(group)).collect();
        self.listener.set_groups(&mut Cx { now: self.now, rng: &mut self.rng }, &groups);
    }

    fn hear(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        self.listener.handle(&mut Cx { now: self.now, rng: &mut self.rng }, packet)
    }

    /// What is said in this time, and when.
    fn wait(&mut self, time: Duration) -> Vec<(Instant, Report)> {
        let end = self.now + time;
        let mut said = Vec::new();
        while let Some(due) = self.listener.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            let reports = self.listener.handle_timeout(&mut Cx { now: self.now, rng: &mut self.rng }, US);
            said.extend(reports.into_iter().map(|report| (self.now, report)));
        }
        self.now = end;
        said
    }
}

fn report(records: &[(&str, Record)]) -> Report {
    let records: Vec<(Ipv6Addr, Record)> =
        records.iter().map(|(group, record)| (ip(group), *record)).collect();
    Report::new(US, &records)
}

#[test]
fn rfc3810_a_report_is_what_others_write() {
    let groups = ["ff02::db8:1122:3344", "ff02::1:ffcc:e546", "ff02::1:ffa7:10ad", "ff02::1:ff00:2"];
    let records = groups.map(|group| (ip(group), Record::Member));
    let mut frame = Frame::with_capacity(2048);
    assert!(Report::new(ip("fe80::215:17ff:fecc:e546"), &records).emit(&mut frame));
    assert_eq!(frame.bytes(), octets(REPORT));
    assert!(is_mld(frame.bytes()) && !is_mld(&frame.bytes()[..50]));
    for room in 0..frame.len() {
        let mut small = Frame::with_capacity(crate::frame::HEADROOM + room);
        assert!(!Report::new(US, &records).emit(&mut small) && small.is_empty());
    }
}

#[test]
fn rfc3810_a_change_is_reported_at_once_and_again_within_a_second() {
    let mut bench = Bench::new(&["ff02::2", "ff02::1"]);
    let said = bench.wait(Duration::from_secs(100));
    let joined = report(&[("ff02::2", Record::Joined)]);
    assert_eq!(said.iter().map(|(_, report)| report.clone()).collect::<Vec<_>>(), [joined.clone(), joined]);
    assert_eq!(said[0].0, Instant::from_secs(100));
    assert!(said[1].0 <= Instant::from_secs(101), "and nobody reports all nodes' group");
    bench.set(&["ff02::5"]);
    let said = bench.wait(Duration::from_secs(100));
    let change = report(&[("ff02::2", Record::Left), ("ff02::5", Record::Joined)]);
    assert_eq!(said.into_iter().map(|(_, report)| report).collect::<Vec<_>>(), [change.clone(), change]);
    bench.set(&["ff02::5"]);
    assert_eq!(bench.listener.poll_timeout(), None, "no change");
}

#[test]
fn rfc3810_a_query_for_all_groups_is_answered_once_within_its_time() {
    let mut bench = Bench::settled(&["ff02::2", "ff02::1:2"]);
    bench.hear(&octets(QUERY_ALL)).unwrap();
    bench.hear(&octets(QUERY_ALL)).unwrap();
    let end = bench.now + Duration::from_secs(10);
    let said = bench.wait(Duration::from_secs(60));
    assert_eq!(said.len(), 1);
    assert!(said[0].0 <= end);
    assert_eq!(said[0].1, report(&[("ff02::2", Record::Member), ("ff02::1:2", Record::Member)]));
}

#[test]
fn rfc3810_a_query_for_a_group_is_answered_by_its_members() {
    let mut bench = Bench::settled(&["ff02::2", "ff02::1:2"]);
    let sources = [0, 0, 0, 1, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    for extra in [&[0, 0, 0, 0][..], &sources] {
        bench.hear(&query(ip("ff02::1:2"), extra)).unwrap();
        bench.hear(&query(ip("ff02::77"), extra)).unwrap();
        let said = bench.wait(Duration::from_secs(60));
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].1, report(&[("ff02::1:2", Record::Member)]));
    }
}

#[test]
fn rfc3810_a_querier_of_version_1_is_answered_in_it() {
    let mut bench = Bench::settled(&["ff02::2", "ff02::1:2"]);
    bench.hear(&query(Ipv6Addr::UNSPECIFIED, &[])).unwrap();
    let said = bench.wait(Duration::from_secs(1));
    let kinds = |said: &[(Instant, Report)]| -> Vec<(u8, Ipv6Addr)> {
        said.iter().map(|(_, report)| (report.message[0], report.destination)).collect()
    };
    assert_eq!(kinds(&said), [(131, ip("ff02::2")), (131, ip("ff02::1:2"))]);
    assert_eq!(said[0].1.message[8..], ip("ff02::2").octets());
    bench.set(&["ff02::2"]);
    assert_eq!(kinds(&bench.wait(Duration::ZERO)), [(132, ALL_ROUTERS)], "done");
    bench.wait(VERSION_1_TIMEOUT);
    bench.set(&[]);
    assert_eq!(kinds(&bench.wait(Duration::ZERO)), [(143, ALL_MLD_ROUTERS)], "it is silent");
}

#[test]
fn rfc3810_a_query_from_elsewhere_is_dropped() {
    let mut bench = Bench::settled(&["ff02::2"]);
    let message = [&[130, 0, 0, 0, 0x03, 0xe8, 0, 0][..], &[0; 20]].concat();
    let padded = [ICMPV6, 0, 1, 4, 0, 0, 0, 0];
    let cut = [ICMPV6, 0, 5, 200, 0, 0, 1, 0];
    for bad in [
        wrapped(QUERIER, 255, &ROUTER_ALERT, &message),
        wrapped(ip("2001:db8::2"), 1, &ROUTER_ALERT, &message),
        wrapped(QUERIER, 1, &padded, &message),
        wrapped(QUERIER, 1, &cut, &message),
        wrapped(QUERIER, 1, &[ICMPV6, 9, 5, 2, 0, 0, 1, 0], &message),
        wrapped(QUERIER, 1, &ROUTER_ALERT, &message[..26]),
        wrapped(QUERIER, 1, &ROUTER_ALERT, &message[..23]),
        wrapped(QUERIER, 1, &[6, 0, 5, 2, 0, 0, 1, 0], &message),
    ] {
        assert_eq!(bench.hear(&bad), Err(DropReason::NdpMalformed));
    }
    assert_eq!(bench.listener.poll_timeout(), None);
    bench.hear(&wrapped(QUERIER, 1, &[ICMPV6, 0, 0, 0, 5, 2, 0, 0], &message)).unwrap();
    assert!(bench.listener.poll_timeout().is_some(), "padding may come first");
    let whole = octets(QUERY_ALL);
    for len in 0..whole.len() {
        assert!(bench.hear(&whole[..len]).is_err());
    }
    bench.hear(&octets(REPORT)).unwrap();
}

#[test]
fn rfc3810_response_codes_are_milliseconds_and_beyond_32767_floating() {
    for (code, milliseconds) in
        [(0, 0), (10_000, 10_000), (0x7fff, 32_767), (0x8000, 32_768), (0x8001, 32_776), (0xffff, 8_387_584)]
    {
        assert_eq!(response_time(code), milliseconds, "{code:#x}");
    }
}

#[test]
fn many_groups_make_reports_that_every_link_carries() {
    let groups: Vec<alloc::string::String> = (0..120).map(|n| alloc::format!("ff02::1:ff00:{n:x}")).collect();
    let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
    let mut bench = Bench::new(&groups);
    let said = bench.wait(Duration::ZERO);
    assert_eq!(said.len(), 3);
    for (_, report) in said {
        let mut frame = Frame::with_capacity(2048);
        assert!(report.emit(&mut frame) && frame.len() <= 1280);
    }
}
