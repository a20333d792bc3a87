//! "Did you mean": the nearest of the words that are valid at a place.

/// The word of `valid` that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, valid: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let slips = |candidate: &str| strsim::damerau_levenshtein(&word, candidate);
    let near = valid.iter().copied().min_by_key(|c| slips(c)).filter(|c| slips(c) <= (c.len() / 3).max(1));
    near.or_else(|| {
        let likeness = |candidate: &str| strsim::jaro_winkler(&word, candidate);
        let best = valid.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        (likeness(best) >= 0.88).then_some(best)
    })
}

/// What to say of a name that nothing has: the nearest one, or all that exist.
pub(crate) fn name(word: &str, kind: &str, valid: &[&str]) -> String {
    did_you_mean(word, valid, |w| format!("{w:?}")).unwrap_or_else(|| match valid {
        [] => format!("there is no [{kind}.NAME] in this file"),
        _ => format!("there is: {}", valid.join(", ")),
    })
}

/// "did you mean …?", when something is near enough.
pub(crate) fn did_you_mean(word: &str, valid: &[&str], quote: impl Fn(&str) -> String) -> Option<String> {
    nearest(word, valid).map(|near| format!("did you mean {}?", quote(near)))
}

/// True for a key whose value may be a password rather than the path of a file.
pub(crate) fn sounds_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let is_public = key.ends_with("file") || key.contains("public");
    !is_public && ["pas", "pwd", "pw", "secret", "key", "psk"].iter().any(|part| key.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["username", "password-file", "service-name", "ac-name", "mtu"];
        for (slip, meant) in [
            ("pasword-file", "password-file"),
            ("password_file", "password-file"),
            ("Username", "username"),
            ("mut", "mtu"),
            ("servicename", "service-name"),
        ] {
            assert_eq!(nearest(slip, &keys), Some(meant));
        }
        assert_eq!(nearest("colour", &keys), None);
        assert_eq!(nearest("", &keys), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn a_key_that_may_hold_a_password_is_told_from_one_that_names_a_file() {
        assert!(sounds_secret("password") && sounds_secret("PassWord") && sounds_secret("private-key"));
        assert!(!sounds_secret("pasword-file") && !sounds_secret("public-key") && !sounds_secret("mtu"));
    }
}
