//! What an output is: a URI, or a mapping in `config.yaml`, as typed settings.
//!
//! Holds: nothing is looked up or opened here. What a URI or an option says is repeated in an error
//! only where it cannot be a secret: a text that does not parse may be nothing but a stream key.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::Secret;
use super::kind::{Kind, choice, flag, name_of, size, text, whole};
use super::read::shown_value;
use crate::base::error::{Error, Result};
use crate::base::redact::remember;

/// One place that the picture goes to.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputSpec {
    /// The user's label; shown beside the URI.
    pub name: Option<String>,
    pub target: Target,
    /// An encode of its own when it differs from the show's.
    pub bitrate_kbps: Option<u32>,
    /// The x264 speed preset of its own encode: `ultrafast` to `medium`.
    pub preset: Option<String>,
    /// The bitrate may be lowered while the uplink cannot carry it.
    pub adaptive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Encode and count.
    Null,
    /// A relative path is relative to the current folder.
    File {
        path: PathBuf,
        container: Container,
    },
    Rtmp(RtmpTarget),
    Srt(SrtTarget),
    Ndi {
        name: String,
    },
    /// Full-screen, unless it has a size in pixels.
    Display {
        monitor: Monitor,
        size: Option<(u32, u32)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Mp4,
    Mkv,
    Ts,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RtmpTarget {
    pub tls: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// With its instance, if there is one: `app/instance`.
    pub application: String,
    /// With the query behind it, if there is one.
    pub key: Secret,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub profile: Profile,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SrtTarget {
    pub mode: SrtMode,
    /// A name or an address; IPv6 without brackets. Empty: all interfaces (a listener only).
    pub host: String,
    pub port: u16,
    pub latency_ms: u32,
    /// 10 to 79 bytes.
    pub passphrase: Option<Secret>,
    /// Bytes of the key that is made from the passphrase: 16, 24 or 32.
    pub key_length: u32,
    pub stream_id: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtMode {
    Caller,
    Listener,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Monitor {
    Default,
    /// From 1.
    Number(u32),
    /// As the desktop names it, such as `HDMI-1`.
    Name(String),
}

/// A streaming service, for what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Twitch,
    Youtube,
    Kick,
    Custom,
}

/// What a streaming service takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProfileLimits {
    pub max_bitrate_kbps: Option<u32>,
    /// The most time between two key frames.
    pub keyframe_seconds: Option<f64>,
    pub sound_kbps: u32,
    /// In Hz.
    pub sample_rate: u32,
    pub h264_profile: &'static str,
}

impl Profile {
    /// What the services publish: Twitch's "Broadcasting Guidelines" and "Broadcast
    /// Recommendations" (6000 kb/s, key frames every 2 s, profile Main preferred, sound at most
    /// 320 kb/s), YouTube's "Choose live encoder settings" (1080p60 in H.264 up to 12000 kb/s, key
    /// frames every 2 s and never over 4 s, stereo 128 kb/s at 44.1 kHz), Kick's "Streaming
    /// settings" (1000 to 8000 kb/s, key frames every 2 s).
    pub fn limits(self) -> ProfileLimits {
        let (max_bitrate_kbps, keyframe_seconds, sound_kbps, sample_rate, h264_profile) = match self
        {
            Profile::Twitch => (Some(6_000), Some(2.0), 160, 48_000, "main"),
            Profile::Youtube => (Some(12_000), Some(4.0), 128, 44_100, "high"),
            Profile::Kick => (Some(8_000), Some(2.0), 160, 48_000, "high"),
            Profile::Custom => (None, None, 160, 48_000, "high"),
        };
        ProfileLimits { max_bitrate_kbps, keyframe_seconds, sound_kbps, sample_rate, h264_profile }
    }

    /// The service that a host belongs to. Twitch and Kick both live on `live-video.net`: Twitch
    /// on `CITY.contribute` and `ingest.global-contribute`, Kick on other names below the latter.
    fn of_host(host: &str) -> Profile {
        let host = host.to_ascii_lowercase();
        let within = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|h| h.is_empty() || h.ends_with('.'))
        };
        if within("twitch.tv")
            || within("contribute.live-video.net")
            || host == "ingest.global-contribute.live-video.net"
        {
            Profile::Twitch
        } else if within("youtube.com") {
            Profile::Youtube
        } else if within("kick.com") || within("global-contribute.live-video.net") {
            Profile::Kick
        } else {
            Profile::Custom
        }
    }
}

impl OutputSpec {
    /// A file without options, an MP4.
    pub fn file(path: PathBuf) -> Self {
        let target = Target::File { path, container: Container::Mp4 };
        OutputSpec { name: None, target, bitrate_kbps: None, preset: None, adaptive: true }
    }

