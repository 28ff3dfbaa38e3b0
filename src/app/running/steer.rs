//! What performers ask of the show itself, beside the picture and the cycles: go, presets, the
//! recording, a cycle to go back to.
//!
//! Holds: whatever cannot be done is told for a while, and nothing ends for it.

use super::*;

impl Running<'_> {
    /// Carries out a change that is not the picture's alone.
    pub(super) fn steer(&mut self, accepted: &Accepted) {
        match accepted.param.id {
            ParamId::Go => self.event(Event::Go),
            ParamId::GoTo => {
                if let Value::Number(cycle) = accepted.value {
                    self.starter.go_to(CycleId(cycle as u32));
                }
            }
            ParamId::RetryOutputs => self.desk.retry_outputs(&accepted.from.source),
            _ => {
                if let Err(error) = self.carry_out(accepted) {
                    self.refuse(error.to_string());
                }
            }
        }
    }

    /// What may be refused although it was accepted.
    fn carry_out(&mut self, Accepted { param, value, from, .. }: &Accepted) -> Result<()> {
        if param.applies == Applies::Cycle && self.generator.is_none() {
            return Err(Error::unavailable(format!(
                "{}: nothing is generated, as the show plays a set (--play); it is kept, and \
                 changes nothing",
                param.address
            )));
        }
        match (param.id, value) {
            (ParamId::Recall, Value::Text(name)) => self.recalls.recall(name, from),
            (ParamId::Brief, _) => self.back_to_the_brief(from),
            (ParamId::SeedDice, _) => {
                let seed = fastrand::u32(0..1 << 24) as f32;
                self.desk.board().apply(&Change::set(ParamId::Seed, seed), from).map(drop)
            }
            (ParamId::UndoRecall, _) => self.presets.undo(from),
            (ParamId::RecordStart, _) => self.start_recording(),
            (ParamId::SoundSource, Value::Text(text)) => self.sound.switch(text),
            (ParamId::RecordStop, _) => self.recorder.stop(),
            (ParamId::RecordSplit, _) => self.recorder.split(),
            (ParamId::RecordMark, Value::Text(name)) => {
                self.recorder.mark(self.picture.frames.get(), name);
                Ok(())
            }
            (ParamId::Morph | ParamId::MorphA | ParamId::MorphB, _) => {
                self.presets.morph(param, from)
            }
            _ => Ok(()),
        }
    }

    /// All that is asked of cycles, as the settings and the brief say.
    fn back_to_the_brief(&self, from: &From) -> Result<()> {
        let faders = cycle::faders(&self.config);
        let asked = REGISTRY
            .iter()
            .filter(|param| param.applies == Applies::Cycle && param.kind != param::Kind::Trigger);
        // Not as the show began: that may have been with a preset.
        let back = |param: &'static param::Param| match param.kind {
            param::Kind::Text { .. } => Change::new(param, Op::Set("".into())),
            _ => {
                let set = faders.iter().find(|fader| fader.0 == param.id);
                let value = set.map_or(param.default, |fader| fader.1);
                Change::new(param, Op::Set(value.into()))
            }
        };
        let changes: Vec<Change> = asked.map(back).collect();
        self.desk.board().apply_all(&changes, from).map(drop)
    }

    fn start_recording(&mut self) -> Result<()> {
        let started = self.director.phase() != Phase::Standby;
        self.recorder.start(started, self.config.live.min_free_mb)?;
        // What ended for want of room has room now, or is told of again.
        self.disk_full.remove(&RECORDING);
        self.ending_full.remove(&RECORDING);
        Ok(())
    }

    /// Tells the performer for a while why something was not done.
    pub(super) fn refuse(&mut self, why: String) {
        self.refused_at = Some(self.clock.now());
        self.event(Event::Problem(Topic::Steering, Some(why)));
    }
}
