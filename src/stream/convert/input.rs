//! The beginning of the pipeline: a file that GStreamer takes apart, or pictures as they are.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::part::Gate;
use super::{Container, Teller, encoded_queue, make, picture_caps, picture_queue, whole, y4m};
use crate::base::error::{Error, Kind, Result};
use crate::base::time::FrameRate;
use crate::stream::check::Need;
use crate::stream::{check, lock};

/// Bytes that are read at once where little is wanted.
const READ_BYTES: usize = 64 << 10;
/// How often a wish to stop is heard while nothing comes.
const STOP_STEP: Duration = Duration::from_millis(100);
/// Pictures that wait between the reader and the pipeline.
const WAITING_PICTURES: u64 = 4;

const AAC_ENCODER: Need = Need(&["avenc_aac", "voaacenc"]);

/// The thread that reads YUV4MPEG2.
pub struct Feeder {
    /// Of the whole film, if that can be told.
    pub length_ns: Option<u64>,
    /// On a pipe pictures come whenever they come.
    is_pipe: bool,
    _thread: JoinHandle<()>,
}

impl Feeder {
    pub fn may_wait(&self) -> bool {
        self.is_pipe
    }
}

/// Reads the header of YUV4MPEG2 on standard input, whenever that comes. `None`: `stop` was set
/// before.
///
/// # Errors
/// What is wrong with the header.
pub fn begin_y4m(stop: &AtomicBool) -> Result<Option<y4m::Reader>> {
    let (sender, begun) = bounded(1);
    std::thread::Builder::new()
        .name("header".into())
        .spawn(move || {
            let _ = sender.send(read_y4m(Box::new(std::io::stdin())));
        })
        .map_err(|e| Error::internal("cannot start a thread").with_source(e))?;
    while !stop.load(Ordering::Relaxed) {
        match begun.recv_timeout(STOP_STEP) {
            Ok(reader) => return reader.map(Some),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("the thread that reads ended"));
            }
        }
    }
    Ok(None)
}

fn read_y4m(input: Box<dyn Read + Send>) -> Result<y4m::Reader> {
    y4m::Reader::new(Box::new(BufReader::with_capacity(READ_BYTES, input)))
}

/// Adds a reader of YUV4MPEG2 before `to`. `file_bytes`: the length of a file.
pub fn feed_y4m(
    pipeline: &gst::Pipeline,
    to: &gst::Element,
    reader: y4m::Reader,
    file_bytes: Option<u64>,
    gate: Option<Gate>,
    teller: Teller,
) -> Result<Feeder> {
    let header = &reader.header;
    let rate = |part: i32| u32::try_from(part).unwrap_or_default();
    let fps = FrameRate::new(rate(header.info.fps().numer()), rate(header.info.fps().denom()))
        .ok_or_else(|| Error::internal("no rate"))?;
    let frames = file_bytes
        .map(|bytes| bytes.saturating_sub(header.length as u64) / header.frame_bytes() as u64);
    let caps = header.info.to_caps().map_err(Error::fault)?;
    let source = gst_app::AppSrc::builder()
        .caps(&caps)
        .format(gst::Format::Time)
        .block(true)
        .max_bytes(WAITING_PICTURES * header.picture_bytes() as u64)
        .build();
    pipeline.add(&source).map_err(Error::fault)?;
    let interlaced = header.info.is_interlaced();
    let pad = add_pictures(pipeline, to, interlaced, false)?;
    if let Some(gate) = gate {
        gate.put_before(&pad);
    }
    link(source.upcast_ref(), &pad)?;
    let thread = std::thread::Builder::new()
        .name("y4m".into())
        .spawn(move || {
            if let Err(error) = feed(reader, fps, &source) {
                teller.unread(error);
            }
            // Taken down already if that fails.
            let _ = source.end_of_stream();
        })
        .map_err(|e| Error::internal("cannot start a thread").with_source(e))?;
    Ok(Feeder {
        length_ns: frames.map(|frames| fps.pts_ns(frames)),
        is_pipe: file_bytes.is_none(),
        _thread: thread,
    })
}

