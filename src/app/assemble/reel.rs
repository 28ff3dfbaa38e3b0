//! Which cycles a film is made of.

use std::path::PathBuf;

use crate::archive::Survey;
use crate::archive::survey::{Cycle, Held};
use crate::base::error::{Error, Result};
use crate::mp4::Clip;

/// Characters of a prompt in the title of a chapter.
const TITLE_CHARS: usize = 80;
/// Failures told in full.
const REASONS_TOLD: usize = 5;
/// Numbers of cycles that were never made; more are told as well by these.
const MOST_TOLD: usize = 1000;

/// The cycles of a film, in order.
#[derive(Debug, Default)]
pub struct Reel {
    pub shots: Vec<Shot>,
    /// Failed cycles that are left out because that was asked for.
    pub left_out: Vec<u32>,
    /// What the user should know of it.
    pub notes: Vec<String>,
    /// See [`crate::archive::fingerprint`].
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shot {
    pub cycle: u32,
    /// Its video.
    pub path: PathBuf,
    /// Number and prompt.
    pub title: String,
}

impl Reel {
    /// The film of the present session; `takes_clips`: a clip stands for a video that is still to be
    /// made.
    ///
    /// # Errors
    /// Cycles that failed, or whose files are damaged, unless `skip_failed` (`Conflict`).
    pub fn of(survey: &Survey, skip_failed: bool, takes_clips: bool) -> Result<Reel> {
        let session = survey.session();
        let mut reel =
            Reel { fingerprint: crate::archive::fingerprint(session), ..Default::default() };
        let (mut failed, mut gone) = (Vec::new(), Vec::new());
        for cycle in session {
            let clip = cycle.raw.whole().filter(|_| takes_clips);
            match cycle.video.whole().or(clip) {
                Some(path) => match Clip::look(path) {
                    Ok(_) => reel.shots.push(Shot {
                        cycle: cycle.cycle.0,
                        path: path.to_owned(),
                        title: title(cycle),
                    }),
                    Err(error) => failed.push((
                        cycle.cycle.0,
                        format!("{error}; move that file elsewhere, and it is made again"),
                    )),
                },
                None => match failure(cycle) {
                    Some(reason) => failed.push((cycle.cycle.0, reason)),
                    None if cycle.was_made() => gone.push(cycle.cycle.0),
                    // In the making when its run ended, or never begun.
                    None => {}
                },
            }
        }
        if !failed.is_empty() && !skip_failed {
            return Err(refusal(&failed));
        }
        reel.left_out = failed.iter().map(|(cycle, _)| *cycle).collect();
        if !gone.is_empty() {
            reel.notes.push(format!("{}: no file is left, so not in the film", list(&gone)));
        }
        // Whether somebody asked for them or not; those behind the last one are still to come.
        let told = |number: &u32| {
            let here = |shots: &[Shot]| shots.iter().any(|shot| shot.cycle == *number);
            here(&reel.shots) || gone.contains(number) || reel.left_out.contains(number)
        };
        let first = survey.state.as_ref().map_or(0, |state| state.first_cycle);
        let all = first..reel.shots.last().map_or(first, |last| last.cycle);
        let never: Vec<u32> = all.filter(|number| !told(number)).take(MOST_TOLD).collect();
        if !never.is_empty() {
            reel.notes.push(format!("{}: never made", list(&never)));
        }
        Ok(reel)
    }
}

/// Why there is no video of a cycle, if something went wrong.
fn failure(cycle: &Cycle) -> Option<String> {
    let damaged = [&cycle.video, &cycle.raw].into_iter().find_map(|held| match held {
        Held::Damaged(path, what) => Some(format!("{} {what}", path.display())),
        _ => None,
    });
    let unshaped = cycle.raw.whole().map(|raw| format!("no video was made of {}", raw.display()));
    cycle.failure.clone().or(damaged).or(unshaped)
}

fn refusal(failed: &[(u32, String)]) -> Error {
    let numbers: Vec<u32> = failed.iter().map(|(cycle, _)| *cycle).collect();
    let mut text = format!(
        "{} failed, and the film would lack {}; a run of this project with --retry-failed makes {1}, \
         or --skip-failed leaves {1} out",
        list(&numbers),
        if failed.len() == 1 { "it" } else { "them" }
    );
    for (cycle, reason) in failed.iter().take(REASONS_TOLD) {
        text += &format!("\n  cycle {cycle}: {reason}");
    }
    if failed.len() > REASONS_TOLD {
        text += "\n  ... `vfaq status` tells the others";
    }
    Error::conflict(text)
}

/// `cycle 7`, or `cycles 3 to 5, 9`.
pub fn list(numbers: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => spans.push((*number, *number)),
        }
    }
    let spans = spans.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    });
    let spans: Vec<String> = spans.collect();
    let word = if numbers.len() == 1 { "cycle" } else { "cycles" };
    format!("{word} {}", spans.join(", "))
}

fn title(cycle: &Cycle) -> String {
    let prompt = cycle.briq.as_ref().map_or("", |briq| briq.prompt.trim());
    if prompt.is_empty() {
        return cycle.cycle.to_string();
    }
    let cut: String = prompt.chars().take(TITLE_CHARS).collect();
    let more = if cut.len() < prompt.len() { "…" } else { "" };
    // A title is one line.
    let cut = cut.replace(char::is_control, " ");
    format!("{} {cut}{more}", cycle.cycle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_spans() {
        assert_eq!(list(&[7]), "cycle 7");
        assert_eq!(list(&[1, 3, 4, 5, 8, 9]), "cycles 1, 3 to 5, 8, 9");
    }
}
