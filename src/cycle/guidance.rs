//! What performers ask of the next cycles: from the parameters under `/prompt` and `/gen` to the
//! brief and the settings that a cycle is made by.
//!
//! Holds: where nothing was asked for, a cycle is made exactly as it would have been. What performers
//! write leads: while they have set a prompt it does not evolve by itself, and no language model
//! rewrites it; what they append and nudge is put behind the brief, however that evolves. A blend that travels
//! arrives after as many cycles as it was given, and never goes beyond; only cycles that were made
//! count.

use super::briq::join;
use crate::config::{Chaining, Config, Generation};
use crate::cycle::{Settings, SteeredBy};
use crate::param::{Board, ParamId, of};
use crate::worqspace::{NegativeSource, PromptBundle};

/// Slots to blend.
const SLOTS: [ParamId; 4] = [ParamId::SlotA, ParamId::SlotB, ParamId::SlotC, ParamId::SlotD];

/// What weighs less than this says nothing to any generator.
const LEAST_WEIGHT: f32 = 0.05;

/// What is set at one moment; empty texts and `None` are not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    pub text: String,
    pub append: String,
    pub nudge: String,
    pub nudge_weight: f32,
    /// The texts of the slots, if they are to be blended.
    pub slots: Option<[String; 4]>,
    /// 0 to 3, from the first slot to the last.
    pub blend: f32,
    /// Cycles over which a move of the blend is made.
    pub travel: u32,
    pub negative: String,
    pub style: String,
    pub motion: String,
    pub denoise: Option<f64>,
    pub guidance: Option<f64>,
    pub steps: Option<u32>,
    pub motion_amount: Option<u32>,
    pub seed: Option<i64>,
    pub seed_lock: bool,
    pub seed_step: Option<i64>,
}

impl Wishes {
    pub fn read(board: &Board, config: &Config) -> Self {
        let text = |id| board.text(id).trim().to_owned();
        // What stands as the settings say is not asked for: they may say it more exactly, and may
        // say what no fader does.
        let settings = faders(config);
        let number = |id| {
            let set = settings.iter().find(|fader| fader.0 == id).map_or(0.0, |fader| fader.1);
            let now = board.number(id);
            (now != set).then(|| decimal(now))
        };
        let is_on = |id| board.number(id) > 0.5;
        Wishes {
            text: text(ParamId::PromptText),
            append: text(ParamId::PromptAppend),
            nudge: text(ParamId::PromptNudge),
            nudge_weight: board.number(ParamId::PromptNudgeWeight),
            slots: is_on(ParamId::SlotsOn).then(|| SLOTS.map(text)),
            blend: board.number(ParamId::Blend),
            travel: board.number(ParamId::Travel) as u32,
            negative: text(ParamId::Negative),
            style: text(ParamId::Style),
            motion: text(ParamId::MotionWords),
            denoise: number(ParamId::Denoise),
            guidance: number(ParamId::Guidance),
            steps: number(ParamId::Steps).map(|n| n as u32),
            motion_amount: number(ParamId::MotionAmount).map(|n| n as u32),
            seed: number(ParamId::Seed).map(|n| n as i64),
            seed_lock: is_on(ParamId::SeedLock),
            seed_step: number(ParamId::SeedStep).map(|n| n as i64),
        }
    }
}

impl Wishes {
    /// Without what makes no difference as things are.
    pub fn effective(&self) -> Wishes {
        let mut wishes = self.clone();
        wishes.travel = 0;
        if wishes.nudge.is_empty() {
            wishes.nudge_weight = 0.0;
        }
        match &wishes.slots {
            Some(slots) if slots.iter().any(|slot| !slot.is_empty()) => wishes.text.clear(),
            _ => (wishes.slots, wishes.blend) = (None, 0.0),
        }
        wishes
    }
}