fn feed(mut reader: y4m::Reader, fps: FrameRate, source: &gst_app::AppSrc) -> Result<()> {
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    config.set_params(None, reader.header.picture_bytes() as u32, 0, 0);
    pool.set_config(config).map_err(Error::fault)?;
    pool.set_active(true).map_err(Error::fault)?;
    let at = |n| gst::ClockTime::from_nseconds(fps.pts_ns(n));
    for n in 0.. {
        let mut buffer = pool.acquire_buffer(None).map_err(Error::fault)?;
        {
            let buffer = buffer.make_mut();
            if !reader.read(buffer)? {
                break;
            }
            buffer.set_pts(at(n));
            buffer.set_duration(at(n + 1) - at(n));
        }
        // The pipeline has ended or was taken down.
        if source.push_buffer(buffer).is_err() {
            break;
        }
    }
    Ok(())
}

/// Adds what brings pictures to what they should be, before `to`; returns where they go in.
pub fn add_pictures(
    pipeline: &gst::Pipeline,
    to: &gst::Element,
    may_be_interlaced: bool,
    may_be_turned: bool,
) -> Result<gst::Pad> {
    let mut chain = vec![picture_queue()?];
    if may_be_interlaced {
        let deinterlace = make("deinterlace")?;
        // Follows motion, and loses no field at the beginning, as yadif does (GStreamer 1.22).
        deinterlace.set_property_from_str("method", "greedyl");
        chain.push(deinterlace);
    }
    let (first, between, second, last) =
        (make("videoconvert")?, make("capsfilter")?, make("videoconvert")?, make("capsfilter")?);
    for convert in [&first, &second] {
        // As many as there are cores.
        convert.set_property("n-threads", 0u32);
    }
    last.set_property("caps", picture_caps());
    go_round(&first, &between)?;
    chain.extend([first, between, second, last]);
    if may_be_turned {
        let flip = make("videoflip")?;
        flip.set_property_from_str("video-direction", "auto");
        chain.push(flip);
    }
    pipeline.add_many(&chain).map_err(Error::fault)?;
    let last = chain.last().ok_or_else(|| Error::internal("nothing to add"))?;
    last.link(to).map_err(Error::fault)?;
    begin(&chain)
}

/// Links elements that were added to a pipeline that may run, and has them run with it; returns where
/// they begin. (All of a pipeline must not be brought to one state here: what calls back waits.)
fn begin(chain: &[gst::Element]) -> Result<gst::Pad> {
    gst::Element::link_many(chain).map_err(Error::fault)?;
    for element in chain.iter().rev() {
        element.sync_state_with_parent().map_err(Error::fault)?;
    }
    chain[0].static_pad("sink").ok_or_else(|| Error::internal("no pad"))
}

