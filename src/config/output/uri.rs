//! Reads output URIs and options.
//!
//! Holds: what a URI or an option says is repeated in an error only where it cannot be a secret: a
//! text that does not parse may be nothing but a stream key.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::{
    Container, Monitor, OutputSpec, Profile, RtmpTarget, Secret, SrtMode, SrtTarget, Target,
    implied_mode,
};
use crate::base::redact::remember;
use crate::config::kind::{Kind, choice, flag, name_of, size, text, whole};
use crate::config::read::shown_value;

/// What is wrong with an output.
#[derive(Debug)]
pub(in crate::config) struct Fault {
    /// The option that it is wrong with.
    pub option: Option<&'static str>,
    pub message: String,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Fault { option: None, message: message.into() }
    }

    fn of(option: &'static str, message: impl Into<String>) -> Self {
        Fault { option: Some(option), message: message.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(option) = self.option {
            write!(f, "option {option}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// An option of outputs.
pub(in crate::config) struct Rule {
    pub name: &'static str,
    /// How else it may be written.
    pub alias: Option<&'static str>,
    /// The kinds of outputs that have it.
    kinds: &'static [&'static str],
}

const fn rule(
    name: &'static str,
    alias: Option<&'static str>,
    kinds: &'static [&'static str],
) -> Rule {
    Rule { name, alias, kinds }
}

const EVERY: &[&str] = &["null", "file", "rtmp", "srt", "ndi", "display"];
const ENCODED: &[&str] = &["null", "file", "rtmp", "srt"];
const RTMP: &[&str] = &["rtmp"];
const SRT: &[&str] = &["srt"];
const DISPLAY: &[&str] = &["display"];

pub(in crate::config) const OPTIONS: &[Rule] = &[
    rule("name", None, EVERY),
    rule("bitrate", Some("bitrate_kbps"), ENCODED),
    rule("preset", None, ENCODED),
    rule("adaptive", None, &["rtmp", "srt"]),
    rule("profile", None, RTMP),
    rule("key", None, RTMP),
    rule("username", None, RTMP),
    rule("password", None, RTMP),
    rule("mode", None, SRT),
    rule("latency", Some("latency_ms"), SRT),
    rule("passphrase", None, SRT),
    rule("key_length", Some("pbkeylen"), SRT),
    rule("stream_id", Some("streamid"), SRT),
    rule("size", None, DISPLAY),
    rule("monitor", None, DISPLAY),
];

fn options_of(kind: &str) -> String {
    let names = OPTIONS.iter().filter(|o| o.kinds.contains(&kind)).map(|o| o.name);
    names.collect::<Vec<_>>().join(", ")
}

/// The options that one output was given, as texts.
#[derive(Default)]
pub(in crate::config) struct Given(Vec<(&'static str, String)>);

impl Given {
    pub fn add(&mut self, name: &'static str, text: String) -> Result<(), Fault> {
        if self.0.iter().any(|(other, _)| *other == name) {
            return Err(Fault::of(name, "given twice; delete one"));
        }
        self.0.push((name, text));
        Ok(())
    }

    /// Adds what stands in a URI: `name=value`, with `separators` between.
    fn add_from_uri(&mut self, texts: &str, separators: &[char], kind: &str) -> Result<(), Fault> {
        for option in texts.split(separators).filter(|o| !o.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let known = OPTIONS.iter().find(|o| o.name == name || o.alias == Some(name));
            let Some(Rule { name, .. }) = known else { return Err(unknown_option(name, kind)) };
            if !option.contains('=') {
                return Err(Fault::of(name, format!("found no value; write {name}=VALUE")));
            }
            let value = decoded(value).map_err(|message| Fault::of(name, message))?;
            self.add(name, value)?;
        }
        Ok(())
    }

    /// Refuses what outputs of this kind do not have.
    fn check_kind(&self, kind: &str) -> Result<(), Fault> {
        for rule in OPTIONS.iter().filter(|rule| !rule.kinds.contains(&kind)) {
            if self.0.iter().any(|(name, _)| *name == rule.name) {
                return Err(Fault::of(
                    rule.name,
                    format!(
                        "this is an option of {}, found on {kind}, which has {}; delete it",
                        rule.kinds.join(" and "),
                        options_of(kind)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn take<T: 'static>(&mut self, name: &'static str, kind: Kind<T>) -> Result<Option<T>, Fault> {
        let Some(place) = self.0.iter().position(|(given, _)| *given == name) else {
            return Ok(None);
        };
        let (_, text) = self.0.swap_remove(place);
        kind.read(&text).map(Some).ok_or_else(|| {
            let found = shown_value(&text, kind.secret);
            Fault::of(name, format!("found {found}, allowed: {}", kind.allowed))
        })
    }
}

/// A typing error is repeated; what is unlike any option may be a part of a key.
fn unknown_option(found: &str, kind: &str) -> Fault {
    let names = OPTIONS.iter().flat_map(|o| [Some(o.name), o.alias]).flatten();
    Fault::new(match nearest(found, names) {
        Some(name) => {
            format!("found the option {found:?}, which is not known; did you mean {name}?")
        }
        None => format!(
            "found an option that is not known, allowed: {}; a sign of # & , that belongs to a \
             key or a value is written %23 %26 %2C",
            options_of(kind)
        ),
    })
}

/// What was meant by a typing error.
fn nearest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    let found = found.to_ascii_lowercase();
    names
        .map(|name| (name, strsim::jaro_winkler(&found, name)))
        .filter(|(_, alike)| *alike >= ALIKE && found.len() < 16)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(name, _)| name)
}

const SCHEMES: [&str; 7] = ["rtmp", "rtmps", "srt", "ndi", "display", "file", "null"];
const FORMS: &str = "rtmp://HOST/APPLICATION/KEY, rtmps://..., srt://HOST:PORT, ndi:NAME, \
                     display:, file:PATH.mp4 (.mkv, .ts) or null:";
const RTMP_FORM: &str = "rtmp://HOST/APPLICATION/KEY (or rtmps:)";

fn scheme_named(name: &str) -> Option<&'static str> {
    SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()))
}

fn kind_of(scheme: &'static str) -> &'static str {
    if scheme == "rtmps" { "rtmp" } else { scheme }
}

/// Reads an output URI with options by their names or other spellings.
pub(super) fn read_with(uri: &str, options: &[(String, String)]) -> Result<OutputSpec, Fault> {
    let mut given = Given::default();
    for (name, value) in options {
        let known = OPTIONS.iter().find(|o| o.name == name || o.alias == Some(name));
        let Some(rule) = known else {
            let scheme = uri.split(':').next().unwrap_or_default();
            return Err(unknown_option(name, scheme_named(scheme).map_or("null", kind_of)));
        };
        given.add(rule.name, value.clone())?;
    }
    read(uri, given)
}

/// Reads an output URI, with options that stand beside it in a mapping.
pub(in crate::config) fn read(uri: &str, mut given: Given) -> Result<OutputSpec, Fault> {
    let (uri, options) = uri.trim().split_once('#').unwrap_or((uri.trim(), ""));
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err(Fault::new(format!("found a text with no scheme, allowed: {FORMS}")));
    };
    let Some(scheme) = scheme_named(scheme) else {
        let hint = match nearest(scheme, SCHEMES.into_iter()) {
            Some(name) => format!(" {scheme:?}; did you mean {name}:?"),
            None => ", ".to_owned(),
        };
        let hint = hint.trim_end_matches(", ");
        return Err(Fault::new(format!("found an unknown scheme{hint}; allowed: {FORMS}")));
    };
    let kind = kind_of(scheme);
    if uri.contains(char::is_control) {
        return Err(Fault::new(format!(
            "found a control character in the {kind} address; delete it"
        )));
    }
    given.add_from_uri(options, &['&', ','], kind)?;
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) if ["rtmp", "srt"].contains(&kind) => (address, Some(query)),
        _ => (rest, None),
    };
    if kind == "srt" {
        given.add_from_uri(query.unwrap_or_default(), &['&'], kind)?;
    }
    given.check_kind(kind)?;
    let name = given.take("name", label())?;
    let bitrate_kbps = given.take("bitrate", whole(200..=50_000))?;
    let preset = given.take("preset", name_of(PRESETS))?;
    let adaptive = given.take("adaptive", flag())?.unwrap_or(true);
    // `file://PATH` is `file:PATH`.
    let plain = address.strip_prefix("//").unwrap_or(address);
    let target = match kind {
        "rtmp" => Target::Rtmp(rtmp(scheme == "rtmps", address, query, &mut given)?),
        "srt" => Target::Srt(srt(address, &mut given)?),
        "ndi" => Target::Ndi { name: ndi_name(plain)? },
        "display" => display(plain, &mut given)?,
        "file" => file(plain)?,
        _ if plain.is_empty() => Target::Null,
        _ => return Err(Fault::new("found more than null: alone; delete what stands behind it")),
    };
    Ok(OutputSpec { name, target, bitrate_kbps, preset, adaptive })
}

const PRESETS: &[&str] = &["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"];

fn label() -> Kind<String> {
    Kind::new("a text of 1 to 40 characters", |t| {
        let t = t.trim();
        let good = (1..=40).contains(&t.chars().count()) && !t.contains(char::is_control);
        good.then(|| t.to_owned())
    })
}

fn rtmp(
    tls: bool,
    address: &str,
    query: Option<&str>,
    given: &mut Given,
) -> Result<RtmpTarget, Fault> {
    let profile = given.take(
        "profile",
        choice(&[
            ("twitch", Profile::Twitch),
            ("youtube", Profile::Youtube),
            ("kick", Profile::Kick),
            ("custom", Profile::Custom),
        ]),
    )?;
    let own_key = given.take("key", unbroken())?;
    let mut username = given.take("username", text())?;
    let mut password = given.take("password", unbroken())?;

    let (authority, path) = authority(address, RTMP_FORM)?;
    let place = match authority.rsplit_once('@') {
        Some((user, place)) => {
            let (user, word) = user.split_once(':').map_or((user, None), |(u, w)| (u, Some(w)));
            let part = |text| decoded(text).map_err(Fault::new);
            if username.replace(part(user)?).is_some() {
                return Err(Fault::of("username", "given twice; delete one"));
            }
            if let Some(word) = word {
                remember(word);
                if password.replace(part(word)?).is_some() {
                    return Err(Fault::of("password", "given twice; delete one"));
                }
            }
            place
        }
        None => authority,
    };
    let (host, port) = host_and_port(place)?;
    if host.is_empty() {
        return Err(Fault::new(format!("found no host, allowed: {RTMP_FORM}")));
    }
    let path = path.trim_start_matches('/');
    let (application, key) = match own_key {
        Some(_) if query.is_some() => {
            return Err(Fault::of(
                "key",
                "found a query (?...) in the address, where no key is; put it behind the key",
            ));
        }
        Some(key) => (path.trim_end_matches('/'), key),
        None => {
            let (application, raw) = path.rsplit_once('/').unwrap_or((path, ""));
            let mut key = decoded(raw).map_err(Fault::new)?;
            remember(raw);
            // What a log shows of it may be the part without its query, or the query alone.
            remember(&key);
            if let (Some(query), false) = (query, key.is_empty()) {
                remember(query);
                key = format!("{key}?{query}");
            }
            (application, key)
        }
    };
    if application.is_empty() {
        return Err(Fault::new(format!(
            "found an address without an application, allowed: {RTMP_FORM}"
        )));
    }
    if key.is_empty() {
        return Err(Fault::new(format!(
            "found an address without a stream key behind its application, allowed: {RTMP_FORM}; \
             copy the key from the service's dashboard"
        )));
    }
    Ok(RtmpTarget {
        tls,
        profile: profile.unwrap_or_else(|| Profile::of_host(&host)),
        host,
        port: port.unwrap_or(if tls { 443 } else { 1935 }),
        application: application.to_owned(),
        key: Secret::new(key),
        username,
        password: password.map(Secret::new),
    })
}

const SRT_FORM: &str = "srt://HOST:PORT, or srt://:PORT to wait for callers";

fn srt(address: &str, given: &mut Given) -> Result<SrtTarget, Fault> {
    let modes = choice(&[("caller", SrtMode::Caller), ("listener", SrtMode::Listener)]);
    let mode = given.take("mode", modes)?;
    let latency_ms = given.take("latency", whole(20..=10_000))?.unwrap_or(120);
    let key_length = given.take("key_length", choice(&[("16", 16), ("24", 24), ("32", 32)]))?;
    let passphrase = given.take("passphrase", unbroken())?;
    if let Some(length) = passphrase.as_ref().map(String::len).filter(|n| !(10..=79).contains(n)) {
        let message =
            format!("found {length} characters, allowed: 10 to 79; use what both ends have");
        return Err(Fault::of("passphrase", message));
    }
    let stream_id = given.take("stream_id", unbroken())?;
    if let Some(length) = stream_id.as_ref().map(String::len).filter(|n| !(1..=512).contains(n)) {
        let message = format!("found {length} characters, allowed: 1 to 512");
        return Err(Fault::of("stream_id", message));
    }

    let (authority, path) = authority(address, SRT_FORM)?;
    if !path.is_empty() {
        return Err(Fault::new(format!("found a path behind the port, allowed: {SRT_FORM}")));
    }
    let (mut host, port) = host_and_port(authority)?;
    let Some(port) = port else {
        return Err(Fault::new(format!("found no port, allowed: {SRT_FORM}")));
    };
    let mode = mode.unwrap_or(implied_mode(&host));
    if mode == SrtMode::Caller && implied_mode(&host) == SrtMode::Listener {
        return Err(Fault::new("found no host to call; name it, or write mode=listener"));
    }
    if host == "0.0.0.0" {
        host.clear();
    }
    Ok(SrtTarget {
        mode,
        host,
        port,
        latency_ms,
        passphrase: passphrase.map(Secret::new),
        key_length: key_length.unwrap_or(16),
        stream_id: stream_id.map(Secret::new),
    })
}

fn ndi_name(name: &str) -> Result<String, Fault> {
    match name.trim() {
        "" => Err(Fault::new("found no name, allowed: ndi:NAME, such as ndi:Stage")),
        name => Ok(name.to_owned()),
    }
}

fn display(name: &str, given: &mut Given) -> Result<Target, Fault> {
    let size = given.take("size", size())?;
    let beside = given.take("monitor", text())?;
    if beside.is_some() && !name.trim().is_empty() {
        return Err(Fault::of("monitor", "given twice; delete one"));
    }
    let allowed = "allowed: a number from 1, or a name such as HDMI-1; nothing for the default";
    let monitor = match beside.as_deref().unwrap_or(name).trim() {
        "" => Monitor::Default,
        name if name.bytes().all(|c| c.is_ascii_digit()) => {
            Monitor::Number(name.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                Fault::new(format!("found the monitor {}, {allowed}", shown_value(name, false)))
            })?)
        }
        name => Monitor::Name(name.to_owned()),
    };
    Ok(Target::Display { monitor, size })
}

