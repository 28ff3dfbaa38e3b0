//! Colours in OKLab (Björn Ottosson, 2020), where mixing and brightening look even.

/// Lightness 0 to 1, then the green-red and the blue-yellow axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lab {
    pub l: f32,
    pub a: f32,
    pub b: f32,
}

impl Lab {
    /// From `0xRRGGBB`.
    pub fn from_srgb(rgb: u32) -> Self {
        Lab::from_rgb([(rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8])
    }

    pub fn from_rgb(rgb: [u8; 3]) -> Self {
        let [r, g, b] = rgb.map(|c| {
            let c = f32::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        let l = (0.412_221_47 * r + 0.536_332_54 * g + 0.051_445_99 * b).cbrt();
        let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
        let s = (0.088_302_46 * r + 0.281_718_84 * g + 0.629_978_7 * b).cbrt();
        Lab {
            l: 0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
            a: 1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
            b: 0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
        }
    }

    pub fn from_lch(l: f32, chroma: f32, hue: f32) -> Self {
        Lab { l, a: chroma * hue.cos(), b: chroma * hue.sin() }
    }

    pub fn chroma(self) -> f32 {
        (self.a * self.a + self.b * self.b).sqrt()
    }

    pub fn with_chroma(self, chroma: f32) -> Self {
        let scale = chroma / self.chroma().max(1e-4);
        Lab { l: self.l, a: self.a * scale, b: self.b * scale }
    }

    /// Between two colours; hardly loses colour on the way.
    pub fn mix(self, other: Self, t: f32) -> Self {
        let lerp = |a: f32, b: f32| a + (b - a) * t;
        let mixed =
            Lab { l: lerp(self.l, other.l), a: lerp(self.a, other.a), b: lerp(self.b, other.b) };
        let wanted = lerp(self.chroma(), other.chroma());
        mixed.with_chroma(lerp(mixed.chroma(), wanted).max(mixed.chroma() * 0.3 + wanted * 0.5))
    }

    fn linear(self) -> [f32; 3] {
        let l = (self.l + 0.396_337_78 * self.a + 0.215_803_76 * self.b).powi(3);
        let m = (self.l - 0.105_561_346 * self.a - 0.063_854_17 * self.b).powi(3);
        let s = (self.l - 0.089_484_18 * self.a - 1.291_485_5 * self.b).powi(3);
        [
            4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
            -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
            -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
        ]
    }

    /// Linear RGB, 0 to 1; colour is taken out until it can be shown.
    pub fn shown(self) -> [f32; 3] {
        let mut colour = self;
        for _ in 0..12 {
            let rgb = colour.linear();
            if rgb.iter().all(|&c| (-0.002..=1.002).contains(&c)) {
                break;
            }
            colour = colour.with_chroma(colour.chroma() * 0.88);
        }
        colour.linear().map(|c| c.clamp(0.0, 1.0))
    }
}

/// Linear light to sRGB's scale, 0 to 1.
pub fn to_srgb(linear: f32) -> f32 {
    if linear <= 0.003_130_8 { linear * 12.92 } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back() {
        for rgb in [0x000000, 0xFFFFFF, 0xE815B0, 0x0A8F8F, 0xFFA31A, 0x2A2A9C] {
            let shown = Lab::from_srgb(rgb).shown().map(|c| (to_srgb(c) * 255.0).round() as u32);
            let back = shown[0] << 16 | shown[1] << 8 | shown[2];
            for shift in [0, 8, 16] {
                let (a, b) = ((rgb >> shift) & 255, (back >> shift) & 255);
                assert!(a.abs_diff(b) <= 1, "{rgb:06x} {back:06x}");
            }
        }
    }
}
