//! The painter's vocabulary. `docs/painter.md` explains it; a test holds the two together.
//!
//! Holds: every name is lower case and stands in one row only.

/// What a word can turn up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// Doublings of the speed of everything.
    Speed,
    /// How much of the picture is filled.
    Density,
    /// Fine structure.
    Detail,
    Contrast,
    /// Light that spreads from bright places.
    Glow,
    Light,
    /// Strength of colours.
    Chroma,
    /// Colours towards amber, or below 0 towards blue.
    Warmth,
    // Materials: how much of each.
    Smoke,
    Silk,
    Liquid,
    Ink,
    Crystal,
    Threads,
    Sparks,
    Stars,
    // Movements.
    Turbulence,
    Swirl,
    /// Downwards; below 0 upwards.
    Fall,
    /// To the right; below 0 to the left.
    Drift,
    /// Towards the viewer; below 0 away.
    Zoom,
    Wave,
    Pulse,
}

/// A row: names that mean the same, sRGB colours from the most important on, and what is turned.
pub struct Word {
    pub names: &'static [&'static str],
    pub colours: &'static [u32],
    pub knobs: &'static [(Knob, f32)],
}

const fn word(
    names: &'static [&'static str],
    colours: &'static [u32],
    knobs: &'static [(Knob, f32)],
) -> Word {
    Word { names, colours, knobs }
}

use Knob::*;

#[rustfmt::skip]
pub const COLOURS: &[Word] = &[
    word(&["red", "scarlet"], &[0xE3202B], &[]),
    word(&["crimson", "ruby", "blood"], &[0xB80F2E], &[]),
    word(&["burgundy", "wine", "maroon"], &[0x7A1030], &[(Light, -0.05)]),
    word(&["orange", "tangerine"], &[0xFF7A14], &[]),
    word(&["amber", "honey"], &[0xFFA31A], &[(Warmth, 0.25)]),
    word(&["gold", "golden", "gilded"], &[0xF2B632], &[(Warmth, 0.1)]),
    word(&["yellow", "lemon"], &[0xFFE135], &[]),
    word(&["copper", "bronze", "rust"], &[0xB8622B], &[]),
    word(&["brown", "sepia", "umber", "ochre"], &[0x8A5A2B], &[(Chroma, -0.1)]),
    word(&["lime", "chartreuse", "acid"], &[0xB6F500], &[]),
    word(&["green"], &[0x1FA64A], &[]),
    word(&["emerald", "jade", "malachite"], &[0x0FA878], &[]),
    word(&["olive", "moss"], &[0x74802B], &[]),
    word(&["teal", "petrol"], &[0x0A8F8F], &[]),
    word(&["turquoise", "aqua", "cyan"], &[0x1FD1D8], &[]),
    word(&["azure", "cerulean"], &[0x1E90E8], &[]),
    word(&["blue", "sapphire", "cobalt"], &[0x1F4FE0], &[]),
    word(&["navy", "indigo", "midnight"], &[0x2A2A9C], &[(Light, -0.08)]),
    word(&["violet"], &[0x7A35E8], &[]),
    word(&["purple", "amethyst"], &[0x8E2BBF], &[]),
    word(&["lavender", "lilac"], &[0xB59AF0], &[]),
    word(&["magenta", "fuchsia"], &[0xE815B0], &[]),
    word(&["pink", "rose"], &[0xFF5F9E], &[]),
    word(&["coral", "salmon", "peach"], &[0xFF7F66], &[]),
    word(&["white", "ivory", "pearl"], &[0xF4F0E6], &[(Light, 0.08)]),
    word(&["silver", "chrome", "steel"], &[0xB4C2D0], &[(Liquid, 0.15)]),
    word(&["grey", "gray", "slate"], &[0x77828C], &[(Chroma, -0.2)]),
    word(&["black", "obsidian", "onyx"], &[0x14141C], &[(Light, -0.12), (Contrast, 0.1)]),
];

