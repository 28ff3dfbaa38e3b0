//! Takes the drift out of captured sound: the clock of a sound card is not the show's.
//!
//! After F. Adriaensen, "Using a DLL to filter time" (2005) and "Controlling adaptive resampling"
//! (2012): a delay-locked loop makes steady times of the jittery ones at which blocks come, and a
//! second-order loop turns the resampler's ratio until every sample stands where it was captured.
//!
//! Holds: no step in what comes out but where the source made one, or where so much is missing that
//! catching up would take longer than a listener likes.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Indexing, Resampler, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use super::{CHANNELS, SAMPLE_RATE, frames_in, seconds_of};
use crate::base::error::{Error, Result};

/// Points of the resampler's filter.
const POINTS: usize = 64;
/// Bandwidths of the loop that filters times, at first and then.
const TIMES_HZ: (f64, f64) = (2.0, 0.2);
/// And of the loop that turns the ratio.
const RATIO_HZ: (f64, f64) = (0.15, 0.03);
/// How long "at first" is.
const SETTLING_S: f64 = 4.0;
/// The ratio is turned by so much at most: a thirtieth of a semitone.
const MOST: f64 = 0.002;
/// A card's clock is never further off than this.
const MOST_STEADY: f64 = 0.001;
/// What is further off than this begins anew at the right place.
const ASTRAY_S: f64 = 0.025;
/// It must be so for this long: a machine that stood still catches up by itself.
const ASTRAY_FOR_S: f64 = 0.5;

/// Blocks that come so much sooner or later than expected say nothing of the source's clock.
const LOST_S: f64 = 0.25;

/// Every block of so many seconds comes this much later than expected, or sooner: something is lost
/// for good, and that is told apart from jitter.
const STEP_S: f64 = 0.008;
const STEP_FOR_S: f64 = 0.15;
/// Behind such a step, what is further off than this begins anew.
const STEP_ASTRAY_S: f64 = 0.005;

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Placed {
    /// Its samples go on behind those before.
    Further,
    /// What comes out of it begins at this frame of sound of the show.
    Anew(u64),
}

/// Makes more or fewer samples of what it is given.
pub trait Resample {
    /// Frames that it takes at once.
    const CHUNK: usize;

    /// Frames that come out so much later.
    fn delay(&self) -> usize;

    /// So many frames come out for each that goes in.
    fn turn(&mut self, ratio: f64);

    /// Adds what comes out of a chunk; returns how many frames.
    ///
    /// # Errors
    /// A fault of it.
    fn pass(&mut self, chunk: &[f32], out: &mut Vec<f32>) -> Result<usize>;
}

/// Rubato's.
pub struct Sinc {
    resampler: Async<f32>,
    made: Vec<f32>,
}

impl Sinc {
    fn new() -> Result<Self> {
        let window = WindowFunction::BlackmanHarris2;
        let parameters = SincInterpolationParameters::new(POINTS, window)
            .oversampling_factor(128)
            .interpolation(SincInterpolationType::Cubic);
        let resampler =
            Async::new_sinc(1.0, 1.01, &parameters, Self::CHUNK, CHANNELS, FixedAsync::Input)
                .map_err(|e| Error::internal("no resampler").with_source(e))?;
        let made = vec![0.0; resampler.output_frames_max() * CHANNELS];
        Ok(Sinc { resampler, made })
    }
}

impl Resample for Sinc {
    const CHUNK: usize = 128;

    fn delay(&self) -> usize {
        self.resampler.output_delay()
    }

    fn turn(&mut self, ratio: f64) {
        if let Some(adjustable) = self.resampler.as_adjustable() {
            let _ = adjustable.set_resample_ratio_relative(ratio, true);
        }
    }

    fn pass(&mut self, chunk: &[f32], out: &mut Vec<f32>) -> Result<usize> {
        let failed = |e: String| Error::internal(format!("the resampler failed: {e}"));
        let input = InterleavedSlice::new(chunk, CHANNELS, Self::CHUNK)
            .map_err(|e| failed(e.to_string()))?;
        let room = self.made.len() / CHANNELS;
        let mut output = InterleavedSlice::new_mut(&mut self.made, CHANNELS, room)
            .map_err(|e| failed(e.to_string()))?;
        let (_, made) = self
            .resampler
            .process_into_buffer(&input, &mut output, None::<&Indexing>)
            .map_err(|e| failed(e.to_string()))?;
        out.extend_from_slice(&self.made[..made * CHANNELS]);
        Ok(made)
    }
}

