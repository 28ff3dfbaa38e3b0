//! Whether clips can be copied one behind the other into one track.
//!
//! Holds: one sample entry has to do for all, as players differ in what they make of several.

use std::hash::Hash;
use std::path::Path;

use super::clip::Clip;
use crate::base::time::FrameRate;

/// Whether copying is right. `Err` says which clip differs from which, and in what.
pub fn agreement(clips: &[Clip]) -> Result<(), String> {
    common_rate(clips).map(drop)
}

/// As [`agreement`]; returns the rate of all.
pub(super) fn common_rate(clips: &[Clip]) -> Result<FrameRate, String> {
    let first = clips.first().ok_or("there is no clip")?;
    // Where times are rounded, many pictures tell a rate better than few.
    let (_, rate) = usual_format(clips).ok_or("there is no clip")?;
    let usual = clips.iter().find(|clip| clip.rate == Some(rate)).unwrap_or(first);
    for clip in clips {
        let (here, there) = (name(&clip.path), name(&first.path));
        if clip.codec != *b"avc1" {
            let codec = String::from_utf8_lossy(&clip.codec).trim().to_owned();
            return Err(format!("{here} is {codec}, not H.264 (avc1)"));
        }
        if (clip.width, clip.height) != (first.width, first.height) {
            return Err(format!(
                "{here} is {}x{}, but {there} is {}x{}",
                clip.width, clip.height, first.width, first.height
            ));
        }
        if let Some(obstacle) = &clip.obstacle {
            return Err(format!("{here} {obstacle}"));
        }
        if !clip.has_rate(rate) {
            let of = |clip: &Clip| round(clip.rate.map_or(0.0, FrameRate::as_f64));
            let there = name(&usual.path);
            return Err(format!(
                "{here} has {} frames a second, but {there} has {}",
                of(clip),
                of(usual)
            ));
        }
        if clip.parameter_sets() != first.parameter_sets() {
            return Err(format!(
                "{here} was encoded with other settings (H.264 parameter sets) than {there}"
            ));
        }
        let others = |clip: &Clip| -> Vec<([u8; 4], Vec<u8>)> {
            clip.entry_boxes().boxes().map(|(kind, fields)| (kind, fields.0.to_vec())).collect()
        };
        if others(clip) != others(first) {
            return Err(format!("{here} says other colours or pixel shapes than {there}"));
        }
    }
    Ok(rate)
}

/// The size and the rate of most of the film, the earlier where two are equal.
/// `None`: there is no clip.
pub fn usual_format(clips: &[Clip]) -> Option<((u32, u32), FrameRate)> {
    let long_ms = |clip: &Clip| (clip.seconds * 1000.0) as u64;
    let size = most(clips.iter().map(|clip| ((clip.width, clip.height), long_ms(clip))))?;
    let rates = clips.iter().filter_map(|clip| Some((clip.rate?, long_ms(clip))));
    Some((size, most(rates).unwrap_or(FrameRate::whole(8))))
}

fn most<T: Copy + Eq + Hash>(weighted: impl Iterator<Item = (T, u64)>) -> Option<T> {
    let mut sums: Vec<(T, u64)> = Vec::new();
    for (value, weight) in weighted {
        match sums.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum += weight,
            None => sums.push((value, weight)),
        }
    }
    let largest = sums.iter().map(|(_, sum)| *sum).max()?;
    sums.into_iter().find(|(_, sum)| *sum == largest).map(|(value, _)| value)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn round(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}
