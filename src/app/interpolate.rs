//! A film at another frame rate, from a file to a file.
//!
//! Holds: a file has its name only when it is whole; what a failure or a wish to stop leaves is
//! removed. No file that is there is written over, unless that is asked for.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tempfile::TempPath;

use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::fsio::publish;
use crate::base::time::FrameRate;
use crate::config::Encoder;
use crate::stream::convert::{self, Container, Input, Job, Names, Output, X264Preset};

pub use crate::stream::convert::{Ended, Film, Step, WORST_CRF};
pub use crate::stream::interpolate::{Counts, Method, Quality, Settings};

/// Standard input or output.
const PIPE: &str = "-";
const USUAL_CRF: u32 = 16;

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct InterpolateOptions {
    /// `-`: standard input.
    pub input: PathBuf,
    /// `-`: standard output.
    pub output: PathBuf,
    pub fps: FrameRate,
    /// `None`: that of the source.
    pub size: Option<(u32, u32)>,
    pub settings: Settings,
    /// `None`: libx264.
    pub encoder: Option<Encoder>,
    pub crf: Option<u32>,
    /// A file that is there is written over.
    pub force: bool,
}

impl InterpolateOptions {
    /// Standard output is for pictures.
    pub fn writes_pipe(&self) -> bool {
        self.output == Path::new(PIPE)
    }
}

/// How it went.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub ended: Ended,
    pub took: Duration,
}

/// What the ending of a name stands for.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Encoded(Container),
    Raw,
}

/// Retimes a film. `stop` ends it early.
///
/// # Errors
/// Whatever is wrong with the options, the film, or the place for the new one; then nothing is
/// left there.
pub fn interpolate(
    options: &InterpolateOptions,
    clock: &dyn Clock,
    stop: &AtomicBool,
    on_step: &mut dyn FnMut(Step),
) -> Result<Report> {
    let format = format(options)?;
    check_size(options, format)?;
    let input = input(options)?;
    check_output(options)?;
    crate::stream::init()?;
    let start = clock.now();
    let (output, temporary) = open_output(options, format)?;
    let names =
        Names { input: shown(&options.input, "input"), output: shown(&options.output, "output") };
    let job = Job {
        input,
        output,
        names,
        fps: options.fps,
        size: options.size,
        settings: options.settings,
        part: None,
    };
    let ended = convert::run(job, stop, on_step)?;
    if let (Ended::Done(_), Some(temporary)) = (&ended, temporary) {
        publish(temporary, &options.output, options.force).map_err(|error| {
            match options.output.exists() && !options.force {
                true => is_there(&options.output),
                false => error,
            }
        })?;
    }
    Ok(Report { ended, took: clock.now().saturating_sub(start) })
}

fn shown(path: &Path, pipe: &str) -> String {
    if path == Path::new(PIPE) { format!("standard {pipe}") } else { path.display().to_string() }
}

fn format(options: &InterpolateOptions) -> Result<Format> {
    let ending = options.output.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let format = match ending.as_str() {
        "mp4" => Format::Encoded(Container::Mp4),
        "mkv" => Format::Encoded(Container::Mkv),
        "y4m" => Format::Raw,
        _ if options.writes_pipe() => Format::Raw,
        _ => {
            return Err(Error::usage(format!(
                "OUT '{}': its ending says what it becomes; write .mp4, .mkv or .y4m, or - for \
                 y4m on standard output",
                options.output.display()
            )));
        }
    };
    let given = [("--encoder", options.encoder.is_some()), ("--crf", options.crf.is_some())];
    if let Some((option, _)) = given.iter().find(|(_, given)| *given && format == Format::Raw) {
        return Err(Error::usage(format!("{option} is for .mp4 and .mkv; y4m is not encoded")));
    }
    Ok(format)
}

fn check_size(options: &InterpolateOptions, format: Format) -> Result<()> {
    let Some((width, height)) = options.size.filter(|_| format != Format::Raw) else {
        return Ok(());
    };
    if width % 2 == 1 || height % 2 == 1 {
        return Err(Error::usage(format!(
            "--size {width}x{height}: H.264 needs even sizes, such as {}x{}; only y4m may be odd",
            width.next_multiple_of(2),
            height.next_multiple_of(2)
        )));
    }
    Ok(())
}

