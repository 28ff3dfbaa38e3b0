//! Writing the index of an MP4 (`moov`): ISO 14496-12, 8, and for tags, chapters and text the
//! QuickTime File Format Specification.

use super::boxes::{put, put_box};

/// What players show about a film.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    pub title: Option<String>,
    pub comment: Option<String>,
    pub description: Option<String>,
    /// The program that made it.
    pub tool: Option<String>,
    /// A year or an ISO 8601 date.
    pub date: Option<String>,
}

pub(super) enum Media {
    /// Displayed width and height.
    Picture(u32, u32),
    Sound,
    Text,
}

/// A track to be written.
pub(super) struct Track {
    pub media: Media,
    pub timescale: u32,
    /// In its timescale.
    pub duration: u64,
    /// How long it is shown, in the movie's timescale.
    pub shown: u64,
    /// Duration in the movie's timescale, and where in the track; -1: nothing.
    pub edits: Vec<(u64, i64)>,
    /// The sample entry, whole.
    pub entry: Vec<u8>,
    pub durations: Runs,
    pub shifts: Runs,
    pub sizes: Vec<u32>,
    /// Numbers of the key frames from 1 on; `None`: all are.
    pub keys: Option<Vec<u32>>,
    /// Offset and samples of each.
    pub chunks: Vec<(u64, u32)>,
    /// Number of the track that has its chapters.
    pub chapters: Option<u32>,
}

/// Equal values one behind the other, counted.
#[derive(Default)]
pub(super) struct Runs(Vec<(u32, u32)>);

impl Runs {
    pub fn push(&mut self, value: u32) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.0.push((1, value)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        put(out, [0, self.0.len() as u32]);
        put(out, self.0.iter().flat_map(|(count, value)| [*count, *value]));
    }
}

const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// "und", three letters of five bits.
const LANGUAGE: u32 = 0x55c4;

/// The whole box. `wide`: chunks may lie beyond 4 GiB.
pub(super) fn moov(timescale: u32, tracks: &[Track], tags: &Tags, wide: bool) -> Vec<u8> {
    let duration = tracks.iter().map(|track| track.shown).max().unwrap_or(0);
    let mut out = Vec::new();
    put_box(&mut out, b"moov", |out| {
        put_box(out, b"mvhd", |out| {
            let long = begin_header(out, 0, duration);
            put(out, [timescale]);
            put_time(out, duration, long);
            put(out, [0x1_0000, 0x100_0000, 0, 0]);
            put(out, MATRIX);
            put(out, [0; 6]);
            put(out, [tracks.len() as u32 + 1]);
        });
        for (track, id) in tracks.iter().zip(1..) {
            put_box(out, b"trak", |out| trak(out, track, id, wide));
        }
        put_tags(out, tags);
    });
    out
}

/// Version, flags and two empty dates. Returns whether times have 64 bits.
fn begin_header(out: &mut Vec<u8>, flags: u32, duration: u64) -> bool {
    let long = duration > u64::from(u32::MAX);
    put(out, [u32::from(long) << 24 | flags]);
    put(out, std::iter::repeat_n(0, if long { 4 } else { 2 }));
    long
}

fn put_time(out: &mut Vec<u8>, time: u64, long: bool) {
    put(out, long.then_some((time >> 32) as u32));
    put(out, [time as u32]);
}

fn trak(out: &mut Vec<u8>, track: &Track, id: u32, wide: bool) {
    put_box(out, b"tkhd", |out| {
        // Enabled and in the movie; chapters are only named by another track.
        let flags = if matches!(track.media, Media::Text) { 2 } else { 3 };
        let long = begin_header(out, flags, track.shown);
        put(out, [id, 0]);
        put_time(out, track.shown, long);
        let volume = if matches!(track.media, Media::Sound) { 0x100_0000 } else { 0 };
        put(out, [0, 0, 0, volume]);
        put(out, MATRIX);
        put(
            out,
            match track.media {
                Media::Picture(width, height) => [width << 16, height << 16],
                _ => [0, 0],
            },
        );
    });
    if !track.edits.is_empty() {
        put_box(out, b"edts", |out| put_box(out, b"elst", |out| edit_list(out, &track.edits)));
    }
    if let Some(chapters) = track.chapters {
        put_box(out, b"tref", |out| put_box(out, b"chap", |out| put(out, [chapters])));
    }
    put_box(out, b"mdia", |out| {
        put_box(out, b"mdhd", |out| {
            let long = begin_header(out, 0, track.duration);
            put(out, [track.timescale]);
            put_time(out, track.duration, long);
            put(out, [LANGUAGE << 16]);
        });
        let (handler, name) = match track.media {
            Media::Picture(..) => (b"vide", "VideoHandler"),
            Media::Sound => (b"soun", "SoundHandler"),
            Media::Text => (b"text", "TextHandler"),
        };
        put_handler(out, handler, name);
        put_box(out, b"minf", |out| {
            match track.media {
                Media::Picture(..) => put_box(out, b"vmhd", |out| put(out, [1, 0, 0])),
                Media::Sound => put_box(out, b"smhd", |out| put(out, [0, 0])),
                Media::Text => put_box(out, b"gmhd", |out| {
                    // Copied, in grey, as QuickTime does; then a matrix of the text.
                    put_box(out, b"gmin", |out| {
                        put(out, [0, 0x40_8000, 0x8000_8000, 0]);
                    });
                    put_box(out, b"text", |out| put(out, MATRIX));
                }),
            }
            put_box(out, b"dinf", |out| {
                put_box(out, b"dref", |out| {
                    put(out, [0, 1]);
                    // In this file.
                    put_box(out, b"url ", |out| put(out, [1]));
                });
            });
            put_box(out, b"stbl", |out| tables(out, track, wide));
        });
    });
}

