//! Frame rates, times on the show's grid, and durations as people write them.
//!
//! Holds: a PTS is always computed from a frame index and a rational rate, never summed up.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::base::error::{Error, Result};

/// Nanoseconds in a second.
pub const NS: u64 = 1_000_000_000;

/// Frames a second as a fraction in lowest terms, e.g. 60/1 or 60000/1001.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    num: u32,
    den: u32,
}

impl FrameRate {
    /// `None` if either part is 0 or the rate is over 1000.
    pub fn new(num: u32, den: u32) -> Option<Self> {
        if num == 0 || den == 0 || num / den > 1000 {
            return None;
        }
        let gcd = gcd(num, den);
        Some(FrameRate { num: num / gcd, den: den / gcd })
    }

    /// A whole number of frames a second, 1 to 1000.
    pub const fn whole(fps: u32) -> Self {
        assert!(fps > 0 && fps <= 1000);
        FrameRate { num: fps, den: 1 }
    }

    pub fn num(self) -> u32 {
        self.num
    }

    pub fn den(self) -> u32 {
        self.den
    }

    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// Seconds that one frame lasts.
    pub fn frame_seconds(self) -> f64 {
        f64::from(self.den) / f64::from(self.num)
    }

    /// The PTS of frame `index`: `index * den / num` seconds, rounded down to a nanosecond.
    pub fn pts_ns(self, index: u64) -> u64 {
        (u128::from(index) * u128::from(self.den) * u128::from(NS) / u128::from(self.num)) as u64
    }

    /// How many frames of the grid start before `time_ns`: the number of frames in a show of
    /// that length.
    pub fn frames_in(self, time_ns: u64) -> u64 {
        (u128::from(time_ns) * u128::from(self.num)).div_ceil(u128::from(self.den) * u128::from(NS))
            as u64
    }

    /// How many samples at `sample_rate` belong before frame `index`; frame `i` carries samples
    /// `samples_before(i)..samples_before(i + 1)`.
    pub fn samples_before(self, index: u64, sample_rate: u32) -> u64 {
        (u128::from(index) * u128::from(self.den) * u128::from(sample_rate) / u128::from(self.num))
            as u64
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for FrameRate {
    /// `60/1`, `60000/1001`: the way that caps and ffprobe write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

impl FromStr for FrameRate {
    type Err = Error;

    /// `60`, `60/1`, `60000/1001`, `29.97` (read as 30000/1001), `12.5`.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::usage(format!(
                "'{text}' is no frame rate; write a number such as 60 or a fraction such as \
                 60000/1001, above 0 and at most 1000"
            ))
        };
        if let Some((num, den)) = text.split_once('/') {
            let num = num.trim().parse().map_err(|_| bad())?;
            let den = den.trim().parse().map_err(|_| bad())?;
            return FrameRate::new(num, den).ok_or_else(bad);
        }
        let value: f64 = text.trim().parse().map_err(|_| bad())?;
        if !(value > 0.0 && value <= 1000.0) {
            return Err(bad());
        }
        for ntsc in [24_000, 30_000, 60_000, 120_000] {
            if (value - f64::from(ntsc) / 1001.0).abs() < 0.005 {
                return FrameRate::new(ntsc, 1001).ok_or_else(bad);
            }
        }
        FrameRate::new((value * 1000.0).round() as u32, 1000).ok_or_else(bad)
    }
}

/// `1:05:30`, `4:05`, `0:07`: hours, minutes and seconds, rounded to the second.
pub fn hms(time: Duration) -> String {
    let s = time.as_secs_f64().round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// Reads a duration as people write it on a command line: `90`, `90s`, `1.5m`, `10m`, `1h30m`,
/// `1h30m10s`, `500ms`. More than 0.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let bad = || {
        Error::usage(format!("'{text}' is no duration; write for example 90, 90s, 10m or 1h30m"))
    };
    let mut rest = text.trim();
    let mut seconds = 0.0;
    let mut last_unit = f64::INFINITY;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3600.0,
            "m" | "min" => 60.0,
            "s" => 1.0,
            "" if last_unit == f64::INFINITY => 1.0,
            "ms" => 0.001,
            _ => return Err(bad()),
        };
        if unit >= last_unit {
            return Err(bad());
        }
        last_unit = unit;
        seconds += value * unit;
        rest = &rest[letters..];
    }
    if seconds <= 0.0 || seconds > 31_536_000.0 {
        return Err(bad());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pts_stay_on_the_grid_for_a_week() {
        let ntsc = FrameRate::new(60_000, 1001).unwrap();
        let week = ntsc.frames_in(7 * 86_400 * NS);
        let exact = week as f64 * 1001.0 / 60_000.0;
        assert!((ntsc.pts_ns(week) as f64 / 1e9 - exact).abs() < 1e-6);
        assert_eq!(FrameRate::whole(60).frames_in(60 * NS), 3600);
        assert_eq!(FrameRate::whole(60).pts_ns(3600), 60 * NS);
    }

    #[test]
    fn samples_of_all_frames_add_up() {
        let fps = FrameRate::whole(60);
        assert_eq!(fps.samples_before(1, 48_000), 800);
        let ntsc = FrameRate::new(60_000, 1001).unwrap();
        assert_eq!(ntsc.samples_before(5, 48_000), 4004);
    }

    #[test]
    fn frame_rates_as_people_write_them() {
        for (text, num, den) in
            [("60", 60, 1), ("60000/1001", 60_000, 1001), ("29.97", 30_000, 1001), ("12.5", 25, 2)]
        {
            let fps: FrameRate = text.parse().unwrap();
            assert_eq!((fps.num(), fps.den()), (num, den), "{text}");
        }
        for text in ["0", "-3", "60/0", "fast", "", "2000", "nan"] {
            assert!(text.parse::<FrameRate>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, ms) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h30m10s", 5_410_000),
            ("500ms", 500),
            ("1.5m", 90_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "0", "m", "10x", "1m1h", "5s5", "-3", "1e9h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
