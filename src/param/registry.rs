//! The table itself, and what a parameter is. Adding an effect is one entry here and one kernel in
//! `render`.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use crate::base::error::{Error, Result};

/// What a parameter's value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Float {
        min: f32,
        max: f32,
    },
    /// A whole number.
    Int {
        min: i32,
        max: i32,
    },
    /// 0 or 1.
    Bool,
    /// The number of a choice, or its name.
    Enum(&'static [&'static str]),
    /// Text of at most so many characters; it has no number.
    Text {
        most: usize,
    },
    /// Something that happens each time it is sent; it has no value.
    Trigger,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// With the next rendered frame.
    Now,
    /// With the next generated cycle.
    Cycle,
    /// The show carries it out at once, beside the picture.
    Show,
}

/// How a knob or fader is laid over the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    Linear,
    /// Equal steps of the knob multiply by the same; the range is above zero.
    Log,
}

/// One steerable thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Param {
    pub id: ParamId,
    /// Below `/vfaq`: the OSC address, and the path of the HTTP route.
    pub address: &'static str,
    pub label: &'static str,
    pub kind: Kind,
    /// 0 for a text or a trigger.
    pub default: f32,
    pub unit: &'static str,
    pub curve: Curve,
    /// The range is a circle: the picture follows by the shorter way.
    pub wraps: bool,
    /// Time constant with which the picture follows a change.
    pub smoothing_ms: f32,
    /// It moves steadily instead, and takes for its whole range the seconds that this one says.
    pub fades_over: Option<ParamId>,
    pub applies: Applies,
    /// What it does, in a sentence.
    pub help: &'static str,
}

impl Param {
    const fn new(
        id: ParamId,
        address: &'static str,
        label: &'static str,
        kind: Kind,
        default: f32,
        help: &'static str,
    ) -> Self {
        Param {
            id,
            address,
            label,
            kind,
            default,
            unit: "",
            curve: Curve::Linear,
            wraps: false,
            smoothing_ms: match kind {
                Kind::Float { .. } => 60.0,
                _ => 0.0,
            },
            fades_over: None,
            applies: Applies::Now,
            help,
        }
    }

    const fn unit(self, unit: &'static str) -> Self {
        Param { unit, ..self }
    }

    const fn log(self) -> Self {
        Param { curve: Curve::Log, ..self }
    }

    const fn wraps(self) -> Self {
        Param { wraps: true, ..self }
    }

    const fn smooth(self, smoothing_ms: f32) -> Self {
        Param { smoothing_ms, ..self }
    }

    const fn fades(self, over: ParamId) -> Self {
        Param { fades_over: Some(over), ..self }
    }

    const fn cycle(self) -> Self {
        Param { applies: Applies::Cycle, smoothing_ms: 0.0, ..self }
    }

    const fn show(self) -> Self {
        Param { applies: Applies::Show, smoothing_ms: 0.0, ..self }
    }
}

const fn float(min: f32, max: f32) -> Kind {
    Kind::Float { min, max }
}

const fn int(min: i32, max: i32) -> Kind {
    Kind::Int { min, max }
}

const BOOL: Kind = Kind::Bool;
const TRIGGER: Kind = Kind::Trigger;
/// A prompt. Longer ones are of no use to any generator, and a mistake more often than not.
const PROMPT: Kind = Kind::Text { most: 4000 };
const NAME: Kind = Kind::Text { most: 200 };

