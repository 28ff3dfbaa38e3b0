//! What the music costs the render thread per frame: no modulator, one wave, eight of them on signals,
//! and eight waves with cuts that wait and a speed that is bent. As a peer, one step of the smoother,
//! which every frame takes in any case.
//!
//! `cargo bench --no-default-features --bench modulators`.

use divan::Bencher;
use vfaq::music::{
    Ahead, Bender, Cut, Modulators, Moment, Part, Quantiser, Stepped, Tempo, Ticks, param_of,
};
use vfaq::param::{MODULATORS, ParamId, Smoother, Snapshot, Values};

fn main() {
    divan::main();
}

fn run(bencher: Bencher, slots: usize, source: f32, waits: bool) {
    let mut set = Values::default();
    for slot in 0..slots {
        set[param_of(slot, Part::Source)] = source;
        set[param_of(slot, Part::Target)] = 1.0 + 3.0 * slot as f32;
        set[param_of(slot, Part::Curve)] = (slot % 5) as f32;
    }
    if waits {
        set[ParamId::CycleBars] = 4.0;
        set[ParamId::QuantiseCut] = 6.0;
    }
    let (mut modulators, mut bender, mut quantiser) =
        (Modulators::default(), Bender::default(), Quantiser::default());
    let (tempo, mut fired, mut n) = (Tempo::default(), Vec::with_capacity(8), 0u64);
    bencher.bench_local(|| {
        n += 1;
        let mut values = set;
        let beat = Ticks::of(n as f64 / 30.0).beat();
        let heard = Stepped([(n % 256) as u8; 11]);
        modulators.step(&mut values, beat, &heard, 16.7);
        let ahead = waits.then_some(Ahead { left: 400.0 - (n % 400) as f64, join_frames: 30 });
        bender.step(&values, (&tempo, beat, 1.0 / 30.0), ahead, 16.7).apply(&mut values);
        fired.clear();
        if waits && n.is_multiple_of(100) {
            fired.push(ParamId::Next);
        }
        let cut = Cut { frames: 30, ..Cut::default() };
        let moment = Moment { tempo: &tempo, beat, frame_beats: 1.0 / 30.0 };
        quantiser.step(&moment, &mut values, &mut fired, |_| cut, |_| ());
        values[ParamId::Zoom]
    });
}

#[divan::bench]
fn nothing(bencher: Bencher) {
    run(bencher, 0, 0.0, false);
}

#[divan::bench]
fn one_wave(bencher: Bencher) {
    run(bencher, 1, 1.0, false);
}

#[divan::bench]
fn all_on_signals(bencher: Bencher) {
    run(bencher, MODULATORS, 13.0, false);
}

#[divan::bench]
fn all_waves_and_what_waits(bencher: Bencher) {
    run(bencher, MODULATORS, 1.0, true);
}

/// The peer.
#[divan::bench]
fn smoother(bencher: Bencher) {
    let mut smoother = Smoother::new(Values::default());
    let snapshot = Snapshot::default();
    bencher.bench_local(|| smoother.step(&snapshot, 16.7)[ParamId::Zoom]);
}
