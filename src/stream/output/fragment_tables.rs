//! Mends the tables that mp4mux writes for the fragments of a file that is not finished yet.
//!
//! In a fragment every change between picture and sound begins a run of samples (`trun`). While all
//! samples of a track agree on a duration or size, the fragment's header (`tfhd`) has it; when one
//! deviates, mp4mux takes it out of there and writes it with every sample of the runs *so far*. Runs
//! that follow and have the old value say nothing, and a reader takes them for empty: pictures have
//! one time, and where a size is missing no player opens the file. (GStreamer 1.22 to 1.26,
//! `atom_traf_add_samples`.) The old value is known, as the first sample of the track has it.
//!
//! So the tables are written anew as they pass, with both values in the header again. As long as all
//! samples of a track last equally long, as here, that takes no more room than before; what is left
//! over becomes a `free` box, as the muxer knows the places of all that follows.
//!
//! Boxes are those of ISO 14496-12, 8.8.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Flags of `tfhd`.
const BASE_OFFSET: u32 = 0x1;
const DESCRIPTION: u32 = 0x2;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_SIZE: u32 = 0x10;
const DEFAULT_FLAGS: u32 = 0x20;
/// Flags of `trun`.
const RUN_OFFSET: u32 = 0x1;
const FIRST_FLAGS: u32 = 0x4;
const DURATIONS: u32 = 0x100;
const SIZES: u32 = 0x200;
const FLAGS: u32 = 0x400;

/// Has all that `mux` writes mended.
pub fn mend(mux: &gst::Element) {
    let Some(pad) = mux.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && is_fragment(buffer)
            && let Ok(mut bytes) = buffer.make_mut().map_writable()
            && let Some(mended) = mended(&bytes)
        {
            bytes.copy_from_slice(&mended);
        }
        gst::PadProbeReturn::Ok
    });
}

fn is_fragment(buffer: &gst::BufferRef) -> bool {
    let mut head = [0; 8];
    let there = buffer.size() >= head.len() && buffer.copy_to_slice(0, &mut head).is_ok();
    there && head[4..] == *b"moof"
}

/// A `moof` as it should be, of the same length. `None`: it is not as expected.
fn mended(moof: &[u8]) -> Option<Vec<u8>> {
    // All fields are words. One word is too little for a box; the header has a field to spare.
    written_anew(moof, false).or_else(|| written_anew(moof, true))
}

/// `wider`: with one field more, which says nothing new.
fn written_anew(moof: &[u8], mut wider: bool) -> Option<Vec<u8>> {
    let mut outer = boxes(moof);
    let (b"moof", content) = outer.next()? else { return None };
    if outer.next().is_some() {
        return None;
    }
    let mut out = Vec::with_capacity(moof.len());
    put_box(&mut out, b"moof", |out| {
        for (kind, content) in boxes(content) {
            put_box(out, kind, |out| {
                match kind {
                    b"traf" => Track::read(content)?.write(out, std::mem::take(&mut wider)),
                    _ => out.extend(content),
                }
                Some(())
            })?;
        }
        match moof.len().checked_sub(out.len())? {
            0 => Some(()),
            // Behind the tracks, still inside.
            left @ 8.. => put_box(out, b"free", |out| {
                out.resize(out.len() + left - 8, 0);
                Some(())
            }),
            _ => None,
        }
    })?;
    Some(out)
}

/// What a fragment says of a track.
struct Track<'a> {
    id: u32,
    base_offset: [u32; 2],
    default_flags: Option<u32>,
    /// Decoding time, the whole box's content.
    time: &'a [u8],
    runs: Vec<Run>,
}

struct Run {
    offset: u32,
    first_flags: Option<u32>,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    duration: u32,
    size: u32,
    /// As far as the run says.
    flags: Option<u32>,
}

impl<'a> Track<'a> {
    fn read(traf: &'a [u8]) -> Option<Self> {
        let find = |wanted: &[u8; 4]| boxes(traf).find(|(kind, _)| *kind == wanted).map(|(_, c)| c);
        let mut header = Fields(find(b"tfhd")?);
        let said = header.u32()?;
        let known = BASE_OFFSET | DESCRIPTION | DEFAULT_DURATION | DEFAULT_SIZE | DEFAULT_FLAGS;
        if said & !known != 0 || said & BASE_OFFSET == 0 {
            return None;
        }
        let id = header.u32()?;
        let base_offset = [header.u32()?, header.u32()?];
        if said & DESCRIPTION != 0 && header.u32()? != 1 {
            return None;
        }
        let mut default = |bit: u32| if said & bit != 0 { header.u32() } else { None };
        let (mut duration, mut size) = (default(DEFAULT_DURATION), default(DEFAULT_SIZE));
        let default_flags = default(DEFAULT_FLAGS);
        let mut runs = Vec::new();
        for (kind, content) in boxes(traf) {
            match kind {
                b"tfhd" | b"tfdt" => {}
                b"trun" => {
                    let run = Run::read(content, duration, size)?;
                    let first = run.samples.first()?;
                    // Of the first run these are what the header had.
                    duration = duration.or(Some(first.duration));
                    size = size.or(Some(first.size));
                    runs.push(run);
                }
                _ => return None,
            }
        }
        (!runs.is_empty()).then_some(())?;
        Some(Track { id, base_offset, default_flags, time: find(b"tfdt")?, runs })
    }

