//! Generators of pictures and clips, and the scheduler that keeps them ahead of the picture.

mod backend;
mod blocking;
pub mod comfyui;
pub mod convert;
pub mod diffusers;
pub mod keyframes;
mod lookahead;
pub mod mock;
pub mod pool;
mod received;
pub mod replicate;

pub use backend::{
    Backend, Capabilities, Health, ImageRequest, Init, OnProgress, Progress, VideoRequest,
};
pub use blocking::{blocking, encode_png};
pub use lookahead::LookAhead;
pub use received::{FileKind, LARGEST_FILE, Reader, fit};
