//! Where something begins: kick, snare, hat, and how much begins at all (for the beat).
//!
//! The rise of a logarithmic spectrum in bands of a sixth of an octave, each against the loudest of
//! its neighbours a little earlier, so that a voice that slides is no onset: S. Boeck, G. Widmer,
//! "Maximum filter vibrato suppression for onset detection", DAFx 2013 (SuperFlux). Causal: an onset
//! is told as soon as the rise is over its threshold, not when it has been highest.

use super::spectrum::{BIN_HERTZ, BINS, power_between};
use super::{HOP_SECONDS, HOPS_PER_SECOND};

/// Hops between the spectra that are compared.
const APART: usize = 2;
/// Spectra that are kept.
const KEPT: usize = APART + 1;
const LOWEST: f32 = 25.0;
const HIGHEST: f32 = 16_000.0;
const PER_OCTAVE: f32 = 6.0;
/// Ends of what counts as kick, as its click, as the noise of a snare, and as hat.
const KICK_BELOW: f32 = 130.0;
const CLICK: (f32, f32) = (300.0, 1500.0);
const SNARE: (f32, f32) = (2000.0, 7000.0);
const HAT_ABOVE: f32 = 7000.0;
/// Shares of bands that rise in a click, and in noise.
const CLICK_SHARE: f32 = 0.2;
const NOISE_SHARE: f32 = 0.7;
/// Of the loudest below: a kick.
const KICK_PEAK: f32 = 0.6;
/// How far below the loudest (as amplitude) a rise begins to count.
const COMPRESS: f32 = 60.0;
/// The loudest is forgotten by so much a second, in decibels.
const FORGET_DB: f32 = 0.3;
/// Nothing is made louder than from here (as amplitude): what is below is not music.
const QUIETEST: f32 = 0.003;

pub(super) struct Onsets {
    /// First bin of each band, and the end of the last.
    edges: Vec<usize>,
    click: std::ops::Range<usize>,
    snare: std::ops::Range<usize>,
    hat: std::ops::Range<usize>,
    /// The newest spectrum and those before it.
    past: Vec<Vec<f32>>,
    newest: usize,
    loudest: f32,
    kicks: Detector,
    snares: Detector,
    hats: Detector,
    /// Of kick, snare and hat.
    low: Amplitude,
    noise: Amplitude,
    top: Amplitude,
    last_hat: f32,
    /// The loudest below of late.
    low_peak: f32,
    /// A hat was heard a hop ago, and is one if it was not the beginning of a snare.
    hat_waits: bool,
    since_snare: u32,
    since_click: u32,
}

/// What begins in a hop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Begun {
    /// Kick, snare, hat.
    pub(super) onsets: [bool; 3],
    /// Of everything together.
    pub(super) strength: f32,
}

impl Onsets {
    pub(super) fn new() -> Self {
        let mut edges = Vec::new();
        let mut hertz = LOWEST;
        while hertz < HIGHEST {
            let bin = (hertz / BIN_HERTZ).round().max(1.0) as usize;
            if edges.last() != Some(&bin) {
                edges.push(bin);
            }
            hertz *= 2.0_f32.powf(1.0 / PER_OCTAVE);
        }
        edges.push(((HIGHEST / BIN_HERTZ) as usize).min(BINS));
        edges.dedup();
        let band =
            |hertz: f32| edges.iter().take_while(|&&bin| (bin as f32) < hertz / BIN_HERTZ).count();
        let bands = edges.len() - 1;
        Onsets {
            click: band(CLICK.0)..band(CLICK.1),
            snare: band(SNARE.0)..band(SNARE.1),
            hat: band(HAT_ABOVE)..bands,
            past: vec![vec![0.0; bands]; KEPT],
            edges,
            newest: 0,
            loudest: QUIETEST,
            kicks: Detector::new(0.1, 0.02, 0.4),
            snares: Detector::new(0.09, 0.005, 0.6),
            hats: Detector::new(0.05, 0.004, 0.45),
            low: Amplitude::default(),
            noise: Amplitude::default(),
            top: Amplitude::default(),
            last_hat: 0.0,
            low_peak: 0.0,
            hat_waits: false,
            since_snare: u32::MAX,
            since_click: u32::MAX,
        }
    }

