//! The prompt bundle: `tasq.md` and its companions, as the performer wrote them.
//!
//! Holds: mechanical settings (`fps`, `steps`, ...) never get from a prompt file into a prompt.

mod load;
mod markdown;

pub use load::{Opened, load, open};

use std::path::PathBuf;

use crate::config::BackendKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Text,
    Image,
    Video,
}

/// Where the negative prompt came from; the first that is set wins, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegativeSource {
    FrontMatter,
    File,
    Section,
    Config,
    None,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PromptBundle {
    pub title: Option<String>,
    pub mode: Mode,
    pub backend: Option<BackendKind>,
    /// Set in mode `Image` only: absolute, with a header that could be read.
    pub base_image: Option<PathBuf>,
    /// For the archive only.
    pub base_video: Option<PathBuf>,
    pub seed: Option<i64>,
    pub drift_preset: Option<String>,
    /// In one line, not empty.
    pub prompt: String,
    pub negative_prompt: String,
    pub negative_source: NegativeSource,
    /// Text of `style_hints.md` with its lines and headings, empty if there is none.
    pub style_hints: String,
    /// Text of `motion_prompt.md` without headings, in one line; empty if there is none.
    pub motion_prompt: String,
}
