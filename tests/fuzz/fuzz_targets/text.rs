//! Frames as lines of text: whatever is in them, a frame is one line of bounded length, that no terminal obeys.
#![no_main]

use genkan::capture::text::words;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let line = words(data);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    // Twelve letters for an octet are more than any field takes; the rest is names of fields.
    assert!(line.len() <= 400 + 60 * data.len(), "{} letters of {} octets", line.len(), data.len());
});
