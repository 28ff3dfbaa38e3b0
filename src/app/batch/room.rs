//! Whether the disk has room for what is still to come.

use std::path::Path;

use crate::archive::disk::free_bytes;
use crate::base::fsio::content_id;

/// A run ends while there is still room for this many cycles.
const SPARE_CYCLES: u64 = 2;
/// A run that goes on without an end is warned from so many cycles on.
const FEW_CYCLES: u64 = 30;

/// What the disk of a project has to offer.
pub struct Room {
    least_bytes: u64,
    /// What a cycle takes, of the largest so far.
    cycle_bytes: u64,
    warned: bool,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Enough,
    /// Told once.
    Scarce(String),
    Full {
        free_mb: u64,
        least_mb: u64,
    },
}

impl Room {
    /// `least_mb` always stay free.
    pub fn new(least_mb: u64) -> Self {
        Room { least_bytes: least_mb << 20, cycle_bytes: 0, warned: false }
    }

    /// A cycle was written, in these files. One content under two names takes its room once.
    pub fn took<'a>(&mut self, files: impl IntoIterator<Item = &'a Path>) {
        let mut contents = Vec::new();
        for about in files.into_iter().filter_map(|path| path.metadata().ok()) {
            let content = (content_id(&about), about.len());
            if content.0.is_none() || !contents.contains(&content) {
                contents.push(content);
            }
        }
        let bytes = contents.iter().map(|(_, bytes)| bytes).sum();
        self.cycle_bytes = self.cycle_bytes.max(bytes);
    }

    /// Looks at the disk of `folder`; `cycles_left` are still to come, `None`: no end.
    pub fn look(&mut self, folder: &Path, cycles_left: Option<u32>) -> Verdict {
        match free_bytes(folder) {
            Some(free) => self.judge(free, cycles_left),
            None => Verdict::Enough,
        }
    }

    fn judge(&mut self, free: u64, cycles_left: Option<u32>) -> Verdict {
        let spare = free.saturating_sub(self.least_bytes);
        if free < self.least_bytes || spare < self.cycle_bytes * SPARE_CYCLES {
            return Verdict::Full { free_mb: free >> 20, least_mb: self.least_bytes >> 20 };
        }
        let Some(cycles) = spare.checked_div(self.cycle_bytes) else { return Verdict::Enough };
        let wanted = cycles_left.map_or(FEW_CYCLES, u64::from);
        if cycles >= wanted + SPARE_CYCLES || std::mem::replace(&mut self.warned, true) {
            return Verdict::Enough;
        }
        Verdict::Scarce(format!(
            "{} MB are free, which is room for {cycles} more cycles{}; the run ends cleanly before \
             the disk is full, and goes on from there when there is room again",
            free >> 20,
            cycles_left.map_or(String::new(), |left| format!(" of {left} to come"))
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_warned_once_and_ends_in_time() {
        let mut room = Room { least_bytes: 100 << 20, cycle_bytes: 10 << 20, warned: false };
        assert_eq!(room.judge(1000 << 20, Some(50)), Verdict::Enough);
        assert!(matches!(room.judge(500 << 20, Some(50)), Verdict::Scarce(_)));
        assert_eq!(room.judge(400 << 20, Some(45)), Verdict::Enough, "told once");
        assert_eq!(room.judge(119 << 20, Some(45)), Verdict::Full { free_mb: 119, least_mb: 100 });
        let mut unknown = Room::new(100);
        assert_eq!(unknown.judge(101 << 20, None), Verdict::Enough);
        assert!(matches!(unknown.judge(99 << 20, None), Verdict::Full { .. }));
    }

    #[test]
    fn a_second_name_takes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, [0; 1000]).unwrap();
        std::fs::hard_link(&a, &b).unwrap();
        let mut room = Room::new(0);
        room.took([a.as_path(), b.as_path(), Path::new("/no/such/file")]);
        assert_eq!(room.cycle_bytes, 1000);
    }
}