    /// Reads an output URI with its options behind `#`.
    ///
    /// # Errors
    /// What is wrong with it, without any part of it that may be a secret.
    pub fn parse(uri: &str) -> Result<OutputSpec> {
        read(uri, Given::default()).map_err(|fault| Error::usage(fault.to_string()))
    }

    /// Reads an output URI with options that stand beside it, by their names or other spellings.
    ///
    /// # Errors
    /// As [`OutputSpec::parse`]; the name of an option that is not known is repeated only if it is
    /// like one.
    pub fn with_options(uri: &str, options: &[(String, String)]) -> Result<OutputSpec> {
        let fault = |fault: Fault| Error::usage(fault.to_string());
        let mut given = Given::default();
        for (name, value) in options {
            let known = OPTIONS.iter().find(|o| o.name == name || o.alias == Some(name));
            let Some(rule) = known else {
                let scheme = uri.split(':').next().unwrap_or_default();
                let kind = scheme_named(scheme).map_or("null", kind_of);
                return Err(fault(unknown_option(name, kind)));
            };
            given.add(rule.name, value.clone()).map_err(fault)?;
        }
        read(uri, given).map_err(fault)
    }

    /// The URI as people see it: `***` for every secret, options left out.
    pub fn shown(&self) -> String {
        match &self.target {
            Target::Null => "null:".to_owned(),
            Target::File { path, .. } => format!("file:{}", path.display()),
            Target::Ndi { name } => format!("ndi:{name}"),
            Target::Display { monitor: Monitor::Default, .. } => "display:".to_owned(),
            Target::Display { monitor: Monitor::Number(n), .. } => format!("display:{n}"),
            Target::Display { monitor: Monitor::Name(name), .. } => format!("display:{name}"),
            Target::Rtmp(rtmp) => {
                let (scheme, usual) = if rtmp.tls { ("rtmps", 443) } else { ("rtmp", 1935) };
                let user = rtmp.username.as_ref().map(|_| "***@").unwrap_or_default();
                let host = in_uri(&rtmp.host);
                let port =
                    if rtmp.port == usual { String::new() } else { format!(":{}", rtmp.port) };
                format!("{scheme}://{user}{host}{port}/{}/***", rtmp.application)
            }
            Target::Srt(srt) => {
                let mut shown = format!("srt://{}:{}", in_uri(&srt.host), srt.port);
                let options = [
                    (srt.mode != implied_mode(&srt.host)).then(|| match srt.mode {
                        SrtMode::Caller => "mode=caller",
                        SrtMode::Listener => "mode=listener",
                    }),
                    srt.stream_id.as_ref().map(|_| "streamid=***"),
                    srt.passphrase.as_ref().map(|_| "passphrase=***"),
                ];
                for (option, sign) in options.into_iter().flatten().zip("?&&".chars()) {
                    shown.push(sign);
                    shown.push_str(option);
                }
                shown
            }
        }
    }

    /// `null`, `file`, `rtmp` (with TLS too), `srt`, `ndi` or `display`.
    pub fn kind(&self) -> &'static str {
        match self.target {
            Target::Null => "null",
            Target::File { .. } => "file",
            Target::Rtmp(_) => "rtmp",
            Target::Srt(_) => "srt",
            Target::Ndi { .. } => "ndi",
            Target::Display { .. } => "display",
        }
    }

    /// Whether both would write the same file.
    pub fn same_file(&self, other: &OutputSpec) -> bool {
        // `./a` is `a`.
        let plain = |path: &Path| path.components().filter(|c| c.as_os_str() != ".").collect();
        let file = |spec: &OutputSpec| match &spec.target {
            Target::File { path, .. } => Some::<PathBuf>(plain(path)),
            _ => None,
        };
        file(self).is_some_and(|path| file(other) == Some(path))
    }
}

