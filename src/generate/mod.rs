//! Generators of pictures and clips, and the scheduler that keeps them ahead of the picture.

mod backend;
pub mod convert;
mod lookahead;
pub mod mock;

pub use backend::{Backend, ImageRequest, Init, VideoRequest};
pub use lookahead::LookAhead;
