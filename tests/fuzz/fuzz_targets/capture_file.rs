//! Capture files of any kind, octet by octet: whatever they say, they are read to an end, frame by frame, in order of time, and
//! no frame has octets that the file does not.
#![no_main]

use std::io::Cursor;

use genkan::capture::reader::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Reader::new(Box::new(Cursor::new(data.to_vec()))) else { return };
    let is_packed = data.starts_with(&[0x1f, 0x8b]);
    let (mut octets, mut last, mut count) = (0, Default::default(), 0);
    while let Some(record) = reader.next_record() {
        count += 1;
        assert_eq!(record.number, count);
        assert!(record.at >= last && record.length >= record.bytes.len());
        last = record.at;
        octets += record.bytes.len();
        if !is_packed {
            assert!(octets <= data.len());
            assert!(data.windows(record.bytes.len().max(1)).any(|part| part == record.bytes) || record.bytes.is_empty());
        }
        assert!(record.comment.is_none_or(|comment| !comment.contains('\n')));
    }
    assert_eq!(reader.account().frames, count);
    assert!(reader.next_record().is_none(), "the end is the end");
    for sentence in reader.account().sentences() {
        assert!(sentence.ends_with('.') && !sentence.contains('\n'));
    }
});
