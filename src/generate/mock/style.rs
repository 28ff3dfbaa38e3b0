//! What a prompt asks of the painter: colours, materials, light and movement.
//!
//! Holds: a style depends on the words alone. Known words do what `docs/painter.md` says, later ones
//! more strongly; unknown ones turn hue and patterns a little, always the same way.

use std::f32::consts::TAU;

use super::colour::Lab;
use super::noise::{Rng, hash, hash_text};
use super::words::{self, Knob, Word};

#[derive(Clone, Debug, PartialEq)]
pub struct Style {
    /// Four to six colours, next to each other as they will be in the picture.
    pub palette: Vec<Lab>,
    /// Of sparks and the finest lights.
    pub accent: Lab,
    /// Of the darkest places.
    pub shade: Lab,
    // All from here to `stars` 0 to 1, `light` -0.5 to 0.5.
    pub density: f32,
    pub detail: f32,
    pub contrast: f32,
    pub glow: f32,
    pub light: f32,
    /// These five add up to 1.
    pub smoke: f32,
    pub silk: f32,
    pub liquid: f32,
    pub ink: f32,
    pub crystal: f32,
    pub threads: f32,
    pub sparks: f32,
    pub stars: f32,
    /// Heights a second that the currents move at; the rest of the movement is in shares of it.
    pub speed: f32,
    pub turbulence: f32,
    pub swirl: f32,
    pub pan: [f32; 2],
    pub zoom: f32,
    pub wave: f32,
    pub pulse: f32,
    /// Stands for the words that the vocabulary lacks.
    pub pattern: u32,
}

/// Words that say nothing about the picture.
const FILLERS: &[&str] = &[
    "the", "and", "with", "from", "over", "under", "through", "for", "into", "like", "that",
    "this", "its", "toward", "towards", "becoming", "turning", "shifting", "tones", "tone",
    "colors", "colours", "color", "colour", "very", "more", "some", "without", "slightly", "very",
];

/// Words gathered from a prompt, before they become a style.
#[derive(Default)]
struct Reading {
    colours: Vec<(u32, f32)>,
    accent: Option<u32>,
    knobs: [f32; Knob::Pulse as usize + 1],
    unknown: u32,
    /// Sum of small turns of hue by unknown words, in radians.
    hue: f32,
}

impl Reading {
    fn add(&mut self, row: &Word, weight: f32) {
        // A mood brings many colours; a colour that is named outright counts for more.
        let share = if row.colours.len() > 1 { 0.7 } else { 1.0 };
        for (i, &colour) in row.colours.iter().enumerate() {
            let weight = weight * share * 0.88f32.powi(i as i32);
            match self.colours.iter_mut().find(|(c, _)| *c == colour) {
                Some((_, w)) => *w += weight,
                None => self.colours.push((colour, weight)),
            }
        }
        for &(knob, value) in row.knobs {
            self.knobs[knob as usize] += value * weight;
        }
    }

    fn knob(&self, knob: Knob) -> f32 {
        self.knobs[knob as usize]
    }
}

/// Brackets in one another, beyond which they are read as if they were not there.
const DEEPEST: usize = 8;

/// The words of a prompt in lower case, each with its weight; a clause ends with an empty one.
/// `(silver mist:0.40)` weighs all words in it, as in the prompts of diffusion models.
fn tokens(prompt: &str) -> Vec<(String, f32)> {
    let chars: Vec<char> = prompt.to_lowercase().chars().collect();
    let mut out = vec![(String::new(), 1.0)];
    // Of each bracket that is open, how much it weighs and where its number begins.
    let mut open: Vec<(f32, usize)> = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        if c.is_alphanumeric() {
            if let Some((word, weight)) = out.last_mut() {
                word.push(c);
                *weight = open.iter().map(|bracket| bracket.0).product();
            }
            continue;
        }
        if out.last().is_some_and(|(word, _)| !word.is_empty()) {
            out.push((String::new(), 1.0));
        }
        match c {
            ',' | '.' | ';' | '\n' if out.len() > 1 => out.push((String::new(), 1.0)),
            '(' if open.len() < DEEPEST => open.push(bracket(&chars, at)),
            ')' => drop(open.pop()),
            ':' if open.last().is_some_and(|bracket| bracket.1 == at) => {
                at += chars[at..].iter().take_while(|c| **c != ')').count();
            }
            _ => {}
        }
    }
    out
}

