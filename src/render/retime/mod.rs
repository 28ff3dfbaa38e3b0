//! A film at another rate: the core of the element `vfaqinterpolate`, which knows nothing of it.
//!
//! ```text
//! source frames --> Retimer (times) --> Stretch: two pictures, and the output frames between them
//!                      | Passages (repeats)            |
//!                      v                               v
//!              which frames are one picture      Analyser, then Drawer
//! ```
//!
//! Here is decided which output frame shows what; when that is done, and on which thread, decides
//! whoever calls. Finding the motion of a stretch and drawing each of its frames are work of its
//! own each.

mod draw;
mod passages;
#[cfg(test)]
mod tests;
mod times;

pub use draw::{Drawer, Image};
pub use passages::{MAX_REPEATS, Passage, Passages, is_repeat, may_be_cut, passages};
pub use times::{Grid, How, Retimer, Shot, Stretch};