/// Where the faders of generation stand by the settings, as near as they can.
pub fn faders(config: &Config) -> [(ParamId, f32); 5] {
    let (generation, chaining) = (&config.generation, &config.chaining);
    let faders = [
        (ParamId::Denoise, chaining.denoise_strength as f32),
        (ParamId::Guidance, generation.cfg_scale as f32),
        (ParamId::Steps, generation.steps as f32),
        (ParamId::MotionAmount, generation.motion_bucket_id as f32),
        (ParamId::SeedStep, chaining.seed_step as f32),
    ];
    faders.map(|(id, value)| {
        let (min, max) = of(id).range().unwrap_or_default();
        (id, value.clamp(min, max))
    })
}

/// The number that is written the shortest way: 0.4, where a float says 0.4000000059.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// From cycle to cycle: where a blend is on its way, and which seed was the last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    blend: Option<Travel>,
    seed: SeedCourse,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Travel {
    at: f32,
    target: f32,
    cycles_left: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct SeedCourse {
    /// The seed that was asked for last.
    asked: Option<i64>,
    last: Option<i64>,
    /// The chain of seeds was left, and goes on from `last`.
    left: bool,
}

/// What a cycle is made by.
#[derive(Clone, Debug)]
pub struct Guidance {
    pub bundle: PromptBundle,
    pub generation: Generation,
    pub chaining: Chaining,
    pub seed: i64,
    /// Whether the prompt evolves by itself, or as a language model writes it.
    pub evolves: bool,
    /// What is put behind the prompt, before what it evolved to.
    pub added: String,
    /// For the briq; `None`: nothing is asked for.
    pub record: Option<SteeredBy>,
}

impl Guidance {
    /// The parts of the configuration, with what performers ask for.
    pub fn settings<'a>(&'a self, config: &'a Config) -> Settings<'a> {
        Settings {
            generation: &self.generation,
            chaining: &self.chaining,
            ..Settings::from(config)
        }
    }
}

impl Course {
    /// What the next cycle, `cycle`, is made by. To be kept only if that is made.
    pub fn steer(
        &mut self,
        wishes: &Wishes,
        (bundle, config): (&PromptBundle, &Config),
        base_seed: i64,
        cycle: u32,
    ) -> Guidance {
        let (mut bundle, mut generation) = (bundle.clone(), config.generation.clone());
        let mut chaining = config.chaining.clone();
        let blended = self.blend(wishes);
        let lead = blended.or_else(|| (!wishes.text.is_empty()).then(|| wishes.text.clone()));
        let evolves = lead.is_none();
        let leads = match (&lead, self.blend) {
            (None, _) => "brief",
            (Some(_), None) => "text",
            (Some(_), Some(_)) => "slots",
        };
        if let Some(lead) = lead {
            bundle.prompt = lead;
        }
        let nudge = weighted(&wishes.nudge, wishes.nudge_weight).unwrap_or_default();
        let added = join([&wishes.append, &nudge]);
        let record = (wishes.effective() != Wishes::default()).then(|| SteeredBy {
            generation: 0,
            lead: leads.into(),
            blend: self.blend_at().map(decimal),
            added: added.clone(),
        });
        if !wishes.negative.is_empty() {
            bundle.negative_prompt.clone_from(&wishes.negative);
            // As if the performer had written it in the brief: no language model replaces it.
            bundle.negative_source = NegativeSource::File;
        }
        if !wishes.style.is_empty() {
            bundle.style_hints.clone_from(&wishes.style);
        }
        if !wishes.motion.is_empty() {
            bundle.motion_prompt.clone_from(&wishes.motion);
        }
        if let Some(denoise) = wishes.denoise {
            chaining.denoise_strength = denoise;
        }
        if let Some(guidance) = wishes.guidance {
            generation.cfg_scale = guidance;
        }
        if let Some(steps) = wishes.steps {
            generation.steps = steps;
        }
        if let Some(amount) = wishes.motion_amount {
            generation.motion_bucket_id = amount;
        }
        if let Some(step) = wishes.seed_step {
            chaining.seed_step = step;
        }
        let chain = base_seed.wrapping_add(i64::from(cycle).wrapping_mul(chaining.seed_step));
        let seed = self.seed.next(wishes, chain, chaining.seed_step);
        Guidance { bundle, generation, chaining, seed, evolves, added, record }
    }

    /// Where the blend is after this cycle; `None` while no slots are blended.
    pub fn blend_at(&self) -> Option<f32> {
        self.blend.map(|travel| travel.at)
    }

    /// The slots' prompt, a step further on the way.
    fn blend(&mut self, wishes: &Wishes) -> Option<String> {
        let Some(slots) = &wishes.slots else {
            self.blend = None;
            return None;
        };
        let travel = self.blend.get_or_insert(Travel {
            at: wishes.blend,
            target: wishes.blend,
            cycles_left: 0,
        });
        if travel.target != wishes.blend {
            (travel.target, travel.cycles_left) = (wishes.blend, wishes.travel.max(1));
        }
        if travel.cycles_left > 0 {
            travel.at += (travel.target - travel.at) / travel.cycles_left as f32;
            travel.cycles_left -= 1;
            if travel.cycles_left == 0 {
                travel.at = travel.target;
            }
        }
        blend_of(slots, travel.at)
    }
}

impl SeedCourse {
    /// `chain`: the seed that the cycle has by itself.
    fn next(&mut self, wishes: &Wishes, chain: i64, step: i64) -> i64 {
        let seed = if wishes.seed != self.asked {
            self.asked = wishes.seed;
            self.left = wishes.seed.is_some();
            wishes.seed.unwrap_or(chain)
        } else if wishes.seed_lock {
            self.left = true;
            self.last.unwrap_or(chain)
        } else if self.left {
            self.last.unwrap_or(chain).wrapping_add(step)
        } else {
            chain
        };
        self.last = Some(seed);
        seed
    }
}

/// The prompts of the two slots around `at`, weighted so that the larger one is 1. An empty slot
/// says nothing; `None`: both are empty.
fn blend_of(slots: &[String; 4], at: f32) -> Option<String> {
    let lower = (at.clamp(0.0, 3.0).floor() as usize).min(2);
    let share = at.clamp(0.0, 3.0) - lower as f32;
    let mut parts: Vec<(&str, f32)> =
        vec![(&slots[lower], 1.0 - share), (&slots[lower + 1], share)];
    parts.retain(|(text, weight)| !text.is_empty() && *weight >= LEAST_WEIGHT);
    if parts.is_empty() {
        // Between two empty ones, or on one: the nearest that says something.
        let near = |i: &usize| (*i as f32 - at).abs();
        let filled = (0..4).filter(|i| !slots[*i].is_empty());
        return filled.min_by(|a, b| near(a).total_cmp(&near(b))).map(|i| slots[i].clone());
    }
    let largest = parts.iter().map(|part| part.1).fold(0.0, f32::max);
    // What is said last counts most with some generators: the larger one.
    parts.sort_by(|a, b| a.1.total_cmp(&b.1));
    let parts = parts.iter().filter_map(|(text, weight)| weighted(text, weight / largest));
    Some(parts.collect::<Vec<_>>().join(", "))
}

/// A text with a weight, as ComfyUI and others read it: `(silver mist:0.40)`; plain where it
/// weighs 1, nothing where it weighs next to nothing.
fn weighted(text: &str, weight: f32) -> Option<String> {
    if text.is_empty() || weight < LEAST_WEIGHT {
        None
    } else if (weight - 1.0).abs() < 0.005 {
        Some(text.to_owned())
    } else {
        Some(format!("({}:{weight:.2})", balanced(text)))
    }
}

/// A text whose brackets close, so that it can stand in some: those without a partner are left out.
fn balanced(text: &str) -> String {
    let (mut open, mut out) = (Vec::new(), Vec::new());
    for c in text.chars() {
        match c {
            '(' => open.push(out.len()),
            ')' if open.pop().is_none() => continue,
            _ => {}
        }
        out.push(c);
    }
    for place in open.into_iter().rev() {
        out.remove(place);
    }
    out.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::cycle::tests::bundle;
    use crate::param::{self, Change, Op, Values};

    fn config() -> Config {
        crate::config::check(tempfile::tempdir().unwrap().path()).0
    }

    fn slots(texts: [&str; 4], blend: f32, travel: u32) -> Wishes {
        let slots = Some(texts.map(str::to_owned));
        Wishes { slots, blend, travel, nudge_weight: 1.0, ..Wishes::default() }
    }

    fn steered(course: &mut Course, wishes: &Wishes, cycle: u32) -> Guidance {
        course.steer(wishes, (&bundle(), &config()), 1000, cycle)
    }

    #[test]
    fn where_nothing_is_asked_for_nothing_changes() {
        let config = config();
        let mut values = Values::default();
        for (id, value) in faders(&config) {
            values[id] = value;
        }
        let (board, _reader) = param::board(values, &[]);
        let wishes = Wishes::read(&board, &config);
        assert_eq!(wishes.effective(), Wishes::default());
        let mut course = Course::default();
        for cycle in 0..5 {
            let guidance = course.steer(&wishes, (&bundle(), &config), 1000, cycle);
            assert_eq!(guidance.bundle.prompt, bundle().prompt);
            assert_eq!(guidance.seed, 1000 + i64::from(cycle) * config.chaining.seed_step);
            assert_eq!(guidance.chaining.denoise_strength, config.chaining.denoise_strength);
            assert!(guidance.evolves);
            assert_eq!((&*guidance.added, guidance.record), ("", None));
        }
    }

    #[test]
    fn a_preset_that_the_show_begins_with_is_asked_for() {
        let mut values = Values::default();
        for (id, value) in faders(&config()) {
            values[id] = value;
        }
        values[ParamId::Denoise] = 0.75;
        let (board, _reader) = param::board(values, &[]);
        assert_eq!(Wishes::read(&board, &config()).denoise, Some(0.75));
    }

    #[test]
    fn what_is_moved_is_asked_for_as_it_reads() {
        let config = config();
        let mut values = Values::default();
        for (id, value) in faders(&config) {
            values[id] = value;
        }
        let (board, _reader) = param::board(values, &[]);
        let from = param::From { source: "test".into(), received: Duration::ZERO };
        for change in [
            Change::set(ParamId::Denoise, 0.7),
            Change::set(ParamId::PromptText, " red smoke "),
            Change::set(ParamId::PromptAppend, "at night"),
            Change::set(ParamId::PromptNudge, "sparks"),
            Change::set(ParamId::PromptNudgeWeight, 1.3),
            Change::set(ParamId::Negative, "text"),
        ] {
            board.apply(&change, &from).unwrap();
        }
        let guidance = steered(&mut Course::default(), &Wishes::read(&board, &config), 3);
        assert_eq!(guidance.bundle.prompt, "red smoke");
        assert_eq!(guidance.added, "at night, (sparks:1.30)");
        assert_eq!(guidance.record.unwrap().lead, "text");
        assert_eq!(guidance.bundle.negative_prompt, "text");
        assert_eq!(guidance.chaining.denoise_strength, 0.7);
        assert!(!guidance.evolves);
        board.apply(&Change::new(of(ParamId::Denoise), Op::Reset), &from).unwrap();
        assert_eq!(Wishes::read(&board, &config).denoise, None);
    }

    #[test]
    fn slots_are_blended_by_weight() {
        let at = |texts: [&str; 4], blend| blend_of(&texts.map(str::to_owned), blend);
        let all = ["ice", "fire", "moss", "gold"];
        assert_eq!(at(all, 0.0).unwrap(), "ice");
        assert_eq!(at(all, 1.25).unwrap(), "(moss:0.33), fire");
        assert_eq!(at(all, 0.5).unwrap(), "ice, fire");
        assert_eq!(at(all, 3.0).unwrap(), "gold");
        assert_eq!(at(all, 0.02).unwrap(), "ice", "next to nothing is left out");
        assert_eq!(at(["ice", "", "moss", ""], 0.4).unwrap(), "ice");
        assert_eq!(at(["", "", "moss", ""], 0.4).unwrap(), "moss");
        assert_eq!(at([""; 4], 1.0), None);
        let odd = ["(ice", "fire) (hot)", "", ""];
        assert_eq!(at(odd, 0.25).unwrap(), "(fire (hot):0.33), (ice", "brackets stay whole");
    }

    #[test]
    fn a_blend_travels_over_its_cycles_and_a_new_goal_begins_where_it_is() {
        let mut course = Course::default();
        let texts = ["ice", "fire", "", ""];
        steered(&mut course, &slots(texts, 0.0, 4), 0);
        let mut way = Vec::new();
        for cycle in 1..=5 {
            let guidance = steered(&mut course, &slots(texts, 1.0, 4), cycle);
            way.push((course.blend_at().unwrap(), guidance.bundle.prompt));
        }
        let places: Vec<f32> = way.iter().map(|w| w.0).collect();
        assert_eq!(places, [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(way[0].1, "(fire:0.33), ice");
        assert_eq!(way[2].1, "(ice:0.33), fire");
        steered(&mut course, &slots(texts, 0.0, 2), 6);
        assert_eq!(course.blend_at(), Some(0.5));
    }

    #[test]
    fn seeds_can_be_set_locked_and_let_go() {
        let mut course = Course::default();
        let mut seed = |wishes: &Wishes, cycle| steered(&mut course, wishes, cycle).seed;
        let free = Wishes::default();
        assert_eq!([seed(&free, 0), seed(&free, 1)], [1000, 1001]);
        let locked = Wishes { seed_lock: true, ..Wishes::default() };
        assert_eq!([seed(&locked, 2), seed(&locked, 3)], [1001, 1001]);
        assert_eq!(seed(&free, 4), 1002, "it goes on from there");
        let set = Wishes { seed: Some(7), ..Wishes::default() };
        assert_eq!([seed(&set, 5), seed(&set, 6)], [7, 8]);
        let both = Wishes { seed: Some(9), seed_lock: true, ..Wishes::default() };
        assert_eq!([seed(&both, 7), seed(&both, 8)], [9, 9]);
        assert_eq!(seed(&free, 9), 1009, "back to the brief");
    }

    proptest! {
        /// Whatever is asked for on the way, a blend arrives after the cycles that it was given
        /// last, stays between where it was and where it goes, and ends there exactly.
        #[test]
        fn a_blend_arrives_and_never_goes_beyond(
            goals in proptest::collection::vec((0.0f32..=3.0, 1u32..9, 0u32..12), 1..20),
        ) {
            let mut course = Course::default();
            let (bundle, config) = (bundle(), config());
            let texts = ["a", "b", "c", "d"];
            let mut cycle = 0;
            for (goal, travel, cycles) in goals {
                let from = course.blend_at().unwrap_or(goal);
                for n in 1..=cycles {
                    let wishes = slots(texts, goal, travel);
                    let guidance = course.steer(&wishes, (&bundle, &config), 1000, cycle);
                    cycle += 1;
                    let at = course.blend_at().unwrap();
                    let (low, high) = (from.min(goal) - 1e-5, from.max(goal) + 1e-5);
                    prop_assert!((low..=high).contains(&at), "{at} between {from} and {goal}");
                    if n >= travel {
                        prop_assert_eq!(at, goal);
                    }
                    prop_assert!(!guidance.bundle.prompt.is_empty());
                }
            }
        }
    }
}
