//! The ring: prepared clips on their way to the picture, and back when they are done with.
//!
//! Holds: clips arrive in the order they were appended; *go* overtakes them. The [`Feeder`] never has more prepared
//! material out than its capacity in seconds and bytes, except that one clip always fits. The
//! [`Player`] neither waits nor allocates, and frees no clip: all go home through the feeder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::media::{Origin, PreparedClip};

/// Clips that may be under way at once. The feeder waits when it is full.
const UNDERWAY: usize = 64;
/// Clips on their way home. More than can be out at a time, so that the player never waits.
const RETURNS: usize = 256;

/// How much prepared material may wait for the picture.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub seconds: f64,
    pub bytes: usize,
}

/// What the player reports of itself, read by the feeder and by the status.
#[derive(Debug, Default)]
struct Shared {
    /// Ready timeline ahead of the picture, ms.
    runway_ms: AtomicU64,
    /// Picture bytes of clips that were appended and have not come home.
    bytes_out: AtomicU64,
    /// Clips that were appended and not yet taken by the player.
    underway_ms: AtomicU64,
    /// The show is to leave the standby picture.
    live: AtomicBool,
}

/// The end of those who prepare clips.
pub struct Feeder {
    clips: Sender<Arc<PreparedClip>>,
    returns: Receiver<Arc<PreparedClip>>,
    capacity: Capacity,
    shared: Arc<Shared>,
}

/// The end of the playout.
pub struct Player {
    clips: Receiver<Arc<PreparedClip>>,
    returns: Sender<Arc<PreparedClip>>,
    shared: Arc<Shared>,
}

/// Reads how far ahead the ring is, from anywhere.
#[derive(Clone)]
pub struct Runway(Arc<Shared>);

impl Runway {
    /// Seconds of ready timeline ahead of the picture.
    pub fn seconds(&self) -> f64 {
        let ms =
            self.0.runway_ms.load(Ordering::Relaxed) + self.0.underway_ms.load(Ordering::Relaxed);
        ms as f64 / 1000.0
    }
}

/// Makes a ring of the given capacity.
pub fn ring(capacity: Capacity) -> (Feeder, Player) {
    let (clip_tx, clip_rx) = bounded(UNDERWAY);
    let (return_tx, return_rx) = bounded(RETURNS);
    let shared = Arc::new(Shared::default());
    (
        Feeder { clips: clip_tx, returns: return_rx, capacity, shared: shared.clone() },
        Player { clips: clip_rx, returns: return_tx, shared },
    )
}

fn clip_ms(clip: &PreparedClip) -> u64 {
    (clip.clip.seconds() * 1000.0) as u64
}

/// The player is gone: the show is over.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

impl Feeder {
    /// Whether a further clip of `bytes` may be appended now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let out = self.shared.bytes_out.load(Ordering::Relaxed) as usize;
        let ahead = self.runway().seconds();
        ahead <= 0.0 || (ahead < self.capacity.seconds && out + bytes <= self.capacity.bytes)
    }

    /// Has a clip aired after everything that was appended before; waits while too many are under
    /// way.
    pub fn append(&self, clip: Arc<PreparedClip>) -> Result<(), Closed> {
        self.shared.bytes_out.fetch_add(clip.bytes() as u64, Ordering::Relaxed);
        self.shared.underway_ms.fetch_add(clip_ms(&clip), Ordering::Relaxed);
        self.clips.send(clip).map_err(|_| Closed)
    }

    /// Takes clips home (and frees them, if nobody else has them) until none comes for `patience`
    /// or one came. `Err` when the player is gone.
    pub fn collect(&self, patience: Duration) -> Result<(), Closed> {
        use crossbeam_channel::RecvTimeoutError::*;
        match self.returns.recv_timeout(patience) {
            Ok(clip) => self.home(clip),
            Err(Timeout) => {}
            Err(Disconnected) => return Err(Closed),
        }
        while let Ok(clip) = self.returns.try_recv() {
            self.home(clip);
        }
        Ok(())
    }

    fn home(&self, clip: Arc<PreparedClip>) {
        // The stand-in was on air from the start; it never went through here.
        if clip.origin == Origin::StandIn {
            return;
        }
        self.shared.bytes_out.fetch_sub(clip.bytes() as u64, Ordering::Relaxed);
    }

    pub fn runway(&self) -> Runway {
        Runway(self.shared.clone())
    }

    /// A handle that can start the show.
    pub fn starter(&self) -> Starter {
        Starter(self.shared.clone())
    }
}

