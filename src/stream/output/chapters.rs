//! Marks of a recording, on their way into its files.
//!
//! Holds: at most `MOST` wait; a further one is dropped here (the journal has it).

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::mp4::{self, Chapter};
use crate::stream::lock;

const MOST: usize = 1000;

/// Marks by show time; shared by who makes them and who writes them.
#[derive(Clone, Default)]
pub struct Chapters(Arc<Mutex<Vec<Chapter>>>);

impl Chapters {
    /// A chapter begins at `pts_ns` of show time.
    pub fn add(&self, pts_ns: u64, title: &str) {
        let mut marks = lock(&self.0);
        if marks.len() < MOST {
            marks.push(Chapter { title: title.to_owned(), start_ns: pts_ns });
        }
    }

    /// Puts those that lie in a finished file into it, which holds show time from `start_ns` up to
    /// `end_ns`. A file without any is left as it is.
    pub(super) fn write(&self, path: &Path, start_ns: u64, end_ns: u64) {
        let mut marks: Vec<Chapter> = lock(&self.0)
            .iter()
            .filter(|mark| (start_ns..end_ns).contains(&mark.start_ns))
            .map(|mark| Chapter { start_ns: mark.start_ns - start_ns, ..mark.clone() })
            .collect();
        if marks.is_empty() {
            return;
        }
        marks.sort_by_key(|mark| mark.start_ns);
        match mp4::chapters::add(path, &marks) {
            Ok(true) => {}
            Ok(false) => tracing::warn!("{}: there is no place for chapters", path.display()),
            // The film is whole all the same.
            Err(error) => tracing::warn!("{error}"),
        }
    }
}