fn put_handler(out: &mut Vec<u8>, handler: &[u8; 4], name: &str) {
    put_box(out, b"hdlr", |out| {
        put(out, [0, 0]);
        out.extend(handler);
        put(out, [0; 3]);
        out.extend(name.as_bytes());
        out.push(0);
    });
}

fn edit_list(out: &mut Vec<u8>, edits: &[(u64, i64)]) {
    let short = |(duration, from): &(u64, i64)| {
        u32::try_from(*duration).is_ok() && i32::try_from(*from).is_ok()
    };
    let long = !edits.iter().all(short);
    put(out, [u32::from(long) << 24, edits.len() as u32]);
    for (duration, from) in edits {
        put_time(out, *duration, long);
        put_time(out, *from as u64, long);
        put(out, [0x1_0000]);
    }
}

fn tables(out: &mut Vec<u8>, track: &Track, wide: bool) {
    put_box(out, b"stsd", |out| {
        put(out, [0, 1]);
        out.extend(&track.entry);
    });
    put_box(out, b"stts", |out| track.durations.write(out));
    if track.shifts.0.iter().any(|(_, shift)| *shift != 0) {
        put_box(out, b"ctts", |out| track.shifts.write(out));
    }
    if let Some(keys) = &track.keys {
        put_box(out, b"stss", |out| {
            put(out, [0, keys.len() as u32]);
            put(out, keys.iter().copied());
        });
    }
    put_box(out, b"stsc", |out| {
        let mut runs: Vec<[u32; 3]> = Vec::new();
        for ((_, samples), chunk) in track.chunks.iter().zip(1..) {
            if runs.last().is_none_or(|[_, last, _]| last != samples) {
                runs.push([chunk, *samples, 1]);
            }
        }
        put(out, [0, runs.len() as u32]);
        put(out, runs.into_iter().flatten());
    });
    put_box(out, b"stsz", |out| {
        put(out, [0, 0, track.sizes.len() as u32]);
        put(out, track.sizes.iter().copied());
    });
    put_box(out, if wide { b"co64" } else { b"stco" }, |out| {
        put(out, [0, track.chunks.len() as u32]);
        for (offset, _) in &track.chunks {
            put_time(out, *offset, wide);
        }
    });
}

fn put_tags(out: &mut Vec<u8>, tags: &Tags) {
    let tags = [
        (b"\xa9nam", &tags.title),
        (b"\xa9cmt", &tags.comment),
        (b"desc", &tags.description),
        (b"\xa9too", &tags.tool),
        (b"\xa9day", &tags.date),
    ];
    if tags.iter().all(|(_, text)| text.is_none()) {
        return;
    }
    put_box(out, b"udta", |out| {
        put_box(out, b"meta", |out| {
            put(out, [0]);
            put_box(out, b"hdlr", |out| {
                put(out, [0, 0]);
                out.extend(b"mdirappl");
                put(out, [0, 0]);
                out.push(0);
            });
            put_box(out, b"ilst", |out| {
                for (kind, text) in tags {
                    let Some(text) = text else { continue };
                    put_box(out, kind, |out| {
                        put_box(out, b"data", |out| {
                            // UTF-8, of no country.
                            put(out, [1, 0]);
                            out.extend(text.as_bytes());
                        });
                    });
                }
            });
        });
    });
}

/// The sample entry for chapters: black text without a box (QuickTime, "Text Sample Description").
pub(super) fn text_entry() -> Vec<u8> {
    let mut out = Vec::new();
    put_box(&mut out, b"text", |out| {
        put(out, [0]);
        out.extend([0, 0, 0, 1]);
        // Flags, justification, background, box; font, face, colour, and no name.
        put(out, [1, 1]);
        out.extend([0; 6 + 8 + 8 + 2 + 2 + 1 + 2 + 6]);
        out.push(0);
    });
    out
}

/// A text as a sample: its length, the text, and that it is UTF-8.
pub(super) fn text_sample(text: &str) -> Vec<u8> {
    let mut length = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    let mut out = (length as u16).to_be_bytes().to_vec();
    out.extend(&text.as_bytes()[..length]);
    put_box(&mut out, b"encd", |out| put(out, [0x100]));
    out
}

/// The sample entry for stereo AAC with this AudioSpecificConfig (ISO 14496-14, 5.6, and 14496-1,
/// 7.2.6).
pub(super) fn aac_entry(config: &[u8], rate: u32, channels: u16) -> Vec<u8> {
    let mut out = Vec::new();
    put_box(&mut out, b"mp4a", |out| {
        put(out, [0, 1, 0, 0, u32::from(channels) << 16 | 16, 0, rate << 16]);
        put_box(out, b"esds", |out| {
            put(out, [0]);
            let own = descriptor(5, config.to_vec());
            // AAC, a stream of sound; no word about buffers and bits a second.
            let decoder = descriptor(4, [&[0x40, 0x15][..], &[0; 11], &own].concat());
            let sync = descriptor(6, vec![2]);
            out.extend(descriptor(3, [&[0, 0, 0][..], &decoder, &sync].concat()));
        });
    });
    out
}

fn descriptor(tag: u8, content: Vec<u8>) -> Vec<u8> {
    let mut out = vec![tag, content.len() as u8];
    out.extend(content);
    out
}