#[rustfmt::skip]
pub const MOODS: &[Word] = &[
    word(&["dusk", "sunset", "twilight"], &[0xF26B3A, 0xB8336A, 0x3D2C8D, 0xFFB36B], &[(Glow, 0.15)]),
    word(&["dawn", "sunrise", "morning"], &[0xFF9E7A, 0xF7C59F, 0x6C8AE4, 0xFFE3C2], &[(Light, 0.1), (Glow, 0.1)]),
    word(&["night", "nocturnal"], &[0x1B2A6B, 0x0E5A8A, 0x6A3FA0], &[(Light, -0.1), (Stars, 0.3)]),
    word(&["neon", "cyberpunk", "electric"], &[0xFF1FA8, 0x12E0FF, 0x7B2BFF, 0x3DFF8A], &[(Glow, 0.35), (Contrast, 0.2), (Chroma, 0.3), (Threads, 0.3)]),
    word(&["vaporwave", "synthwave", "retro"], &[0xFF5FC8, 0x6A5CFF, 0x2BD9E8, 0xFF9E5E], &[(Glow, 0.2), (Chroma, 0.2)]),
    word(&["noir", "monochrome"], &[0xC9CDD6, 0x4B5564, 0x8B94A3], &[(Chroma, -0.8), (Contrast, 0.35), (Light, -0.08), (Smoke, 0.4)]),
    word(&["ember", "embers", "coals"], &[0xFF4A12, 0xB81D0A, 0xFFB02B, 0x5A0F1E], &[(Sparks, 0.5), (Glow, 0.25), (Light, -0.05), (Fall, -0.3)]),
    word(&["fire", "flame", "inferno", "blaze"], &[0xFF5A0A, 0xFFC02B, 0xC4120A, 0xFF8A1F], &[(Fall, -0.8), (Sparks, 0.35), (Smoke, 0.4), (Silk, 0.3), (Glow, 0.3), (Turbulence, 0.2)]),
    word(&["lava", "magma", "molten", "volcanic"], &[0xFF4A0A, 0x8A0F12, 0xFFB52B, 0x2B1218], &[(Liquid, 0.6), (Glow, 0.3), (Contrast, 0.2), (Speed, -0.3)]),
    word(&["ice", "frost", "glacial", "arctic", "winter"], &[0x9FDDF5, 0x3D8FD1, 0xE8F6FF, 0x5566C9], &[(Crystal, 0.55), (Warmth, -0.2), (Speed, -0.3)]),
    word(&["ocean", "sea", "underwater", "abyss", "marine"], &[0x0B6FA8, 0x10B5A8, 0x123C8A, 0x7FE8D8], &[(Liquid, 0.45), (Wave, 0.4)]),
    word(&["forest", "jungle", "botanical"], &[0x1F7A3D, 0x0E5245, 0x9EC43D, 0xD9B44A], &[(Density, 0.15), (Detail, 0.15), (Threads, 0.25)]),
    word(&["desert", "dune", "sand"], &[0xD9A05B, 0xB8572B, 0xF2D29B, 0x6A3B5A], &[(Silk, 0.45), (Detail, 0.1), (Warmth, 0.1)]),
    word(&["aurora", "borealis"], &[0x2BE89A, 0x1FA8D1, 0x8A3DE0, 0xC4F56A], &[(Silk, 0.5), (Threads, 0.6), (Glow, 0.25), (Light, -0.05), (Stars, 0.3), (Wave, 0.3)]),
    word(&["nebula", "galaxy", "cosmic", "space", "cosmos"], &[0x7A2BD1, 0xE03D8A, 0x1F5FD1, 0xFFB07A], &[(Smoke, 0.5), (Stars, 0.8), (Glow, 0.2), (Contrast, 0.1)]),
    word(&["rainbow", "prismatic", "iridescent", "opal", "psychedelic"], &[0xFF2B6A, 0xFFB02B, 0x3DE07A, 0x1FA8F5, 0x8A3DF0], &[(Chroma, 0.25), (Silk, 0.2)]),
    word(&["pastel", "candy"], &[0xFFB8D1, 0xB8D9FF, 0xD1C4FF, 0xFFE3B8], &[(Chroma, -0.15), (Light, 0.2), (Contrast, -0.15)]),
    word(&["autumn"], &[0xC4571F, 0xE0A02B, 0x8A2B1F, 0x6A6A2B], &[(Warmth, 0.15)]),
    word(&["spring", "blossom", "floral", "flower"], &[0xFF8AB8, 0x8AD16A, 0xFFF0C4, 0xC46AE0], &[(Light, 0.1), (Density, 0.1)]),
    word(&["toxic", "radioactive"], &[0x9EF50A, 0x1FC46A, 0x3D2B6A], &[(Glow, 0.3), (Liquid, 0.3)]),
    word(&["royal", "regal", "baroque"], &[0x5A1FA8, 0xC4962B, 0x8A1038], &[(Silk, 0.3), (Detail, 0.15)]),
    word(&["dream", "ethereal", "heavenly"], &[], &[(Smoke, 0.3), (Glow, 0.3), (Contrast, -0.1), (Speed, -0.3)]),
    word(&["mystic", "mysterious", "ominous", "gothic"], &[0x3D1F6A, 0x1F5A5A, 0x8A1F4A], &[(Light, -0.12), (Smoke, 0.35), (Contrast, 0.1)]),
    word(&["euphoric", "ecstatic", "energetic", "wild"], &[], &[(Speed, 0.7), (Chroma, 0.2), (Glow, 0.15), (Turbulence, 0.2)]),
    word(&["serene", "peaceful", "meditative", "tranquil"], &[], &[(Speed, -0.8), (Contrast, -0.05)]),
    word(&["melancholic", "lonely", "sombre"], &[0x3D5A8A, 0x5A4A6A], &[(Chroma, -0.25), (Light, -0.08), (Speed, -0.4)]),
    word(&["warm", "cozy"], &[], &[(Warmth, 0.55)]),
    word(&["cool", "cold"], &[], &[(Warmth, -0.55)]),
    word(&["hot"], &[], &[(Warmth, 0.7), (Glow, 0.15)]),
];

