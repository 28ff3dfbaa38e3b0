//! Where a show's sound comes from, as `live.audio.source` and `/sound/source` write it.
//!
//! Holds: what [`AudioSource::shown`] says has no secret in it.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::base::redact;

/// What may be written.
pub const ALLOWED: &str = "silence, tone, file:PATH or file-once:PATH of a sound file that exists \
                           (from the worqspace), jack, pulse or alsa (each also with :DEVICE), \
                           an rtmp://, rtmps:// or srt:// address, or ndi:NAME";

#[derive(Clone, PartialEq, Eq)]
pub enum AudioSource {
    Silence,
    /// 1 kHz at -20 dBFS.
    Tone,
    File {
        path: PathBuf,
        /// Silence at its end, rather than from the start again.
        once: bool,
    },
    /// PulseAudio, or PipeWire in its place; `None`: the default device.
    Pulse(Option<String>),
    /// A program or ports of JACK, as a regular expression; `None`: the card's inputs.
    Jack(Option<String>),
    Alsa(Option<String>),
    /// RTMP or SRT; it may hold a secret.
    Url(String),
    Ndi(String),
}

impl AudioSource {
    /// Reads a source; `None`: it is none. A file's path is relative to `folder`; whether it is there
    /// is not looked at.
    pub fn parse(text: &str, folder: &Path) -> Option<Self> {
        let text = text.trim();
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest.trim())),
            None => (text, None),
        };
        let file = |once| {
            let path = folder.join(rest.filter(|path| !path.is_empty())?);
            Some(AudioSource::File { path, once })
        };
        let device = rest.filter(|device| !device.is_empty()).map(str::to_owned);
        match (kind, rest) {
            ("silence", None) => Some(AudioSource::Silence),
            ("tone", None) => Some(AudioSource::Tone),
            ("file", _) => file(false),
            ("file-once", _) => file(true),
            ("pulse", _) => Some(AudioSource::Pulse(device)),
            ("jack", _) => Some(AudioSource::Jack(device)),
            ("alsa", _) => Some(AudioSource::Alsa(device)),
            ("rtmp" | "rtmps" | "srt", Some(address)) if address.starts_with("//") => {
                remember_secrets(text);
                Some(AudioSource::Url(text.to_owned())).filter(|_| address.len() > 2)
            }
            ("ndi", _) => device.map(AudioSource::Ndi),
            _ => None,
        }
    }

    /// As it is written, for people.
    pub fn shown(&self) -> String {
        let of = |kind: &str, device: &Option<String>| match device {
            Some(device) => format!("{kind}:{device}"),
            None => kind.to_owned(),
        };
        match self {
            AudioSource::Silence => "silence".to_owned(),
            AudioSource::Tone => "tone".to_owned(),
            AudioSource::File { path, once: false } => format!("file:{}", path.display()),
            AudioSource::File { path, once: true } => format!("file-once:{}", path.display()),
            AudioSource::Pulse(device) => of("pulse", device),
            AudioSource::Jack(device) => of("jack", device),
            AudioSource::Alsa(device) => of("alsa", device),
            AudioSource::Url(url) => shown_url(url),
            AudioSource::Ndi(name) => format!("ndi:{name}"),
        }
    }

    /// Whether its address holds what nobody should see.
    pub fn has_secret(&self) -> bool {
        matches!(self, AudioSource::Url(url) if shown_url(url) != *url)
    }
}

impl fmt::Debug for AudioSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Parameters of an address that are no secret; their values are ordinary words and numbers.
const OPEN: [&str; 5] = ["mode", "latency", "pbkeylen", "transtype", "timeout"];

struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    path: Option<&'a str>,
    /// Of RTMP, behind the application.
    key: Option<&'a str>,
    query: Option<&'a str>,
}

fn parts(url: &str) -> Parts<'_> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, q)| (rest, Some(q)));
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let (user, host) = host.rsplit_once('@').map_or((None, host), |(u, host)| (Some(u), host));
    let (path, key) = match path.and_then(|path| path.rsplit_once('/')) {
        Some((application, key)) if scheme.starts_with("rtmp") && !key.is_empty() => {
            (Some(application), Some(key))
        }
        _ => (path, None),
    };
    Parts { scheme, user, host, path, key, query }
}

/// Nothing shows them from now on, whoever tells of the address.
fn remember_secrets(url: &str) {
    let Parts { user, key, query, .. } = parts(url);
    let values = query.into_iter().flat_map(|query| query.split('&')).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or(("", parameter));
        (!OPEN.contains(&name)).then_some(value)
    });
    let user = user.into_iter().flat_map(|user| {
        let (name, word) = user.split_once(':').unwrap_or((user, ""));
        [user, name, word]
    });
    for secret in values.chain(user).chain(key) {
        redact::remember(secret);
        if let Ok(decoded) = percent_decode_str(secret).decode_utf8() {
            redact::remember(&decoded);
        }
    }
}

/// Without a user, a password, a stream key and queries (stream ids, pass phrases, tokens).
fn shown_url(url: &str) -> String {
    let Parts { scheme, user, host, path, key, query } = parts(url);
    let user = user.map_or("", |_| "...@");
    let path = path.map_or(String::new(), |path| format!("/{path}"));
    let key = key.map_or("", |_| "/***");
    let query = query.map_or("", |_| "?...");
    redact::hide(&format!("{scheme}://{user}{host}{path}{key}{query}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_shown_as_it_is_written() {
        for text in [
            "silence",
            "tone",
            "file:/a/b.wav",
            "file-once:/a/b.wav",
            "pulse",
            "pulse:alsa_input.usb",
            "jack",
            "jack:mixxx:.*",
            "alsa",
            "alsa:hw:1,0",
            "rtmp://host/live",
            "srt://host:9000",
            "ndi:STUDIO (OBS)",
        ] {
            let source =
                AudioSource::parse(text, Path::new("/w")).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(source.shown(), text);
            assert!(!source.has_secret());
        }
        for text in ["mic", "", "silence:1", "file:", "rtmp:", "rtmp://", "ndi:", "http://a/b.mp3"]
        {
            assert_eq!(AudioSource::parse(text, Path::new("/w")), None, "{text}");
        }
        let file = AudioSource::parse("file:set.wav", Path::new("/w"));
        assert_eq!(file, Some(AudioSource::File { path: "/w/set.wav".into(), once: false }));
    }

    #[test]
    fn secrets_of_addresses_are_not_shown() {
        for (url, shown) in [
            ("rtmp://dj:geheim-1@host/live/set", "rtmp://...@host/live/***"),
            ("rtmp://host:1936/live/geheim-2", "rtmp://host:1936/live/***"),
            ("rtmps://host/a/b/geheim-3?token=geheim-4", "rtmps://host/a/b/***?..."),
            ("srt://host:9000?mode=listener&passphrase=geheim-5", "srt://host:9000?..."),
            ("srt://host:9000?streamid=geheim%2D6", "srt://host:9000?..."),
        ] {
            let source = AudioSource::parse(url, Path::new("/w")).unwrap();
            assert!(source.has_secret());
            assert_eq!((source.shown(), format!("{source:?}")), (shown.into(), shown.into()));
        }
        // Nor does anybody else who tells of them.
        for n in 1..=6 {
            let said = format!("a listener cannot reach geheim-{n}");
            assert_eq!(redact::hide(&said), "a listener cannot reach ***");
        }
    }
}
