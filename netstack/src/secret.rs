//! Passwords in memory: never printed, wiped when dropped.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

/// Letters of the shortest secret that is looked for in what others say: one of fewer would be in many a word.
const SHORTEST: usize = 4;

/// A password or shared secret. `Debug` shows no byte and no length of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the secret's bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// The secret itself, for the authentication protocols only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// What somebody says, with the secret blanked where it is repeated.
    pub(crate) fn blanked(&self, text: String) -> String {
        match core::str::from_utf8(&self.0) {
            Ok(secret) if secret.len() >= SHORTEST && text.contains(secret) => {
                text.replace(secret, "********")
            }
            _ => text,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
