//! What happens when an encoder fails: the same again, the next one, or the last one once more
//! after a while. It never ends.

use super::ladder::Rung;
use crate::base::time::NS;

/// An encoder that has trouble again within this time is left.
const SOON_NS: u64 = 30 * NS;
/// Between attempts when nothing else is left.
pub const BACK_OFF_NS: u64 = NS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It never gave a picture.
    Opening,
    /// It said so.
    Failed,
    /// It gave no picture for too long.
    Hung,
}

/// Where on the ladder the show is.
#[derive(Debug)]
pub struct Recovery {
    /// Never empty.
    ladder: Vec<Rung>,
    at: usize,
    /// When the present one was built again.
    rebuilt_ns: Option<u64>,
}

impl Recovery {
    /// Begins with the first; `None` if there is none.
    pub fn new(ladder: Vec<Rung>) -> Option<Self> {
        (!ladder.is_empty()).then_some(Recovery { ladder, at: 0, rebuilt_ns: None })
    }

    pub fn rung(&self) -> Rung {
        self.ladder[self.at]
    }

    /// Moves to the encoder that is built next, and says how long to wait before.
    pub fn after(&mut self, trouble: Trouble, now_ns: u64) -> u64 {
        let again_soon = self.rebuilt_ns.is_some_and(|at| now_ns < at + SOON_NS);
        match trouble {
            Trouble::Hung if !again_soon => {
                self.rebuilt_ns = Some(now_ns);
                0
            }
            // One that cannot even open is not asked again while there is another.
            Trouble::Opening if self.ladder.len() > 1 => {
                self.ladder.remove(self.at);
                self.rebuilt_ns = None;
                if self.at < self.ladder.len() {
                    return 0;
                }
                self.at = self.ladder.len() - 1;
                BACK_OFF_NS
            }
            _ if self.at + 1 < self.ladder.len() => {
                self.at += 1;
                self.rebuilt_ns = None;
                0
            }
            _ => {
                self.rebuilt_ns = Some(now_ns);
                BACK_OFF_NS
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Encoder;

    fn ladder() -> Recovery {
        let rung = |encoder, factory| Rung { encoder, factory };
        Recovery::new(vec![
            rung(Encoder::Nvenc, "nvh264enc"),
            rung(Encoder::X264, "x264enc"),
            rung(Encoder::OpenH264, "openh264enc"),
        ])
        .unwrap()
    }

    #[test]
    fn a_hang_gets_one_more_chance_an_error_none() {
        let mut recovery = ladder();
        assert_eq!(recovery.after(Trouble::Hung, 100 * NS), 0);
        assert_eq!(recovery.rung().factory, "nvh264enc");
        // Long after it is the first one again.
        assert_eq!(recovery.after(Trouble::Hung, 200 * NS), 0);
        assert_eq!(recovery.rung().factory, "nvh264enc");
        assert_eq!(recovery.after(Trouble::Hung, 229 * NS), 0);
        assert_eq!(recovery.rung().factory, "x264enc");
        assert_eq!(recovery.after(Trouble::Failed, 230 * NS), 0);
        assert_eq!(recovery.rung().factory, "openh264enc");
    }

    #[test]
    fn the_last_one_is_built_for_ever() {
        let mut recovery = ladder();
        recovery.after(Trouble::Failed, 0);
        recovery.after(Trouble::Failed, 0);
        for second in 0..100 {
            assert_eq!(recovery.after(Trouble::Failed, second * NS), BACK_OFF_NS);
            assert_eq!(recovery.rung().factory, "openh264enc");
        }
    }

    #[test]
    fn one_that_never_opens_is_struck_off() {
        let mut recovery = ladder();
        recovery.after(Trouble::Failed, 0);
        recovery.after(Trouble::Failed, 0);
        assert_eq!(recovery.after(Trouble::Opening, 0), BACK_OFF_NS);
        assert_eq!(recovery.rung().factory, "x264enc");
        assert_eq!(recovery.after(Trouble::Opening, 0), BACK_OFF_NS);
        assert_eq!(recovery.rung().factory, "nvh264enc");
        assert_eq!(recovery.after(Trouble::Opening, 0), BACK_OFF_NS);
        assert_eq!(recovery.rung().factory, "nvh264enc");
    }
}
