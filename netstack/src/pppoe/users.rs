//! Who may come in at a concentrator: its users by name, in a hashed table.
//!
//! A name that nobody has is treated as a user whose password nobody knows, so that trying names takes as long, and
//! looks the same, as trying passwords.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::rng::Rng;
use crate::secret::Secret;
use crate::settings::User;
use crate::table::{Map, Seed};

/// A user by number: the index into the concentrator's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserId(u32);

/// A concentrator's users.
#[derive(Debug)]
pub struct Users {
    list: Vec<User>,
    by_name: Map<Vec<u8>, UserId>,
    nobody: Secret,
}

impl Users {
    /// The table of `users`. Of two with the same name the first counts.
    pub fn new(users: &[User], rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut by_name = Map::with_capacity_and_hasher(users.len(), Seed::draw(rng));
        for (user, index) in users.iter().zip(0..) {
            by_name.entry(user.name.as_bytes().to_vec()).or_insert(UserId(index));
        }
        let mut nobody = vec![0; 32];
        rng.fill(&mut nobody);
        Users { list: users.to_vec(), by_name, nobody: Secret::new(nobody) }
    }

    /// The user called `name`.
    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        self.by_name.get(name).copied()
    }

    /// The password to hold the user called `name` to.
    pub fn secret(&self, name: &[u8]) -> &Secret {
        self.find(name).and_then(|user| self.user(user)).map_or(&self.nobody, |user| &user.password)
    }

    /// The name of a user.
    pub fn name(&self, user: UserId) -> Option<&String> {
        self.user(user).map(|user| &user.name)
    }

    /// The address that a user always gets.
    pub fn fixed_address(&self, user: UserId) -> Option<Ipv4Addr> {
        self.user(user)?.ipv4
    }

    /// Every address that belongs to a user.
    pub fn fixed_addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.list.iter().filter_map(|user| user.ipv4)
    }

    fn user(&self, user: UserId) -> Option<&User> {
        self.list.get(usize::try_from(user.0).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    fn user(name: &str, password: &str) -> User {
        User { name: name.into(), password: Secret::new(password), ipv4: None, prefix: None }
    }

    #[test]
    fn users_are_found_by_their_exact_name_and_nobody_has_an_unknown_password() {
        let list = [user("alice", "a"), user("bob", "b"), user("alice", "second")];
        let users = Users::new(&list, &mut SeededRng::from_u64(1));
        let alice = users.find(b"alice").unwrap();
        assert_eq!(users.name(alice).unwrap(), "alice");
        assert_eq!(users.secret(b"alice").expose(), b"a");
        assert_eq!(users.secret(b"bob").expose(), b"b");
        for name in [&b""[..], b"Alice", b"alice\0", &[0xff; 65_535]] {
            assert_eq!(users.find(name), None);
            assert_eq!(users.secret(name).expose().len(), 32);
        }
        let other = Users::new(&list, &mut SeededRng::from_u64(2));
        assert_ne!(users.secret(b"eve").expose(), other.secret(b"eve").expose());
    }
}
