//! AC-Cookies (RFC 2516 §5.2): proof that who asks for a session has received our offer, without keeping state for
//! offers that nobody takes up.
//!
//! A cookie is a nonce, drawn for each offer, and a keyed digest of the nonce and the station's address. The key is
//! drawn once. The nonce also tells a repeated request from a new one. The digest does not cover the Host-Uniq, since a
//! host may use another one in its PADR than in its PADI.

use sha1::{Digest, Sha1};

use crate::id::Mac;
use crate::rng::Rng;

/// Length of a cookie in octets.
pub const LEN: usize = 24;

/// The secret key of a concentrator's cookies.
pub struct Key([u8; 32]);

impl Key {
    /// A key drawn from `rng`.
    pub fn draw(rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Key(key)
    }

    /// The cookie of an offer to `station`.
    pub fn bake(&self, rng: &mut (impl Rng + ?Sized), station: Mac) -> [u8; LEN] {
        self.cookie(station, rng.next_u64().to_be_bytes())
    }

    /// True when `cookie` was made for `station`. Takes the same time wherever it differs.
    pub fn holds(&self, cookie: &[u8], station: Mac) -> bool {
        let (Some(nonce), true) = (cookie.first_chunk::<8>(), cookie.len() == LEN) else { return false };
        let good = self.cookie(station, *nonce);
        good.iter().zip(cookie).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }

    /// A number that tells requests apart: the same for the same cookie and Host-Uniq.
    pub fn identity(&self, cookie: &[u8], host_uniq: Option<&[u8]>) -> u64 {
        let (tagged, host_uniq) = (u8::from(host_uniq.is_some()), host_uniq.unwrap_or_default());
        let digest = Sha1::new()
            .chain_update(self.0)
            .chain_update([2, tagged])
            .chain_update(cookie)
            .chain_update(host_uniq)
            .chain_update(self.0)
            .finalize();
        digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    fn cookie(&self, station: Mac, nonce: [u8; 8]) -> [u8; LEN] {
        let digest = Sha1::new()
            .chain_update(self.0)
            .chain_update([1])
            .chain_update(station.0)
            .chain_update(nonce)
            .chain_update(self.0)
            .finalize();
        let mut cookie = [0; LEN];
        for (to, from) in cookie.iter_mut().zip(nonce.iter().chain(digest.iter())) {
            *to = *from;
        }
        cookie
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    #[test]
    fn a_cookie_holds_for_its_station_and_no_other_bit() {
        let mut rng = SeededRng::from_u64(5);
        let key = Key::draw(&mut rng);
        let (station, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        let cookie = key.bake(&mut rng, station);
        assert!(key.holds(&cookie, station));
        assert!(!key.holds(&cookie, other));
        assert!(!Key::draw(&mut rng).holds(&cookie, station));
        for bit in 0..LEN * 8 {
            let mut forged = cookie;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.holds(&forged, station));
        }
        for len in 0..LEN {
            assert!(!key.holds(&cookie[..len], station));
        }
        assert_ne!(cookie, key.bake(&mut rng, station), "each offer has its own");
    }

    #[test]
    fn requests_are_the_same_when_cookie_and_host_uniq_are() {
        let mut rng = SeededRng::from_u64(5);
        let key = Key::draw(&mut rng);
        let cookie = key.bake(&mut rng, Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(key.identity(&cookie, Some(b"a")), key.identity(&cookie, Some(b"a")));
        assert_ne!(key.identity(&cookie, Some(b"a")), key.identity(&cookie, Some(b"b")));
        assert_ne!(key.identity(&cookie, Some(b"")), key.identity(&cookie, None));
    }
}
