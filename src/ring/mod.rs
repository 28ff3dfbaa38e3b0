//! The ring: prepared clips on their way to the picture, and back when they are done with; and the
//! talk about cutting what waits, so that something else can come in its place.
//!
//! Holds: clips and replans arrive in the order in which they were sent; *go* overtakes them. The
//! [`Feeder`] never has more prepared material out than its capacity in seconds and bytes, except
//! that one clip always fits, and one that replaces others. The [`Player`] neither waits nor
//! allocates, and frees no clip: all go home through the feeder.
//!
//! How a plan is changed: [`Feeder::replan`] asks where the timeline could be cut; the answer is a
//! [`TailCut`]. Nothing is dropped by that, and the show goes on as it would have. What is made out
//! of the picture at the cut is sent with [`Feeder::append_replacing`]; only when it arrives, what
//! waits behind the cut goes home unused.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::media::{CycleId, Origin, PreparedClip};

/// Clips and replans that may be under way at once. The feeder waits when it is full.
const UNDERWAY: usize = 64;
/// Clips on their way home. More than can be out at a time, so that the player never waits.
const RETURNS: usize = 256;
/// Answers to replans that may wait to be read. When it is full the newest waits at the player,
/// and gives way to the answer to a later replan.
const CUTS: usize = 4;

/// How much prepared material may wait for the picture.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub seconds: f64,
    pub bytes: usize,
}

/// Where the timeline can be cut.
#[derive(Clone, Debug)]
pub struct TailCut {
    /// Of the replan that asked.
    pub revision: u64,
    /// On air or waiting; the stand-in, if there is nothing else.
    pub clip: Arc<PreparedClip>,
    /// Place in [`PreparedClip::frames`] of the picture that would be the last.
    pub frame: u32,
    /// Seconds until that picture is on air, at the present speed.
    pub due_s: f64,
}

/// What reaches the player.
#[derive(Debug)]
pub enum Command {
    Append(Sent),
    Replan {
        revision: u64,
        /// So much of what is ready stays at least.
        keep_s: f64,
    },
}

/// A clip that was sent.
#[derive(Debug)]
pub struct Sent {
    pub clip: Arc<PreparedClip>,
    /// Of the plan that it belongs to.
    pub revision: u64,
    /// It comes in the place of all that belongs to earlier plans.
    pub replaces: bool,
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
    /// Cycle to go to plus one; 0: none. The last wish wins.
    go_to: AtomicU64,
    /// Cycle that was to be gone to and is not at hand, plus one.
    missed: AtomicU64,
}

/// A clip on its way home.
struct Home {
    clip: Arc<PreparedClip>,
    unused: bool,
}

/// The end of those who prepare clips.
pub struct Feeder {
    commands: Sender<Command>,
    returns: Receiver<Home>,
    cuts: Receiver<TailCut>,
    capacity: Capacity,
    shared: Arc<Shared>,
    /// Of the plan that clips are appended for.
    revision: Cell<u64>,
}

/// The end of the playout.
pub struct Player {
    commands: Receiver<Command>,
    returns: Sender<Home>,
    cuts: Sender<TailCut>,
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
    let (command_tx, command_rx) = bounded(UNDERWAY);
    let (return_tx, return_rx) = bounded(RETURNS);
    let (cut_tx, cut_rx) = bounded(CUTS);
    let shared = Arc::new(Shared::default());
    let feeder = Feeder {
        commands: command_tx,
        returns: return_rx,
        cuts: cut_rx,
        capacity,
        shared: shared.clone(),
        revision: Cell::new(0),
    };
    (feeder, Player { commands: command_rx, returns: return_tx, cuts: cut_tx, shared })
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

    /// Has a clip of the present plan aired after everything that was appended before; waits while
    /// too many are under way.
    pub fn append(&self, clip: Arc<PreparedClip>) -> Result<(), Closed> {
        self.send(Sent { clip, revision: self.revision.get(), replaces: false })
    }

    /// Has a clip aired at the cut of the replan `revision`, in the place of all that waits behind
    /// it; if the cut has been passed, at once. It always fits. What is appended from here on belongs
    /// to this plan. If a later replan was asked for meanwhile the clip comes home unused.
    pub fn append_replacing(&self, clip: Arc<PreparedClip>, revision: u64) -> Result<(), Closed> {
        self.revision.set(revision.max(self.revision.get()));
        self.send(Sent { clip, revision, replaces: true })
    }

    fn send(&self, sent: Sent) -> Result<(), Closed> {
        self.shared.bytes_out.fetch_add(sent.clip.bytes() as u64, Ordering::Relaxed);
        self.shared.underway_ms.fetch_add(clip_ms(&sent.clip), Ordering::Relaxed);
        self.commands.send(Command::Append(sent)).map_err(|_| Closed)
    }

