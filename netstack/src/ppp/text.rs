//! Words of the peer, made fit to be shown to the user.

use alloc::string::String;

/// Characters kept of a message.
const LONGEST: usize = 200;

/// A message of the peer as one line: letters, digits, ASCII punctuation and single spaces, at most 200 characters.
/// Control characters, escapes and marks that turn the direction of writing become spaces.
pub(crate) fn printable(message: &[u8]) -> String {
    let mut text = String::new();
    let mut length = 0;
    let mut gap = false;
    for character in String::from_utf8_lossy(message).chars() {
        if character.is_alphanumeric() || character.is_ascii_graphic() {
            if gap && length > 0 {
                text.push(' ');
                length += 1;
            }
            gap = false;
            if length >= LONGEST {
                break;
            }
            text.push(character);
            length += 1;
        } else {
            gap = true;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn messages_become_one_bounded_printable_line() {
        assert_eq!(printable(b"  Access denied:\r\n\x1b[31mcall 0800\x00 "), "Access denied: [31mcall 0800");
        assert_eq!(printable("Zugang gesperrt für Müller".as_bytes()), "Zugang gesperrt für Müller");
        assert_eq!(printable("a\u{202e}b\u{2028}c".as_bytes()), "a b c");
        assert_eq!(printable(&[0xff, 0xfe, b'x']), "x");
        assert_eq!(printable(&vec![b'y'; 65_530]).len(), LONGEST);
        assert!(printable(&b"z ".repeat(30_000)).chars().count() <= LONGEST + 1);
        assert_eq!(printable(b""), "");
    }
}