pub struct Drift<R = Sinc> {
    resampler: R,
    /// Waits for a whole chunk.
    pending: Vec<f32>,
    /// When the last sample came, filtered, and the seconds that a sample takes.
    time: Option<(f64, f64)>,
    began_s: f64,
    /// Place of the next sample that comes out, in the show; `None` before the first.
    place: Option<f64>,
    steady: f64,
    error_s: f64,
    astray_since: Option<f64>,
    /// Since when all blocks come late (or soon), and the least of it.
    step: Option<(f64, f64)>,
    stepped: bool,
    restarts: u64,
}

impl Drift {
    pub fn new() -> Result<Self> {
        Ok(Drift::with(Sinc::new()?))
    }
}

impl<R: Resample> Drift<R> {
    fn with(resampler: R) -> Self {
        Drift {
            resampler,
            pending: Vec::with_capacity(R::CHUNK * 64 * CHANNELS),
            time: None,
            began_s: 0.0,
            place: None,
            steady: 0.0,
            error_s: 0.0,
            astray_since: None,
            step: None,
            stepped: false,
            restarts: 0,
        }
    }

    /// Takes a block of samples that came at `at_s`; what comes out is added to `out`. `line_s` is
    /// show time less the clock that `at_s` is of.
    ///
    /// # Errors
    /// A fault of the resampler.
    pub fn take(
        &mut self,
        samples: &[f32],
        at_s: f64,
        line_s: f64,
        out: &mut Vec<f32>,
    ) -> Result<Placed> {
        let frames = samples.len() / CHANNELS;
        let end_s = self.filtered(frames, at_s);
        self.pending.extend_from_slice(samples);
        // Where the last sample should stand, and where it will.
        let wanted = frames_in(end_s + line_s);
        let waiting = self.pending.len() / CHANNELS;
        let inside = (waiting + self.resampler.delay()) as f64;
        let mut placed = Placed::Further;
        let error_s = self.place.map(|place| seconds_of(place + inside - wanted));
        let astray = error_s.is_none_or(|error_s| {
            self.error_s = error_s;
            let is_off = error_s.abs() > ASTRAY_S;
            let since = *self.astray_since.get_or_insert(at_s);
            if !is_off {
                self.astray_since = None;
            }
            let is_behind_a_step = self.stepped && error_s.abs() > STEP_ASTRAY_S;
            is_behind_a_step || is_off && at_s - since > ASTRAY_FOR_S
        });
        self.stepped = false;
        if astray {
            if wanted - inside < 0.0 {
                // Before the show.
                self.pending.clear();
                return Ok(Placed::Further);
            }
            self.restarts += u64::from(self.place.is_some());
            let place = (wanted - inside).round();
            self.place = Some(place);
            self.error_s = 0.0;
            self.astray_since = None;
            placed = Placed::Anew(place as u64);
        }
        self.turn(frames, at_s);
        self.resample(out)?;
        Ok(placed)
    }

    /// When the last of these frames came, without the jitter.
    fn filtered(&mut self, frames: usize, at_s: f64) -> f64 {
        let nominal = 1.0 / f64::from(SAMPLE_RATE);
        let block_s = frames as f64 * nominal;
        let Some((last_s, sample_s)) = self.time else {
            self.began_s = at_s;
            self.time = Some((at_s, nominal));
            return at_s;
        };
        let expected_s = last_s + frames as f64 * sample_s;
        let off_s = at_s - expected_s;
        // It stood still, or comes in a burst: there is nothing to filter.
        if off_s.abs() > LOST_S {
            self.time = Some((at_s, sample_s));
            return at_s;
        }
        if let Some(step_s) = self.stepping(off_s, at_s) {
            self.stepped = true;
            self.time = Some((expected_s + step_s, sample_s));
            return expected_s + step_s;
        }
        let hz = if at_s - self.began_s < SETTLING_S { TIMES_HZ.0 } else { TIMES_HZ.1 };
        let omega = std::f64::consts::TAU * hz * block_s.min(0.1);
        let most = nominal * MOST_STEADY;
        let time_s = expected_s + off_s * (std::f64::consts::SQRT_2 * omega).min(1.0);
        let sample_s = sample_s + off_s * omega * omega / frames.max(1) as f64;
        self.time = Some((time_s, sample_s.clamp(nominal - most, nominal + most)));
        time_s
    }

