//! What a value in a settings file may be: how its text is read, and the words that say so in
//! messages and in the reference.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::{BackendKind, Encoder, MidiUse};
use crate::base::time::FrameRate;

/// Reads the text of one value.
pub struct Kind<T> {
    /// Completes "allowed: ...".
    pub allowed: String,
    /// What was found is never shown.
    pub secret: bool,
    /// What an empty value or `null` stands for; `None`: it stands for the default.
    pub null: Option<&'static str>,
    read: Read<T>,
}

type Read<T> = Box<dyn Fn(&str) -> Option<T>>;

impl<T: 'static> Kind<T> {
    pub fn new(allowed: impl Into<String>, read: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Kind { allowed: allowed.into(), secret: false, null: None, read: Box::new(read) }
    }

    pub fn read(&self, text: &str) -> Option<T> {
        (self.read)(text)
    }

    pub fn map<U: 'static>(self, to: impl Fn(T) -> U + 'static) -> Kind<U> {
        let Kind { allowed, secret, null, read } = self;
        Kind { allowed, secret, null, read: Box::new(move |text| read(text).map(&to)) }
    }

    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

pub fn text() -> Kind<String> {
    Kind::new("text", |t| Some(t.trim().to_owned()))
}

/// The name of a machine, without a port.
pub fn host_name() -> Kind<String> {
    Kind::new("the name of a machine without a port, such as stage.local", |t| {
        let t = t.trim().to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        (!t.is_empty() && t.len() <= 253 && t.chars().all(fits)).then_some(t)
    })
}

pub fn flag() -> Kind<bool> {
    Kind::new("true or false", |t| match t.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    })
}

pub fn number(range: RangeInclusive<f64>) -> Kind<f64> {
    let allowed = format!("a number from {} to {}", range.start(), range.end());
    Kind::new(allowed, move |t| t.trim().parse().ok().filter(|n| range.contains(n)))
}

/// Whole numbers; `7.0` is one too.
pub fn whole<T: TryFrom<i64> + Copy + Display + 'static>(range: RangeInclusive<i64>) -> Kind<T> {
    let allowed = format!("a whole number from {} to {}", range.start(), range.end());
    Kind::new(allowed, move |t| {
        let t = t.trim();
        let number = t.parse().ok().or_else(|| {
            // Beyond 2^53 a float no longer says which whole number is meant.
            let float = t.parse::<f64>().ok().filter(|f| f.fract() == 0.0 && f.abs() < 9e15)?;
            Some(float as i64)
        })?;
        range.contains(&number).then_some(number).and_then(|n| T::try_from(n).ok())
    })
}

/// One of several names; upper and lower case are the same.
pub fn choice<T: Copy + 'static>(names: &'static [(&'static str, T)]) -> Kind<T> {
    let allowed = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    Kind::new(allowed, move |t| {
        names.iter().find(|(name, _)| name.eq_ignore_ascii_case(t.trim())).map(|(_, value)| *value)
    })
}

/// As [`choice`], for names that stand for themselves.
pub fn name_of(names: &'static [&'static str]) -> Kind<String> {
    Kind::new(names.join(", "), move |t| {
        let t = t.trim();
        names.iter().find(|name| name.eq_ignore_ascii_case(t)).map(|name| (*name).to_owned())
    })
}

pub fn backend() -> Kind<BackendKind> {
    choice(&[
        ("mock", BackendKind::Mock),
        ("comfyui", BackendKind::Comfyui),
        ("diffusers", BackendKind::Diffusers),
        ("replicate", BackendKind::Replicate),
    ])
}

pub fn midi() -> Kind<MidiUse> {
    choice(&[("auto", MidiUse::Auto), ("on", MidiUse::On), ("off", MidiUse::Off)])
}

/// Who may give the beat: the number of the choice.
pub fn tempo_source() -> Kind<f32> {
    let names = crate::param::TEMPO_SOURCES;
    Kind::new(names.join(", "), move |t| {
        let place = names.iter().position(|name| name.eq_ignore_ascii_case(t.trim()));
        place.map(|place| place as f32)
    })
}

/// The seed's names and GStreamer's mean the same encoder.
pub fn encoder() -> Kind<Encoder> {
    let mut kind = choice(&[
        ("h264_nvenc", Encoder::Nvenc),
        ("h264_vaapi", Encoder::Vaapi),
        ("libx264", Encoder::X264),
        ("openh264", Encoder::OpenH264),
        ("nvh264enc", Encoder::Nvenc),
        ("vah264enc", Encoder::Vaapi),
        ("vaapih264enc", Encoder::Vaapi),
        ("x264enc", Encoder::X264),
        ("openh264enc", Encoder::OpenH264),
        ("libopenh264", Encoder::OpenH264),
    ]);
    kind.allowed = "h264_nvenc, h264_vaapi, libx264, openh264 (or nvh264enc, vah264enc, \
                    vaapih264enc, x264enc, openh264enc, libopenh264)"
        .to_owned();
    kind
}

