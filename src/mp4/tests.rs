//! Tables, read and written; and what damaged ones do.

use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::boxes::{put, put_box};
use super::*;

/// A parameter set box of H.264 whose lengths take four bytes.
const AVCC: &[u8] = &[1, 66, 0, 10, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68];
/// A picture that needs none before it, and one that does.
const KEY: &[u8] = &[0, 0, 0, 2, 0x65, 7];
const OTHER: &[u8] = &[0, 0, 0, 3, 0x41, 7, 7];

/// A file to be made.
#[derive(Clone)]
struct Made {
    size: (u16, u16),
    timescale: u32,
    ticks: u32,
    /// Whether it is a key frame, and how much later than it is decoded it is shown.
    pictures: Vec<(bool, i32)>,
    /// In ticks of the movie, which are those of the track.
    edits: Vec<(u32, i32)>,
}

impl Made {
    fn new(pictures: usize) -> Made {
        let pictures = (0..pictures).map(|n| (n == 0, 0)).collect();
        Made { size: (64, 36), timescale: 800, ticks: 100, pictures, edits: Vec::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        let data: Vec<&[u8]> =
            self.pictures.iter().map(|(key, _)| if *key { KEY } else { OTHER }).collect();
        let mut out = Vec::new();
        put_box(&mut out, b"ftyp", |out| out.extend(b"isom\0\0\0\0"));
        put_box(&mut out, b"mdat", |out| data.iter().for_each(|d| out.extend(*d)));
        let count = data.len() as u32;
        put_box(&mut out, b"moov", |out| {
            put_box(out, b"mvhd", |out| put(out, [0, 0, 0, self.timescale, 0]));
            put_box(out, b"trak", |out| {
                put_box(out, b"tkhd", |out| put(out, [0, 0, 0, 1]));
                put_box(out, b"edts", |out| {
                    put_box(out, b"elst", |out| {
                        put(out, [0, self.edits.len() as u32]);
                        self.edits.iter().for_each(|(d, t)| put(out, [*d, *t as u32, 0x1_0000]));
                    });
                });
                put_box(out, b"mdia", |out| {
                    put_box(out, b"mdhd", |out| put(out, [0, 0, 0, self.timescale, 0, 0]));
                    put_box(out, b"hdlr", |out| {
                        put(out, [0, 0]);
                        out.extend(b"vide");
                    });
                    put_box(out, b"minf", |out| {
                        put_box(out, b"stbl", |out| {
                            put_box(out, b"stsd", |out| {
                                put(out, [0, 1]);
                                self.entry(out);
                            });
                            put_box(out, b"stts", |out| put(out, [0, 1, count, self.ticks]));
                            put_box(out, b"ctts", |out| {
                                put(out, [0x100_0000, count]);
                                self.pictures.iter().for_each(|p| put(out, [1, p.1 as u32]));
                            });
                            put_box(out, b"stss", |out| {
                                let keys = self.pictures.iter().zip(1u32..).filter(|(p, _)| p.0);
                                let keys: Vec<u32> = keys.map(|(_, n)| n).collect();
                                put(out, [0, keys.len() as u32]);
                                put(out, keys);
                            });
                            put_box(out, b"stsc", |out| put(out, [0, 1, 1, count, 1]));
                            put_box(out, b"stsz", |out| {
                                put(out, [0, 0, count]);
                                put(out, data.iter().map(|d| d.len() as u32));
                            });
                            put_box(out, b"stco", |out| put(out, [0, 1, 24]));
                        });
                    });
                });
            });
        });
        out
    }

    fn entry(&self, out: &mut Vec<u8>) {
        put_box(out, b"avc1", |out| {
            let mut head = [0; 78];
            head[24..26].copy_from_slice(&self.size.0.to_be_bytes());
            head[26..28].copy_from_slice(&self.size.1.to_be_bytes());
            out.extend(head);
            put_box(out, b"avcC", |out| out.extend(AVCC));
            put_box(out, b"btrt", |out| put(out, [self.pictures.len() as u32, 2, 3]));
        });
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn look(&self, name: &str, made: &Made) -> Clip {
        Clip::look(&self.file(name, &made.bytes())).unwrap()
    }
}

fn refusal(path: &Path) -> String {
    let error = Clip::look(path).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    error
}

#[test]
fn a_clip_says_what_is_in_it() {
    let folder = Folder::new();
    let clip = folder.look("a.mp4", &Made::new(24));
    assert_eq!((clip.width, clip.height, clip.frames()), (64, 36, 24));
    assert_eq!(clip.rate.unwrap().to_string(), "8/1");
    assert!((clip.seconds - 3.0).abs() < 1e-9);
    assert_eq!(agreement(&[clip.clone(), clip]), Ok(()));
}

#[test]
fn times_that_were_rounded_still_stand_on_a_grid() {
    let folder = Folder::new();
    for (timescale, ticks, rate) in [(30_000, 1001, "30000/1001"), (25, 3, "25/3")] {
        let made = Made { timescale, ticks, ..Made::new(60) };
        assert_eq!(folder.look("a.mp4", &made).rate.unwrap().to_string(), rate);
    }
    // 60 frames a second in milliseconds: 17, 17, 16.
    let times = |fps: f64| move |n: usize| (n as f64 * 1000.0 / fps).round() as i32;
    for (fps, rate) in [(60.0, "60/1"), (24_000.0 / 1001.0, "24000/1001"), (25.0 / 3.0, "25/3")] {
        let mut made = Made { timescale: 1000, ticks: 10, ..Made::new(500) };
        let time = times(fps);
        made.pictures = (0..500).map(|n| (n == 0, time(n) - 10 * n as i32)).collect();
        assert_eq!(folder.look("a.mp4", &made).rate.unwrap().to_string(), rate);
    }
    let mut made = Made::new(9);
    made.pictures[5].1 = 30;
    let clip = folder.look("a.mp4", &made);
    assert_eq!(clip.rate, None);
    assert!(agreement(&[clip]).unwrap_err().contains("not evenly spaced"));
}

#[test]
fn what_an_edit_list_hides_is_no_frame() {
    let folder = Folder::new();
    // The usual one of pictures that look ahead: nothing is hidden.
    let mut made = Made { edits: vec![(400, 100)], ..Made::new(4) };
    made.pictures = vec![(true, 100), (false, 200), (false, 0), (false, 100)];
    let clip = folder.look("a.mp4", &made);
    assert_eq!((clip.frames(), clip.rate.is_some()), (4, true));
    assert_eq!(agreement(&[clip]), Ok(()));
    // Up to a key frame, and behind the end.
    let mut made = Made { edits: vec![(500, 300)], ..Made::new(12) };
    made.pictures[3].0 = true;
    let clip = folder.look("a.mp4", &made);
    assert_eq!((clip.frames(), clip.seconds), (5, 0.625));
    assert_eq!(agreement(&[clip]), Ok(()));
    // Into the middle of what hangs together.
    let clip = folder.look("a.mp4", &Made { edits: vec![(500, 300)], ..Made::new(12) });
    assert_eq!((clip.frames(), clip.seconds), (5, 0.625));
    assert!(agreement(&[clip]).unwrap_err().contains("edit list hides"));
}

#[test]
fn who_differs_is_named() {
    let folder = Folder::new();
    let one = folder.look("one.mp4", &Made::new(8));
    let wide = folder.look("wide.mp4", &Made { size: (128, 36), ..Made::new(8) });
    let fast = folder.look("fast.mp4", &Made { ticks: 50, ..Made::new(8) });
    let why = agreement(&[one.clone(), wide.clone()]).unwrap_err();
    assert_eq!(why, "wide.mp4 is 128x36, but one.mp4 is 64x36");
    let why = agreement(&[one.clone(), fast.clone()]).unwrap_err();
    assert_eq!(why, "fast.mp4 has 16 frames a second, but one.mp4 has 8");
    let mut late = Made::new(8);
    late.pictures[0].0 = false;
    let late = folder.look("late.mp4", &late);
    let why = agreement(&[one.clone(), late]).unwrap_err();
    assert_eq!(why, "late.mp4 does not begin with a key frame");
    let ((width, height), rate) = usual_format(&[wide, one.clone(), one, fast]).unwrap();
    assert_eq!((width, height, rate.to_string()), (64, 36, "8/1".into()));
    assert_eq!(usual_format(&[]), None);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = Folder::new();
    let whole = Made::new(8).bytes();
    assert!(refusal(&folder.0.path().join("none.mp4")).contains("cannot open"));
    assert!(refusal(&folder.file("empty.mp4", b"")).ends_with("is empty"));
    assert!(refusal(&folder.file("text.mp4", b"not a film at all")).contains("no MP4 file"));
    for length in 8..whole.len() {
        assert!(refusal(&folder.file("cut.mp4", &whole[..length])).contains("is cut off"));
    }
    // An index that leads beyond the end.
    let mut beyond = whole.clone();
    let end = beyond.len();
    beyond[end - 4..].copy_from_slice(&5000u32.to_be_bytes());
    assert!(refusal(&folder.file("beyond.mp4", &beyond)).contains("is cut off"));
}

fn joined(folder: &Folder, concat: &Concat) -> PathBuf {
    let out = folder.0.path().join("out.mp4");
    concat.write(&out, &mut |_, _| {}, &|| false).unwrap().unwrap();
    out
}

#[test]
fn what_is_written_can_be_read_and_written_again() {
    let folder = Folder::new();
    let mut ahead = Made { edits: vec![(400, 100)], ..Made::new(4) };
    ahead.pictures = vec![(true, 100), (false, 200), (false, 0), (false, 100)];
    let clips = vec![folder.look("a.mp4", &Made::new(8)), folder.look("b.mp4", &ahead)];
    let concat = Concat { clips, ..Concat::default() };
    let out = joined(&folder, &concat);
    let clip = Clip::look(&out).unwrap();
    assert_eq!((clip.frames(), clip.rate.unwrap().to_string()), (12, "8/1".into()));
    let places: Vec<u32> = clip.pictures.iter().map(|picture| picture.place).collect();
    assert_eq!(places, [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 9, 11]);
    let once = std::fs::read(&out).unwrap();
    joined(&folder, &Concat { clips: vec![clip], ..Concat::default() });
    assert_eq!(std::fs::read(&out).unwrap(), once);
}

#[test]
fn stopping_and_changed_files_leave_what_was_there() {
    let folder = Folder::new();
    let clips = vec![folder.look("a.mp4", &Made::new(8))];
    let concat = Concat { clips, ..Concat::default() };
    let out = folder.file("out.mp4", b"old");
    assert_eq!(concat.write(&out, &mut |_, _| {}, &|| true).unwrap(), None);
    folder.file("a.mp4", &Made::new(9).bytes());
    let error = concat.write(&out, &mut |_, _| {}, &|| false).unwrap_err().to_string();
    assert!(error.contains("a.mp4 has changed"), "{error}");
    assert_eq!(std::fs::read(&out).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 2);
}

#[test]
fn sound_keeps_its_priming_and_its_length() {
    let folder = Folder::new();
    let path = folder.0.path().join("sound.mp4");
    let mut writer = SoundWriter::new(std::fs::File::create(&path).unwrap()).unwrap();
    for n in 0..100 {
        writer.push(&[n; 5]).unwrap();
    }
    writer.finish(&[0x11, 0x90], (48_000, 2), 1024, 90_000).unwrap();
    let sound = Sound::look(&path).unwrap();
    assert_eq!((sound.priming, sound.plays, sound.units.len()), (1024, 90_000, 89));
    // One second of picture.
    let clips = vec![folder.look("a.mp4", &Made::new(8))];
    let out = joined(&folder, &Concat { clips, sound: Some(sound), ..Concat::default() });
    let sound = Sound::look(&out).unwrap();
    assert_eq!((sound.priming, sound.plays, sound.units.len()), (1024, 48_000, 48));
    assert_eq!(Clip::look(&out).unwrap().frames(), 8);
    assert!(
        Sound::look(&folder.0.path().join("a.mp4")).unwrap_err().to_string().contains("no sound")
    );
}

#[test]
fn beyond_4_gib_offsets_and_times_have_64_bits() {
    use super::index::{Media, Runs, Track, moov};
    let track = |offset: u64, duration: u64| {
        let mut runs = Runs::default();
        runs.push(1);
        Track {
            media: Media::Sound,
            timescale: 48_000,
            duration,
            shown: duration,
            edits: vec![(duration, 0)],
            entry: super::index::aac_entry(&[0x11, 0x90], 48_000, 2),
            durations: runs,
            shifts: Runs::default(),
            sizes: vec![4],
            keys: None,
            chunks: vec![(offset, 1)],
            chapters: None,
        }
    };
    let far = 5 << 32;
    let moov = moov(48_000, &[track(far, far)], &Tags::default(), true);
    let movie = super::track::movie(boxes::Fields(&moov[8..]), u64::MAX).unwrap();
    assert_eq!(movie.tracks[0].samples[0].offset, far);
    assert_eq!(movie.tracks[0].edits[0].duration, far);
    assert_eq!(movie.timescale, 48_000);
}

/// Writes a file, and looks at it in every way.
fn look_at(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let clip = Clip::look(file.path());
    let _ = Sound::look(file.path());
    if let Ok(clip) = clip {
        let _ = agreement(&[clip.clone(), clip.clone()]);
        let out = file.path().with_extension("out");
        let concat = Concat { clips: vec![clip], ..Concat::default() };
        let _ = concat.write(&out, &mut |_, _| {}, &|| false);
        let _ = std::fs::remove_file(out);
    }
}

/// A file of fragments: `moov` without a sample, then one `moof`.
fn in_fragments(flags: u32, fields: &[u32]) -> Vec<u8> {
    let mut out = Made::new(0).bytes();
    let at = out.windows(4).position(|w| w == b"moov").unwrap() - 4;
    put_box(&mut out, b"moof", |out| {
        put_box(out, b"traf", |out| {
            put_box(out, b"tfhd", |out| put(out, [0x2_0018, 1, 100, 6]));
            put_box(out, b"tfdt", |out| put(out, [0, 0]));
            put_box(out, b"trun", |out| {
                put(out, [flags]);
                put(out, fields.iter().copied());
            });
        });
    });
    let end = out.len() as u32;
    put_box(&mut out, b"mdat", |out| out.extend(KEY.repeat(3)));
    // From the `moof`, which stands behind the `moov`.
    let moof = out.windows(4).position(|w| w == b"moof").unwrap() as u32 - 4;
    let offset = (end + 8 - moof).to_be_bytes();
    let place = out.windows(4).position(|w| w == 0xdead_beefu32.to_be_bytes());
    if let Some(place) = place {
        out[place..place + 4].copy_from_slice(&offset);
    }
    assert!(at > 0);
    out
}

#[test]
fn fragments_are_read() {
    let folder = Folder::new();
    let path = folder.file("a.mp4", &in_fragments(1, &[3, 0xdead_beef]));
    let clip = Clip::look(&path).unwrap();
    assert_eq!((clip.frames(), clip.rate.unwrap().to_string()), (3, "8/1".into()));
    let joined = Clip::look(&joined(&folder, &Concat { clips: vec![clip], ..Concat::default() }));
    assert_eq!(joined.unwrap().frames(), 3);
    // More samples than bytes.
    let path = folder.file("a.mp4", &in_fragments(1, &[u32::MAX, 0xdead_beef]));
    assert!(refusal(&path).contains("damaged index"));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        look_at(&bytes);
    }

    #[test]
    fn any_change_of_a_good_file_is_answered(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_pieces in any::<bool>(),
    ) {
        let mut bytes = match in_pieces {
            true => in_fragments(0xf01, &[2, 0xdead_beef, 100, 6, 0, 0, 100, 6, 0, 0]),
            false => Made { edits: vec![(800, 0)], ..Made::new(8) }.bytes(),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        look_at(&bytes);
    }

    #[test]
    fn any_number_in_a_table_is_answered(
        at in any::<prop::sample::Index>(),
        number in prop_oneof![Just(u32::MAX), Just(0), Just(1 << 31), Just(i32::MAX as u32), any::<u32>()],
    ) {
        let mut bytes = Made { edits: vec![(800, 0)], ..Made::new(8) }.bytes();
        let at = at.index(bytes.len() / 4 - 1) * 4;
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        look_at(&bytes);
    }
}
