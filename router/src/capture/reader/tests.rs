use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::{Interface as Point, Packet, Writer};
use super::*;

const SECOND: u64 = 1_700_000_000;

fn read(bytes: &[u8]) -> (Vec<Record>, Account) {
    let mut reader = Reader::new(Box::new(Cursor::new(bytes.to_vec()))).unwrap();
    let records = std::iter::from_fn(|| reader.next_record()).collect();
    (records, reader.account().clone())
}

/// A pcap file of frames: their time in units of the file, what is stored, and the length on the wire.
fn pcap(big: bool, nanoseconds: bool, link: u32, frames: &[(u32, &[u8], u32)]) -> Vec<u8> {
    let number = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut file = number(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }).to_vec();
    file.extend([half(2), half(4)].concat());
    file.extend([number(0), number(0), number(262_144), number(link)].concat());
    for (fraction, bytes, length) in frames {
        let stored = u32::try_from(bytes.len()).unwrap();
        file.extend([number(SECOND as u32), number(*fraction), number(stored), number(*length)].concat());
        file.extend(*bytes);
    }
    file
}

/// A block of pcapng in big-endian order.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap().to_be_bytes();
    [&kind.to_be_bytes(), &length, body, &length].concat()
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = [code.to_be_bytes(), u16::try_from(value.len()).unwrap().to_be_bytes()].concat();
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

fn section() -> Vec<u8> {
    block(0x0a0d_0d0a, &[&[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0][..], &[0xff; 8]].concat())
}

fn described(link: u16, options: &[u8]) -> Vec<u8> {
    block(1, &[&link.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0], options].concat())
}

fn packet(interface: u32, time: u64, frame: &[u8], options: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    let mut body = [&interface.to_be_bytes()[..], &time.to_be_bytes(), &length, &length, frame].concat();
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options);
    block(6, &body)
}

/// One of ours: two frames, one of them with all that can be said of a frame.
fn ours() -> Vec<u8> {
    let points = ["wan0", "lan0"].map(|name| Point { name: name.into(), description: "a port".into() });
    let mut writer = Writer::new(Vec::new(), &points, &[]).unwrap();
    let first = Packet {
        interface: 1,
        direction: Direction::Sent,
        at: Duration::from_nanos(SECOND * 1_000_000_000 + 123_456_789),
        bytes: vec![7; 61],
        lost_before: 5,
        comments: vec!["said".into()],
        length: 61,
    };
    writer.write(&first).unwrap();
    let second =
        Packet { interface: 0, direction: Direction::Received, lost_before: 0, comments: vec![], ..first };
    writer.write(&second).unwrap();
    std::mem::take(writer.get_mut())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn pcap_is_read_in_either_order_of_octets_and_either_resolution() {
    for (big, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
        let (records, account) = read(&pcap(big, nanoseconds, 1, &[(5, &[1; 60], 60), (7, &[2; 20], 1500)]));
        let unit = if nanoseconds { 1 } else { 1000 };
        let times: Vec<Duration> =
            [5, 7].map(|fraction| Duration::new(SECOND, fraction * unit)).into_iter().collect();
        assert_eq!(records.iter().map(|record| record.at).collect::<Vec<_>>(), times);
        assert_eq!(
            (records[1].number, records[1].bytes.as_slice(), records[1].length),
            (2, &[2; 20][..], 1500)
        );
        assert!(records[1].is_cut() && !records[0].is_cut());
        assert_eq!((records[0].source.link, records[0].direction), (LinkType::ETHERNET, None));
        assert_eq!((account.frames, account.cut, account.ended), (2, 1, None));
    }
}

#[test]
fn what_we_write_is_read_with_its_interfaces_directions_comments_and_losses() {
    let (records, account) = read(&ours());
    let [first, second] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((first.source.name.as_str(), first.direction), ("lan0", Some(Direction::Sent)));
    assert_eq!((second.source.name.as_str(), second.direction), ("wan0", Some(Direction::Received)));
    assert_eq!(first.at, Duration::new(SECOND, 123_456_789));
    assert_eq!((first.bytes.as_slice(), first.comment.as_deref()), (&[7; 61][..], Some("said")));
    assert_eq!((account.lost, account.ended.as_deref()), (5, None));
}

#[test]
fn gzip_is_unpacked_on_the_way_also_in_several_members() {
    let file = ours();
    assert_eq!(read(&gzip(&file)), read(&file));
    let (front, back) = file.split_at(100);
    assert_eq!(read(&[gzip(front), gzip(back)].concat()), read(&file));
}

#[test]
fn times_follow_the_resolution_and_the_offset_of_their_interface() {
    let offset = |seconds: i64| option(14, &seconds.to_be_bytes());
    let interfaces = [
        described(1, &[]),
        described(1, &option(9, &[9])),
        described(1, &[option(9, &[0x80 | 10]), offset(SECOND as i64)].concat()),
        described(1, &option(9, &[255])),
    ];
    let packets = [
        packet(0, SECOND * 1_000_000 + 5, &[0; 14], &[]),
        packet(1, SECOND * 1_000_000_000 + 6000, &[0; 14], &[]),
        packet(2, 512, &[0; 14], &[]),
    ];
    let file =
        [section(), interfaces.concat(), packets.concat(), packet(3, u64::MAX, &[0; 14], &[])].concat();
    let (records, account) = read(&file);
    let times: Vec<Duration> = records.iter().take(3).map(|record| record.at).collect();
    let second = |nanos| Duration::new(SECOND, nanos);
    assert_eq!(times, [second(5000), second(6000), second(500_000_000)]);
    assert_eq!((records.len(), account.ended), (4, None), "a resolution beyond all reason does no harm");
}

#[test]
fn what_is_missing_is_told_in_sentences() {
    let told = [option(1, b"one\ntwo"), option(1, b"three"), option(4, &3u64.to_be_bytes())].concat();
    let dropped = [&0u32.to_be_bytes()[..], &[0; 8], &option(5, &10u64.to_be_bytes())].concat();
    let file = [
        section(),
        described(1, &option(2, b"eth0")),
        packet(0, 2_000_000, &[1; 14], &told),
        packet(0, 1_000_000, &[2; 14], &[]),
        packet(9, 3_000_000, &[3; 14], &[]),
        block(5, &dropped),
        block(0xbad, &[0; 400]),
        packet(0, 4_000_000, &[4; 14], &[]),
    ]
    .concat();
    let (records, account) = read(&file);
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].comment.as_deref(), Some("one two; three"));
    assert_eq!(records[1].at, records[0].at, "time does not go back");
    assert_eq!((account.disordered, account.lost, account.homeless), (1, 10, 1));
    let text = account.sentences().join("\n");
    assert!(
        text.contains("1 frame stands behind a later one") && text.contains("10 frames are missing"),
        "{text}"
    );
}