    pub(super) fn step(&mut self, power: &[f32]) -> Begun {
        let total: f32 = power.iter().sum();
        let forget = 10.0_f32.powf(-FORGET_DB / 20.0 / HOPS_PER_SECOND as f32);
        self.loudest = (self.loudest * forget).max(total.sqrt()).max(QUIETEST);
        self.newest = (self.newest + 1) % KEPT;
        let scale = COMPRESS / self.loudest;
        for (band, ends) in self.edges.windows(2).enumerate() {
            let power: f32 = power[ends[0]..ends[1]].iter().sum();
            self.past[self.newest][band] = (1.0 + scale * power.sqrt()).ln();
        }
        let all = self.rise(0..self.edges.len() - 1).0;

        // A kick begins with a click above itself, a bass without.
        self.low.push(power_between(power, 20.0, KICK_BELOW).sqrt() / self.loudest);
        let kick = self.low.rise();
        let clicks = self.rise(self.click.clone()).1 > CLICK_SHARE;
        self.since_click = if clicks { 0 } else { self.since_click.saturating_add(1) };
        // Where a voice hides the click, it is loud enough only once it is louder than any bass.
        self.low_peak = (self.low_peak * forget).max(self.low.newest());
        let told = self.since_click < 4 || self.low.newest() > KICK_PEAK * self.low_peak;
        let kick_now = self.kicks.step(if told { kick } else { 0.25 * kick });

        // Noise is everywhere at once, a note here and there.
        self.noise.push(self.mean(self.snare.clone()));
        let snare = self.noise.rise();
        let noisy = self.rise(self.snare.clone()).1 > NOISE_SHARE;
        let snare_now = self.snares.step(if noisy { snare } else { 0.0 });
        self.since_snare = if snare_now { 0 } else { self.since_snare.saturating_add(1) };

        // A snare is heard up there too, and sooner than as a snare: a hat waits for a hop.
        let alone = self.since_snare > 4;
        let hat_now = self.hat_waits && alone;
        if alone {
            self.hats.learn(self.last_hat);
        }
        self.top.push(self.mean(self.hat.clone()));
        let noisy = self.rise(self.hat.clone()).1 > NOISE_SHARE;
        self.last_hat = if noisy { self.top.rise() } else { 0.0 };
        self.hat_waits = self.hats.begins(self.last_hat);
        Begun { onsets: [kick_now, snare_now, hat_now], strength: all + 2.0 * kick + 4.0 * snare }
    }

    /// How loud the softest of the bands are: the amplitude by the mean of logarithms.
    fn mean(&self, bands: std::ops::Range<usize>) -> f32 {
        let bands = &self.past[self.newest][bands];
        (bands.iter().sum::<f32>() / bands.len().max(1) as f32).exp_m1() / COMPRESS
    }

    /// The mean rise of the bands, each against the loudest of its neighbours a little before; and
    /// the share of bands that rise.
    fn rise(&self, bands: std::ops::Range<usize>) -> (f32, f32) {
        let now = &self.past[self.newest];
        let before = &self.past[(self.newest + KEPT - APART) % KEPT];
        let count = bands.len().max(1) as f32;
        let (mut sum, mut rising) = (0.0, 0.0);
        for band in bands {
            let near = band.saturating_sub(1)..(band + 2).min(now.len());
            let most = before[near].iter().fold(0.0, |most: f32, &s| most.max(s));
            let rise = (now[band] - most).max(0.0);
            sum += rise;
            rising += f32::from(u8::from(rise > 0.1));
        }
        (sum / count, rising / count)
    }
}

/// An amplitude and what it was, newest last.
#[derive(Default)]
struct Amplitude([f32; APART + 5]);

impl Amplitude {
    fn newest(&self) -> f32 {
        self.0[APART + 4]
    }

    fn push(&mut self, amplitude: f32) {
        self.0.rotate_left(1);
        self.0[APART + 4] = amplitude;
    }

    /// How far it is above all that was before. A low tone is louder and softer within its own
    /// period, so that is longer than a period.
    fn rise(&self) -> f32 {
        let most = self.0[..5].iter().fold(0.0, |most: f32, &a| most.max(a));
        (self.newest() - most).max(0.0)
    }
}

/// Tells when a rise is over what is usual by far.
struct Detector {
    /// Hops that lie between two onsets at least.
    rest: u32,
    /// What is below is none.
    floor: f32,
    /// Of the highest of late.
    share: f32,
    highest: f32,
    mean: f32,
    since: u32,
}

impl Detector {
    fn new(rest_seconds: f32, floor: f32, share: f32) -> Self {
        let rest = (rest_seconds * HOPS_PER_SECOND as f32) as u32;
        Detector { rest, floor, share, highest: 0.0, mean: 0.0, since: u32::MAX }
    }

    fn step(&mut self, rise: f32) -> bool {
        let begun = self.begins(rise);
        self.learn(rise);
        begun
    }

    fn begins(&mut self, rise: f32) -> bool {
        self.since = self.since.saturating_add(1);
        let over = self.floor.max(self.share * self.highest).max(2.0 * self.mean);
        let begun = rise > over && self.since > self.rest;
        if begun {
            self.since = 0;
        }
        begun
    }

    fn learn(&mut self, rise: f32) {
        // Half is forgotten in three seconds.
        self.highest = (self.highest * (1.0 - 0.23 * HOP_SECONDS)).max(rise);
        self.mean += (rise - self.mean) * HOP_SECONDS / 0.3;
    }
}
