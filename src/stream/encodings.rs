//! All encodes of a show: the main one, and one more for every setting of its own that an output
//! asks for. Outputs that ask for the same share one. Where the recording is to be without what lies
//! over the stream, the main encode is the recording's alone.
//!
//! Holds: the main encode is there from the show's start to its end. A further one is made for the
//! first output that needs it, and ends some seconds after the last is off air.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::adapt::Adaptation;
use super::encoding::ladder::{Choice, X264_PRESET};
use super::encoding::{EncodeSettings, Encoding, EncodingState};
use super::fanout::Fanout;
use super::output::Output;
use super::raw::Tap;
use super::sound::SoundOut;
use crate::base::effort::PresentEffort;
use crate::base::error::Result;
use crate::config::output::{OutputSpec, Target};
use crate::render::overlay::View;

/// An encode that nobody uses ends after this time.
const UNUSED: Duration = Duration::from_secs(5);

/// Whether and how far the bitrate may be lowered while an uplink cannot carry it.
#[derive(Clone, Copy, Debug)]
pub struct AdaptSettings {
    pub enabled: bool,
    pub floor_kbps: u32,
}

pub struct Encodings {
    settings: EncodeSettings,
    choice: Choice,
    effort: Arc<PresentEffort>,
    tap: Arc<Tap>,
    sound: Arc<SoundOut>,
    adapt: AdaptSettings,
    main_fanout: Arc<Fanout>,
    main_state: Arc<EncodingState>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// The first is the main one.
    encodes: Vec<Encode>,
    closed: bool,
}

struct Encode {
    settings: EncodeSettings,
    encoding: Encoding,
    adaptation: Adaptation,
    /// Time at which it was last seen in use.
    used_at: Option<Duration>,
}

/// A bitrate that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted {
    /// The encode is the one that is recorded.
    pub main: bool,
    pub kbps: u32,
    pub target_kbps: u32,
}

impl Encodings {
    /// Starts the main encode.
    pub fn start(
        settings: EncodeSettings,
        choice: Choice,
        adapt: AdaptSettings,
        effort: &Arc<PresentEffort>,
        tap: &Arc<Tap>,
        sound: &Arc<SoundOut>,
    ) -> Result<Arc<Self>> {
        let main = Encode::start(&settings, &choice, adapt, effort, tap, sound)?;
        Ok(Arc::new(Encodings {
            main_fanout: main.encoding.fanout().clone(),
            main_state: main.encoding.state().clone(),
            running: Mutex::new(Running { encodes: vec![main], closed: false }),
            settings,
            choice,
            effort: effort.clone(),
            tap: tap.clone(),
            sound: sound.clone(),
            adapt,
        }))
    }

    /// Where the main encode goes.
    pub fn main(&self) -> &Arc<Fanout> {
        &self.main_fanout
    }

    pub fn main_state(&self) -> &Arc<EncodingState> {
        &self.main_state
    }

    /// The stream that an output asks for; an encode is started for it where there is none.
    pub fn for_output(&self, output: &OutputSpec) -> Result<Arc<Fanout>> {
        let wanted = wanted(&self.settings, output);
        let mut running = self.lock();
        if let Some(known) = running.encodes.iter_mut().find(|e| e.settings == wanted) {
            known.used_at = None;
            return Ok(known.encoding.fanout().clone());
        }
        if running.closed {
            return Ok(self.main_fanout.clone());
        }
        tracing::info!(
            "output {}: {} kb/s in an encode of its own",
            output.shown(),
            wanted.bitrate_kbps
        );
        let encode =
            Encode::start(&wanted, &self.choice, self.adapt, &self.effort, &self.tap, &self.sound)?;
        let fanout = encode.encoding.fanout().clone();
        running.encodes.push(encode);
        Ok(fanout)
    }

    /// Fits bitrates to what the outputs say of their way out, and ends what nobody uses. To be
    /// called about once a second.
    pub fn look_after(&self, now: Duration, outputs: &[Arc<Output>]) -> Vec<Adapted> {
        let mut adapted = Vec::new();
        let mut unused = Vec::new();
        let mut running = self.lock();
        let mut place = 0;
        while place < running.encodes.len() {
            let encode = &mut running.encodes[place];
            let fanout = encode.encoding.fanout();
            let users = || outputs.iter().filter(|output| output.info.sends(fanout));
            if users().next().is_some() {
                encode.used_at = Some(now);
            }
            if place > 0 && now > *encode.used_at.get_or_insert(now) + UNUSED {
                unused.push(running.encodes.remove(place));
                continue;
            }
            let congested =
                users().any(|output| output.spec.adaptive && output.info.is_congested());
            if self.adapt.enabled
                && let Some(kbps) = encode.adaptation.step(now, congested)
            {
                encode.encoding.set_bitrate(kbps);
                let target_kbps = encode.settings.bitrate_kbps;
                adapted.push(Adapted { main: place == 0, kbps, target_kbps });
            }
            place += 1;
        }
        drop(running);
        // Nobody listens, so nothing is waited for.
        for encode in &mut unused {
            encode.encoding.close(Duration::ZERO);
        }
        adapted
    }

