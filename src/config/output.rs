//! What an output is: a URI, or a mapping in `config.yaml`, as typed settings.
//!
//! Holds: nothing is looked up or opened here.

mod uri;

use std::path::{Path, PathBuf};

use super::Secret;
use crate::base::error::{Error, Result};

pub(super) use uri::{Given, OPTIONS, allowed, read};

#[cfg(test)]
mod tests;

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
}

impl Profile {
    /// What the services publish: Twitch's "Broadcasting Guidelines" and "Broadcast
    /// Recommendations" (6000 kb/s, key frames every 2 s), YouTube's "Choose live encoder
    /// settings" (1080p60 in H.264 up to 12000 kb/s, key frames every 2 s and never over 4 s),
    /// Kick's "Streaming settings" (1000 to 8000 kb/s, key frames every 2 s). All of them take
    /// what every show has: H.264 in the profiles Main and High, AAC stereo of 160 kb/s at 48 kHz.
    pub fn limits(self) -> ProfileLimits {
        let (max_bitrate_kbps, keyframe_seconds) = match self {
            Profile::Twitch => (Some(6_000), Some(2.0)),
            Profile::Youtube => (Some(12_000), Some(4.0)),
            Profile::Kick => (Some(8_000), Some(2.0)),
            Profile::Custom => (None, None),
        };
        ProfileLimits { max_bitrate_kbps, keyframe_seconds }
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
        uri::read_with(uri, options).map_err(|fault| Error::usage(fault.to_string()))
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
                    // The other way round, nobody is there to call.
                    (srt.mode != implied_mode(&srt.host)).then_some("mode=listener"),
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

fn in_uri(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Nobody can be called at "all interfaces".
fn implied_mode(host: &str) -> SrtMode {
    if ["", "0.0.0.0", "::"].contains(&host) { SrtMode::Listener } else { SrtMode::Caller }
}