    fn write(&self, out: &mut Vec<u8>, wider: bool) {
        let first = self.runs.iter().flat_map(|run| &run.samples).next();
        let (duration, size) = first.map_or((0, 0), |first| (first.duration, first.size));
        let mut said = BASE_OFFSET | DEFAULT_DURATION | DEFAULT_SIZE;
        said |= if wider { DESCRIPTION } else { 0 };
        said |= if self.default_flags.is_some() { DEFAULT_FLAGS } else { 0 };
        put_all(out, b"tfhd", |out| {
            put(out, [said, self.id]);
            put(out, self.base_offset);
            put(out, wider.then_some(1));
            put(out, [duration, size]);
            put(out, self.default_flags);
        });
        put_all(out, b"tfdt", |out| out.extend(self.time));
        for run in &self.runs {
            run.write(out, duration, size);
        }
    }
}

impl Run {
    fn read(trun: &[u8], duration: Option<u32>, size: Option<u32>) -> Option<Run> {
        let mut fields = Fields(trun);
        let said = fields.u32()?;
        let known = RUN_OFFSET | FIRST_FLAGS | DURATIONS | SIZES | FLAGS;
        if said & !known != 0 || said & RUN_OFFSET == 0 {
            return None;
        }
        let (count, offset) = (fields.u32()?, fields.u32()?);
        let first_flags = if said & FIRST_FLAGS != 0 { Some(fields.u32()?) } else { None };
        let mut samples = Vec::new();
        for _ in 0..count {
            let mut own = |bit: u32| if said & bit != 0 { fields.u32() } else { None };
            samples.push(Sample {
                duration: own(DURATIONS).or(duration)?,
                size: own(SIZES).or(size)?,
                flags: own(FLAGS),
            });
        }
        fields.0.is_empty().then_some(Run { offset, first_flags, samples })
    }

    fn write(&self, out: &mut Vec<u8>, duration: u32, size: u32) {
        let durations = self.samples.iter().any(|sample| sample.duration != duration);
        let sizes = self.samples.iter().any(|sample| sample.size != size);
        let flags = self.samples.iter().any(|sample| sample.flags.is_some());
        let said = [
            (FIRST_FLAGS, self.first_flags.is_some()),
            (DURATIONS, durations),
            (SIZES, sizes),
            (FLAGS, flags),
        ];
        let said = said.into_iter().filter(|(_, said)| *said).map(|(bit, _)| bit);
        put_all(out, b"trun", |out| {
            put(out, [said.sum::<u32>() | RUN_OFFSET, self.samples.len() as u32, self.offset]);
            put(out, self.first_flags);
            for sample in &self.samples {
                put(out, durations.then_some(sample.duration));
                put(out, sizes.then_some(sample.size));
                put(out, sample.flags);
            }
        });
    }
}

fn put(out: &mut Vec<u8>, values: impl IntoIterator<Item = u32>) {
    out.extend(values.into_iter().flat_map(u32::to_be_bytes));
}

/// Writes a box and what `content` puts into it.
fn put_box(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    content: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    let at = out.len();
    put(out, [0]);
    out.extend(kind);
    content(out)?;
    let size = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&size.to_be_bytes());
    Some(())
}

fn put_all(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let _ = put_box(out, kind, |out| {
        content(out);
        Some(())
    });
}

/// Numbers one behind the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*value))
    }
}