/// Frames a second, at most `most`.
pub fn rate(most: u32) -> Kind<FrameRate> {
    let allowed =
        format!("frames a second above 0 and at most {most}, such as 60, 29.97 or 60000/1001");
    Kind::new(allowed, move |t| {
        t.parse::<FrameRate>().ok().filter(|rate| rate.as_f64() <= f64::from(most))
    })
}

const SIDE_PX: RangeInclusive<u32> = 64..=4096;

fn side(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|n| n % 2 == 0 && SIDE_PX.contains(n))
}

/// Width or height.
pub fn pixels() -> Kind<u32> {
    let allowed = format!("an even number of pixels from {} to {}", SIDE_PX.start(), SIDE_PX.end());
    Kind::new(allowed, side)
}

/// `1920x1080`.
pub fn size() -> Kind<(u32, u32)> {
    let allowed = format!(
        "WIDTHxHEIGHT such as 1920x1080, both even and from {} to {}",
        SIDE_PX.start(),
        SIDE_PX.end()
    );
    Kind::new(allowed, |t| {
        let (width, height) = t.split_once(['x', 'X'])?;
        Some((side(width)?, side(height)?))
    })
}

/// The base of a backend's HTTP interface.
pub fn web_address() -> Kind<String> {
    Kind::new("an address such as http://127.0.0.1:8188", |t| {
        let t = t.trim();
        let rest = t.strip_prefix("http://").or_else(|| t.strip_prefix("https://"))?;
        let good =
            !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control());
        good.then(|| t.to_owned())
    })
}

/// The address of the page, or `off`.
pub fn listen() -> Kind<Option<SocketAddr>> {
    let allowed = "ADDRESS:PORT such as 127.0.0.1:8787 or [::1]:0; off for no page at all";
    let mut kind = Kind::new(allowed, |t| match t.trim() {
        "off" | "none" | "false" | "no" => Some(None),
        t => t.replacen("localhost:", "127.0.0.1:", 1).parse().ok().map(Some),
    });
    kind.null = Some("off");
    kind
}

/// An address of OSC, or `off`.
pub fn osc_listen() -> Kind<Option<SocketAddr>> {
    let mut kind = listen();
    kind.allowed =
        "ADDRESS:PORT such as 127.0.0.1:9000, 0.0.0.0:9000 or [::1]:0; off for none".to_owned();
    kind
}

/// The name of an environment variable. Not shown: somebody may have put the key itself here.
pub fn variable_name() -> Kind<String> {
    Kind::new("the name of an environment variable, not its value", |t| {
        let t = t.trim();
        let good = t.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !t.starts_with(|c: char| c.is_ascii_digit());
        good.then(|| t.to_owned())
    })
    .secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_their_range() {
        for text in ["0", "1", "0.5", " 1e-1 "] {
            assert!(number(0.0..=1.0).read(text).is_some(), "{text}");
        }
        for text in ["-0.1", "1.1", "nan", "inf", "x", ""] {
            assert!(number(0.0..=1.0).read(text).is_none(), "{text}");
        }
        assert_eq!(whole::<u32>(1..=9).read("7.0"), Some(7));
        assert_eq!(whole::<u32>(1..=9).read("7.5"), None);
        assert_eq!(whole::<u32>(1..=9).read("10"), None);
        assert_eq!(whole::<i64>(i64::MIN..=i64::MAX).read("-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn sizes_are_even_and_within_reach() {
        assert_eq!(size().read("1080x1920"), Some((1080, 1920)));
        for text in ["1921x1080", "62x64", "4098x64", "1080p", "1920x", "x", "-64x64"] {
            assert_eq!(size().read(text), None, "{text}");
        }
    }

    #[test]
    fn encoders_have_several_names() {
        for name in ["libx264", "x264enc", "LIBX264"] {
            assert_eq!(encoder().read(name), Some(Encoder::X264));
        }
        assert_eq!(encoder().read("hevc_nvenc"), None);
    }

    #[test]
    fn a_page_can_be_off() {
        assert_eq!(listen().read("off"), Some(None));
        assert!(listen().read("localhost:0").unwrap().is_some());
        for bad in ["8787", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(listen().read(bad).is_none(), "{bad}");
        }
    }
}
