//! The prompt bundle: `tasq.md` and its companions, as the performer wrote them.

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
    /// Absolute, known to be a readable image.
    pub base_image: Option<PathBuf>,
    pub base_video: Option<PathBuf>,
    pub seed: Option<i64>,
    pub drift_preset: Option<String>,
    pub prompt: String,
    pub negative_prompt: String,
    pub negative_source: NegativeSource,
    /// Whole text of `style_hints.md`, empty if there is none.
    pub style_hints: String,
    /// Whole text of `motion_prompt.md`, empty if there is none.
    pub motion_prompt: String,
}
