//! Domain names as DHCPv6 options hold them (RFC 8415 §10): labels after their lengths, never compressed.
//!
//! Names come from strangers and go into the DNS, into advertisements, the status and the log. So a name is letters, digits,
//! hyphens and underscores in lower case, or it is left out.

use alloc::string::String;
use alloc::vec::Vec;

/// Octets of the longest name on the wire (RFC 1035 §2.3.4).
const NAME_MAX: usize = 255;
/// Octets of the longest label.
const LABEL_MAX: usize = 63;
/// Most names that are taken from one list.
const LIST_MAX: usize = 16;

/// The names in a list. It ends where a length cannot be; names with other characters are skipped.
pub(crate) fn parse_list(mut bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((name, rest)) = split_name(bytes)
        && names.len() < LIST_MAX
    {
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
        bytes = rest;
    }
    names
}

/// The name at the start of `bytes`, if it is a harmless one, and what follows it. `None` when no name ends there.
fn split_name(mut bytes: &[u8]) -> Option<(Option<String>, &[u8])> {
    let mut name = String::new();
    let mut harmless = true;
    let mut total = 0usize;
    loop {
        let (&len, rest) = bytes.split_first()?;
        let (label, rest) = rest.split_at_checked(usize::from(len))?;
        total = total.saturating_add(label.len()).saturating_add(1);
        if label.len() > LABEL_MAX || total > NAME_MAX {
            return None;
        }
        bytes = rest;
        if label.is_empty() {
            return Some(((harmless && !name.is_empty()).then_some(name), bytes));
        }
        harmless &= label.iter().all(|&c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|c| char::from(c.to_ascii_lowercase())));
    }
}

/// Appends `name`, dots between its labels, as labels after their lengths. False, and no change, when it is not a name.
pub(crate) fn push_name(out: &mut Vec<u8>, name: &str) -> bool {
    let before = out.len();
    for label in name.trim_end_matches('.').split('.') {
        match u8::try_from(label.len()) {
            Ok(len @ 1..=63) => {
                out.push(len);
                out.extend_from_slice(label.as_bytes());
            }
            _ => {
                out.truncate(before);
                return false;
            }
        }
    }
    out.push(0);
    let fits = out.len().saturating_sub(before) <= NAME_MAX;
    if !fits {
        out.truncate(before);
    }
    fits
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn list(names: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(names.iter().all(|name| push_name(&mut out, name)));
        out
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let bytes = list(&["example.com", "sales.example.com", "_tcp.x-1.example"]);
        assert_eq!(parse_list(&bytes), ["example.com", "sales.example.com", "_tcp.x-1.example"]);
        assert_eq!(&bytes[..13], b"\x07example\x03com\0");
    }

    #[test]
    fn a_list_that_is_cut_keeps_its_whole_names() {
        let bytes = list(&["example.com", "sales.example.com"]);
        for len in 0..bytes.len() {
            let expected: &[&str] = if len < 13 { &[] } else { &["example.com"] };
            assert_eq!(parse_list(&bytes[..len]), expected, "{len} octets");
        }
    }

    #[test]
    fn a_harmful_name_is_skipped_and_the_rest_is_kept() {
        for label in ["a\nb", "<b>", "\u{1b}[31m", "a b", "a\"b", "a.b"] {
            let len = label.len() as u8;
            let bytes = [&[len], label.as_bytes(), b"\0\x02ok\0"].concat();
            assert_eq!(parse_list(&bytes), ["ok"], "{label:?}");
        }
        assert_eq!(parse_list(b"\0\x02ok\0"), ["ok"], "the root is no search domain");
        assert_eq!(parse_list(b"\xc0\x00\x02ok\0"), Vec::<String>::new(), "a pointer is not a label here");
    }

    #[test]
    fn names_and_lists_have_bounds() {
        assert!(!push_name(&mut vec![], &"a".repeat(64)));
        assert!(!push_name(&mut vec![], "a..b"));
        assert!(!push_name(&mut vec![], ""));
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let mut out = vec![9];
        assert!(push_name(&mut out, &longest));
        assert_eq!(parse_list(&out[1..]), [longest.as_str()]);
        assert!(!push_name(&mut out, &(longest + "d")));
        assert_eq!(out.len(), 256, "what does not fit leaves nothing behind");
        assert_eq!(parse_list(&b"\x01a\x01b\0".repeat(99)).len(), 1, "each name once");
    }
}