/// Has pictures of full range in BT.709 pass through RGB: videoconvert (1.22) leaves the range as it
/// is where only that differs.
fn go_round(convert: &gst::Element, filter: &gst::Element) -> Result<()> {
    let pad = convert.static_pad("sink").ok_or_else(|| Error::internal("no pad"))?;
    let filter = filter.downgrade();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let caps = info.event().and_then(|event| match event.view() {
            gst::EventView::Caps(caps) => gst_video::VideoInfo::from_caps(caps.caps()).ok(),
            _ => None,
        });
        if let (Some(info), Some(filter)) = (caps, filter.upgrade()) {
            let colours = info.colorimetry();
            let is_full = colours.range() == gst_video::VideoColorRange::Range0_255;
            let caps = match is_full && colours.matrix() == gst_video::VideoColorMatrix::Bt709 {
                true => gst::Caps::builder("video/x-raw").field("format", "ARGB64").build(),
                false => gst::Caps::new_any(),
            };
            filter.set_property("caps", caps);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn link(from: &gst::Element, to: &gst::Pad) -> Result<()> {
    let pad = from.static_pad("src").ok_or_else(|| Error::internal("no pad"))?;
    pad.link(to).map(drop).map_err(Error::fault)
}

/// Adds a file before `to`, and its sound to the muxer, if there is one.
///
/// # Errors
/// It cannot be opened or is cut short. What is wrong inside is told later.
pub fn open_file(
    pipeline: &gst::Pipeline,
    to: &gst::Element,
    mux: Option<(gst::Element, Container)>,
    path: PathBuf,
    gate: Option<Gate>,
    teller: Teller,
) -> Result<Option<Feeder>> {
    let unopened = |e| Error::io("opening failed", e);
    let mut file = File::open(&path).map_err(unopened)?;
    let mut head = Vec::new();
    file.by_ref().take(y4m::MAGIC.len() as u64).read_to_end(&mut head).map_err(unopened)?;
    if head == y4m::MAGIC {
        file.seek(SeekFrom::Start(0)).map_err(unopened)?;
        let bytes = file.metadata().map_err(unopened)?.len();
        return feed_y4m(pipeline, to, read_y4m(Box::new(file))?, Some(bytes), gate, teller)
            .map(Some);
    }
    if head.is_empty() {
        return Err(Error::new(Kind::Io, "it is empty"));
    }
    if let Some(missing) = whole::missing_bytes(&mut file) {
        return Err(Error::new(
            Kind::Io,
            format!("it is cut short: its last {missing} bytes are missing, as it says itself"),
        ));
    }
    let source = make("filesrc")?;
    let location = path.to_str().ok_or_else(|| {
        Error::usage("GStreamer takes names in UTF-8 only; give the file such a name")
    })?;
    source.set_property("location", location);
    let decode = make("decodebin")?;
    // What leaves its pictures on a GPU is no help here.
    decode.set_property("force-sw-decoders", true);
    pipeline.add_many([&source, &decode]).map_err(Error::fault)?;
    source.link(&decode).map_err(Error::fault)?;
    let weak_mux = mux.as_ref().map(|(mux, _)| mux.downgrade());
    decode.connect("autoplug-continue", false, move |arguments| {
        let caps = arguments.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let mux = weak_mux.as_ref().and_then(|mux| mux.upgrade());
        let decodes = caps.is_none_or(|caps| is_decoded(&caps, mux.as_ref()));
        Some(decodes.to_value())
    });
    let unknown = teller.clone();
    decode.connect("unknown-type", false, move |arguments| {
        if let Some(Ok(caps)) = arguments.get(2).map(|caps| caps.get::<gst::Caps>()) {
            cannot_decode(&caps, &unknown);
        }
        None
    });
    let found = Arc::new(Mutex::new(Vec::new()));
    let adding = found.clone();
    decode.connect_pad_added(move |_, pad| {
        lock(&adding).push(pad.clone());
    });
    let (pipeline, to) = (pipeline.downgrade(), to.downgrade());
    let mux = mux.map(|(mux, container)| (mux.downgrade(), container));
    let gate = Mutex::new(gate);
    // Nothing flows before all streams are known.
    decode.connect_no_more_pads(move |_| {
        let pads = std::mem::take(&mut *lock(&found));
        let (Some(pipeline), Some(to)) = (pipeline.upgrade(), to.upgrade()) else { return };
        let mux = mux.as_ref().and_then(|(mux, container)| Some((mux.upgrade()?, *container)));
        if let Err(error) =
            add_streams(&pipeline, &to, mux.as_ref(), &pads, lock(&gate).take(), &teller)
        {
            teller.unread(error);
        }
    });
    Ok(None)
}

/// The kind of a stream, such as `video/x-raw`.
fn name(caps: &gst::Caps) -> &str {
    caps.structure(0).map_or("", |structure| structure.name().as_str())
}

fn caps(pad: &gst::Pad) -> gst::Caps {
    pad.current_caps().unwrap_or_else(|| pad.query_caps(None))
}

/// Whether a stream, or a container, is taken further apart.
fn is_decoded(caps: &gst::Caps, mux: Option<&gst::Element>) -> bool {
    let kind = name(caps);
    if let Some(sound) = caps.structure(0).filter(|_| kind.starts_with("audio/")) {
        return mux.is_some_and(|mux| !is_taken(mux, sound));
    }
    let captions = ["text/", "subpicture/", "closedcaption/", "application/x-ssa"];
    let captions = captions.iter().chain(&["application/x-ass", "application/x-subtitle"]);
    !captions.into_iter().any(|caption| kind.starts_with(caption))
}

/// Says what there is no decoder for.
fn cannot_decode(caps: &gst::Caps, teller: &Teller) {
    let kind = name(caps);
    if kind.starts_with("audio/") {
        teller.note(format!("GStreamer has no decoder for its sound, {kind}; it is left out"));
    } else if kind.starts_with("video/") {
        teller.unread(Error::unavailable(format!(
            "GStreamer has no decoder for {kind}; most are in {} and {}",
            check::package("avdec_h264"),
            check::package("h264parse")
        )));
    }
}

/// Connects what was found in a file.
fn add_streams(
    pipeline: &gst::Pipeline,
    to: &gst::Element,
    mux: Option<&(gst::Element, Container)>,
    pads: &[gst::Pad],
    gate: Option<Gate>,
    teller: &Teller,
) -> Result<()> {
    let is = |pad: &gst::Pad, kind: &str| name(&caps(pad)).starts_with(kind);
    let Some(video) = pads.iter().find(|pad| is(pad, "video/")) else {
        let kinds: Vec<String> = pads.iter().map(|pad| name(&caps(pad)).to_owned()).collect();
        return Err(Error::new(
            Kind::Io,
            format!("there is no video in it, only {}", kinds.join(", ")),
        ));
    };
    let pictures = add_pictures(pipeline, to, true, true)?;
    let is_part = gate.is_some();
    if let Some(gate) = gate {
        gate.put_before(&pictures);
    }
    video.link(&pictures).map_err(Error::fault)?;
    if is_part {
        // What leads nowhere is not read to the end of the film.
        return Ok(());
    }
    let mut tracks = 0;
    for pad in pads.iter().filter(|pad| *pad != video) {
        match mux {
            Some((mux, container)) if is(pad, "audio/") => {
                tracks += 1;
                add_sound(pipeline, pad, (mux, *container), tracks, teller)?;
            }
            _ => discard(pipeline, pad)?,
        }
    }
    Ok(())
}

/// Takes in what is not wanted, so that nobody waits for it.
fn discard(pipeline: &gst::Pipeline, from: &gst::Pad) -> Result<()> {
    let sink = make("fakesink")?;
    sink.set_property("sync", false);
    sink.set_property("async", false);
    pipeline.add(&sink).map_err(Error::fault)?;
    from.link(&begin(&[sink])?).map(drop).map_err(Error::fault)
}

/// The parser that brings sound of a kind to what a muxer takes.
fn parser(caps: &gst::StructureRef) -> Option<&'static str> {
    Some(match caps.name().as_str() {
        "audio/mpeg" if caps.get::<i32>("mpegversion") == Ok(1) => "mpegaudioparse",
        "audio/mpeg" => "aacparse",
        "audio/x-ac3" | "audio/x-eac3" => "ac3parse",
        "audio/x-opus" => "opusparse",
        "audio/x-flac" => "flacparse",
        _ => return None,
    })
}

/// Whether the muxer takes this sound, but for how it is cut and packed, which a parser sees to.
fn is_taken(mux: &gst::Element, sound: &gst::StructureRef) -> bool {
    let Some(template) = mux.pad_template("audio_%u") else { return false };
    let mut sound = sound.to_owned();
    sound.remove_fields(["stream-format", "framed", "parsed", "alignment", "base-profile"]);
    template.caps().iter().any(|taken| {
        let mut taken = taken.to_owned();
        taken.remove_field("stream-format");
        taken.remove_field("framed");
        taken.can_intersect(&sound)
    })
}

/// Adds a track of sound to the muxer.
fn add_sound(
    pipeline: &gst::Pipeline,
    from: &gst::Pad,
    (mux, container): (&gst::Element, Container),
    number: usize,
    teller: &Teller,
) -> Result<()> {
    let caps = caps(from);
    let sound = caps.structure(0).ok_or_else(|| Error::internal("sound without caps"))?;
    let into = mux
        .request_pad_simple("audio_%u")
        .ok_or_else(|| Error::internal("the muxer takes no more sound"))?;
    let mut chain = vec![encoded_queue()?];
    if is_taken(mux, sound) {
        if let Some(parser) = parser(sound) {
            chain.push(make(parser)?);
        }
    } else {
        let container = match container {
            Container::Mp4 => "MP4",
            Container::Mkv => "Matroska",
        };
        teller.note(format!(
            "track {number} of the sound does not go into {container} as it is; it is encoded \
             again as AAC"
        ));
        let encoder = AAC_ENCODER.found().unwrap_or(AAC_ENCODER.0[0]);
        for element in ["audioconvert", "audioresample", encoder, "aacparse"] {
            chain.push(make(element)?);
        }
        chain.push(encoded_queue()?);
    }
    pipeline.add_many(&chain).map_err(Error::fault)?;
    let last = chain.last().and_then(|last| last.static_pad("src"));
    let last = last.ok_or_else(|| Error::internal("no pad"))?;
    last.link(&into).map_err(Error::fault)?;
    from.link(&begin(&chain)?).map(drop).map_err(Error::fault)
}