    /// By how much every block of late came later than expected, if it is a step and no jitter.
    fn stepping(&mut self, off_s: f64, at_s: f64) -> Option<f64> {
        let (since_s, least_s) = match self.step {
            Some((since_s, least_s)) if least_s.signum() == off_s.signum() => {
                (since_s, if off_s.abs() < least_s.abs() { off_s } else { least_s })
            }
            _ => (at_s, off_s),
        };
        self.step = (least_s.abs() > STEP_S).then_some((since_s, least_s));
        let is_one = self.step.is_some() && at_s - since_s > STEP_FOR_S;
        is_one.then(|| {
            self.step = None;
            least_s
        })
    }

    /// Turns the ratio against the error.
    fn turn(&mut self, frames: usize, at_s: f64) {
        let passed_s = seconds_of(frames as f64);
        let hz = if at_s - self.began_s < SETTLING_S { RATIO_HZ.0 } else { RATIO_HZ.1 };
        let omega = std::f64::consts::TAU * hz;
        let fast = -std::f64::consts::SQRT_2 * omega * self.error_s;
        let correction = (self.steady + fast).clamp(-MOST, MOST);
        // What is at its end is not pushed further.
        if correction.abs() < MOST {
            let steady = self.steady - omega * omega * self.error_s * passed_s;
            self.steady = steady.clamp(-MOST_STEADY, MOST_STEADY);
        }
        self.resampler.turn(1.0 + correction);
    }

    fn resample(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let whole = self.pending.len() / (R::CHUNK * CHANNELS) * R::CHUNK * CHANNELS;
        for chunk in self.pending[..whole].chunks_exact(R::CHUNK * CHANNELS) {
            let made = self.resampler.pass(chunk, out)?;
            if let Some(place) = &mut self.place {
                *place += made as f64;
            }
        }
        self.pending.drain(..whole);
        Ok(())
    }

    /// Place of the next sample that comes out, in the show.
    pub fn place(&self) -> Option<f64> {
        self.place
    }

    /// How much faster the source's clock is than the show's, in millionths, as far as is known.
    pub fn drift_ppm(&self) -> f64 {
        -self.steady * 1e6
    }

    /// How much later the sound stands than it should.
    pub fn error_s(&self) -> f64 {
        self.error_s
    }

    /// Times that so much was missing that it began anew.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run with a turned clock showed.
    struct Run {
        /// Of what was written and not yet read, less what it should be.
        most_error_s: f64,
        bend: f64,
        peak: f32,
        anew: usize,
        ppm: f64,
    }

    /// Makes as many frames as it should, and nothing of them.
    struct Counting {
        ratio: f64,
        rest: f64,
    }

    impl Resample for Counting {
        const CHUNK: usize = Sinc::CHUNK;

        fn delay(&self) -> usize {
            32
        }

        fn turn(&mut self, ratio: f64) {
            self.ratio = ratio;
        }

        fn pass(&mut self, _: &[f32], _: &mut Vec<f32>) -> Result<usize> {
            let made = Self::CHUNK as f64 * self.ratio + self.rest;
            self.rest = made.fract();
            Ok(made as usize)
        }
    }

    /// A card whose clock is `ppm` off plays a sine in blocks of 10 ms that come with jitter; what
    /// comes out is held against the show's clock, block after block.
    fn run<R: Resample>(
        mut drift: Drift<R>,
        (seconds, ppm, jitter_s): (f64, f64, f64),
        stall_at_s: Option<f64>,
    ) -> Run {
        let mut chance = fastrand::Rng::with_seed(7);
        let rate = 48_000.0 * (1.0 + ppm / 1e6);
        let line_s = -3.25;
        let (mut made, mut out) = (0u64, Vec::new());
        let mut seen = Run { most_error_s: 0.0, bend: 0.0, peak: 0.0, anew: 0, ppm: 0.0 };
        let (mut last, mut last_at_s) = ([0f32; 2], 0.0f64);
        let turn = std::f64::consts::TAU * 997.0 / 48_000.0;
        // A second of it; a whole number of turns.
        let sine: Vec<f32> =
            (0..48_000).flat_map(|i| [(f64::from(i) * turn).sin() as f32 * 0.5; 2]).collect();
        while (made as f64) < seconds * rate {
            let block = &sine[made as usize % 48_000 * 2..][..960];
            made += 480;
            let captured_s = 5.0 + made as f64 / rate;
            let mut at_s = captured_s + chance.f64() * jitter_s;
            if let Some(stall_s) = stall_at_s
                && (stall_s..stall_s + 0.12).contains(&captured_s)
            {
                at_s = stall_s + 0.12;
            }
            at_s = at_s.max(last_at_s);
            last_at_s = at_s;
            out.clear();
            if let Placed::Anew(_) = drift.take(block, at_s, line_s, &mut out).unwrap() {
                seen.anew += 1;
            }
            let Some(place) = drift.place() else { continue };
            // Of the samples that were captured, those that are still inside.
            let inside = drift.pending.len() / 2 + drift.resampler.delay();
            let stands_s = (place + inside as f64) / 48_000.0;
            let error_s = stands_s - (captured_s + line_s);
            if captured_s > 20.0 {
                seen.most_error_s = seen.most_error_s.max(error_s.abs());
            }
            for frame in out.chunks_exact(2) {
                if captured_s > 6.0 {
                    let bend = f64::from(frame[0] - 2.0 * last[1] + last[0]).abs();
                    seen.bend = seen.bend.max(bend);
                    seen.peak = seen.peak.max(frame[0].abs());
                }
                last = [last[1], frame[0]];
            }
        }
        seen.ppm = drift.drift_ppm();
        println!(
            "{ppm} ppm: {:.2} ms off at most, {:.0} ppm found",
            seen.most_error_s * 1000.0,
            seen.ppm
        );
        seen
    }

