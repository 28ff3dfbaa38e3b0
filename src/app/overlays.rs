//! The thread that draws what lies over the picture: it watches the board, the logo's file and what
//! is playing, and hands finished sprites to the render thread.
//!
//! Holds: nobody waits for it. What is wrong with an overlay is a warning that the performer sees, and
//! that overlay alone does not show.

mod now_playing;

use std::convert::Infallible;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use image::RgbaImage;

use self::now_playing::NowPlayingFile;
use super::report::Notice;
use crate::base::clock::Clock;
use crate::base::error::{Error, Result};
use crate::config::output::Target;
use crate::config::{Config, Overlays};
use crate::param::{self, Board, Change, From, Kind, ParamId, Values};
use crate::render::overlay::text::{Pen, Setting};
use crate::render::overlay::{self, Bitmap, Feed, Item, RECORDING, STREAM, Sprite, View};
use crate::show::Topic;
use crate::stream::output::Outputs;

/// How often the board is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(30);
/// How often files are.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// A larger logo is a mistake.
const MOST_LOGO_BYTES: u64 = 32 << 20;
/// Lines of a text, and what its lines may take of the picture's width.
const TEXT_LINES: usize = 3;
const TEXT_WIDTH: f32 = 0.94;
const NOW_PLAYING_WIDTH: f32 = 0.6;

/// What the thread works with.
pub struct Setup {
    pub board: Arc<Board>,
    pub sprites: Feed,
    /// Of the picture, in pixels.
    pub canvas: (u32, u32),
    /// With the logos.
    pub folder: PathBuf,
    pub now_playing_file: Option<PathBuf>,
    /// Of the show's own encode.
    pub main_view: View,
    pub outputs: Arc<Outputs>,
    pub notices: Sender<Notice>,
    pub clock: Arc<dyn Clock>,
}

