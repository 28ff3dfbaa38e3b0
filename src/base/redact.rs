//! Secrets, and hiding them in every text that leaves the program.
//!
//! Holds: a [`Secret`] is known here from the moment that it exists, so that even a library that
//! was handed one cannot show it by way of a log: whatever writes a text for people calls [`hide`].

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{Error, Result};

/// Shorter ones would blank out ordinary words, and guard nothing.
const SHORTEST_CHARS: usize = 4;
/// Bytes of a file with a secret; whatever is larger holds something else.
const LARGEST_FILE: u64 = 64 << 10;

/// All spellings of all secrets, the longest first. It only grows: a show has a handful.
static SPELLINGS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// What RFC 3986 leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What it allows in a path, and what most libraries leave alone there.
const PATH: &AsciiSet = &COMPONENT
    .remove(b'/')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');
/// What it allows in a query.
const QUERY: &AsciiSet = &PATH.remove(b'?');

/// A value that no log, error or archive ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        remember(&text);
        Secret(text)
    }

    /// The text itself, for whom it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What a file holds, without the space around it. Nobody but its owner may read the file.
pub fn secret_file(path: &Path) -> Result<Secret> {
    let shown = path.display();
    let unreadable = |e| Error::io(format!("cannot read {shown}"), e);
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(Error::usage(format!("{shown} is no file; it has to hold the secret alone")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::usage(format!(
                "others may read {shown} (its mode is {mode:o}); run: chmod 600 '{shown}'"
            )));
        }
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(Error::usage(format!(
            "{shown} is larger than {} kB; it has to hold the secret alone",
            LARGEST_FILE >> 10
        )));
    }
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err(Error::usage(format!("{shown} is empty; it has to hold the secret"))),
        Ok(text) if !text.chars().any(char::is_control) => Ok(Secret::new(text)),
        _ => Err(Error::usage(format!(
            "{shown} is not one line of text; it has to hold the secret alone"
        ))),
    }
}

/// From now on [`hide`] hides this text, and how it looks in URIs, JSON, YAML and debug
/// output.
pub fn remember(secret: &str) {
    let debug = format!("{secret:?}");
    // A text is always written.
    let json = serde_json::to_string(secret).unwrap_or_default();
    let encoded = [NON_ALPHANUMERIC, COMPONENT, PATH, QUERY]
        .map(|set| utf8_percent_encode(secret, set).to_string());
    let lower_case = encoded.each_ref().map(|text| lower_case_escapes(text));
    // Between single quotes YAML doubles one that belongs to the text.
    let yaml = secret.replace('\'', "''");
    let spellings = [secret, &yaml, unquoted(&debug), unquoted(&json)]
        .map(str::to_owned)
        .into_iter()
        .chain(encoded)
        .chain(lower_case);
    let mut known = SPELLINGS.write().unwrap_or_else(PoisonError::into_inner);
    for spelling in spellings {
        if secret.chars().count() >= SHORTEST_CHARS && !known.contains(&spelling) {
            let place = known.partition_point(|other| other.len() >= spelling.len());
            known.insert(place, spelling);
        }
    }
}

/// The text with `***` in place of every secret.
pub fn hide(text: &str) -> Cow<'_, str> {
    let known = SPELLINGS.read().unwrap_or_else(PoisonError::into_inner);
    let mut hidden = Cow::Borrowed(text);
    for spelling in known.iter() {
        if hidden.contains(spelling.as_str()) {
            hidden = Cow::Owned(hidden.replace(spelling.as_str(), "***"));
        }
    }
    hidden
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// `%2F` as `%2f`.
fn lower_case_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // Two ASCII digits stand behind every `%` that the encoder wrote.
        let (digits, rest) = part.split_at(2);
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_is_hidden_in_every_spelling() {
        let secret = Secret::new("p#ss \"w/ö%?rd");
        assert_eq!(format!("{secret:?}"), "(secret)");
        for text in [
            secret.reveal(),
            "p%23ss%20%22w%2F%C3%B6%25%3Frd",
            "p%23ss%20%22w%2f%c3%b6%25%3frd",
            "p%23ss%20%22w/%C3%B6%25%3Frd",
            r#"p#ss \"w/ö%?rd"#,
        ] {
            assert_eq!(hide(&format!("<{text}> and <{text}>")), "<***> and <***>");
        }
        remember("it's yaml");
        assert_eq!(hide("key: 'it''s yaml'"), "key: '***'");
    }

    #[test]
    fn the_longest_goes_first() {
        remember("redact-inner");
        remember("redact-inner-and-outer");
        assert_eq!(hide("redact-inner-and-outer redact-inner"), "*** ***");
    }

    #[test]
    fn what_is_short_or_unknown_stays() {
        remember("abc");
        remember("äöü");
        remember("");
        let text = "abc äöü nothing of that is kept back";
        assert!(matches!(hide(text), Cow::Borrowed(same) if same == text));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_a_secret_is_its_owners_alone() {
        use std::fs::{Permissions, set_permissions, write};
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |content: &[u8], mode| {
            write(&path, content).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            secret_file(&path).map_err(|e| e.to_string())
        };
        assert_eq!(read(b" file-token\r\n", 0o600).unwrap().reveal(), "file-token");
        assert_eq!(hide("<file-token>"), "<***>");
        for (content, mode, said) in [
            (&b"file-token"[..], 0o640, "chmod 600"),
            (b"file-token", 0o604, "chmod 600"),
            (b" \n", 0o600, "is empty"),
            (b"one\ntwo", 0o600, "not one line"),
            (b"\xff\xfe", 0o600, "not one line"),
            (&[b'x'; 70_000], 0o600, "larger than 64 kB"),
        ] {
            let error = read(content, mode).unwrap_err();
            assert!(error.contains(said) && error.contains("token"), "{error}");
        }
        assert!(secret_file(folder.path()).unwrap_err().to_string().contains("no file"));
        let missing = secret_file(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("cannot read"), "{missing}");
    }

    proptest! {
        #[test]
        fn no_secret_gets_through(secret in "\\PC{4,24}", before in "\\PC{0,8}", after in "\\PC{0,8}") {
            remember(&secret);
            let escaped = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
            for spelling in [&secret, &escaped] {
                let text = format!("{before}{spelling}{after}");
                prop_assume!(!"***".contains(&**spelling) && !secret.contains('*'));
                let hidden = hide(&text);
                prop_assert!(!hidden.contains(&**spelling), "{hidden}");
            }
        }
    }
}