    /// Asks where the timeline can be cut so that `keep_s` seconds stay, at least, of what is ready.
    /// Nothing is dropped by this. Revisions rise; the present plan has 0 at first.
    pub fn replan(&self, revision: u64, keep_s: f64) -> Result<(), Closed> {
        self.commands.send(Command::Replan { revision, keep_s }).map_err(|_| Closed)
    }

    /// An answer to a replan that was not read before, oldest first.
    pub fn tail_cut(&self) -> Option<TailCut> {
        self.cuts.try_recv().ok()
    }

    /// Takes clips home (and frees them, if nobody else has them) until none comes for `patience`
    /// or one came. Returns the cycles that were taken out of the plan before they aired. `Err` when
    /// the player is gone.
    pub fn collect(&self, patience: Duration) -> Result<Vec<CycleId>, Closed> {
        use crossbeam_channel::RecvTimeoutError::*;
        let mut unused = Vec::new();
        match self.returns.recv_timeout(patience) {
            Ok(home) => self.home(home, &mut unused),
            Err(Timeout) => {}
            Err(Disconnected) => return Err(Closed),
        }
        while let Ok(home) = self.returns.try_recv() {
            self.home(home, &mut unused);
        }
        Ok(unused)
    }

    fn home(&self, Home { clip, unused: is_unused }: Home, unused: &mut Vec<CycleId>) {
        // The stand-in was on air from the start; it never went through here.
        if clip.origin == Origin::StandIn {
            return;
        }
        self.shared.bytes_out.fetch_sub(clip.bytes() as u64, Ordering::Relaxed);
        if is_unused {
            unused.push(clip.clip.cycle);
        }
    }

    /// Bytes of the clips that have not come home.
    #[cfg(test)]
    pub fn bytes_out(&self) -> usize {
        self.shared.bytes_out.load(Ordering::Relaxed) as usize
    }

    pub fn runway(&self) -> Runway {
        Runway(self.shared.clone())
    }

    /// A handle that can start the show.
    pub fn starter(&self) -> Starter {
        Starter(self.shared.clone())
    }
}

/// Starts the show out of standby, and leads it to other cycles.
pub struct Starter(Arc<Shared>);

impl Starter {
    pub fn go(&self) {
        self.0.live.store(true, Ordering::Release);
    }

    /// Has a cycle aired now that was shown before or waits, if the player has it.
    pub fn go_to(&self, cycle: CycleId) {
        self.0.missed.store(0, Ordering::Relaxed);
        self.0.go_to.store(u64::from(cycle.0) + 1, Ordering::Release);
    }

    /// The cycle that was to be gone to, if the player does not have it; told once.
    pub fn not_at_hand(&self) -> Option<CycleId> {
        taken(&self.0.missed)
    }
}

/// A cycle, kept as its number plus one, taken out.
fn taken(cycle: &AtomicU64) -> Option<CycleId> {
    // Mostly there is none, and a load costs less.
    let there = cycle.load(Ordering::Acquire) > 0;
    let cycle = if there { cycle.swap(0, Ordering::AcqRel) } else { 0 };
    Some(CycleId(cycle.checked_sub(1)? as u32))
}

impl Player {
    /// The next command, if one is there.
    pub fn poll(&mut self) -> Option<Command> {
        let command = self.commands.try_recv().ok()?;
        if let Command::Append(sent) = &command {
            self.shared.underway_ms.fetch_sub(clip_ms(&sent.clip), Ordering::Relaxed);
        }
        Some(command)
    }

    /// Whether the show has left the standby picture.
    pub fn is_live(&self) -> bool {
        self.shared.live.load(Ordering::Acquire)
    }

    /// The cycle that somebody wants to see now; told once.
    pub fn go_to(&mut self) -> Option<CycleId> {
        taken(&self.shared.go_to)
    }

    /// It is not at hand.
    pub fn miss(&mut self, cycle: CycleId) {
        self.shared.missed.store(u64::from(cycle.0) + 1, Ordering::Release);
    }

    /// Answers a replan; false: the way is full.
    #[must_use]
    pub fn answer(&mut self, cut: TailCut) -> bool {
        self.cuts.try_send(cut).is_ok()
    }

    /// Sends a clip home; `unused`: it never aired. If the way is full it is handed back, to be tried
    /// again.
    pub fn retire(
        &mut self,
        clip: Arc<PreparedClip>,
        unused: bool,
    ) -> Result<(), Arc<PreparedClip>> {
        self.returns.try_send(Home { clip, unused }).map_err(|e| e.into_inner().clip)
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
                        if let Some(Command::Append(Sent { clip, .. })) = player.poll() {
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
                            player.retire(clip, false).unwrap();
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
        player.retire(clip_from(Origin::StandIn, 0, 24), false).unwrap();
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