/// The running thread. It ends when this is dropped.
pub struct Running {
    stop: Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl Running {
    pub fn end(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

/// What the texts of the board are at the start.
pub fn start_texts(config: &Overlays) -> Vec<(ParamId, &str)> {
    let texts = [
        (ParamId::LogoFile, &config.logo),
        (ParamId::TextValue, &config.text),
        (ParamId::QrValue, &config.qr_url),
    ];
    texts.into_iter().filter_map(|(id, text)| Some((id, text.as_deref()?))).collect()
}

/// Whose overlays the show's own encode has.
pub fn main_view(config: &Config) -> View {
    // Also where nothing is recorded: that may begin at any time.
    if config.overlays.clean_recording { View::Recording } else { View::Shared }
}

/// Starts the thread.
///
/// # Errors
/// No more threads.
pub fn start(setup: Setup) -> Result<Running> {
    let (stop, stopped) = bounded(0);
    let pen = Pen::new()?;
    let most_chars = match param::of(ParamId::NowPlayingValue).kind {
        Kind::Text { most } => most,
        _ => 0,
    };
    let file = setup.now_playing_file.clone();
    let worker = Worker {
        pen,
        now_playing: file.map(|path| NowPlayingFile::new(path, most_chars)),
        drawn: Default::default(),
        wrong: Default::default(),
        logo: None,
        file_problem: None,
        told: None,
        generation: None,
        files_at: Duration::ZERO,
        setup,
    };
    let thread = std::thread::Builder::new()
        .name("overlays".into())
        // Not in the background: it has little to do, and the performer waits for it.
        .spawn(move || worker.run(&stopped))
        .map_err(|e| Error::internal("cannot start the overlays").with_source(e))?;
    Ok(Running { stop, thread })
}

/// What a sprite is made from: it is drawn anew when this changes.
#[derive(Clone, Debug, Default, PartialEq)]
enum Wanted {
    #[default]
    Nothing,
    Text {
        text: String,
        setting: Setting,
    },
    Qr {
        address: String,
        size_px: usize,
    },
    Logo {
        file: String,
        /// Size and time of its last change; `None`: it is not there.
        stamp: Option<Stamp>,
        height_px: usize,
    },
    Words {
        title: String,
        line: String,
    },
}

type Stamp = (u64, Option<SystemTime>);

/// A logo that was read, no larger than the picture.
struct Logo {
    file: String,
    stamp: Option<Stamp>,
    image: RgbaImage,
}

struct Worker {
    setup: Setup,
    pen: Pen,
    now_playing: Option<NowPlayingFile>,
    /// What the render thread has, or will have: by item.
    drawn: [Option<Wanted>; Item::ALL.len()],
    /// Why an item cannot be drawn.
    wrong: [Option<String>; Item::ALL.len()],
    logo: Option<Logo>,
    file_problem: Option<String>,
    /// The warning that the performer sees.
    told: Option<String>,
    /// Of the board when it was looked at last.
    generation: Option<u64>,
    files_at: Duration,
}

impl Worker {
    fn run(mut self, stopped: &Receiver<Infallible>) {
        loop {
            self.look();
            if stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn look(&mut self) {
        self.setup.sprites.free();
        let now = self.setup.clock.now();
        let files_due = now >= self.files_at;
        if files_due {
            self.files_at = now + FILES_EVERY;
            self.look_at_now_playing(now);
        }
        let generation = self.setup.board.generation();
        if !files_due && self.generation == Some(generation) {
            return;
        }
        let values = self.setup.board.values();
        let mut all_sent = true;
        for item in Item::ALL {
            all_sent &= self.keep_up(item, &values);
        }
        // What found no room is offered again.
        self.generation = all_sent.then_some(generation);
        self.tell(&values);
    }

    /// Draws an item if it is to look otherwise; false: it found no room.
    fn keep_up(&mut self, item: Item, values: &Values) -> bool {
        let wanted = self.wanted(item, values);
        if self.drawn[item as usize].as_ref() == Some(&wanted) {
            return true;
        }
        let (bitmap, wrong) = match self.draw(&wanted) {
            Ok(bitmap) => (bitmap, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let sent = self.setup.sprites.send(item, bitmap.as_ref().map(Sprite::new));
        if sent {
            self.drawn[item as usize] = Some(wanted);
            self.wrong[item as usize] = wrong;
        }
        sent
    }

    fn wanted(&self, item: Item, values: &Values) -> Wanted {
        let (width, height) = (self.setup.canvas.0 as f32, self.setup.canvas.1 as f32);
        let text = |id| self.setup.board.text(id).to_string();
        let px = |id: ParamId| (values[id] * height).round();
        let set = |text: String, id: ParamId, share: f32, most_lines: usize| {
            let most_width = (width * share) as usize;
            let setting = Setting { line_px: px(id), most_width, most_lines, title: false };
            if text.is_empty() { Wanted::Nothing } else { Wanted::Text { text, setting } }
        };
        let words = |own: &str| {
            let (title, line) = (text(ParamId::ScreenTitle), text(ParamId::ScreenLine));
            Wanted::Words { title: if title.is_empty() { own.into() } else { title }, line }
        };
        match item {
            Item::StartingSoon => words("Starting soon"),
            Item::BeRightBack => words("Be right back"),
            Item::Text => set(text(ParamId::TextValue), ParamId::TextSize, TEXT_WIDTH, TEXT_LINES),
            Item::NowPlaying => {
                let playing = text(ParamId::NowPlayingValue);
                let line = if playing.is_empty() { playing } else { format!("♪ {playing}") };
                set(line.replace('\n', " "), ParamId::NowPlayingSize, NOW_PLAYING_WIDTH, 1)
            }
            Item::Qr => match text(ParamId::QrValue) {
                address if address.is_empty() => Wanted::Nothing,
                address => Wanted::Qr { address, size_px: px(ParamId::QrSize) as usize },
            },
            Item::Logo => match text(ParamId::LogoFile) {
                file if file.is_empty() => Wanted::Nothing,
                file => Wanted::Logo {
                    stamp: is_file_name(&file).then(|| self.stamp(&file)).flatten(),
                    file,
                    height_px: px(ParamId::LogoSize) as usize,
                },
            },
        }
    }

    fn stamp(&self, file: &str) -> Option<Stamp> {
        let about = self.setup.folder.join(file).metadata().ok()?;
        Some((about.len(), about.modified().ok()))
    }

    fn draw(&mut self, wanted: &Wanted) -> Result<Option<Bitmap>> {
        let (width, height) = (self.setup.canvas.0 as usize, self.setup.canvas.1 as usize);
        Ok(match wanted {
            Wanted::Nothing => None,
            Wanted::Text { text, setting } => self.pen.draw(text, *setting),
            Wanted::Qr { address, size_px } => Some(overlay::qr::draw(address, *size_px)?),
            Wanted::Words { title, line } => Some(self.pen.screen(title, line, (width, height))),
            Wanted::Logo { file, stamp, height_px } => {
                let known = self.logo.take().filter(|l| (&l.file, &l.stamp) == (file, stamp));
                let logo = match known {
                    Some(logo) => logo,
                    None => {
                        let image = read_logo(&self.setup.folder, file, self.setup.canvas)?;
                        Logo { file: file.clone(), stamp: *stamp, image }
                    }
                };
                let bitmap = overlay::logo::draw(&logo.image, *height_px, width);
                self.logo = Some(logo);
                Some(bitmap)
            }
        })
    }

    fn look_at_now_playing(&mut self, now: Duration) {
        let Some(file) = &mut self.now_playing else { return };
        let said = file.look();
        self.file_problem = said.as_ref().err().map(ToString::to_string);
        if let Ok(Some(line)) = said {
            let change = Change::set(ParamId::NowPlayingValue, line.as_str());
            let from = From { source: "now_playing_file".into(), received: now };
            if let Err(error) = self.setup.board.apply(&change, &from) {
                self.file_problem = Some(error.to_string());
            }
        }
    }

    /// Tells the performer what is wrong, when that changes.
    fn tell(&mut self, values: &Values) {
        let mut texts: Vec<String> = Vec::new();
        for item in Item::ALL.into_iter().filter(|item| item.is_on(values)) {
            texts.extend(self.wrong[item as usize].clone());
            let is_empty = self.drawn[item as usize] == Some(Wanted::Nothing);
            texts.extend(missing(item).filter(|_| is_empty).map(str::to_owned));
            if item == Item::NowPlaying {
                texts.extend(self.file_problem.clone());
            }
            texts.extend(self.not_there(item, overlay::places(values[item.place()])));
        }
        let text = (!texts.is_empty()).then(|| texts.join("; "));
        if text == self.told {
            return;
        }
        let notice = Notice { topic: Topic::Overlays, text: text.clone() };
        // A full queue takes it the next time.
        if self.setup.notices.try_send(notice).is_ok() {
            self.told = text;
        }
    }

    /// Why an item does not show where, and only where, it is asked for.
    fn not_there(&self, item: Item, places: u8) -> Option<String> {
        let (stream, recording) = (places & STREAM != 0, places & RECORDING != 0);
        let name = name(item);
        if self.setup.main_view != View::Shared || stream == recording {
            return None;
        }
        let streams = |target: &Target| {
            !matches!(target, Target::File { .. } | Target::Display { .. } | Target::Ndi { .. })
        };
        let streams = self.setup.outputs.list().iter().any(|output| streams(&output.spec.target));
        let (asked, other) = if stream { ("stream", "recording") } else { ("recording", "stream") };
        // NDI has pictures of its own; the recording has what the stream would have.
        (streams || stream).then(|| {
            format!(
                "{name} is to show on the {asked} and not on the {other}, but both are one encode \
                 in this show, so it shows on both; overlays.clean_recording: true gives the \
                 recording an encode of its own"
            )
        })
    }
}

fn name(item: Item) -> &'static str {
    match item {
        Item::StartingSoon | Item::BeRightBack => "the screen",
        Item::Text => "the text",
        Item::NowPlaying => "what is playing",
        Item::Logo => "the logo",
        Item::Qr => "the QR code",
    }
}

/// What to say when an item is on and there is nothing to show.
fn missing(item: Item) -> Option<&'static str> {
    match item {
        Item::Text => Some("the text is on, but empty; send one to /overlay/text/value"),
        Item::Logo => {
            Some("the logo is on, but none is chosen; send the name of a PNG to /overlay/logo/file")
        }
        Item::Qr => {
            Some("the QR code is on, but leads nowhere; send an address to /overlay/qr/value")
        }
        // Between two tracks nothing plays.
        Item::NowPlaying | Item::StartingSoon | Item::BeRightBack => None,
    }
}

/// Leads to no other folder.
fn is_file_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|file| file == name)
}

/// Reads a logo and makes it no larger than the picture.
fn read_logo(folder: &Path, file: &str, canvas: (u32, u32)) -> Result<RgbaImage> {
    let wrong = |what: &str| Error::usage(format!("the logo {file:?}: {what}"));
    if !is_file_name(file) {
        return Err(wrong("this is no name of a file; it must be in the folder overlays"));
    }
    let path = folder.join(file);
    let opened = std::fs::File::open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            wrong(&format!("there is no such file in {}", folder.display()))
        }
        _ => wrong(&format!("{} cannot be read: {e}", path.display())),
    })?;
    let mut bytes = Vec::new();
    opened
        .take(MOST_LOGO_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| wrong(&format!("{} cannot be read: {e}", path.display())))?;
    if bytes.len() as u64 > MOST_LOGO_BYTES {
        return Err(wrong(&format!("it has over {} MB; save it smaller", MOST_LOGO_BYTES >> 20)));
    }
    let image = overlay::logo::read(&bytes).map_err(|e| wrong(&e.to_string()))?;
    Ok(overlay::logo::within(image, canvas))
}

#[cfg(test)]
mod tests;
