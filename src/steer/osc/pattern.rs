//! Addresses with wildcards, as OSC 1.0 has them: `*` any characters, `?` any one, `[a-c]` and
//! `[!a-c]` one of these and none of these, `{one,two}` one of these words. None of them goes over
//! a slash. (The matcher of the crate `rosc` takes several characters for one class, never none for
//! `*`, and does not look back, so `*_x` misses what it should find.)
//!
//! Holds: time is bounded by the lengths of pattern and address, as every pair of places in them is
//! looked at once.

#[derive(Debug)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    One(u8),
    AnyOne,
    Any,
    Class(Vec<(u8, u8)>, bool),
    Words(Vec<Vec<u8>>),
}

pub fn is_pattern(address: &str) -> bool {
    address.contains(['*', '?', '[', ']', '{', '}'])
}

impl Pattern {
    /// `None`: a bracket is left open, or has nothing in it.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            parts.push(match first {
                b'*' => Part::Any,
                b'?' => Part::AnyOne,
                b'[' => {
                    let end = rest.iter().position(|byte| *byte == b']')?;
                    let (inside, after) = (&rest[..end], &rest[end + 1..]);
                    rest = after;
                    let (inside, is_none_of) = match inside.split_first() {
                        Some((b'!', inside)) => (inside, true),
                        _ => (inside, false),
                    };
                    Part::Class(ranges(inside)?, is_none_of)
                }
                b'{' => {
                    let end = rest.iter().position(|byte| *byte == b'}')?;
                    let words = rest[..end].split(|byte| *byte == b',').map(<[u8]>::to_vec);
                    let words = words.collect();
                    rest = &rest[end + 1..];
                    Part::Words(words)
                }
                b']' | b'}' => return None,
                byte => Part::One(*byte),
            });
        }
        Some(Pattern { parts })
    }

    pub fn matches(&self, address: &str) -> bool {
        let address = address.as_bytes();
        // At which places in the address the parts so far may end.
        let mut ends = vec![false; address.len() + 1];
        ends[0] = true;
        for part in &self.parts {
            let mut next = vec![false; address.len() + 1];
            for at in (0..=address.len()).filter(|at| ends[*at]) {
                let byte = address.get(at).copied();
                let one = byte.filter(|byte| *byte != b'/');
                match part {
                    Part::One(wanted) => {
                        if byte == Some(*wanted) {
                            next[at + 1] = true;
                        }
                    }
                    Part::AnyOne => {
                        if one.is_some() {
                            next[at + 1] = true;
                        }
                    }
                    Part::Class(ranges, is_none_of) => {
                        let has = |byte| ranges.iter().any(|(a, b)| (*a..=*b).contains(&byte));
                        if one.is_some_and(|byte| has(byte) != *is_none_of) {
                            next[at + 1] = true;
                        }
                    }
                    Part::Any => {
                        let rest = &address[at..];
                        let far = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                        next[at..=at + far].fill(true);
                    }
                    Part::Words(words) => {
                        let found = words.iter().filter(|word| address[at..].starts_with(word));
                        found.for_each(|word| next[at + word.len()] = true);
                    }
                }
            }
            ends = next;
        }
        ends[address.len()]
    }
}

fn ranges(inside: &[u8]) -> Option<Vec<(u8, u8)>> {
    let mut ranges = Vec::new();
    let mut rest = inside;
    while let Some(first) = rest.first() {
        match rest {
            [first, b'-', last, ..] => {
                ranges.push((*first.min(last), *first.max(last)));
                rest = &rest[3..];
            }
            _ => {
                ranges.push((*first, *first));
                rest = &rest[1..];
            }
        }
    }
    (!ranges.is_empty()).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards_are_those_of_osc() {
        let has = |pattern: &str, address: &str| Pattern::read(pattern).unwrap().matches(address);
        assert!(has("/vfaq/fx/*", "/vfaq/fx/zoom"));
        assert!(!has("/vfaq/*", "/vfaq/fx/zoom"), "no wildcard goes over a slash");
        assert!(has("/vfaq/*/*", "/vfaq/fx/zoom"));
        assert!(has("/vfaq/fx/pan_?", "/vfaq/fx/pan_x"));
        assert!(!has("/vfaq/fx/pan_?", "/vfaq/fx/pan_"));
        assert!(has("/vfaq/fx/pan_[x-y]", "/vfaq/fx/pan_y"));
        assert!(!has("/vfaq/fx/pan_[!x-y]", "/vfaq/fx/pan_y"));
        assert!(!has("/vfaq/fx/[a-z]", "/vfaq/fx/zoom"), "a class is one character");
        assert!(has("/vfaq/fx/{zoom,hue}", "/vfaq/fx/hue"));
        assert!(has("/vfaq/fx/{tint,tint_hue}", "/vfaq/fx/tint_hue"), "the longer word too");
        assert!(has("/vfaq/fx/trails*_zoom", "/vfaq/fx/trails_zoom"), "a star may be nothing");
        assert!(has("/*/prompt/*_[a-d]", "/vfaq/prompt/slot_b"));
        for bad in ["/a[", "/a[]", "/a[!]", "/a{b", "/a}", "/a]"] {
            assert!(Pattern::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_nasty_pattern_takes_no_time() {
        let pattern = Pattern::read(&"*a".repeat(127)).unwrap();
        assert!(!pattern.matches(&"a".repeat(100)));
        let words = Pattern::read(&"{a,aa,aaa}".repeat(25)).unwrap();
        assert!(!words.matches(&format!("{}b", "a".repeat(100))));
    }

    proptest! {
        #[test]
        fn an_address_matches_itself(address in "/[a-z_/]{0,30}", junk in "[-a-c/*?{},!\\[\\]]{0,40}") {
            prop_assert!(Pattern::read(&address).unwrap().matches(&address));
            if let Some(pattern) = Pattern::read(&junk) {
                let _ = pattern.matches(&address);
            }
        }
    }
}