/// The weight of the bracket whose content begins at `start`, and the place behind its colon;
/// `(1, 0)` where it says no weight.
fn bracket(chars: &[char], start: usize) -> (f32, usize) {
    let mut depth = 1;
    let end = chars[start..].iter().position(|c| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    let content = &chars[start..start + end.unwrap_or(0)];
    let Some(colon) = content.iter().rposition(|c| *c == ':') else { return (1.0, 0) };
    let number: String = content[colon + 1..].iter().collect();
    match number.trim().parse::<f32>() {
        Ok(weight) if weight.is_finite() => (weight.clamp(0.0, 2.0), start + colon + 1),
        _ => (1.0, 0),
    }
}

fn read(prompt: &str) -> Reading {
    let words = tokens(prompt);
    let mut reading = Reading::default();
    let (mut clause, mut next) = (1.0, 1.0);
    let count = words.len().max(2) as f32;
    for (i, (word, bracket)) in words.iter().enumerate() {
        match word.as_str() {
            "" => {
                clause = 1.0;
                continue;
            }
            "toward" | "towards" | "into" | "becoming" | "turning" | "shifting" => clause = 1.8,
            "very" | "more" | "extremely" | "intensely" | "much" => {
                next = 1.6;
                continue;
            }
            "slightly" | "subtle" | "subtly" | "hint" | "touch" | "less" => {
                next = 0.5;
                continue;
            }
            "no" | "not" | "without" => {
                next = -0.8;
                continue;
            }
            _ => {}
        }
        let weight = clause * next * bracket * (1.0 + 0.5 * i as f32 / count);
        match words::find(word) {
            Some(row) => {
                let before = reading.accent;
                if let ([colour], Some((follower, _))) = (row.colours, words.get(i + 1)) {
                    let of_lights = |row: &Word| {
                        row.knobs.iter().any(|k| matches!(k.0, Knob::Sparks | Knob::Stars))
                    };
                    if words::find(follower).is_some_and(of_lights) && weight > 0.0 {
                        reading.accent = Some(*colour);
                    }
                }
                if reading.accent == before {
                    reading.add(row, weight);
                } else {
                    // The colour of sparks is for them alone, unless there is no other.
                    reading.add(row, weight * 0.1);
                }
            }
            None if word.len() > 2 && !FILLERS.contains(&word.as_str()) => {
                let h = hash_text(word);
                // What weighs little chooses no other patterns.
                if *bracket >= 0.5 {
                    reading.unknown = hash(reading.unknown, h);
                }
                reading.hue += ((h >> 8 & 0xFF) as f32 / 255.0 - 0.5) * 0.12 * bracket;
                const SMALL: [Knob; 6] = [
                    Knob::Density,
                    Knob::Detail,
                    Knob::Swirl,
                    Knob::Silk,
                    Knob::Threads,
                    Knob::Contrast,
                ];
                let knob = SMALL[(h >> 16) as usize % SMALL.len()];
                reading.knobs[knob as usize] += ((h & 0xFF) as f32 / 255.0 - 0.4) * 0.2 * bracket;
            }
            None => continue,
        }
        next = 1.0;
    }
    reading
}

impl Style {
    pub fn read(prompt: &str, negative: &str) -> Self {
        let mut reading = read(prompt);
        let avoided = read(negative);
        reading.colours.retain(|(c, _)| !avoided.colours.iter().any(|(a, w)| a == c && *w > 0.0));
        for (knob, avoid) in reading.knobs.iter_mut().zip(avoided.knobs) {
            *knob -= 0.8 * avoid;
        }
        let mut rng = Rng::new(hash(reading.unknown, hash_text("style")));
        let knob = |k: Knob| reading.knob(k);
        let share = |k: Knob, rest: f32| (rest + knob(k)).clamp(0.0, 1.0);

        // Nothing said about material: some mixture, the same one for the same words.
        let materials = [Knob::Smoke, Knob::Silk, Knob::Liquid, Knob::Ink, Knob::Crystal];
        let named: f32 = materials.iter().map(|&k| knob(k).max(0.0)).sum();
        let own = (0.9 - named).clamp(0.0, 0.9);
        let mut parts = [0.45, 0.45, 0.25, 0.2, 0.0].map(|m: f32| m * own * (0.5 + rng.unit()));
        parts[0] += 0.12;
        parts[1] += 0.10;
        for (part, k) in parts.iter_mut().zip(materials) {
            *part = (*part + knob(k)).max(0.0);
        }
        let sum = parts.iter().sum::<f32>().max(1e-3);
        let [smoke, silk, liquid, ink, crystal] = parts.map(|p| p / sum);

        let (palette, accent, shade) = colours(&reading, &mut rng);
        let pace = knob(Knob::Speed).clamp(-2.4, 1.2);
        Style {
            palette,
            accent,
            shade,
            density: share(Knob::Density, 0.5),
            detail: share(Knob::Detail, 0.5),
            contrast: share(Knob::Contrast, 0.5),
            glow: share(Knob::Glow, 0.4),
            light: knob(Knob::Light).clamp(-0.4, 0.4),
            smoke,
            silk,
            liquid,
            ink,
            crystal,
            threads: share(Knob::Threads, 0.35),
            sparks: share(Knob::Sparks, 0.12),
            stars: share(Knob::Stars, 0.0),
            speed: 0.065 * pace.exp2(),
            turbulence: (0.8 + knob(Knob::Turbulence)).clamp(0.1, 1.8),
            swirl: knob(Knob::Swirl).clamp(-1.5, 2.0),
            pan: [
                0.7 * knob(Knob::Drift).clamp(-2.0, 2.0),
                0.9 * knob(Knob::Fall).clamp(-1.6, 1.6),
            ],
            zoom: 0.25 + knob(Knob::Zoom).clamp(-1.5, 2.0),
            wave: knob(Knob::Wave).clamp(0.0, 1.5),
            pulse: knob(Knob::Pulse).clamp(0.0, 1.5),
            pattern: reading.unknown,
        }
    }
}

/// Palette, accent and shade.
fn colours(reading: &Reading, rng: &mut Rng) -> (Vec<Lab>, Lab, Lab) {
    let mut named: Vec<(u32, f32)> =
        reading.colours.iter().copied().filter(|c| c.1 > 0.05).collect();
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    let strongest = named.first().map_or(1.0, |c| c.1);
    named.retain(|c| c.1 > 0.22 * strongest);
    named.truncate(6);

    let warmth = reading.knob(Knob::Warmth).clamp(-1.3, 1.3);
    let chroma = (1.0 + reading.knob(Knob::Chroma)).clamp(0.06, 1.7);
    let tuned = |lab: Lab| {
        let lab = lab.with_chroma(lab.chroma() * chroma);
        let hue = lab.b.atan2(lab.a) + reading.hue;
        let turned = Lab::from_lch(lab.l, lab.chroma(), hue);
        let (target, pull) = if warmth >= 0.0 {
            (Lab { l: lab.l, a: 0.075, b: 0.13 }, warmth * 0.45)
        } else {
            (Lab { l: lab.l, a: -0.04, b: -0.14 }, -warmth * 0.45)
        };
        let t = pull * chroma.min(1.0);
        Lab {
            l: turned.l,
            a: turned.a + (target.a - turned.a) * t,
            b: turned.b + (target.b - turned.b) * t,
        }
    };

    let mut palette: Vec<Lab> = named.iter().map(|&(c, _)| Lab::from_srgb(c)).collect();
    if palette.is_empty() {
        palette.push(Lab::from_lch(0.55 + 0.15 * rng.unit(), 0.17, rng.unit() * TAU));
    }
    let first = palette[0];
    let side = if rng.unit() < 0.5 { 1.0 } else { -1.0 };
    let relative = |of: Lab, turn: f32, brighter: f32| {
        let hue = of.b.atan2(of.a) + turn;
        Lab::from_lch((of.l + brighter).clamp(0.35, 0.88), of.chroma().max(0.09), hue)
    };
    if let [one] = palette[..] {
        // One colour: its neighbours, and one from across the circle.
        palette.push(relative(one, 0.62 * side, 0.14 + 0.08 * rng.unit()));
        palette.push(relative(one, 2.6 * side + 0.5 * rng.signed(), 0.08 * rng.signed()));
    }
    // Few colours: shades of them.
    for i in 0..4usize.saturating_sub(palette.len()) {
        let (turn, brighter) = if i == 0 { (0.28 * side, 0.1) } else { (-0.3 * side, -0.06) };
        palette.push(relative(palette[i], turn, brighter));
    }
    // Each next to the one most like it, so that transitions are short.
    for i in 1..palette.len() {
        let from = palette[i - 1];
        let distance = |c: &Lab| (c.a - from.a).hypot(c.b - from.b);
        if let Some((j, _)) =
            palette[i..].iter().enumerate().min_by(|x, y| distance(x.1).total_cmp(&distance(y.1)))
        {
            palette.swap(i, i + j);
        }
    }

    let accent = match reading.accent {
        Some(colour) => Lab::from_srgb(colour),
        None => {
            let across = palette
                .iter()
                .copied()
                .max_by(|x, y| (x.l + x.chroma()).total_cmp(&(y.l + y.chroma())))
                .unwrap_or(first);
            Lab { l: across.l.max(0.8), ..across }
        }
    };
    let darkest =
        palette.iter().copied().min_by(|x, y| (x.l + x.b).total_cmp(&(y.l + y.b))).unwrap_or(first);
    let shade = Lab { l: 0.1, ..darkest.with_chroma(darkest.chroma().min(0.07)) };
    (palette.into_iter().map(tuned).collect(), tuned(accent), tuned(shade))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmth(style: &Style) -> f32 {
        style.palette.iter().map(|c| c.b + 0.5 * c.a).sum::<f32>() / style.palette.len() as f32
    }

    #[test]
    fn brackets_weigh_the_words_in_them() {
        let words = |prompt: &str| {
            let words = tokens(prompt).into_iter().filter(|(word, _)| !word.is_empty());
            words.collect::<Vec<_>>()
        };
        let word = |word: &str, weight: f32| (word.to_owned(), weight);
        assert_eq!(
            words("ice, (red smoke:0.40), (gold)"),
            [word("ice", 1.0), word("red", 0.4), word("smoke", 0.4), word("gold", 1.0)]
        );
        assert_eq!(words("((a:0.5) b:0.5)"), [word("a", 0.25), word("b", 0.5)]);
        for odd in ["(", ")", "(:", "(:)", "(a:", "a:0.3)", "(a:b:c)", "(((((((((((x:9)", "(é:1e9)"]
        {
            let _ = Style::read(odd, odd);
        }
        // A blend of two prompts lies between them.
        let red = |prompt: &str| {
            let palette = &Style::read(prompt, "").palette;
            palette.iter().map(|lab| lab.a).sum::<f32>() / palette.len() as f32
        };
        let (ice, half, fire) = (red("ice"), red("ice, fire"), red("fire"));
        assert!(ice < half && half < fire, "{ice} {half} {fire}");
    }

    #[test]
    fn words_turn_what_they_say() {
        let read = |prompt: &str| Style::read(prompt, "");
        assert!(read("blue, fast").speed > 2.0 * read("blue, slow").speed);
        assert!(read("dense fog").density > read("sparse fog").density);
        assert!(read("smoke").smoke > 0.6 && read("crystals").crystal > 0.6);
        assert!(read("falling silk").pan[1] > 0.5 && read("rising silk").pan[1] < -0.5);
        assert!(read("swirling ink").swirl > 0.9);
        let noir = read("noir alley");
        assert!(noir.palette.iter().all(|c| c.chroma() < 0.05), "{:?}", noir.palette);
    }

    #[test]
    fn a_later_shift_is_felt() {
        let before = Style::read("deep teal and blue smoke", "");
        let after = Style::read("deep teal and blue smoke, shifting toward warmer amber tones", "");
        assert!(warmth(&after) > warmth(&before) + 0.04);
        let amber = Lab::from_srgb(0xFFA31A);
        assert!(after.palette.iter().any(|c| (c.a - amber.a).hypot(c.b - amber.b) < 0.06));
    }

    #[test]
    fn negative_words_hold_back() {
        let style = Style::read("red and blue smoke with sparks", "red, sparks");
        let red = Lab::from_srgb(0xE3202B);
        let plain = Style::read("red and blue smoke with sparks", "");
        assert!(style.sparks < plain.sparks);
        let nearest = |s: &Style| {
            s.palette.iter().map(|c| (c.a - red.a).hypot(c.b - red.b)).fold(f32::MAX, f32::min)
        };
        assert!(nearest(&style) > nearest(&plain) + 0.02);
        assert_eq!(Style::read("calm, no sparks", "").sparks, 0.0);
    }

    #[test]
    fn a_colour_before_sparks_becomes_the_accent() {
        let style = Style::read("teal smoke, gold sparks", "");
        let gold = Lab::from_srgb(0xF2B632);
        assert!((style.accent.b - gold.b).abs() < 0.04, "{:?}", style.accent);
    }

    #[test]
    fn every_prompt_has_its_own_look() {
        let looks = ["zebra crossing", "quiet library", "grandmother", "", "42"]
            .map(|p| Style::read(p, ""));
        for (i, a) in looks.iter().enumerate().take(3) {
            assert!((4..=6).contains(&a.palette.len()));
            for b in &looks[i + 1..3] {
                assert_ne!(a.palette, b.palette);
                assert_ne!(a.pattern, b.pattern);
            }
        }
    }
}