/// Makes [`ParamId`] and [`REGISTRY`], which so are in one order.
macro_rules! registry {
    ($($id:ident $address:literal $label:literal $kind:expr, $default:expr, $help:expr
        $(, $style:ident ( $($value:expr)? ))* ;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum ParamId {
            $($id,)*
        }

        /// Every parameter, in the order of [`ParamId`].
        pub static REGISTRY: &[Param] = &[
            $(Param::new(ParamId::$id, $address, $label, $kind, $default, $help)
                $(.$style($($value)?))*,)*
        ];
    };
}

registry! {
    // Colour.
    Brightness "/fx/brightness" "Brightness" float(-1.0, 1.0), 0.0,
        "Lighter or darker: -1 is black, 1 white.";
    Contrast "/fx/contrast" "Contrast" float(0.0, 2.0), 1.0,
        "About mid grey: 0 is flat grey, 2 hard.", unit("x");
    Saturation "/fx/saturation" "Saturation" float(0.0, 2.0), 1.0,
        "0 is black and white.", unit("x");
    Hue "/fx/hue" "Hue" float(-180.0, 180.0), 0.0,
        "Turns every colour around the wheel.", unit("deg"), wraps();
    Gamma "/fx/gamma" "Gamma" float(0.2, 5.0), 1.0,
        "Mid tones: above 1 lighter, below darker; black and white stay.", log();
    Invert "/fx/invert" "Invert" float(0.0, 1.0), 0.0,
        "How much of the negative shows; at 0.5 nothing is left but grey.";
    Posterise "/fx/posterise" "Posterise" float(0.0, 1.0), 0.0,
        "Fewer steps of light: 0 all, 1 two.";
    Tint "/fx/tint" "Tint" float(0.0, 1.0), 0.0,
        "How much the colours give way to one.";
    TintHue "/fx/tint_hue" "Tint colour" float(0.0, 360.0), 320.0,
        "That colour: 0 red, 120 green, 240 blue.", unit("deg"), wraps();
    // Geometry.
    Zoom "/fx/zoom" "Zoom" float(1.0, 4.0), 1.0,
        "About the centre.", unit("x"), log();
    Rotation "/fx/rotation" "Rotation" float(-180.0, 180.0), 0.0,
        "Clockwise; what comes in at the edges is the picture mirrored.", unit("deg"), wraps();
    PanX "/fx/pan_x" "Pan across" float(-1.0, 1.0), 0.0,
        "To the right, in widths of the picture.";
    PanY "/fx/pan_y" "Pan up and down" float(-1.0, 1.0), 0.0,
        "Downwards, in heights of the picture.";
    Mirror "/fx/mirror" "Mirror" Kind::Enum(&["off", "left_right", "top_bottom", "quad"]), 0.0,
        "Half or a quarter of the picture, mirrored into the rest.";
    Kaleidoscope "/fx/kaleidoscope" "Kaleidoscope" int(0, 16), 0.0,
        "Segments; 0 and 1 are off.";
    // Distortion.
    RgbSplit "/fx/rgb_split" "RGB split" float(0.0, 1.0), 0.0,
        "Red and blue drift apart.";
    Pixelate "/fx/pixelate" "Pixelate" float(0.0, 1.0), 0.0,
        "Blocks instead of pixels; at 1 an eighth of the height.";
    ScanLines "/fx/scan_lines" "Scan lines" float(0.0, 1.0), 0.0,
        "Dark lines, as on an old screen.";
    Glitch "/fx/glitch" "Glitch" float(0.0, 1.0), 0.0,
        "Blocks that jump; more and larger ones with more.";
    GlitchHit "/fx/glitch_hit" "Glitch hit" TRIGGER, 0.0,
        "A burst of glitch blocks, a quarter of a second long.";
    Blur "/fx/blur" "Blur" float(0.0, 1.0), 0.0,
        "Out of focus.";
    Bloom "/fx/bloom" "Bloom" float(0.0, 1.0), 0.0,
        "What is light glows.";
    Edges "/fx/edges" "Edge glow" float(0.0, 1.0), 0.0,
        "Outlines in the picture's colours; at 1 nothing else.";
    // Time.
    Trails "/fx/trails" "Trails" float(0.0, 1.0), 0.0,
        "How long pictures linger.";
    TrailsZoom "/fx/trails_zoom" "Trails zoom" float(0.9, 1.1), 1.0,
        "How much larger each lingering picture is than the one before.", unit("x");
    TrailsRotation "/fx/trails_rotation" "Trails rotation" float(-10.0, 10.0), 0.0,
        "How much further each lingering picture is turned.", unit("deg");
    Strobe "/fx/strobe" "Strobe" float(0.0, 25.0), 0.0,
        "Flashes a second; 0 is off. The flash limiter stands behind it.", unit("Hz"), smooth(0.0);
    StrobeDepth "/fx/strobe_depth" "Strobe depth" float(0.0, 1.0), 1.0,
        "How dark it is between flashes.";
    Flash "/fx/flash" "Flash" TRIGGER, 0.0,
        "One white flash, fading.";
    Blackout "/fx/blackout" "Blackout" BOOL, 0.0,
        "A black picture; sound and outputs go on.", fades(ParamId::BlackoutFade);
    BlackoutFade "/fx/blackout_fade" "Blackout fade" float(0.0, 10.0), 0.0,
        "How long a blackout takes to come and go; 0 is at once.", unit("s"), smooth(0.0);
    // Playback.
    Speed "/playback/speed" "Speed" float(0.1, 4.0), 1.0,
        "Of what is on air; motion stays smooth.", unit("x"), log(), smooth(120.0);
    Freeze "/playback/freeze" "Freeze" BOOL, 0.0,
        "The clip on air stands still; effects go on.";
    Reverse "/playback/reverse" "Reverse" BOOL, 0.0,
        "Backwards over what was shown, from a smooth turn on.";
    Bounce "/playback/bounce" "Bounce" BOOL, 0.0,
        "The cycle on air goes back and forth; behind it the show goes on with what is ready.";
    Hold "/playback/hold" "Hold" BOOL, 0.0,
        "The cycle on air begins again when it ends.";
    LoopCycles "/playback/loop_cycles" "Loop cycles" int(0, 16), 0.0,
        "The last so many cycles again and again; 0 is off.";
    Crossfade "/playback/crossfade" "Crossfade" float(0.0, 10.0), 0.5,
        "How long one clip takes to pass into the next where they do not continue one another.",
        unit("s"), smooth(0.0);
    Next "/playback/next" "Next" TRIGGER, 0.0,
        "On to the next cycle that is ready, now; if none is, when one comes within a second.";
    Back "/playback/back" "Back" TRIGGER, 0.0,
        "Back to the cycle before, now.";
    CycleBars "/playback/cycle_bars" "Bars of a cycle" int(0, 64), 0.0,
        "Each cycle lasts so many bars, as far as the bend lets it; 0: as long as it is.", unit("bars");
    Bend "/playback/bend" "Bend" float(0.0, 1.0), 0.2,
        "How much faster or slower a cycle may run to fit its bars; 0.2 is a fifth.", smooth(0.0);
    GoTo "/playback/cycle" "Go to cycle" int(0, 999_999), 0.0,
        "Back to the cycle of this number, as far as it is at hand.", show();
    // Prompts.
    PromptText "/prompt/text" "Prompt" PROMPT, 0.0,
        "What is to be seen, instead of the brief's prompt; empty is the brief's.", cycle();
    PromptAppend "/prompt/append" "Append" PROMPT, 0.0,
        "Put behind the prompt.", cycle();
    PromptNudge "/prompt/nudge" "Nudge" PROMPT, 0.0,
        "Put behind the prompt with a weight.", cycle();
    PromptNudgeWeight "/prompt/nudge_weight" "Nudge weight" float(0.0, 2.0), 1.0,
        "How much the nudge counts; 1 as much as the prompt.", cycle();
    SlotsOn "/prompt/slots" "Slots" BOOL, 0.0,
        "The blend of the slots is the prompt.", cycle();
    SlotA "/prompt/slot_a" "Slot A" PROMPT, 0.0, "A prompt to blend.", cycle();
    SlotB "/prompt/slot_b" "Slot B" PROMPT, 0.0, "A prompt to blend.", cycle();
    SlotC "/prompt/slot_c" "Slot C" PROMPT, 0.0, "A prompt to blend.", cycle();
    SlotD "/prompt/slot_d" "Slot D" PROMPT, 0.0, "A prompt to blend.", cycle();
    Blend "/prompt/blend" "Blend" float(0.0, 3.0), 0.0,
        "Where between the slots: 0 A, 1 B, 2 C, 3 D.", cycle();
    Travel "/prompt/travel" "Travel" int(1, 32), 1.0,
        "Cycles over which a move of the blend is made.", unit("cycles"), cycle();
    Negative "/prompt/negative" "Negative" PROMPT, 0.0,
        "What is to be avoided, instead of the brief's; empty is the brief's.", cycle();
    Style "/prompt/style" "Style" PROMPT, 0.0,
        "Style words, instead of the brief's; empty is the brief's.", cycle();
    MotionWords "/prompt/motion" "Motion" PROMPT, 0.0,
        "Words for the motion, instead of the brief's; empty is the brief's.", cycle();
    Brief "/prompt/brief" "Back to the brief" TRIGGER, 0.0,
        "All of /prompt and /gen as the settings say.", cycle();
    // Generation. The defaults here give way to those of the settings when a show starts.
    Denoise "/gen/denoise" "Change" float(0.0, 1.0), 0.4,
        "How much each cycle changes: 0 nothing, 1 a new picture.", cycle();
    Guidance "/gen/guidance" "Guidance" float(1.0, 30.0), 7.0,
        "How strictly a diffusion model follows the prompt.", cycle();
    Steps "/gen/steps" "Steps" int(1, 150), 30.0,
        "Of a diffusion model; more take longer.", cycle();
    MotionAmount "/gen/motion" "Motion amount" int(1, 255), 127.0,
        "How much moves in a clip.", cycle();
    Seed "/gen/seed" "Seed" int(0, 16_777_215), 0.0,
        "Where chance begins; the same seed and prompt give the same picture. 0 is the brief's.", cycle();
    SeedLock "/gen/seed_lock" "Lock seed" BOOL, 0.0,
        "Every cycle takes the same seed.", cycle();
    SeedStep "/gen/seed_step" "Seed step" int(-1000, 1000), 1.0,
        "Added to the seed with every cycle.", cycle();
    SeedDice "/gen/seed_dice" "Dice" TRIGGER, 0.0,
        "A seed by chance.", cycle();
    Regenerate "/gen/now" "New cycle now" TRIGGER, 0.0,
        "What waits is dropped, and a new cycle is made at once.", cycle();
    // Overlays. Position is of the middle, in parts of the picture's width and height.
    LogoOn "/overlay/logo/on" "Logo" BOOL, 0.0, "Shows the logo.", fades(ParamId::OverlayFade);
    LogoFile "/overlay/logo/file" "Logo file" NAME, 0.0,
        "The name of a PNG in the folder overlays of the worqspace.", show();
    LogoX "/overlay/logo/x" "Logo across" float(0.0, 1.0), 0.9,
        "Of its middle: 0 is left, 1 right; at the edges it stays whole.";
    LogoY "/overlay/logo/y" "Logo down" float(0.0, 1.0), 0.1, "Of its middle.";
    LogoSize "/overlay/logo/size" "Logo size" float(0.02, 1.0), 0.12, "Its height, in heights of the picture.";
    LogoOpacity "/overlay/logo/opacity" "Logo opacity" float(0.0, 1.0), 1.0, "1 is solid.";
    LogoWhere "/overlay/logo/where" "Logo shows on" Kind::Enum(WHERE), 0.0, "Which pictures have it.";
    TextOn "/overlay/text/on" "Text" BOOL, 0.0, "Shows the text: white, outlined, in up to three lines.", fades(ParamId::OverlayFade);
    TextValue "/overlay/text/value" "Text to show" NAME, 0.0, "The text.", show();
    TextX "/overlay/text/x" "Text across" float(0.0, 1.0), 0.5, "Of its middle.";
    TextY "/overlay/text/y" "Text down" float(0.0, 1.0), 0.88, "Of its middle.";
    TextSize "/overlay/text/size" "Text size" float(0.02, 1.0), 0.06,
        "Height of a line, in heights of the picture.";
    TextOpacity "/overlay/text/opacity" "Text opacity" float(0.0, 1.0), 1.0, "1 is solid.";
    TextWhere "/overlay/text/where" "Text shows on" Kind::Enum(WHERE), 0.0, "Which pictures have it.";
    NowPlayingOn "/overlay/now_playing/on" "Now playing" BOOL, 0.0, "Shows what is playing.", fades(ParamId::OverlayFade);
    NowPlayingValue "/overlay/now_playing/value" "What is playing" NAME, 0.0,
        "The line; also read from overlays.now_playing_file.", show();
    NowPlayingX "/overlay/now_playing/x" "Now playing across" float(0.0, 1.0), 0.2, "Of its middle.";
    NowPlayingY "/overlay/now_playing/y" "Now playing down" float(0.0, 1.0), 0.06, "Of its middle.";
    NowPlayingSize "/overlay/now_playing/size" "Now playing size" float(0.02, 1.0), 0.035,
        "Height of a line.";
    NowPlayingOpacity "/overlay/now_playing/opacity" "Now playing opacity" float(0.0, 1.0), 0.9,
        "1 is solid.";
    NowPlayingWhere "/overlay/now_playing/where" "Now playing shows on" Kind::Enum(WHERE), 0.0,
        "Which pictures have it.";
    QrOn "/overlay/qr/on" "QR code" BOOL, 0.0, "Shows the QR code.", fades(ParamId::OverlayFade);
    QrValue "/overlay/qr/value" "QR address" NAME, 0.0, "The URL that it leads to.", show();
    QrX "/overlay/qr/x" "QR across" float(0.0, 1.0), 0.9, "Of its middle.";
    QrY "/overlay/qr/y" "QR down" float(0.0, 1.0), 0.82, "Of its middle.";
    QrSize "/overlay/qr/size" "QR size" float(0.02, 1.0), 0.22, "Its height with the white around it, in heights of the picture.";
    QrOpacity "/overlay/qr/opacity" "QR opacity" float(0.0, 1.0), 1.0, "1 is solid.";
    QrWhere "/overlay/qr/where" "QR shows on" Kind::Enum(WHERE), 0.0, "Which pictures have it.";
    Screen "/overlay/screen" "Screen" Kind::Enum(&["off", "starting_soon", "be_right_back"]), 0.0,
        "A picture to wait by, instead of the show's, with words; sound and outputs go on.";
    ScreenTitle "/overlay/screen_title" "Screen title" NAME, 0.0,
        "What it says, instead of its own words.", show();
    ScreenLine "/overlay/screen_line" "Screen line" NAME, 0.0, "A second line.", show();
    ScreenWhere "/overlay/screen_where" "Screen shows on" Kind::Enum(WHERE), 0.0,
        "Which pictures have it.";
    OverlayFade "/overlay/fade" "Overlay fade" float(0.0, 10.0), 0.5,
        "How long overlays and screens take to come and go.", unit("s"), smooth(0.0);
    // Sound.
    SoundSource "/sound/source" "Sound source" NAME, 0.0,
        "Where the sound comes from: silence, tone, file:PATH, file-once:PATH, jack, pulse, alsa (each also with \
         :DEVICE), an rtmp:// or srt:// address, ndi:NAME; nothing: as in the settings.", show();
    SoundGain "/sound/gain" "Gain" float(-60.0, 24.0), 0.0,
        "Louder or softer, before the limiter; -60 is silence.", unit("dB");
    SoundMute "/sound/mute" "Mute" BOOL, 0.0, "Silence to all outputs; the picture still listens.";
    SoundLimiter "/sound/limiter" "Limiter" BOOL, 1.0,
        "What would be too loud for the stream is turned down, softly.";
    SoundDelay "/sound/delay" "Sound delay" float(0.0, 2000.0), 0.0,
        "The sound comes so much later, to line it up with the picture.", unit("ms"), smooth(0.0);
    // Tempo.
    TempoSource "/tempo/source" "Tempo from" Kind::Enum(TEMPO_SOURCES), 0.0,
        "Who gives the beat; auto takes the best of those that are there.", show();
    TempoBpm "/tempo/bpm" "Tempo" float(30.0, 300.0), 120.0,
        "Where nobody else gives the beat.", unit("bpm"), log(), show();
    TempoTap "/tempo/tap" "Tap" TRIGGER, 0.0, "Tapped on each beat.", show();
    TempoDownbeat "/tempo/downbeat" "Downbeat" TRIGGER, 0.0, "The nearest beat is the first of its bar.", show();
    TempoEarlier "/tempo/earlier" "Beat earlier" TRIGGER, 0.0, "Beats come 10 ms earlier.", show();
    TempoLater "/tempo/later" "Beat later" TRIGGER, 0.0, "Beats come 10 ms later.", show();
    TempoHalf "/tempo/half" "Half tempo" TRIGGER, 0.0, "Half as many beats.", show();
    TempoDouble "/tempo/double" "Double tempo" TRIGGER, 0.0, "Twice as many beats.", show();
    BeatsPerBar "/tempo/beats_per_bar" "Beats of a bar" int(1, 16), 4.0, "The first is the downbeat.", show();
    LandOn "/tempo/land_on" "Land for" Kind::Enum(&["stream", "display"]), 0.0,
        "Who sees the picture on the beat: those who hear the stream, or those in the room.", show();
    Latency "/tempo/latency" "Picture earlier" float(-500.0, 500.0), 0.0,
        "The picture is so much ahead of the beat, for a display that is slow.", unit("ms"), show();
    // What waits for the beat.
    QuantiseCut "/quantise/cut" "Cuts wait for" Kind::Enum(QUANTA), 0.0,
        "When next, back and flash happen; the middle of a crossfade lands there.";
    QuantiseHold "/quantise/hold" "Holds wait for" Kind::Enum(QUANTA), 0.0,
        "When a hold, a loop, a bounce or a freeze ends.";
    QuantiseRecall "/quantise/recall" "Presets wait for" Kind::Enum(QUANTA), 0.0,
        "When a preset that is recalled comes.", show();
    // What is heard.
    CustomLow "/listen/custom_low" "Custom band from" float(20.0, 18_000.0), 300.0,
        "Lower end of the custom band.", unit("Hz"), log(), smooth(0.0);
    CustomHigh "/listen/custom_high" "Custom band to" float(20.0, 18_000.0), 900.0,
        "Upper end of the custom band.", unit("Hz"), log(), smooth(0.0);
    AutoGain "/listen/auto_gain" "Automatic gain" BOOL, 1.0,
        "Soft music moves the picture as much as loud music.";
    OnBuild "/listen/on_build" "At a build-up" NAME, 0.0, "Recalls this preset when the music builds up.", show();
    OnDrop "/listen/on_drop" "At a drop" NAME, 0.0, "Recalls this preset when the drop comes.", show();
    OnBreakdown "/listen/on_breakdown" "At a breakdown" NAME, 0.0,
        "Recalls this preset when the drums are gone.", show();
    // Modulators: a wave in beats, or what is heard, moves a parameter.
    Mod1Source "/mod/1/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod1Target "/mod/1/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod1Depth "/mod/1/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod1Curve "/mod/1/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod1Beats "/mod/1/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod1Phase "/mod/1/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod1Attack "/mod/1/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod1Release "/mod/1/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod2Source "/mod/2/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod2Target "/mod/2/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod2Depth "/mod/2/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod2Curve "/mod/2/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod2Beats "/mod/2/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod2Phase "/mod/2/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod2Attack "/mod/2/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod2Release "/mod/2/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod3Source "/mod/3/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod3Target "/mod/3/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod3Depth "/mod/3/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod3Curve "/mod/3/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod3Beats "/mod/3/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod3Phase "/mod/3/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod3Attack "/mod/3/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod3Release "/mod/3/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod4Source "/mod/4/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod4Target "/mod/4/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod4Depth "/mod/4/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod4Curve "/mod/4/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod4Beats "/mod/4/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod4Phase "/mod/4/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod4Attack "/mod/4/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod4Release "/mod/4/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod5Source "/mod/5/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod5Target "/mod/5/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod5Depth "/mod/5/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod5Curve "/mod/5/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod5Beats "/mod/5/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod5Phase "/mod/5/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod5Attack "/mod/5/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod5Release "/mod/5/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod6Source "/mod/6/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod6Target "/mod/6/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod6Depth "/mod/6/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod6Curve "/mod/6/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod6Beats "/mod/6/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod6Phase "/mod/6/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod6Attack "/mod/6/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod6Release "/mod/6/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod7Source "/mod/7/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod7Target "/mod/7/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod7Depth "/mod/7/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod7Curve "/mod/7/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod7Beats "/mod/7/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod7Phase "/mod/7/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod7Attack "/mod/7/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod7Release "/mod/7/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    Mod8Source "/mod/8/source" "Source" Kind::Enum(MOD_SOURCES), 0.0, MOD_SOURCE;
    Mod8Target "/mod/8/target" "Moves" Kind::Enum(MOD_TARGETS), 0.0, MOD_TARGET;
    Mod8Depth "/mod/8/depth" "Depth" float(-1.0, 1.0), 0.5, MOD_DEPTH;
    Mod8Curve "/mod/8/curve" "Curve" Kind::Enum(MOD_CURVES), 0.0, MOD_CURVE;
    Mod8Beats "/mod/8/beats" "Beats of a wave" float(0.125, 64.0), 4.0, MOD_BEATS, log(), smooth(0.0);
    Mod8Phase "/mod/8/phase" "Phase" float(0.0, 1.0), 0.0, MOD_PHASE, wraps();
    Mod8Attack "/mod/8/attack" "Attack" float(0.0, 1000.0), 5.0, MOD_ATTACK, unit("ms"), smooth(0.0);
    Mod8Release "/mod/8/release" "Release" float(0.0, 5000.0), 200.0, MOD_RELEASE, unit("ms"), smooth(0.0);
    // Presets.
    Recall "/preset/recall" "Recall preset" NAME, 0.0,
        "Sets all that the preset of this name says, each time that it is sent.", show();
    UndoRecall "/preset/undo" "Undo recall" TRIGGER, 0.0,
        "What the last recall changed goes back to what it was.", show();
    RecallFade "/preset/fade" "Recall fade" float(0.0, 30.0), 0.5,
        "How long that takes.", unit("s"), show();
    MorphA "/preset/morph_a" "Morph from" NAME, 0.0, "The preset at 0 of the morph; `now` is what is set now.", show();
    MorphB "/preset/morph_b" "Morph to" NAME, 0.0, "The preset at 1 of the morph; `now` is what is set now.", show();
    Morph "/preset/morph" "Morph" float(0.0, 1.0), 0.0,
        "Between the two presets.", show();
    // The show.
    Go "/show/go" "Go" TRIGGER, 0.0, "Starts a show that stands by.", show();
    RetryOutputs "/show/retry_outputs" "Retry outputs" TRIGGER, 0.0,
        "Outputs that are off the air connect now.", show();
    RecordStart "/record/start" "Record" TRIGGER, 0.0, "Starts the recording again.", show();
    RecordStop "/record/stop" "Stop recording" TRIGGER, 0.0, "Ends the recording.", show();
    RecordSplit "/record/split" "Split recording" TRIGGER, 0.0,
        "The recording goes on in a new file.", show();
    RecordMark "/record/mark" "Chapter mark" NAME, 0.0,
        "A chapter of this name begins here in the film.", show();
}

/// Which pictures an overlay is on.
const WHERE: &[&str] = &[
    "everywhere",
    "stream",
    "display",
    "recording",
    "stream_display",
    "stream_recording",
    "display_recording",
];

/// Who may give the beat, and `auto`.
pub const TEMPO_SOURCES: &[&str] =
    &["auto", "link", "midi", "osc", "os2l", "tap", "sound", "fixed"];

/// What something may wait for.
pub const QUANTA: &[&str] = &["off", "beat", "bar", "2 bars", "4 bars", "8 bars", "16 bars"];

/// How many modulators there are.
pub const MODULATORS: usize = 8;

/// What may move a parameter: waves in beats, then what is heard.
pub const MOD_SOURCES: &[&str] = &[
    "off",
    "sine",
    "triangle",
    "saw",
    "square",
    "random",
    "envelope",
    "loudness",
    "sub",
    "bass",
    "mid",
    "high",
    "custom",
    "kick",
    "snare",
    "hat",
    "brightness",
    "energy",
];

/// What a modulator may move: addresses, without the first stroke.
pub const MOD_TARGETS: &[&str] = &[
    "none",
    "fx/brightness",
    "fx/contrast",
    "fx/saturation",
    "fx/hue",
    "fx/gamma",
    "fx/invert",
    "fx/posterise",
    "fx/tint",
    "fx/tint_hue",
    "fx/zoom",
    "fx/rotation",
    "fx/pan_x",
    "fx/pan_y",
    "fx/kaleidoscope",
    "fx/rgb_split",
    "fx/pixelate",
    "fx/scan_lines",
    "fx/glitch",
    "fx/blur",
    "fx/bloom",
    "fx/edges",
    "fx/trails",
    "fx/trails_zoom",
    "fx/trails_rotation",
    "fx/strobe",
    "fx/strobe_depth",
    "playback/speed",
    "playback/loop_cycles",
    "playback/crossfade",
    "overlay/logo/opacity",
    "overlay/text/opacity",
];

/// How a modulator's value is bent: towards its ends, or its middle.
const MOD_CURVES: &[&str] = &["straight", "late", "early", "soft", "switch"];

const MOD_SOURCE: &str =
    "What moves the parameter: a wave that goes with the beat, or what is heard.";
const MOD_TARGET: &str = "Which parameter it moves, from where that is set.";
const MOD_DEPTH: &str = "How far, in parts of the parameter's range; below 0 the other way.";
const MOD_CURVE: &str =
    "late stays low longer, early rises at once, soft eases, switch is off or on.";
const MOD_BEATS: &str = "How long a wave is; 4 is a bar, 0.5 an eighth.";
const MOD_PHASE: &str = "Where in the wave the beat falls, in parts of it.";
const MOD_ATTACK: &str = "How soon it follows what gets louder.";
const MOD_RELEASE: &str = "How slowly it falls when that is over.";

/// What somebody sends, or what a parameter is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f32),
    Text(Arc<str>),
    /// Of a trigger, which has none.
    Nothing,
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::Number(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Nothing => f.write_str("nothing"),
        }
    }
}