/// What is wrong with an output.
#[derive(Debug)]
pub(super) struct Fault {
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
pub(super) struct Rule {
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

pub(super) const OPTIONS: &[Rule] = &[
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
pub(super) struct Given(Vec<(&'static str, String)>);

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

/// Reads an output URI, with options that stand beside it in a mapping.
pub(super) fn read(uri: &str, mut given: Given) -> Result<OutputSpec, Fault> {
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

/// Nobody can be called at "all interfaces".
fn implied_mode(host: &str) -> SrtMode {
    if ["", "0.0.0.0", "::"].contains(&host) { SrtMode::Listener } else { SrtMode::Caller }
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

fn in_uri(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
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
pub(super) fn allowed() -> String {
    "a URI in quotes, such as \"rtmp://HOST/APPLICATION/KEY\", \"srt://HOST:PORT\", \"ndi:NAME\", \
     \"display:\", \"file:PATH.mp4\" or \"null:\"; or keys with a value each, to: URI first"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn good(uri: &str) -> OutputSpec {
        OutputSpec::parse(uri).unwrap_or_else(|e| panic!("{uri}: {e}"))
    }

    #[track_caller]
    fn rtmp_of(uri: &str) -> RtmpTarget {
        let Target::Rtmp(rtmp) = good(uri).target else { panic!("{uri}") };
        rtmp
    }

    #[track_caller]
    fn srt_of(uri: &str) -> SrtTarget {
        let Target::Srt(srt) = good(uri).target else { panic!("{uri}") };
        srt
    }

    #[test]
    fn every_kind_is_shown_without_its_secrets() {
        for (uri, kind, shown) in [
            ("null:", "null", "null:"),
            ("file:copy.mp4", "file", "file:copy.mp4"),
            ("file:///tmp/my 100%.MKV", "file", "file:/tmp/my 100%.MKV"),
            ("RTMP://live.twitch.tv/app/k3y", "rtmp", "rtmp://live.twitch.tv/app/***"),
            ("rtmp://h:1936/a/inst/k3y?x=1/2", "rtmp", "rtmp://h:1936/a/inst/***"),
            ("rtmps://h:443/a/k3y", "rtmp", "rtmps://h/a/***"),
            ("rtmps://me:pw@[::1]/a/k3y", "rtmp", "rtmps://***@[::1]/a/***"),
            ("srt://h:9000?passphrase=0123456789", "srt", "srt://h:9000?passphrase=***"),
            ("srt://h:9000#streamid=x", "srt", "srt://h:9000?streamid=***"),
            ("srt://0.0.0.0:9000", "srt", "srt://:9000"),
            ("srt://10.0.0.1:9000?mode=listener", "srt", "srt://10.0.0.1:9000?mode=listener"),
            ("ndi:Main Stage", "ndi", "ndi:Main Stage"),
            ("display:", "display", "display:"),
            ("display:2#size=960x540", "display", "display:2"),
            ("display:HDMI-1", "display", "display:HDMI-1"),
        ] {
            let spec = good(uri);
            assert_eq!((spec.kind(), spec.shown().as_str()), (kind, shown), "{uri}");
        }
    }

    #[test]
    fn a_stream_key_may_have_any_sign() {
        for (uri, key) in [
            ("rtmp://h/app/live_1-2", "live_1-2"),
            ("rtmp://h/app/a%23b%2Fc%20d%C3%B6", "a#b/c dö"),
            ("rtmp://h/app/100%", "100%"),
            ("rtmp://h/app/50%zz%2", "50%zz%2"),
            ("rtmp://h/app/a@b:c", "a@b:c"),
            ("rtmp://h/app/k?bandwidthtest=true&t=a%2Fb", "k?bandwidthtest=true&t=a%2Fb"),
            ("rtmp://h/app#key=a%2Cb=c", "a,b=c"),
        ] {
            assert_eq!(rtmp_of(uri).key.reveal(), key, "{uri}");
        }
        let rtmp = rtmp_of("rtmp://me%40home:p%3Aw@h/app/inst/key");
        assert_eq!(rtmp.username.as_deref(), Some("me@home"));
        assert_eq!(rtmp.password.unwrap().reveal(), "p:w");
        assert_eq!((rtmp.application.as_str(), rtmp.key.reveal()), ("app/inst", "key"));
        assert_eq!((rtmp.port, rtmp.tls), (1935, false));
        assert_eq!(rtmp_of("rtmps://h/app/key").port, 443);
    }

    #[test]
    fn a_service_is_known_by_its_host() {
        for (host, profile) in [
            ("live.twitch.tv", Profile::Twitch),
            ("fra05.contribute.live-video.net", Profile::Twitch),
            ("ingest.global-contribute.live-video.net", Profile::Twitch),
            ("A.RTMP.YouTube.com", Profile::Youtube),
            ("fa723fc1b171.global-contribute.live-video.net", Profile::Kick),
            ("nottwitch.tv", Profile::Custom),
            ("twitch.tv.example", Profile::Custom),
        ] {
            assert_eq!(rtmp_of(&format!("rtmp://{host}/app/key")).profile, profile, "{host}");
        }
        let uri = "rtmp://relay.local/app/key#profile=Twitch";
        assert_eq!(rtmp_of(uri).profile.limits().max_bitrate_kbps, Some(6000));
    }

    #[test]
    fn srt_calls_a_host_and_waits_on_all_interfaces() {
        let plain = srt_of("srt://venue.example:9000/");
        assert_eq!((plain.mode, plain.latency_ms, plain.key_length), (SrtMode::Caller, 120, 16));
        for uri in ["srt://:9000", "srt://0.0.0.0:9000", "srt://:9000?mode=listener"] {
            let srt = srt_of(uri);
            assert_eq!((srt.mode, srt.host.as_str(), srt.port), (SrtMode::Listener, "", 9000));
        }
        assert_eq!(srt_of("srt://[::]:9000").mode, SrtMode::Listener);
        let srt = srt_of(
            "srt://h:1?latency=500&pbkeylen=32&streamid=%23!::r=a,m=publish#passphrase=p%26ss%2Cw0rd!!",
        );
        assert_eq!((srt.latency_ms, srt.key_length), (500, 32));
        assert_eq!(srt.stream_id.unwrap().reveal(), "#!::r=a,m=publish");
        assert_eq!(srt.passphrase.unwrap().reveal(), "p&ss,w0rd!!");
    }

    #[test]
    fn options_stand_behind_a_hash() {
        let uri = "rtmp://h/app/key#name=main%20one&bitrate=4500,preset=VeryFast&adaptive=off";
        let spec = good(uri);
        assert_eq!(spec.name.as_deref(), Some("main one"));
        assert_eq!((spec.bitrate_kbps, spec.preset.as_deref()), (Some(4500), Some("veryfast")));
        assert!(!spec.adaptive && good("rtmp://h/app/key").adaptive);
        let Target::Display { monitor, size } = good("display:#monitor=2,size=960x540").target
        else {
            panic!()
        };
        assert_eq!((monitor, size), (Monitor::Number(2), Some((960, 540))));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_allowed() {
        for (uri, says) in [
            ("", "no scheme, allowed: rtmp://HOST"),
            ("live_s3cret", "no scheme, allowed: rtmp://HOST"),
            ("rmtp://h/app/s3cret", "unknown scheme \"rmtp\"; did you mean rtmp:?"),
            ("s3cret:x", "unknown scheme; allowed: rtmp://HOST"),
            ("rtmp:h/app/s3cret", "no // behind the scheme"),
            ("rtmp://", "no host"),
            ("rtmp:///app/s3cret", "no host"),
            ("rtmp://:1935/app/s3cret", "no host"),
            ("rtmp://h", "without an application"),
            ("rtmp://h//s3cret", "without a stream key"),
            ("rtmp://h/app", "without a stream key"),
            ("rtmp://h/app/", "without a stream key"),
            ("rtmp://h/app/?t=s3cret", "without a stream key"),
            ("rtmp://h:0/app/s3cret", "from 1 to 65535"),
            ("rtmp://h:65536/app/s3cret", "from 1 to 65535"),
            ("rtmp://h:+80/app/s3cret", "from 1 to 65535"),
            ("rtmp://me:s3cret/app/key", "from 1 to 65535"),
            ("rtmp://a b/app/s3cret", "a space in the address"),
            ("rtmp://a$b/app/s3cret", "a host that is none"),
            ("rtmp://::1/app/s3cret", "[an IPv6 address]"),
            ("rtmp://[::1/app/s3cret", "[an IPv6 address]"),
            ("rtmp://[::1]x/app/s3cret", "[an IPv6 address]"),
            ("rtmp://h/app/s3cret%0a", "an escaped control character"),
            ("rtmp://h/app/s3cret%ff", "no UTF-8"),
            ("rtmp://h/app/s3cret\n", ""),
            ("rtmp://h/app/s3\ncret", "a control character"),
            (
                "rtmp://h/app/k#bitrat=1",
                "option \"bitrat\", which is not known; did you mean bitrate?",
            ),
            ("rtmp://h/app/ab#s3cret", "# & , that belongs to a key or a value is written %23"),
            ("rtmp://h/app/k#bitrate", "option bitrate: found no value"),
            (
                "rtmp://h/app/k#bitrate=199",
                "bitrate: found \"199\", allowed: a whole number from 200 to 50000",
            ),
            ("rtmp://h/app/k#bitrate=50001", "from 200 to 50000"),
            ("rtmp://h/app/k#preset=slow", "allowed: ultrafast, superfast, veryfast"),
            ("rtmp://h/app/k#profile=vimeo", "allowed: twitch, youtube, kick, custom"),
            ("rtmp://h/app/k#name=a&name=b", "option name: given twice"),
            ("rtmp://h/app/k#name=", "1 to 40 characters"),
            ("rtmp://h/app/k#size=960x540", "size: this is an option of display, found on rtmp"),
            ("ndi:Stage#bitrate=4500", "an option of null and file and rtmp and srt, found on ndi"),
            ("rtmp://h/app?t=s3cret#key=k", "put it behind the key"),
            ("srt://h", "no port"),
            ("srt://h:9000/live/s3cret", "a path behind the port"),
            ("srt://:9000?mode=caller", "no host to call"),
            ("srt://h:1?mode=rendezvous", "allowed: caller, listener"),
            ("srt://h:1?passphrase=s3cret", "passphrase: found 6 characters, allowed: 10 to 79"),
            ("srt://h:1?pbkeylen=20", "allowed: 16, 24, 32"),
            ("srt://h:1?latncy=200", "did you mean latency"),
            ("srt://h:1?streamid=", "stream_id: found 0 characters"),
            ("ndi:", "ndi:NAME"),
            ("display:0", "a number from 1"),
            ("display:2#monitor=3", "given twice"),
            ("display:#size=1x1", "WIDTHxHEIGHT"),
            ("file:", "no file"),
            ("file:take.avi", "\"take.avi\", allowed: names that end in .mp4, .mkv or .ts"),
            ("null:x", "null: alone"),
        ] {
            if says.is_empty() {
                good(uri);
                continue;
            }
            let said = OutputSpec::parse(uri).unwrap_err().to_string();
            assert!(said.contains(says) && !said.contains("s3cret"), "{uri}\n{said}");
        }
    }

    #[test]
    fn one_file_may_be_written_in_several_ways() {
        let same = |a, b| good(a).same_file(&good(b));
        assert!(same("file:a.mp4", "file:./a.mp4") && same("file:/x/./a.ts", "file:///x/a.ts"));
        assert!(!same("file:a.mp4", "file:b.mp4") && !same("null:", "null:"));
    }

    /// Texts with a secret in them, in places where one belongs and where not.
    const PLACES: &[&str] = &[
        "{}",
        "{}:",
        "{}://x",
        "rtmp:{}",
        "rtmp://{}",
        "rtmp://h/{}",
        "rtmp://h/{}/",
        "rtmp://h/app/{}",
        "rtmp://h/app/{}#bitrate=x",
        "rtmp://h/app/k?t={}",
        "rtmp://h:{}/app/k",
        "rtmp://u:{}@h/app/k",
        "rtmp://u:{}/app/k",
        "rtmp://h/app/k#{}",
        "rtmp://h/app/k#{}=1",
        "rtmp://h/app/k#bitrate=1,{}",
        "rtmps://h/app#key={}",
        "srt://{}",
        "srt://h:{}",
        "srt://h:1/{}",
        "srt://h:1?{}",
        "srt://h:1?passphrase={}",
        "srt://h:1?streamid={}&latency=x",
        "srt://:1#passphrase={},streamid={}",
        "null:{}",
    ];

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,80}") {
            let _ = OutputSpec::parse(&text);
        }

        #[test]
        fn no_uri_panics(text in "(rtmps?|srt|ndi|display|file|null):[a-z0-9:/@?#&=,%.\\[\\] ]{0,60}") {
            if let Ok(spec) = OutputSpec::parse(&text) {
                let _ = spec.shown();
            }
        }

        #[test]
        fn no_secret_is_ever_shown(
            place in prop::sample::select(PLACES),
            secret in "[A-Za-z0-9_%!+.-]{3,30}[0-9]{4}[A-Za-z0-9_%@:#?&,=/-]{0,20}",
        ) {
            let uri = place.replace("{}", &secret);
            let said = match OutputSpec::parse(&uri) {
                Ok(spec) if place.contains("rtmp://h/{}") || place.ends_with("//{}") => {
                    // This is what it means for a URI: host and application are no secrets.
                    format!("{:?}", spec.bitrate_kbps)
                }
                Ok(spec) => format!("{} {spec:?}", spec.shown()),
                Err(error) => format!("{error} {error:?}"),
            };
            // Not even the first part of it.
            prop_assert!(!said.contains(&secret[..7.min(secret.len())]), "{said}");
        }

        #[test]
        fn an_escaped_key_comes_back_whole(key in "\\PC{1,40}") {
            let escaped: String = key.bytes().map(|b| format!("%{b:02X}")).collect();
            let uri = format!("rtmp://h/app/{escaped}#name=x");
            let rtmp = rtmp_of(&uri);
            prop_assert_eq!(rtmp.key.reveal(), key.as_str());
        }
    }
}
