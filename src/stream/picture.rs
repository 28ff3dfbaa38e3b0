//! What the source draws: the timeline's shot at frame `n`, with the parameters as they are then.
//!
//! Holds: everything here runs on the render thread and neither waits nor allocates; what others
//! want to know leaves by bounded channels, a triple buffer and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::beat::{MusicFrame, OnBeat};
use super::sound::SoundFeed;
use super::source::{Drawn, FrameSource};
use crate::audio::strip::Controls;
use crate::base::clock::Clock;
use crate::base::telemetry::{Counter, Gauge};
use crate::base::time::FrameRate;
use crate::media::{Frame, FrameMut};
use crate::param::{self, MODULATORS, ParamId, Smoother};
use crate::playout::Timeline;
use crate::render::overlay::{Overlays, View};
use crate::render::{self, Look, Renderer};

/// The preview shows every fourth frame.
const PREVIEW_EVERY: u64 = 4;

/// What the render thread tells the journal, beside what is on air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The second receipt of parameter changes: from `frame` on, which went to the encoder at
    /// `at`, `generation` is seen.
    Applied { frame: u64, generation: u64, at: Duration },
    /// For `frames` from `frame` on the picture before went out again.
    Held { frame: u64, frames: u64 },
    /// What modulators and bend of a frame went by; only while they are on.
    Music(MusicFrame),
    /// What waited for a beat happened with this frame.
    OnBeat { frame: u64, id: ParamId },
}

/// How others reach a running picture.
#[derive(Default)]
pub struct PictureControl {
    /// Set to end the show.
    pub stop: AtomicBool,
    /// The first frame behind *go*, plus one; 0 before.
    pub go_frame: Gauge,
    /// Frames drawn or held so far.
    pub frames: Gauge,
    /// Set when the source has sent its last frame.
    pub ended: AtomicBool,
    /// What waits for the beat, as [`Quantiser::waiting`](crate::music::Quantiser::waiting) says it.
    pub waiting: Gauge,
    /// What each modulator adds, in parts of its parameter's range, as bits.
    modulators: [AtomicU32; MODULATORS],
    /// Receipts that found the way to the journal full.
    pub receipts_lost: Counter,
}

impl PictureControl {
    /// What each modulator adds at present, in parts of its parameter's range.
    pub fn modulators(&self) -> [f32; MODULATORS] {
        std::array::from_fn(|n| f32::from_bits(self.modulators[n].load(Ordering::Relaxed)))
    }

    /// Frames since *go*.
    pub fn show_frames(&self) -> u64 {
        match self.go_frame.get() {
            0 => 0,
            go => (self.frames.get() + 1).saturating_sub(go),
        }
    }
}

pub struct Picture {
    pub timeline: Timeline,
    pub params: param::Reader,
    pub smoother: Smoother,
    pub on_beat: OnBeat,
    pub renderer: Renderer,
    /// What lies over what the renderer makes.
    pub overlays: Overlays,
    pub fps: FrameRate,
    /// The show ends this many frames after *go*.
    pub frames_to_show: Option<u64>,
    pub control: Arc<PictureControl>,
    /// Full: the receipt is lost and counted; the next one tells as much.
    pub receipts: Sender<Receipt>,
    pub preview: triple_buffer::Input<Frame>,
    pub sound: SoundFeed,
    pub clock: Arc<dyn Clock>,
    pub generation: u64,
    /// A generation that is in the frame that is on its way.
    pub unsent: Option<u64>,
    /// Triggers of the frame that is drawn; room for all that can wait.
    pub fired: Vec<ParamId>,
    /// The frame behind the last one that was drawn.
    pub next: u64,
}

fn tell(receipts: &Sender<Receipt>, control: &PictureControl, receipt: Receipt) {
    if receipts.try_send(receipt).is_err() {
        control.receipts_lost.add(1);
    }
}

impl Picture {
    fn tell(&self, receipt: Receipt) {
        tell(&self.receipts, &self.control, receipt);
    }

    /// Frame `n` is drawn, or the show ends there.
    fn reach(&mut self, n: u64) {
        if n > self.next {
            self.tell(Receipt::Held { frame: self.next, frames: n - self.next });
        }
        self.next = n + 1;
    }
}

impl FrameSource for Picture {
    fn is_over(&mut self, n: u64) -> bool {
        let go = self.control.go_frame.get();
        let over = go > 0 && self.frames_to_show.is_some_and(|frames| n >= go - 1 + frames);
        over || self.control.stop.load(Ordering::Acquire)
    }

    fn draw(&mut self, n: u64, out: &mut FrameMut<'_>) -> Drawn {
        self.reach(n);
        self.sound.due(n, self.clock.now());
        let snapshot = *self.params.latest();
        if snapshot.generation != self.generation {
            self.generation = snapshot.generation;
            self.unsent = Some(snapshot.generation);
        }
        self.fired.clear();
        while let Some(fired) = self.params.fired(snapshot.generation) {
            self.fired.push(fired.id);
        }
        let frame_ms = self.fps.frame_seconds() as f32 * 1000.0;
        let mut values = *self.smoother.step(&snapshot, frame_ms);
        let (receipts, control) = (&self.receipts, &*self.control);
        self.on_beat.step(
            (n, self.clock.now()),
            &mut values,
            &mut self.fired,
            &mut self.timeline,
            |receipt| tell(receipts, control, receipt),
        );
        control.waiting.set(self.on_beat.waiting());
        for (to, added) in control.modulators.iter().zip(self.on_beat.added()) {
            to.store(added.to_bits(), Ordering::Relaxed);
        }
        let look = Look::new(n, &values, &self.fired);
        self.sound.set(Controls {
            gain_db: values[ParamId::SoundGain],
            mute: values[ParamId::SoundMute] > 0.5,
            limiter: values[ParamId::SoundLimiter] > 0.5,
            delay_ms: values[ParamId::SoundDelay],
        });

        let was_live = self.timeline.is_live();
        let shot = self.timeline.tick(n, &values, &self.fired);
        let rendered = self.renderer.render(&shot, &look, out);
        self.overlays.step(n, &values, frame_ms);
        let went_live = !was_live && self.timeline.is_live();
        if went_live {
            self.control.go_frame.set(n + 1);
        }
        Drawn { rendered, mark: went_live }
    }

    fn lying_over(&self, view: View) -> u16 {
        self.overlays.showing(view)
    }

    fn lay_over(&mut self, view: View, out: &mut FrameMut<'_>) {
        self.overlays.draw(view, out);
    }

    fn complete(&mut self, n: u64, out: &FrameMut<'_>) {
        if n.is_multiple_of(PREVIEW_EVERY) {
            render::preview(out, self.preview.input_buffer_mut());
            self.preview.publish();
        }
    }

    fn sent(&mut self, n: u64) {
        if let Some(generation) = self.unsent.take() {
            let at = self.clock.now();
            self.tell(Receipt::Applied { frame: n, generation, at });
        }
        self.sound.send(n, self.timeline.is_live());
        self.control.frames.set(n + 1);
    }

    fn ended(&mut self, frames: u64) {
        self.reach(frames);
        self.sound.end(frames);
        self.control.ended.store(true, Ordering::Release);
    }
}