    /// Encodes what is left, for at most `limit`, and ends all fan-outs; false: not everything
    /// came out in time.
    pub fn close(&self, limit: Duration) -> bool {
        let mut running = self.lock();
        running.closed = true;
        let until_ns = super::clock_ns() + limit.as_nanos() as u64;
        let mut in_time = true;
        for encode in &mut running.encodes {
            let left_ns = until_ns.saturating_sub(super::clock_ns());
            in_time &= encode.encoding.close(Duration::from_nanos(left_ns));
        }
        in_time
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Encode {
    fn start(
        settings: &EncodeSettings,
        choice: &Choice,
        adapt: AdaptSettings,
        effort: &Arc<PresentEffort>,
        tap: &Arc<Tap>,
        sound: &Arc<SoundOut>,
    ) -> Result<Self> {
        Ok(Encode {
            encoding: Encoding::start(settings.clone(), choice.clone(), effort, tap, sound)?,
            adaptation: Adaptation::new(adapt.floor_kbps, settings.bitrate_kbps),
            settings: settings.clone(),
            used_at: None,
        })
    }
}

/// The settings of the encode that an output asks for: the show's, but for what it says itself
/// and what its service does not take.
pub fn wanted(show: &EncodeSettings, output: &OutputSpec) -> EncodeSettings {
    let mut wanted = show.clone();
    let recorded = matches!(output.target, Target::File { .. });
    if show.view == View::Recording && !recorded {
        wanted.view = View::Stream;
    }
    if let Some(kbps) = output.bitrate_kbps {
        wanted.bitrate_kbps = kbps;
    }
    if output.preset.as_deref().is_some_and(|preset| preset != X264_PRESET) {
        wanted.preset = output.preset.clone();
    }
    if let Target::Rtmp(rtmp) = &output.target {
        let limits = rtmp.profile.limits();
        if let Some(most) = limits.max_bitrate_kbps {
            wanted.bitrate_kbps = wanted.bitrate_kbps.min(most);
        }
        if let Some(most) = limits.keyframe_seconds {
            wanted.keyframe_seconds = wanted.keyframe_seconds.min(most);
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::FrameRate;

    fn settings(bitrate_kbps: u32, keyframe_seconds: f64) -> EncodeSettings {
        EncodeSettings {
            canvas: (1920, 1080),
            fps: FrameRate::whole(60),
            bitrate_kbps,
            keyframe_seconds,
            preset: None,
            lean: false,
            view: View::Shared,
        }
    }

    fn asked(show: &EncodeSettings, uri: &str) -> EncodeSettings {
        wanted(show, &OutputSpec::parse(uri).unwrap())
    }

    #[test]
    fn outputs_share_the_main_encode_unless_they_or_their_service_ask_for_another() {
        let show = settings(6000, 2.0);
        for uri in ["null:", "srt://h:9000", "rtmp://h/live/key", "rtmp://live.twitch.tv/app/key"] {
            assert_eq!(asked(&show, uri), show, "{uri}");
        }
        let own = asked(&show, "rtmp://h/live/key#bitrate=3000&preset=veryfast");
        assert_eq!((own.bitrate_kbps, own.preset.as_deref()), (3000, Some("veryfast")));
        // A recording with pictures of its own: files share its encode, streams have another.
        let clean = EncodeSettings { view: View::Recording, ..show.clone() };
        assert_eq!(asked(&clean, "file:more.mkv"), clean);
        let stream = EncodeSettings { view: View::Stream, ..show.clone() };
        assert_eq!(asked(&clean, "srt://h:9000"), stream);
        // More than the service takes, and key frames too far apart.
        let rich = settings(12_000, 5.0);
        let own = asked(&rich, "rtmp://live.twitch.tv/app/key");
        assert_eq!((own.bitrate_kbps, own.keyframe_seconds), (6000, 2.0));
    }
}
