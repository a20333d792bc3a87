//! What the console says and is told: keys in, actions out, no terminal.
//!
//! Without a question, Enter logs in. While credentials are wanted, two lines are edited one after the other; Enter on an
//! empty user name still logs in. What is typed is wiped.

use zeroize::{Zeroize as _, Zeroizing};

/// Longest line in octets: what a user name and a password may have (RFC 1334 §2.2.1).
const LONGEST: usize = 255;

const CTRL_C: u8 = 0x03;
const CTRL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// What somebody wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing yet.
    None,
    /// To log in.
    LogIn,
    /// To leave the console.
    Leave,
    /// To dial with these.
    Give(Given),
}

/// What somebody has typed, wiped after use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The user name.
    pub(super) username: Zeroizing<Vec<u8>>,
    /// The password.
    pub(super) password: Zeroizing<Vec<u8>>,
}

/// The console's side of the conversation.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    /// Credentials are asked for.
    wanted: bool,
    username: Zeroizing<Vec<u8>>,
    /// `None` while the user name is typed.
    password: Option<Zeroizing<Vec<u8>>>,
    escape: Escape,
    /// What became of the last action.
    notice: Option<String>,
}

/// A key that sends several octets, such as an arrow (ECMA-48 §5.4).
#[derive(Debug, Default, PartialEq)]
enum Escape {
    #[default]
    None,
    Begun,
    Inside,
}

impl Dialogue {
    /// Asks for credentials, or no longer does.
    pub(super) fn set_wanted(&mut self, wanted: bool) {
        if self.wanted && !wanted {
            self.clear();
        }
        self.wanted = wanted;
    }

    /// Says something until the next key.
    pub(super) fn say(&mut self, notice: String) {
        self.notice = Some(notice);
    }

    /// What there is to say.
    pub(super) fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// The question and what is typed so far; of a password nothing.
    pub(super) fn question(&self) -> Option<(&'static str, String)> {
        match &self.password {
            _ if !self.wanted => None,
            None => Some(("PPPoE user name: ", String::from_utf8_lossy(&self.username).into_owned())),
            Some(_) => Some(("Password (not shown): ", String::new())),
        }
    }

    /// The user name that the password is for.
    pub(super) fn username(&self) -> Option<String> {
        self.password.as_ref().map(|_| String::from_utf8_lossy(&self.username).into_owned())
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: u8) -> Action {
        if self.is_part_of_escape(key) {
            return Action::None;
        }
        match key {
            CTRL_C => Action::Leave,
            b'\r' | b'\n' => self.enter(),
            _ if !self.wanted => Action::None,
            CTRL_U if self.password.as_ref().is_none_or(|password| password.is_empty()) => {
                self.clear();
                Action::None
            }
            CTRL_U => {
                self.line().zeroize();
                Action::None
            }
            BACKSPACE | DELETE => {
                let line = self.line();
                // A character may have several octets (RFC 3629 §3).
                while line.pop().is_some_and(|octet| octet & 0xc0 == 0x80) {}
                Action::None
            }
            0..0x20 => Action::None,
            key => {
                self.notice = None;
                let line = self.line();
                if line.len() < LONGEST {
                    line.push(key);
                }
                Action::None
            }
        }
    }

    fn enter(&mut self) -> Action {
        self.notice = None;
        match self.password.take() {
            None if !self.wanted || self.username.is_empty() => Action::LogIn,
            None => {
                // What would move in memory would leave a copy.
                self.password = Some(Zeroizing::new(Vec::with_capacity(LONGEST)));
                Action::None
            }
            Some(password) if password.is_empty() => {
                self.say("The password is empty; it is asked for again.".into());
                self.password = Some(password);
                Action::None
            }
            Some(password) => Action::Give(Given { username: std::mem::take(&mut self.username), password }),
        }
    }

    fn is_part_of_escape(&mut self, key: u8) -> bool {
        let (next, part) = match (&self.escape, key) {
            (Escape::None, ESCAPE) => (Escape::Begun, true),
            (Escape::Begun, b'[' | b'O') => (Escape::Inside, true),
            (Escape::Inside, 0x40..=0x7e) => (Escape::None, true),
            (Escape::Inside, 0x20..0x40) => (Escape::Inside, true),
            _ => (Escape::None, false),
        };
        self.escape = next;
        part
    }

    fn line(&mut self) -> &mut Zeroizing<Vec<u8>> {
        self.password.as_mut().unwrap_or(&mut self.username)
    }

    fn clear(&mut self) {
        self.username.zeroize();
        self.password = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(dialogue: &mut Dialogue, keys: &[u8]) -> Action {
        let mut last = Action::None;
        for key in keys {
            assert_eq!(last, Action::None, "an action ends what is typed");
            last = dialogue.key(*key);
        }
        last
    }

    fn asking() -> Dialogue {
        let mut dialogue = Dialogue::default();
        dialogue.set_wanted(true);
        dialogue
    }

    #[test]
    fn without_a_question_enter_logs_in_and_other_keys_do_nothing() {
        let mut dialogue = Dialogue::default();
        assert_eq!(dialogue.question(), None);
        assert_eq!(typed(&mut dialogue, b"root\x1b[A\r"), Action::LogIn);
        assert_eq!(typed(&mut dialogue, b"\n"), Action::LogIn);
        assert_eq!(typed(&mut dialogue, b"\x03"), Action::Leave);
        dialogue.set_wanted(true);
        assert_eq!(dialogue.question().unwrap().1, "", "what was typed before is forgotten");
        assert_eq!(typed(&mut dialogue, b"\r"), Action::LogIn, "also while something is asked");
    }

    #[test]
    fn credentials_are_edited_and_the_password_is_never_shown() {
        let mut dialogue = asking();
        typed(&mut dialogue, "\x1b[D\x1bOAannaé\x7f\x08\x01@isp".as_bytes());
        assert_eq!(dialogue.question(), Some(("PPPoE user name: ", "ann@isp".into())));
        assert_eq!(typed(&mut dialogue, b"\r"), Action::None);
        assert_eq!(typed(&mut dialogue, b"\r"), Action::None, "an empty password is asked for again");
        assert!(dialogue.notice().unwrap().contains("empty"));
        typed(&mut dialogue, b"wrong\x15hunter2");
        assert_eq!(dialogue.username().as_deref(), Some("ann@isp"));
        let shown = format!("{:?} {:?}", dialogue.question(), dialogue.notice());
        assert!(!shown.contains("hunter2") && !shown.contains("wrong"), "{shown}");
        match typed(&mut dialogue, b"\r") {
            Action::Give(Given { username, password }) => {
                assert_eq!((username.as_slice(), password.as_slice()), (&b"ann@isp"[..], &b"hunter2"[..]));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(dialogue.question().unwrap().1, "", "nothing is left of them");
    }

    #[test]
    fn ctrl_u_begins_anew_and_an_answer_elsewhere_ends_the_question() {
        let mut dialogue = asking();
        typed(&mut dialogue, b"anna\r\x15");
        assert_eq!(dialogue.question(), Some(("PPPoE user name: ", String::new())));
        typed(&mut dialogue, b"anna\rhunter2");
        dialogue.set_wanted(false);
        assert_eq!((dialogue.question(), dialogue.username()), (None, None));
        assert_eq!(typed(&mut dialogue, b"\r"), Action::LogIn);
    }

    #[test]
    fn a_line_is_bounded() {
        let mut dialogue = asking();
        typed(&mut dialogue, &[b'x'; 1000]);
        assert_eq!(dialogue.question().unwrap().1.len(), LONGEST);
    }
}
