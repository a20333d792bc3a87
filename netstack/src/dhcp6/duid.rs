//! DHCP unique identifiers (RFC 8415 §11): who a client or a server is.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::Mac;

/// Fewest octets of a DUID: its type, and one of an identifier.
pub const DUID_MIN: usize = 3;
/// Most octets of a DUID: its type, and 128 of an identifier (RFC 8415 §11.1).
pub const DUID_MAX: usize = 130;

/// A DUID: 3 to 130 octets, compared as they are and never looked into. As text it is hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duid(Box<[u8]>);

impl Duid {
    /// The DUID in `bytes`. `None` unless they are 3 to 130.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (DUID_MIN..=DUID_MAX).contains(&bytes.len()).then(|| Duid(bytes.into()))
    }

    /// The DUID of a link-layer address of Ethernet (DUID-LL, RFC 8415 §11.4): the type 3, the hardware type 1, the
    /// address.
    ///
    /// The owner draws it up once and stores it, so that it stays when the network card goes (RFC 7084 W-5).
    pub fn link_layer(mac: Mac) -> Self {
        Duid([&[0, 3, 0, 1], &mac.0[..]].concat().into())
    }

    /// The Ethernet address in a DUID-LL, or in a DUID-LLT (RFC 8415 §11.2).
    pub fn mac(&self) -> Option<Mac> {
        match &*self.0 {
            [0, 3, 0, 1, mac @ ..] | [0, 1, 0, 1, _, _, _, _, mac @ ..] if mac.len() == 6 => Mac::read(mac),
            _ => None,
        }
    }

    /// Its octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Duid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Duid {
    type Err = DuidError;

    /// Reads hexadecimal digits; colons and hyphens between octets are allowed.
    fn from_str(text: &str) -> Result<Self, DuidError> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !matches!(c, ':' | '-'))
            .take(2 * DUID_MAX + 1)
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(DuidError))
            .collect::<Result<_, _>>()?;
        let (pairs, []) = digits.as_chunks::<2>() else { return Err(DuidError) };
        let bytes: Vec<u8> = pairs.iter().map(|&[high, low]| high << 4 | low).collect();
        Duid::new(&bytes).ok_or(DuidError)
    }
}

impl Serialize for Duid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not a DUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuidError;

impl fmt::Display for DuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a DUID of 3 to 130 octets in hexadecimal, like 00030001020000000001")
    }
}

impl core::error::Error for DuidError {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    /// RFC 7084 W-5: what is stored is what is read back.
    #[test]
    fn rfc7084_w_5_a_duid_survives_as_text() {
        let duid = Duid::link_layer(Mac([2, 0, 0, 0, 0, 0xab]));
        assert_eq!(duid.to_string(), "000300010200000000ab");
        assert_eq!(duid.to_string().parse(), Ok(duid.clone()));
        assert_eq!("00:03:00:01:02-00-00-00-00-AB".parse(), Ok(duid));
    }

    #[test]
    fn a_duid_made_of_an_ethernet_address_tells_it() {
        let mac = Mac([2, 0, 0, 0, 0, 0xab]);
        assert_eq!(Duid::link_layer(mac).mac(), Some(mac));
        for (text, found) in [
            ("00010001abcdef000200000000ab", Some(mac)),
            ("00010001abcdef000200000000", None),
            ("0003000102000000", None),
            ("000300020200000000ab", None),
            ("000400010200000000ab", None),
        ] {
            assert_eq!(text.parse::<Duid>().unwrap().mac(), found, "{text}");
        }
    }

    /// odhcpd CVE-2026-53920: every length, and no octet that was not given.
    #[test]
    fn a_duid_has_3_to_130_octets() {
        for len in 0..=200 {
            let bytes = vec![7; len];
            let duid = Duid::new(&bytes);
            assert_eq!(duid.is_some(), (3..=130).contains(&len), "{len} octets");
            if let Some(duid) = duid {
                assert_eq!(duid.as_bytes(), bytes);
                assert_eq!(duid.to_string().parse(), Ok(duid));
            }
        }
        for text in ["", "0", "0003", "00030", "0003zz", "0003é0", &"00".repeat(131)] {
            assert_eq!(text.parse::<Duid>(), Err(DuidError), "{text}");
        }
    }
}