fn input(options: &InterpolateOptions) -> Result<Input> {
    let path = &options.input;
    if path == Path::new(PIPE) {
        return match std::io::stdin().is_terminal() {
            true => Err(Error::usage(
                "IN '-' reads y4m from standard input, which is a terminal; pipe a program's output \
                 into it, or give a file",
            )),
            false => Ok(Input::Stdin),
        };
    }
    let cannot = |e| Error::io(format!("cannot read {}", path.display()), e);
    let about = std::fs::metadata(path).map_err(cannot)?;
    if about.is_dir() {
        return Err(Error::usage(format!(
            "IN '{}' is a folder; give a video file, or - for y4m on standard input",
            path.display()
        )));
    }
    if !about.is_file() {
        return Err(Error::usage(format!(
            "IN '{}' is no file; of a pipe, give y4m on standard input: - and < '{0}'",
            path.display()
        )));
    }
    Ok(Input::File(path.clone()))
}

fn check_output(options: &InterpolateOptions) -> Result<()> {
    let path = &options.output;
    if options.writes_pipe() {
        return match std::io::stdout().is_terminal() {
            true => Err(Error::usage(
                "OUT '-' writes pictures to standard output, which is a terminal; send it to a \
                 program or a file",
            )),
            false => Ok(()),
        };
    }
    if path.is_dir() {
        return Err(Error::usage(format!("OUT '{}' is a folder; name a file", path.display())));
    }
    let is_input = |out: PathBuf| std::fs::canonicalize(&options.input).is_ok_and(|own| own == out);
    if std::fs::canonicalize(path).is_ok_and(is_input) {
        return Err(Error::usage(format!(
            "IN and OUT are the same file, {}; give OUT another name",
            path.display()
        )));
    }
    if path.exists() && !options.force {
        return Err(is_there(path));
    }
    Ok(())
}

fn is_there(path: &Path) -> Error {
    Error::conflict(format!("OUT '{}' is there already; --force writes over it", path.display()))
}

/// Opens what is written to; a file under a name of its own for now.
fn open_output(options: &InterpolateOptions, format: Format) -> Result<(Output, Option<TempPath>)> {
    let path = &options.output;
    if options.writes_pipe() {
        return Ok((Output::Raw(standard_output()?), None));
    }
    let encoder = match format {
        Format::Encoded(_) => {
            let encoder = options.encoder.unwrap_or(Encoder::X264);
            Some(convert::find_encoder(encoder, options.size, options.fps)?)
        }
        Format::Raw => None,
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            Kind::Io,
            format!("cannot write {}: there is no folder {}", path.display(), folder.display()),
        ),
        _ => Error::io(format!("cannot write {}", path.display()), e),
    };
    let suffix = format!(".{}", path.extension().unwrap_or_default().to_string_lossy());
    let (file, temporary) = tempfile::Builder::new()
        .prefix(".vfaq-")
        .suffix(&suffix)
        .tempfile_in(folder)
        .map_err(cannot)?
        .into_parts();
    let output = match (format, encoder) {
        (Format::Encoded(container), Some(encoder)) => Output::Encoded {
            path: temporary.to_path_buf(),
            container,
            encoder,
            crf: options.crf.unwrap_or(USUAL_CRF),
            preset: X264Preset::default(),
        },
        _ => Output::Raw(Box::new(file)),
    };
    Ok((output, Some(temporary)))
}

/// Standard output without the line buffer in between.
fn standard_output() -> Result<Box<dyn Write + Send>> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let failed = |e| Error::io("cannot write standard output", e);
        let out = std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        // Fewer turns between two processes; a file has no such size.
        #[cfg(target_os = "linux")]
        let _ = nix::fcntl::fcntl(&out, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
        Ok(Box::new(File::from(out)))
    }
    #[cfg(not(unix))]
    Ok(Box::new(std::io::stdout()))
}