/// Starts the show out of standby.
pub struct Starter(Arc<Shared>);

impl Starter {
    pub fn go(&self) {
        self.0.live.store(true, Ordering::Release);
    }
}

impl Player {
    /// The next clip, if one is there.
    pub fn poll(&mut self) -> Option<Arc<PreparedClip>> {
        let clip = self.clips.try_recv().ok()?;
        self.shared.underway_ms.fetch_sub(clip_ms(&clip), Ordering::Relaxed);
        Some(clip)
    }

    /// Whether the show has left the standby picture.
    pub fn is_live(&self) -> bool {
        self.shared.live.load(Ordering::Acquire)
    }

    /// Sends a clip home. If the way is full it is handed back, to be tried again.
    pub fn retire(&mut self, clip: Arc<PreparedClip>) -> Result<(), Arc<PreparedClip>> {
        self.returns.try_send(clip).map_err(|e| e.into_inner())
    }

    /// Reports how much ready timeline lies ahead.
    pub fn report_runway(&mut self, seconds: f64) {
        self.shared.runway_ms.store((seconds.max(0.0) * 1000.0) as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::{clip, clip_from};

    proptest! {
        /// Whatever is appended, played and brought home, bytes out are those of clips out, and
        /// the feeder keeps to its capacity.
        #[test]
        fn capacity_holds(steps in proptest::collection::vec((0u8..3, 1u32..40), 1..200)) {
            let capacity = Capacity { seconds: 12.0, bytes: 400_000 };
            let (feeder, mut player) = ring(capacity);
            let mut taken = Vec::new();
            let mut ahead = 0.0f64;
            for (step, frames) in steps {
                match step {
                    0 => {
                        let clip = clip(0, frames);
                        let fits = feeder.has_room(clip.bytes());
                        prop_assert!(fits || feeder.runway().seconds() > 0.0);
                        if fits {
                            feeder.append(clip).unwrap();
                        }
                    }
                    1 => {
                        if let Some(clip) = player.poll() {
                            ahead += clip.clip.seconds();
                            taken.push(clip);
                            player.report_runway(ahead);
                        }
                    }
                    _ => {
                        if !taken.is_empty() {
                            let clip = taken.remove(0);
                            ahead -= clip.clip.seconds();
                            player.report_runway(ahead);
                            player.retire(clip).unwrap();
                            feeder.collect(Duration::ZERO).unwrap();
                        }
                    }
                }
                let longest = 40.0 / 8.0;
                prop_assert!(feeder.runway().seconds() <= capacity.seconds + longest);
            }
        }
    }

    #[test]
    fn a_stand_in_that_comes_home_makes_no_room() {
        let (feeder, mut player) = ring(Capacity { seconds: 100.0, bytes: 3 * clip(0, 8).bytes() });
        player.report_runway(1.0);
        feeder.append(clip(0, 8)).unwrap();
        // Larger than all that went through the ring so far.
        player.retire(clip_from(Origin::StandIn, 0, 24)).unwrap();
        feeder.collect(Duration::ZERO).unwrap();
        assert!(feeder.has_room(2 * clip(0, 8).bytes()));
        assert!(!feeder.has_room(2 * clip(0, 8).bytes() + 1));
    }

    #[test]
    fn the_feeder_learns_that_the_player_is_gone() {
        let (feeder, player) = ring(Capacity { seconds: 1.0, bytes: 1 });
        drop(player);
        assert_eq!(feeder.append(clip(0, 8)), Err(Closed));
        assert_eq!(feeder.collect(Duration::from_secs(5)), Err(Closed));
    }
}
