//! What the main loop looks after: disks, time, the runway, outputs, the encoder, the uplink.
//!
//! Holds: each look returns at once, tells the director what is wrong or over, and is repeated a
//! few times a second.

use super::*;
use crate::base::effort::Effort;

/// After so many frames the show runs evenly.
const SETTLED_FRAMES: u64 = 180;

impl Running<'_> {
    /// Tells and enters what became of each output, once for each change.
    pub(super) fn journal_outputs(&mut self, status: &Status) {
        let there = |id: u32| status.outputs.iter().any(|output| output.id == id);
        let removed: Vec<u32> =
            self.outputs_seen.keys().copied().filter(|id| !there(*id)).collect();
        for id in removed {
            self.outputs_seen.remove(&id);
            // One that is gone troubles nobody.
            self.event(Event::Problem(Topic::Output(id), None));
        }
        let seen = &mut self.outputs_seen;
        for output in &status.outputs {
            let (state, reason) = (output.state, output.reason.as_ref());
            let is_new = match seen.get(&output.id) {
                Some((before, known)) if *before == state => {
                    // While it connects anew, the reason why it has to goes and comes.
                    state != OutputState::Live && reason.is_some() && reason != known.as_ref()
                }
                _ => true,
            };
            if is_new {
                seen.insert(output.id, (state, reason.cloned()));
                let why = reason.map_or(String::new(), |reason| format!(": {reason}"));
                let text = format!("output {} is {}{why}", output.uri, state.name());
                match state {
                    OutputState::Failed => tracing::error!("{text}"),
                    OutputState::Unavailable | OutputState::Reconnecting => {
                        tracing::warn!("{text}");
                    }
                    _ => tracing::info!("{text}"),
                }
                self.archive.journal(JournalEvent::OutputState {
                    output: output.id,
                    uri: output.uri.clone(),
                    state,
                    reason: reason.cloned(),
                });
            }
        }
    }

    /// A drop, and what else may recall a preset.
    pub(super) fn watch_section(&mut self, now: Duration) {
        let section = self.heard.signals().section;
        if section != self.section {
            self.section = section;
            if let Err(error) = self.recalls.section_changed(section, now) {
                self.refuse(error.to_string());
            }
        }
    }

    /// Devices that are unplugged.
    pub(super) fn watch_midi(&mut self) {
        if let Some(midi) = &self.midi {
            let trouble = midi.handle().trouble();
            self.event(Event::Problem(Topic::Midi, trouble));
        }
    }

    /// A source of sound that is away.
    pub(super) fn watch_sound(&mut self) {
        let trouble = self.sound.trouble();
        self.event(Event::Problem(Topic::Sound, trouble));
    }

    /// Ends what is written cleanly before a disk is full, and then stops making cycles.
    pub(super) fn watch_disk(&mut self) {
        let min_mb = self.config.live.min_free_mb;
        let room = &self.room;
        let free_mb = |path: &Path| room.free_bytes(path).map(|free| free >> 20);
        let mut warning = None;
        let outputs = self.outputs.list();
        let recording = self.recorder.current().map(|output| (output, true)).into_iter();
        for (output, recorded) in recording.chain(outputs.iter().map(|o| (&**o, false))) {
            let Target::File { path, .. } = &output.spec.target else { continue };
            let free = free_mb(path);
            if output.info.state() != OutputState::Live {
                self.ending_full.remove(&output.id);
                continue;
            }
            match free {
                Some(free) if free < min_mb => {
                    if !self.ending_full.insert(output.id) {
                        continue;
                    }
                    let full = format!(
                        "ended: {free} MB were free on its disk (live.min_free_mb: {min_mb})"
                    );
                    let shown = output.spec.shown();
                    let name = if recorded { "the recording" } else { &shown };
                    let text = format!("{name} has {full}; the show goes on");
                    self.disk_full.insert(output.id, text);
                    output.wish(Wish::Stop(Some(full)));
                }
                Some(free) if free < min_mb * 2 => {
                    warning = Some(format!("{free} MB are free; recording ends at {min_mb} MB"));
                }
                _ => {}
            }
        }
        let archive_full = free_mb(&self.archive_file).is_some_and(|free| free < min_mb / 2);
        if let Some(generator) = &self.generator {
            generator.pause(archive_full);
        }
        let room = archive_full.then(|| {
            let least = min_mb / 2;
            format!("no cycles are made while less than {least} MB are free for the project")
        });
        self.event(Event::Problem(Topic::Room, room));
        if !self.disk_full.is_empty() {
            let texts: Vec<&str> = self.disk_full.values().map(String::as_str).collect();
            warning = Some(texts.join("; "));
        }
        self.event(Event::Problem(Topic::Disk, warning));
    }

    /// Says when this machine cannot keep up.
    pub(super) fn watch_timing(&mut self, now: Duration) {
        let held = self.reporter.held();
        let (since, before) = self.held_seen;
        if now < since + Duration::from_secs(5) {
            return;
        }
        let more = held - before;
        self.held_seen = (now, held);
        let text = (more > 15).then(|| {
            format!("this machine is too slow at the moment: {more} pictures held in 5 s")
        });
        self.event(Event::Problem(Topic::Timing, text));
    }

    /// Does less while the machine is too busy.
    pub(super) fn watch_load(&mut self, now: Duration) {
        let load = self.reporter.load();
        // Opening encoders and the first clips are no measure.
        let settled = self.session_frames.source.sent.get() > SETTLED_FRAMES;
        if !settled || self.director.phase() != Phase::Live {
            return;
        }
        let Some(effort) = self.ladder.look(now, load) else { return };
        self.effort.set(effort);
        tracing::info!("quality: {}", effort.name());
        let text = match effort {
            Effort::Full => None,
            Effort::FastMotion | Effort::NoMotion => Some("less motion is looked for"),
            Effort::LumaWarp | Effort::Blend => Some("pictures are mixed instead of moved"),
            Effort::LeanEncoder => Some("pictures are mixed, and encoded with less care"),
        };
        let text = text.map(|text| format!("this machine is busy: {text}"));
        self.event(Event::Problem(Topic::Effort, text));
    }

    pub(super) fn watch_runway(&mut self) {
        let text = self.reporter.replaying().then(|| {
            let takes = self
                .reporter
                .cycle_takes_s()
                .map_or(String::new(), |s| format!(" (a cycle takes {s:.1} s)"));
            format!("the generator is behind{takes}; earlier cycles are shown again")
        });
        self.event(Event::Problem(Topic::Runway, text));
        if let Some(error) = self.archive.last_error() {
            self.event(Event::Problem(Topic::Archive, Some(error)));
        } else {
            self.event(Event::Problem(Topic::Archive, None));
        }
    }

    pub(super) fn watch_outputs(&mut self) {
        let mut problems = Vec::new();
        self.recorder.look();
        let mut recording_problem = None;
        if let Some(recording) = self.recorder.current() {
            let waiting_mb = recording.info.queue_bytes() >> 20;
            if let Some(error) = recording.info.error() {
                recording_problem = Some(format!("the recording has failed: {error}"));
            } else if waiting_mb >= RECORDING_ALARM_MB {
                recording_problem =
                    Some(format!("the disk is slow: {waiting_mb} MB of recording wait for it"));
            }
        }
        problems.push((Topic::Recording, recording_problem));
        for output in self.outputs.list() {
            let now = output.info.now();
            let trouble = match now.state {
                OutputState::Failed => Some("has failed"),
                OutputState::Unavailable => Some("is not available"),
                OutputState::Reconnecting => Some("is reconnecting"),
                OutputState::Starting if now.reason.is_some() => Some("is not live yet"),
                _ => None,
            };
            let text = trouble.map(|trouble| {
                let reason = now.reason.map_or(String::new(), |reason| format!(": {reason}"));
                format!("output {} {trouble}{reason}", output.spec.shown())
            });
            problems.push((Topic::Output(output.id), text));
        }
        for (topic, text) in problems {
            self.event(Event::Problem(topic, text));
        }
    }

    /// Tells of every encoder that has failed, and of drivers that leave the show without any.
    pub(super) fn watch_encoder(&mut self, now: Duration) {
        let info = self.encodings.main_state().info();
        let (told, told_at) = &mut self.encoder_seen;
        let new = (info.rebuilt - *told) as usize;
        *told = info.rebuilt;
        if new > 0 {
            *told_at = Some(now);
        }
        let told_at = *told_at;
        let old = info.changes.len().saturating_sub(new);
        for EncoderChange { at_s, from, to, reason } in &info.changes[old..] {
            self.archive.journal(JournalEvent::Encoder {
                at_s: *at_s,
                from: (*from).into(),
                to: (*to).into(),
                reason: reason.clone(),
            });
        }
        let warning = if info.stuck {
            Some("no encoder works: too many hang in their drivers; waiting for one of them".into())
        } else {
            let fresh = told_at.is_some_and(|at| now < at + ENCODER_WARNING);
            info.changes.last().filter(|_| fresh).map(
                |EncoderChange { from, to, reason, .. }| {
                    let next = if from == to {
                        "it was started anew".into()
                    } else {
                        format!("{to} has taken over")
                    };
                    format!("the encoder {from} failed ({reason}); {next}")
                },
            )
        };
        self.event(Event::Problem(Topic::Encoder, warning));
    }

    /// Fits bitrates to what the uplinks carry.
    pub(super) fn adapt(&mut self, now: Duration) {
        for adapted in self.encodings.look_after(now, &self.outputs.list()) {
            let Adapted { main, kbps, target_kbps } = adapted;
            tracing::info!("encoding at {kbps} of {target_kbps} kb/s");
            if main {
                let text = (kbps < target_kbps).then(|| {
                    format!(
                        "the uplink is too narrow: encoding at {kbps} of {target_kbps} kb/s, the \
                         recording too"
                    )
                });
                self.event(Event::Problem(Topic::Uplink, text));
            }
        }
    }
}
