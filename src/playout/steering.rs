//! What performers want of the playout at present.

use crate::media::CycleId;
use crate::param::{ParamId, Values};

/// How the show moves, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Normal,
    Freeze,
    Reverse,
    Bounce,
    Hold,
    Loop,
}

impl Mode {
    pub const ALL: [Mode; 6] =
        [Mode::Normal, Mode::Freeze, Mode::Reverse, Mode::Bounce, Mode::Hold, Mode::Loop];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Normal => "normal",
            Mode::Freeze => "freeze",
            Mode::Reverse => "reverse",
            Mode::Bounce => "bounce",
            Mode::Hold => "hold",
            Mode::Loop => "loop",
        }
    }
}

/// What is steered, read from the smoothed values of a frame.
///
/// Several at once: a freeze stops all movement. At the end of a clip bounce is asked first, then
/// hold, then the loop, then reverse. Hold and loop go on in the direction in which the clip moves.
#[derive(Clone, Copy, Debug)]
pub struct Steering {
    /// Never below a tenth.
    pub speed: f64,
    pub crossfade_s: f64,
    pub freeze: bool,
    pub reverse: bool,
    pub bounce: bool,
    pub hold: bool,
    /// Cycles of a loop; 0: there is none.
    pub cycles: usize,
}

impl Steering {
    pub fn new(values: &Values) -> Self {
        let on = |id| values[id] > 0.5;
        Steering {
            speed: f64::from(values[ParamId::Speed]).max(0.1),
            crossfade_s: f64::from(values[ParamId::Crossfade]).max(0.0),
            freeze: on(ParamId::Freeze),
            reverse: on(ParamId::Reverse),
            bounce: on(ParamId::Bounce),
            hold: on(ParamId::Hold),
            cycles: values[ParamId::LoopCycles].round().max(0.0) as usize,
        }
    }

    /// The cycle on air stays, or those before it come again.
    pub fn stays(&self) -> bool {
        self.bounce || self.hold || self.cycles > 0
    }

    /// Nothing new goes on air by itself.
    pub fn keeps(&self) -> bool {
        self.stays() || self.reverse
    }

    pub fn mode(&self) -> Mode {
        match self {
            Steering { freeze: true, .. } => Mode::Freeze,
            Steering { bounce: true, .. } => Mode::Bounce,
            Steering { hold: true, .. } => Mode::Hold,
            Steering { cycles: 1.., .. } => Mode::Loop,
            Steering { reverse: true, .. } => Mode::Reverse,
            _ => Mode::Normal,
        }
    }
}

/// A place where somebody wants to be. The last wish wins; it waits while a join is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The next clip that is ready; given up at this frame.
    Next {
        until: u64,
    },
    /// So many cycles back.
    Back(usize),
    Cycle(CycleId),
}