    /// The largest second difference of the sine.
    fn bend_of_sine() -> f64 {
        let turn: f64 = std::f64::consts::TAU * 997.0 / 48_000.0;
        0.5 * turn * turn
    }

    #[test]
    fn three_hours_on_a_card_that_is_200_ppm_off() {
        for ppm in [200.0, -200.0] {
            let counting = Drift::with(Counting { ratio: 1.0, rest: 0.0 });
            let run = run(counting, (3.0 * 3600.0, ppm, 0.010), None);
            assert_eq!(run.anew, 1);
            // Without a correction it would be 2.16 s.
            assert!(run.most_error_s < 0.020, "{ppm} ppm: {} s", run.most_error_s);
            assert!((run.ppm - ppm).abs() < 60.0, "{} of {ppm} ppm", run.ppm);
        }
    }

    #[test]
    fn a_sine_stays_a_sine_while_the_ratio_is_turned() {
        let run = run(Drift::new().unwrap(), (25.0, 200.0, 0.010), None);
        assert_eq!(run.anew, 1);
        assert!(run.bend < bend_of_sine() * 1.02, "{} of {}", run.bend, bend_of_sine());
        assert!((0.495..0.505).contains(&run.peak), "{}", run.peak);
    }

    #[test]
    fn a_machine_that_stood_still_catches_up_without_a_click() {
        let run = run(Drift::new().unwrap(), (25.0, 50.0, 0.002), Some(22.0));
        assert_eq!(run.anew, 1);
        assert!(run.most_error_s < 0.020, "{} s", run.most_error_s);
        assert!(run.bend < bend_of_sine() * 1.02, "{} of {}", run.bend, bend_of_sine());
    }

    #[test]
    fn a_period_that_a_server_lost_is_one_gap_and_no_more() {
        let mut drift = Drift::new().unwrap();
        let (mut out, mut chance) = (Vec::new(), fastrand::Rng::with_seed(3));
        let block = [0.25; 960];
        let mut anew = Vec::new();
        for i in 0..1000 {
            // Two periods of 10.7 ms were never played, at the fifth second.
            let lost_s = if i >= 500 { 0.0214 } else { 0.0 };
            let at_s = f64::from(i + 1) * 0.01 + lost_s + chance.f64() * 0.004;
            out.clear();
            if let Placed::Anew(place) = drift.take(&block, at_s, 10.0, &mut out).unwrap() {
                anew.push((at_s, place));
            }
        }
        assert_eq!(anew.len(), 2, "{anew:?}");
        assert!(anew[1].0 < 5.3, "{anew:?}");
        assert!(drift.error_s().abs() < 0.005, "{}", drift.error_s());
    }

    #[test]
    fn what_is_lost_for_good_begins_anew_at_its_place() {
        let mut drift = Drift::new().unwrap();
        let mut out = Vec::new();
        let block = [0.25; 960];
        let mut anew = Vec::new();
        for i in 0..400 {
            // Half a second is missing from the second second on.
            let at_s = f64::from(i + 1) * 0.01 + if i >= 200 { 0.5 } else { 0.0 };
            out.clear();
            if let Placed::Anew(place) = drift.take(&block, at_s, 10.0, &mut out).unwrap() {
                anew.push((at_s, place));
            }
        }
        assert_eq!(anew.len(), 2, "{anew:?}");
        let (at_s, place) = anew[1];
        assert!(at_s < 4.0, "{at_s}");
        let off_s = place as f64 / 48_000.0 - (at_s + 10.0);
        assert!(off_s.abs() < 0.05, "{off_s}");
        assert_eq!(drift.restarts(), 1);
    }
}