#[rustfmt::skip]
pub const LIGHTS: &[Word] = &[
    word(&["dark", "shadow", "gloom"], &[], &[(Light, -0.16), (Contrast, 0.1)]),
    word(&["deep", "rich"], &[], &[(Light, -0.06), (Chroma, 0.12), (Contrast, 0.08)]),
    word(&["bright", "light", "luminous", "radiant"], &[], &[(Light, 0.14), (Glow, 0.15)]),
    word(&["glow", "shine", "halo", "bloom", "lucent"], &[], &[(Glow, 0.35)]),
    word(&["pale", "faint", "soft"], &[], &[(Chroma, -0.15), (Contrast, -0.15), (Light, 0.06)]),
    word(&["muted", "faded", "dusty", "desaturated"], &[], &[(Chroma, -0.35)]),
    word(&["vivid", "saturated", "colourful", "colorful", "vibrant"], &[], &[(Chroma, 0.35)]),
    word(&["contrast", "dramatic", "chiaroscuro", "stark"], &[], &[(Contrast, 0.35)]),
    word(&["hazy", "blur", "foggy"], &[], &[(Contrast, -0.25), (Smoke, 0.3), (Detail, -0.2)]),
];

#[rustfmt::skip]
pub const MATERIALS: &[Word] = &[
    word(&["smoke", "vapour", "vapor", "incense"], &[], &[(Smoke, 0.9)]),
    word(&["cloud", "mist", "fog", "steam"], &[], &[(Smoke, 0.8), (Light, 0.05)]),
    word(&["silk", "satin", "fabric", "cloth", "velvet", "veil"], &[], &[(Silk, 0.9)]),
    word(&["marble", "agate", "strata"], &[], &[(Silk, 0.6), (Ink, 0.4), (Detail, 0.1)]),
    word(&["liquid", "fluid", "oil"], &[], &[(Liquid, 0.9)]),
    word(&["mercury", "quicksilver"], &[0xB4C2D0], &[(Liquid, 0.9)]),
    word(&["water", "river", "rain", "wet"], &[], &[(Liquid, 0.6), (Wave, 0.2)]),
    word(&["glass", "gel", "bubble"], &[], &[(Liquid, 0.5), (Crystal, 0.2), (Glow, 0.1)]),
    word(&["ink", "dye", "paint", "watercolor", "watercolour", "calligraphy"], &[], &[(Ink, 0.9)]),
    word(&["crystal", "diamond", "gem", "facet", "shard", "geode", "quartz"], &[], &[(Crystal, 0.9), (Contrast, 0.1)]),
    word(&["geometric", "polygon", "mosaic", "fractal"], &[], &[(Crystal, 0.7), (Detail, 0.15)]),
    word(&["thread", "fibre", "fiber", "filament", "strand", "string", "hair", "laser", "ray"], &[], &[(Threads, 0.9)]),
    word(&["feather", "fur", "grass", "root", "vein", "tendril"], &[], &[(Threads, 0.7), (Detail, 0.1)]),
    word(&["spark", "glitter", "firefly", "confetti"], &[], &[(Sparks, 0.8)]),
    word(&["particle", "dust", "pollen", "snow", "ash", "grain"], &[], &[(Sparks, 0.4), (Stars, 0.5), (Detail, 0.15)]),
    word(&["star", "constellation", "starlight", "stardust"], &[], &[(Stars, 0.9), (Light, -0.04)]),
    word(&["lightning", "plasma", "tesla"], &[], &[(Threads, 0.7), (Ink, 0.3), (Glow, 0.3), (Contrast, 0.15)]),
    word(&["metal", "metallic"], &[], &[(Liquid, 0.6), (Silk, 0.2), (Chroma, -0.1)]),
];

