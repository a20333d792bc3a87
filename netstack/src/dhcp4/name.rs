//! Names that clients give themselves.
//!
//! A name comes from a stranger and goes into the lease file, the status, the log and the DNS. So it is either a DNS label
//! (RFC 1123 §2.1) or nothing at all: no newline, no markup, no escape survives.

use alloc::string::String;

/// Octets of the longest label (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// The first label of what a client calls itself, in lower case; spaces and underscores become hyphens. `None` when
/// anything else is in it that a host name cannot have.
pub fn sanitise(raw: &[u8]) -> Option<String> {
    let end = raw.iter().position(|&c| c == 0 || c == b'.').unwrap_or(raw.len());
    let label = raw.get(..end)?;
    if label.is_empty() || label.len() > LABEL_MAX {
        return None;
    }
    let mut name = String::with_capacity(label.len());
    for &c in label {
        name.push(match c {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(c),
            b'A'..=b'Z' => char::from(c.to_ascii_lowercase()),
            b' ' | b'_' => '-',
            _ => return None,
        });
    }
    (!name.starts_with('-') && !name.ends_with('-')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odhcpd_cve_2026_62948_a_name_is_a_label_or_nothing() {
        for (raw, name) in [
            (&b"laptop"[..], Some("laptop")),
            (b"DESKTOP-4F", Some("desktop-4f")),
            (b"Galaxy_S21 Ultra\0", Some("galaxy-s21-ultra")),
            (b"nas.example.org", Some("nas")),
            (b"", None),
            (b".", None),
            (b"a\nb", None),
            (b"<script>alert(1)</script>", None),
            (b"\x1b[31mred", None),
            (b"$(reboot)", None),
            (b"a\"b\\", None),
            (b"-x", None),
            (b"x-", None),
            ("caf\u{e9}".as_bytes(), None),
            (&[b'a'; 64], None),
        ] {
            assert_eq!(sanitise(raw).as_deref(), name, "{raw:?}");
        }
        for first in 0..=255u8 {
            if let Some(name) = sanitise(&[b'a', first, b'b']) {
                assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'));
            }
        }
    }
}