fn file(path: &str) -> Result<Target, Fault> {
    let path = PathBuf::from(path);
    let suffix = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let container = match suffix.as_deref() {
        Some("mp4") => Container::Mp4,
        Some("mkv") => Container::Mkv,
        Some("ts") => Container::Ts,
        _ if path.as_os_str().is_empty() => {
            return Err(Fault::new("found no file, allowed: file:PATH.mp4, .mkv or .ts"));
        }
        _ => {
            let found = shown_value(&path.display().to_string(), false);
            return Err(Fault::new(format!(
                "found the file {found}, allowed: names that end in .mp4, .mkv or .ts"
            )));
        }
    };
    Ok(Target::File { path, container })
}

/// Host, port and user; what stands behind the slash.
fn authority<'a>(address: &'a str, form: &str) -> Result<(&'a str, &'a str), Fault> {
    let Some(address) = address.strip_prefix("//") else {
        return Err(Fault::new(format!("found no // behind the scheme, allowed: {form}")));
    };
    if address.contains(char::is_whitespace) {
        return Err(Fault::new("found a space in the address; write %20 if it belongs there"));
    }
    Ok(address.split_once('/').unwrap_or((address, "")))
}

/// Neither is repeated in errors: a password may have slipped here.
fn host_and_port(text: &str) -> Result<(String, Option<u16>), Fault> {
    let bad_host = || {
        Fault::new(
            "found a host that is none, allowed: a name, an IPv4 address or [an IPv6 address]",
        )
    };
    let (host, port) = if let Some(text) = text.strip_prefix('[') {
        let (host, rest) = text.split_once(']').ok_or_else(bad_host)?;
        host.parse::<Ipv6Addr>().map_err(|_| bad_host())?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(bad_host());
        }
        (host, port)
    } else {
        let (host, port) = text.rsplit_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
        if !host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) {
            return Err(bad_host());
        }
        (host, port)
    };
    let port = port.map(|port| {
        let digits = port.bytes().all(|c| c.is_ascii_digit());
        let number = port.parse().ok().filter(|n| digits && *n > 0);
        number.ok_or_else(|| {
            Fault::new("found a port that is none, allowed: a whole number from 1 to 65535")
        })
    });
    Ok((host.to_owned(), port.transpose()?))
}

/// A secret, as it is; text of one line.
fn unbroken() -> Kind<String> {
    Kind::new("text of one line", |t| (!t.contains(char::is_control)).then(|| t.to_owned()))
        .secret()
}

/// Fills in percent escapes. What is none stays: `100%` is `100%`.
fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| "found percent escapes that make no UTF-8; write %25 for a % sign")?;
    if decoded.contains(char::is_control) {
        return Err("found an escaped control character; delete it".to_owned());
    }
    Ok(decoded.into_owned())
}

/// What `live.outputs` may hold.
pub(in crate::config) fn allowed() -> String {
    "a URI in quotes, such as \"rtmp://HOST/APPLICATION/KEY\", \"srt://HOST:PORT\", \"ndi:NAME\", \
     \"display:\", \"file:PATH.mp4\" or \"null:\"; or keys with a value each, to: URI first"
        .to_owned()
}
