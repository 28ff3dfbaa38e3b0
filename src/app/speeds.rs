//! How quick each generator was when it was last used: kept from show to show, so that
//! `vfaq backends` can tell.
//!
//! Holds: a convenience. A file that cannot be read or written costs the memory, nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Clock, iso8601};
use crate::base::fsio::write_atomic;
use crate::base::telemetry::GeneratorStatus;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Seconds for a picture, and for a clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_s: Option<f64>,
    /// When.
    pub at: String,
}

/// By the generator's name.
pub type Speeds = BTreeMap<String, Speed>;

fn file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let folder = set("VFAQ_CACHE").or_else(|| Some(cache()?.join("vfaq")))?;
    Some(folder.join("speeds.json"))
}

pub fn read() -> Speeds {
    let text = file().and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Notes what was measured; what was not keeps what it had.
pub fn remember(status: &[GeneratorStatus], clock: &dyn Clock) {
    let mut speeds = read();
    for server in status.iter().filter(|s| s.image_s.is_some() || s.video_s.is_some()) {
        let speed = speeds.entry(server.name.clone()).or_default();
        speed.image_s = server.image_s.or(speed.image_s);
        speed.video_s = server.video_s.or(speed.video_s);
        speed.at = iso8601(clock.wall());
    }
    let Some(file) = file() else { return };
    let Ok(text) = serde_json::to_vec_pretty(&speeds) else { return };
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    if let Err(error) = write_atomic(&file, &text) {
        tracing::debug!("the speeds of generators are not kept: {error}");
    }
}