/// The boxes in `bytes`, up to one that is damaged.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let size = Fields(rest).u32()? as usize;
        let kind = rest.get(4..)?.first_chunk()?;
        let content = rest.get(8..size)?;
        rest = &rest[size..];
        Some((kind, content))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sample flags, as mp4mux writes them: of a key frame, of any other picture, of sound.
    const KEY: u32 = 0x40;
    const NO_KEY: u32 = 0x1_00c0;
    const SOUND: u32 = 0xc0;
    const DURATION: u32 = 100;

    /// Writes a fragment as mp4mux does, from sizes and flags; each sample says whether it begins a
    /// run.
    fn written(track: &[(bool, u32, u32)]) -> Vec<u8> {
        struct Made {
            said: u32,
            first_flags: u32,
            samples: Vec<(u32, u32)>,
        }
        let mut header = DEFAULT_DURATION | DEFAULT_SIZE | DEFAULT_FLAGS;
        let (_, usual_size, mut usual_flags) = track[0];
        let mut runs: Vec<Made> = Vec::new();
        for &(begins, size, flags) in track {
            let appends = !begins && !runs.is_empty();
            if appends {
                header &= !DEFAULT_DURATION;
                runs.iter_mut().for_each(|run| run.said |= DURATIONS);
            } else {
                runs.push(Made { said: RUN_OFFSET, first_flags: flags, samples: vec![] });
            }
            if usual_size != size || appends {
                header &= !DEFAULT_SIZE;
                runs.iter_mut().for_each(|run| run.said |= SIZES);
            }
            let run = runs.last_mut().unwrap();
            if usual_flags != flags || appends {
                if run.samples.len() == 1 {
                    usual_flags = flags;
                    run.said |= FIRST_FLAGS;
                } else {
                    header &= !DEFAULT_FLAGS;
                    run.said = (run.said | FLAGS) & !FIRST_FLAGS;
                }
            }
            run.samples.push((size, flags));
        }
        let mut out = Vec::new();
        put_all(&mut out, b"moof", |out| {
            put_all(out, b"mfhd", |out| put(out, [0, 0]));
            put_all(out, b"traf", |out| {
                put_all(out, b"tfhd", |out| {
                    put(out, [header | BASE_OFFSET, 1, 0, 7]);
                    put(out, (header & DEFAULT_DURATION != 0).then_some(DURATION));
                    put(out, (header & DEFAULT_SIZE != 0).then_some(usual_size));
                    put(out, (header & DEFAULT_FLAGS != 0).then_some(usual_flags));
                });
                put_all(out, b"tfdt", |out| put(out, [0, 0]));
                for run in &runs {
                    put_all(out, b"trun", |out| {
                        put(out, [run.said, run.samples.len() as u32, 99]);
                        put(out, (run.said & FIRST_FLAGS != 0).then_some(run.first_flags));
                        for &(size, flags) in &run.samples {
                            put(out, (run.said & DURATIONS != 0).then_some(DURATION));
                            put(out, (run.said & SIZES != 0).then_some(size));
                            put(out, (run.said & FLAGS != 0).then_some(flags));
                        }
                    });
                }
            });
        });
        out
    }

    /// The durations and sizes that a reader finds, who knows nothing but what is said.
    fn found(moof: &[u8]) -> Vec<(u32, u32)> {
        let (_, content) = boxes(moof).next().unwrap();
        let (_, traf) = boxes(content).find(|(kind, _)| *kind == b"traf").unwrap();
        let (_, tfhd) = boxes(traf).find(|(kind, _)| *kind == b"tfhd").unwrap();
        let said = Fields(tfhd).u32().unwrap();
        assert_eq!(said & (DEFAULT_DURATION | DEFAULT_SIZE), DEFAULT_DURATION | DEFAULT_SIZE);
        let track = Track::read(traf).unwrap();
        let samples = track.runs.iter().flat_map(|run| &run.samples);
        samples.map(|sample| (sample.duration, sample.size)).collect()
    }

    proptest! {
        #[test]
        fn every_sample_of_a_fragment_is_told(
            track in prop::collection::vec(
                (any::<bool>(), prop_oneof![Just(6u32), 5u32..9]), 1..60),
            sound in any::<bool>(),
            key in any::<bool>(),
        ) {
            let flags = |n: usize| match (sound, n == 0 && key) {
                (true, _) => SOUND,
                (_, true) => KEY,
                _ => NO_KEY,
            };
            let samples: Vec<_> =
                track.iter().enumerate().map(|(n, &(begins, size))| (begins, size, flags(n))).collect();
            let moof = written(&samples);
            let mended = mended(&moof).unwrap();
            prop_assert_eq!(mended.len(), moof.len());
            let expected: Vec<_> = track.iter().map(|&(_, size)| (DURATION, size)).collect();
            prop_assert_eq!(found(&mended), expected);
        }
    }

    #[test]
    fn what_is_damaged_is_left_alone() {
        let moof = written(&[(true, 6, NO_KEY), (true, 7, NO_KEY), (true, 6, NO_KEY)]);
        assert!(mended(&moof).is_some());
        for cut in 0..moof.len() {
            assert!(mended(&moof[..cut]).is_none(), "{cut}");
        }
    }
}