#[rustfmt::skip]
pub const MOTIONS: &[Word] = &[
    word(&["slow", "gentle", "languid", "calm", "lazy"], &[], &[(Speed, -0.8)]),
    word(&["fast", "quick", "rapid", "frantic", "rush"], &[], &[(Speed, 0.9)]),
    word(&["still", "frozen", "static", "motionless"], &[], &[(Speed, -2.0)]),
    word(&["drift", "float", "glide"], &[], &[(Drift, 0.6), (Speed, -0.2)]),
    word(&["swirl", "vortex", "whirl", "spiral", "spin", "rotate"], &[], &[(Swirl, 1.0)]),
    word(&["turbulent", "storm", "chaotic", "chaos", "churn", "boil"], &[], &[(Turbulence, 0.6), (Speed, 0.3), (Detail, 0.1)]),
    word(&["fall", "sink", "cascade", "waterfall", "pour", "drip", "descend"], &[], &[(Fall, 1.0)]),
    word(&["rise", "ascend", "lift", "levitate", "soar"], &[], &[(Fall, -1.0)]),
    word(&["pulse", "beat", "throb", "breathe", "heartbeat"], &[], &[(Pulse, 0.9)]),
    word(&["wave", "ripple", "undulate", "tide", "ebb"], &[], &[(Wave, 1.0)]),
    word(&["flow", "stream", "current", "meander"], &[], &[(Turbulence, 0.25), (Drift, 0.3)]),
    word(&["zoom", "tunnel", "warp", "hyperspace", "dive"], &[], &[(Zoom, 1.0), (Speed, 0.2)]),
    word(&["explode", "burst", "expand", "explosion", "erupt"], &[], &[(Zoom, 1.3), (Speed, 0.4)]),
    word(&["implode", "collapse", "recede", "shrink"], &[], &[(Zoom, -1.0)]),
    word(&["melt", "ooze", "dissolve"], &[], &[(Fall, 0.4), (Liquid, 0.4), (Speed, -0.3)]),
    word(&["dance", "sway", "twist"], &[], &[(Swirl, 0.5), (Wave, 0.5)]),
];

#[rustfmt::skip]
pub const AMOUNTS: &[Word] = &[
    word(&["dense", "thick", "lush", "heavy", "full"], &[], &[(Density, 0.35)]),
    word(&["sparse", "minimal", "minimalist", "thin", "empty", "airy"], &[], &[(Density, -0.4)]),
    word(&["detailed", "intricate", "fine", "ornate", "complex"], &[], &[(Detail, 0.35)]),
    word(&["smooth", "simple", "clean", "broad"], &[], &[(Detail, -0.35)]),
    word(&["rough", "gritty", "texture", "crackled"], &[], &[(Detail, 0.25), (Ink, 0.2), (Contrast, 0.1)]),
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Word> {
    [COLOURS, MOODS, LIGHTS, MATERIALS, MOTIONS, AMOUNTS].into_iter().flatten()
}

/// The row of a word in any of its common forms: `smoky`, `sparks`, `drifting`, `warmer`.
pub fn find(word: &str) -> Option<&'static Word> {
    let exact = |name: &str| all().find(|row| row.names.contains(&name));
    exact(word).or_else(|| {
        const ENDINGS: [&str; 12] =
            ["ingly", "ing", "est", "ers", "er", "ed", "ly", "en", "ies", "es", "s", "y"];
        ENDINGS.iter().filter_map(|e| word.strip_suffix(e)).find_map(|stem| {
            if stem.len() < 3 {
                return None;
            }
            let doubled = |s: &str| s.chars().rev().take(2).all(|c| s.ends_with(c));
            exact(stem)
                .or_else(|| exact(&format!("{stem}e")))
                .or_else(|| exact(&format!("{stem}y")))
                .or_else(|| if doubled(stem) { exact(&stem[..stem.len() - 1]) } else { None })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_the_documentation_and_in_one_row_only() {
        let doc = include_str!("../../../docs/painter.md");
        let mut seen: Vec<&str> = Vec::new();
        for row in all() {
            for name in row.names {
                assert!(doc.contains(&format!("`{name}`")), "docs/painter.md lacks `{name}`");
                assert!(!seen.contains(name), "{name} stands twice");
                seen.push(name);
            }
        }
    }

    #[test]
    fn words_are_found_in_their_common_forms() {
        for (form, name) in [
            ("smoky", "smoke"),
            ("sparks", "spark"),
            ("drifting", "drift"),
            ("swirling", "swirl"),
            ("pulsing", "pulse"),
            ("warmer", "warm"),
            ("hotter", "hot"),
            ("darkest", "dark"),
            ("fireflies", "firefly"),
            ("slowly", "slow"),
            ("glowing", "glow"),
        ] {
            let row = find(form).unwrap_or_else(|| panic!("{form} is not known"));
            assert!(row.names.contains(&name), "{form} -> {:?}", row.names);
        }
        assert!(find("qwertz").is_none());
    }
}