/// Whatever is cut off, the frames before it are read, and where it ends is told.
#[test]
fn a_file_that_is_cut_at_any_octet_is_read_up_to_there() {
    let files = [ours(), pcap(false, false, 1, &[(1, &[1; 60], 60), (2, &[2; 60], 60)])];
    for file in files {
        let whole = read(&file).0;
        let head = if file[0] == 0x0a { 28 } else { 24 };
        for length in 0..file.len() {
            let opened = Reader::new(Box::new(Cursor::new(file[..length].to_vec())));
            let Ok(mut reader) = opened else {
                assert!(length < head + 40, "{length} octets are enough to tell what it is");
                continue;
            };
            let records: Vec<Record> = std::iter::from_fn(|| reader.next_record()).collect();
            assert_eq!(records, whole[..records.len()]);
            assert!(reader.next_record().is_none());
            match &reader.account().ended {
                Some(ended) => assert!(ended.contains(&format!("cut at octet {length},")), "{ended}"),
                None => assert!(records.len() < whole.len(), "it ends between two frames"),
            }
        }
    }
    let packed = gzip(&ours());
    let mut reader = Reader::new(Box::new(Cursor::new(packed[..packed.len() - 20].to_vec()))).unwrap();
    while reader.next_record().is_some() {}
    assert!(reader.account().ended.as_ref().is_some_and(|ended| ended.contains("cut at octet")));
}

#[test]
fn a_file_that_says_what_cannot_be_is_read_up_to_there_without_memory_for_it() {
    let frame = packet(0, 1, &[1; 14], &[]);
    let longer = [&[0u8; 12][..], &u32::MAX.to_be_bytes(), &[0; 4]].concat();
    let mut differing = frame.clone();
    *differing.last_mut().unwrap() += 4;
    let endings = [
        (block(6, &longer), "longer than its block"),
        (differing, "two lengths differ"),
        ([6u32.to_be_bytes(), 0xffff_fff0u32.to_be_bytes()].concat(), "longer than any frame"),
        ([6u32.to_be_bytes(), 8u32.to_be_bytes()].concat(), "length that cannot be"),
        (described(1, &[]).repeat(2000), "more interfaces"),
        (block(0x0a0d_0d0a, &[0; 16]), "byte-order magic"),
        (block(6, &[0; 4]), "too short"),
        (block(1, &[0; 4]), "too short"),
    ];
    for (ending, why) in endings {
        let (records, account) = read(&[section(), described(1, &[]), frame.clone(), ending].concat());
        assert_eq!(records.len(), 1, "{why}");
        let ended = account.ended.unwrap_or_default();
        assert!(ended.contains(why) && ended.contains("octet"), "{ended}");
    }
    let mut file = pcap(true, false, 1, &[(1, &[1; 14], 14)]);
    file.extend([0xff; 16]);
    let (records, account) = read(&file);
    assert_eq!(records.len(), 1);
    assert!(account.ended.is_some_and(|ended| ended.contains("longer than any that is captured")));
    // A skipped block of 4 GB is not there.
    let skipped = [0x77u32.to_be_bytes(), 0xffff_fff0u32.to_be_bytes()].concat();
    let (_, account) = read(&[section(), skipped].concat());
    assert!(account.ended.is_some_and(|ended| ended.contains("cut at octet")));
}

#[test]
fn what_is_no_capture_is_refused() {
    for bytes in
        [&b""[..], b"a", b"this is no capture", &[0x1f, 0x8b], &gzip(b"text")[..], &[0xd4, 0xc3, 0xb2, 0xa1]]
    {
        let error = Reader::new(Box::new(Cursor::new(bytes.to_vec()))).map(drop).unwrap_err();
        assert!(!error.to_string().is_empty(), "{bytes:?}");
    }
    let old = Reader::new(Box::new(Cursor::new(vec![0x34, 0xcd, 0xb2, 0xa1]))).map(drop).unwrap_err();
    assert!(old.to_string().contains("editcap"), "{old}");
}

#[test]
fn options_that_lie_about_their_length_harm_nothing_else() {
    for lie in [[0, 1, 0xff, 0xff], [0, 2, 0, 0], [0, 4, 0, 3], [0, 0, 0, 9]] {
        let (records, account) =
            read(&[section(), described(1, &lie), packet(0, 1, &[1; 14], &lie)].concat());
        assert_eq!((records.len(), account.ended), (1, None), "{lie:?}");
    }
}