impl Param {
    /// The first part of its address: `fx`, `playback`, ...
    pub fn group(&self) -> &'static str {
        self.address[1..].split('/').next().unwrap_or_default()
    }

    /// Least and greatest number; `None` for texts and triggers.
    pub fn range(&self) -> Option<(f32, f32)> {
        match self.kind {
            Kind::Float { min, max } => Some((min, max)),
            Kind::Int { min, max } => Some((min as f32, max as f32)),
            Kind::Bool => Some((0.0, 1.0)),
            Kind::Enum(choices) => Some((0.0, choices.len() as f32 - 1.0)),
            Kind::Text { .. } | Kind::Trigger => None,
        }
    }

    /// Whether it has a number that is kept.
    pub fn is_number(&self) -> bool {
        self.range().is_some()
    }

    /// Checks a number that somebody sends; the error says what is allowed.
    pub fn check(&self, value: f32) -> Result<f32> {
        let refused = |found: String| Err(Error::usage(format!("{}: {found}", self.address)));
        let whole = |min: f32, max: f32| value.fract() == 0.0 && (min..=max).contains(&value);
        match self.kind {
            Kind::Float { min, max } if (min..=max).contains(&value) => Ok(value),
            Kind::Float { min, max } => {
                let found = format!("{value} is out of range; send {min} to {max} {}", self.unit);
                refused(found.trim_end().to_owned())
            }
            Kind::Int { min, max } if whole(min as f32, max as f32) => Ok(value),
            Kind::Int { min, max } => {
                refused(format!("{value} is no whole number from {min} to {max}"))
            }
            Kind::Bool if value == 0.0 || value == 1.0 => Ok(value),
            Kind::Bool => refused(format!("{value} is neither on nor off; send 0 or 1")),
            Kind::Enum(choices) if whole(0.0, choices.len() as f32 - 1.0) => Ok(value),
            Kind::Enum(choices) => refused(format!(
                "{value} is none of its choices; send 0 to {}, or one of {}",
                choices.len() - 1,
                choices.join(", ")
            )),
            Kind::Text { .. } => refused(format!("{value} is a number; send text")),
            // Controllers send a number with every button.
            Kind::Trigger => Ok(0.0),
        }
    }

    /// Checks whatever somebody sends, and makes it what the parameter keeps.
    ///
    /// # Errors
    /// Says what was found and what is allowed; a text is repeated only in part.
    pub fn admit(&self, value: &Value) -> Result<Value> {
        let refused = |found: String| Err(Error::usage(format!("{}: {found}", self.address)));
        match (self.kind, value) {
            (Kind::Trigger, _) => Ok(Value::Nothing),
            (Kind::Text { most }, Value::Text(text)) => {
                let count = text.chars().count();
                if count > most {
                    return refused(format!(
                        "{count} characters are too many; send at most {most}"
                    ));
                }
                match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
                    Some(c) => refused(format!("the text has the control character {c:?}")),
                    None => Ok(Value::Text(text.trim().into())),
                }
            }
            (_, Value::Number(number)) => self.check(*number).map(Value::Number),
            (Kind::Enum(choices), Value::Text(text)) => {
                let found = choices.iter().position(|choice| choice.eq_ignore_ascii_case(text));
                match found {
                    Some(place) => Ok(Value::Number(place as f32)),
                    None => refused(format!(
                        "{:?} is none of its choices; send one of {}",
                        shortened(text),
                        choices.join(", ")
                    )),
                }
            }
            (Kind::Bool, Value::Text(text)) => match &*text.to_ascii_lowercase() {
                "on" | "true" | "yes" | "1" => Ok(Value::Number(1.0)),
                "off" | "false" | "no" | "0" => Ok(Value::Number(0.0)),
                _ => refused(format!("{:?} is neither on nor off", shortened(text))),
            },
            (_, Value::Text(text)) => match text.trim().parse::<f32>() {
                Ok(number) => self.check(number).map(Value::Number),
                Err(_) => refused(format!("{:?} is no number", shortened(text))),
            },
            (Kind::Text { .. }, Value::Nothing) => refused("nothing was sent; send text".into()),
            (_, Value::Nothing) => refused("nothing was sent; send a number".into()),
        }
    }

    /// The value of a knob or fader at `place`, 0 to 1 over its whole way; what it may not be
    /// (between two whole numbers) goes to the nearest that it may.
    pub fn at(&self, place: f32) -> f32 {
        let Some((min, max)) = self.range() else { return 0.0 };
        let place = if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 };
        let value = match self.curve {
            Curve::Linear => min + (max - min) * place,
            Curve::Log => min * (max / min).powf(place),
        };
        match self.kind {
            Kind::Float { .. } => value.clamp(min, max),
            _ => value.round().clamp(min, max),
        }
    }

    /// Where a knob or fader stands for `value`: the inverse of [`Param::at`].
    pub fn place(&self, value: f32) -> f32 {
        let Some((min, max)) = self.range() else { return 0.0 };
        let place = match self.curve {
            Curve::Linear => (value - min) / (max - min),
            Curve::Log => (value / min).ln() / (max / min).ln(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// As much of a text as an error repeats.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The parameter at an address (with or without a leading `/vfaq`); an unknown one is answered
/// with the nearest that exists.
pub fn find(address: &str) -> Result<&'static Param> {
    let short = address.strip_prefix("/vfaq").unwrap_or(address);
    REGISTRY.iter().find(|p| p.address == short).ok_or_else(|| {
        let nearest = REGISTRY
            .iter()
            .max_by(|a, b| {
                let near = |p: &Param| strsim::jaro_winkler(p.address, short);
                near(a).total_cmp(&near(b))
            })
            .map_or("", |p| p.address);
        Error::usage(format!("no parameter {}; did you mean {nearest}?", shortened(address)))
    })
}

/// The entry of a parameter.
pub fn of(id: ParamId) -> &'static Param {
    &REGISTRY[id as usize]
}

/// A number for every parameter; 0 for texts and triggers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values([f32; REGISTRY.len()]);

impl Values {
    /// Every place 0.
    pub const ZERO: Values = Values([0.0; REGISTRY.len()]);
}

impl Default for Values {
    fn default() -> Self {
        let mut values = Values::ZERO;
        for (value, param) in values.0.iter_mut().zip(REGISTRY) {
            *value = param.default;
        }
        values
    }
}

impl Index<ParamId> for Values {
    type Output = f32;

    fn index(&self, id: ParamId) -> &f32 {
        &self.0[id as usize]
    }
}

impl IndexMut<ParamId> for Values {
    fn index_mut(&mut self, id: ParamId) -> &mut f32 {
        &mut self.0[id as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids_and_makes_sense() {
        for (i, param) in REGISTRY.iter().enumerate() {
            assert_eq!(param.id as usize, i);
            if param.is_number() {
                assert!(param.check(param.default).is_ok(), "{}", param.address);
            }
            if param.curve == Curve::Log {
                assert!(param.range().unwrap().0 > 0.0, "{}", param.address);
            }
            assert!(param.help.ends_with('.'), "{}", param.address);
            if param.group() == "mod" {
                let slot = param.address.split('/').nth(2).unwrap();
                let first = ParamId::Mod1Source as usize + 8 * (slot.parse::<usize>().unwrap() - 1);
                assert_eq!(REGISTRY[first].address, format!("/mod/{slot}/source"));
            }
            let twice = REGISTRY.iter().filter(|p| p.address == param.address).count();
            assert_eq!(twice, 1, "{}", param.address);
        }
    }

    #[test]
    fn what_a_modulator_moves_is_a_number_of_the_picture() {
        for target in &MOD_TARGETS[1..] {
            let param = find(&format!("/{target}")).unwrap();
            assert!(param.is_number() && param.applies == Applies::Now, "{target}");
        }
    }

    #[test]
    fn an_unknown_address_names_the_nearest() {
        assert_eq!(find("/vfaq/fx/zoom").unwrap().id, ParamId::Zoom);
        let error = find("/fx/zom").unwrap_err().to_string();
        assert!(error.contains("/fx/zoom"), "{error}");
        let long = format!("/fx/{}", "a".repeat(100_000));
        assert!(find(&long).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, 0.99, 4.01] {
            assert!(find("/fx/zoom").unwrap().check(bad).is_err());
        }
        assert!(find("/fx/blackout").unwrap().check(0.5).is_err());
        assert!(find("/fx/kaleidoscope").unwrap().check(2.5).is_err());
        assert!(find("/fx/mirror").unwrap().check(4.0).is_err());
    }

    #[test]
    fn what_is_sent_becomes_what_is_kept() {
        let admit = |address: &str, value: Value| find(address).unwrap().admit(&value);
        assert_eq!(admit("/fx/mirror", "quad".into()).unwrap(), Value::Number(3.0));
        assert_eq!(admit("/fx/blackout", "on".into()).unwrap(), Value::Number(1.0));
        assert_eq!(admit("/fx/zoom", "2".into()).unwrap(), Value::Number(2.0));
        assert_eq!(admit("/fx/flash", 127.0.into()).unwrap(), Value::Nothing);
        assert_eq!(admit("/prompt/text", " smoke\n".into()).unwrap(), "smoke".into());
        for (address, value, says) in [
            ("/fx/mirror", Value::from("octo"), "left_right"),
            ("/fx/zoom", "wide".into(), "no number"),
            ("/prompt/text", 1.0.into(), "send text"),
            ("/prompt/text", "a\u{7}b".into(), "control character"),
            ("/prompt/text", (&*"x".repeat(4001)).into(), "at most 4000"),
            ("/fx/zoom", Value::Nothing, "send a number"),
        ] {
            let error = admit(address, value).unwrap_err().to_string();
            assert!(error.contains(address) && error.contains(says), "{error}");
        }
    }

    proptest! {
        /// A knob that is set to where it stands changes nothing.
        #[test]
        fn knobs_and_values_are_inverse(place in 0.0f32..=1.0) {
            for param in REGISTRY.iter().filter(|p| p.is_number()) {
                let value = param.at(place);
                prop_assert!(param.check(value).is_ok(), "{} {value}", param.address);
                let again = param.at(param.place(value));
                let (min, max) = param.range().unwrap();
                prop_assert!((again - value).abs() <= (max - min) * 1e-5, "{}", param.address);
            }
        }
    }
}
