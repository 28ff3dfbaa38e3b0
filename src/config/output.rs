//! What an output is: its target and its options.

use std::path::PathBuf;

use super::Secret;
use crate::base::error::{Error, Result};

#[derive(Clone, Debug, PartialEq)]
pub struct OutputSpec {
    pub name: Option<String>,
    pub target: Target,
    pub bitrate_kbps: Option<u32>,
    pub preset: Option<String>,
    pub adaptive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Null,
    File { path: PathBuf, container: Container },
    Rtmp(RtmpTarget),
    Srt(SrtTarget),
    Ndi { name: String },
    Display { monitor: Monitor, size: Option<(u32, u32)> },
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
    pub host: String,
    pub port: u16,
    pub application: String,
    pub key: Secret,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtMode {
    Caller,
    Listener,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SrtTarget {
    pub mode: SrtMode,
    pub host: String,
    pub port: u16,
    pub latency_ms: u32,
    pub passphrase: Option<Secret>,
    pub key_length: u32,
    pub stream_id: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Monitor {
    Default,
    Number(u32),
    Name(String),
}

impl OutputSpec {
    pub fn file(path: PathBuf) -> Self {
        let target = Target::File { path, container: Container::Mp4 };
        OutputSpec { name: None, target, bitrate_kbps: None, preset: None, adaptive: true }
    }

    pub fn parse(uri: &str) -> Result<Self> {
        if uri == "null:" {
            return Ok(OutputSpec { target: Target::Null, ..Self::file(PathBuf::new()) });
        }
        let path = uri.strip_prefix("file:").ok_or_else(|| Error::usage("file: or null:"))?;
        Ok(Self::file(path.into()))
    }

    pub fn shown(&self) -> String {
        match &self.target {
            Target::Null => "null:".into(),
            Target::File { path, .. } => format!("file:{}", path.display()),
            _ => self.kind().into(),
        }
    }

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
}
