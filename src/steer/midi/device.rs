//! Ports as devices: what belongs together, under a name that stays the same when it is unplugged
//! and comes back.

use std::collections::BTreeMap;

use super::map::named;
use super::system::Port;

/// A device that is there: a port that messages come from, one that they go to, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Two of one name are numbered: `pads`, `pads #2`.
    pub name: String,
    pub input: Option<Port>,
    pub output: Option<Port>,
}

impl Found {
    /// All names that a user may know it by.
    pub fn names(&self) -> Vec<&str> {
        let ports = [&self.input, &self.output];
        let ports = ports.into_iter().flatten().map(|port| port.name.as_str());
        std::iter::once(self.name.as_str()).chain(ports).collect()
    }
}

/// What JACK shows of ALSA's ports: devices that ALSA has itself.
const BRIDGES: &[&str] = &["Midi-Bridge", "a2j", "alsa_midi", "alsa_pcm", "system"];
/// Loops back what is sent to it.
const THROUGH: &str = "Midi Through";

/// The devices among all ports of all systems. `wanted` has parts of names; none: all of them.
pub fn devices(systems: &[(&str, Vec<Port>)], wanted: &[String]) -> Vec<Found> {
    let has_alsa = systems.iter().any(|(system, _)| *system == "ALSA");
    let mut found: Vec<Found> = Vec::new();
    for (system, ports) in systems {
        // Ports of one device, in the system's order.
        let mut groups: Vec<(&str, [Vec<&Port>; 2])> = Vec::new();
        for port in ports {
            if *system == "JACK" && has_alsa && BRIDGES.contains(&&*port.device) {
                continue;
            }
            let place = groups.iter().position(|(key, _)| *key == port.key).unwrap_or_else(|| {
                groups.push((&port.key, Default::default()));
                groups.len() - 1
            });
            groups[place].1[usize::from(!port.input)].push(port);
        }
        if *system == "JACK" {
            join_halves(&mut groups);
        }
        for (_, [inputs, outputs]) in groups {
            let count = inputs.len().max(outputs.len());
            for i in 0..count {
                let (input, output) = (inputs.get(i).copied(), outputs.get(i).copied());
                let Some(either) = input.or(output) else { continue };
                let name = match count {
                    // The shorter of both, should they differ.
                    1 => [input, output].into_iter().flatten().map(|p| p.device.clone()).min(),
                    _ => Some(without_number(&either.name).to_owned()),
                }
                .unwrap_or_default();
                found.push(Found { name, input: input.cloned(), output: output.cloned() });
            }
        }
    }
    found.retain(|device| {
        let names = device.names();
        match wanted.is_empty() {
            true => !device.name.starts_with(THROUGH),
            false => wanted.iter().any(|part| named(part, &names)),
        }
    });
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for device in &mut found {
        let count = seen.entry(device.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            device.name = format!("{} #{count}", device.name);
        }
    }
    found
}

/// Many programs open their two ports under one name, of which JACK makes `pads` and `pads-01`.
fn join_halves(groups: &mut Vec<(&str, [Vec<&Port>; 2])>) {
    let mut i = 0;
    while i < groups.len() {
        let (key, [inputs, outputs]) = &groups[i];
        let half = key.strip_suffix("-01").filter(|_| inputs.len() + outputs.len() == 1);
        let other = half.and_then(|half| groups.iter().position(|(key, _)| *key == half));
        let fits = |(_, [a, b]): &(&str, [Vec<&Port>; 2])| {
            a.len() == outputs.len() && b.len() == inputs.len()
        };
        match other.filter(|other| fits(&groups[*other])) {
            Some(other) => {
                let (_, [inputs, outputs]) = groups.remove(i);
                let other = if other > i { other - 1 } else { other };
                groups[other].1[0].extend(inputs);
                groups[other].1[1].extend(outputs);
            }
            None => i += 1,
        }
    }
}

/// A port's name without ALSA's number of the day, ` 20:0`.
fn without_number(name: &str) -> &str {
    match name.rsplit_once(' ') {
        Some((rest, number))
            if number.contains(':') && number.chars().all(|c| c.is_ascii_digit() || c == ':') =>
        {
            rest
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, key: &str, input: bool) -> Port {
        let device = name.split(':').next().unwrap().to_owned();
        let name = name.to_owned();
        Port { id: format!("{name} {input}"), name, device, key: key.into(), input }
    }

    fn names(systems: &[(&str, Vec<Port>)], wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
        devices(systems, &wanted).into_iter().map(|device| device.name).collect()
    }

    #[test]
    fn in_and_out_are_one_device_and_two_of_a_name_are_numbered() {
        let alsa = vec![
            port("Midi Through:Midi Through Port-0 14:0", "14", true),
            port("nano:nano SLIDER 20:0", "20", true),
            port("nano:nano SLIDER 24:0", "24", true),
            port("iface:iface MIDI 1 28:0", "28", true),
            port("iface:iface MIDI 2 28:1", "28", true),
            port("nano:nano CTRL 20:0", "20", false),
            port("iface:iface MIDI 1 28:0", "28", false),
        ];
        let jack = vec![
            port("pads:out", "pads", true),
            port("pads:in", "pads", false),
            port("rt:out", "rt", true),
            port("rt-01:in", "rt-01", false),
            port("a2j:nano [20] (capture)", "a2j", true),
        ];
        let systems = [("ALSA", alsa), ("JACK", jack)];
        assert_eq!(
            names(&systems, &[]),
            ["nano", "nano #2", "iface:iface MIDI 1", "iface:iface MIDI 2", "pads", "rt"]
        );
        let all = devices(&systems, &[]);
        assert_eq!(all[0].output.as_ref().unwrap().name, "nano:nano CTRL 20:0");
        assert!(all[1].output.is_none());
        assert!(all[2].output.is_some() && all[3].output.is_none() && all[4].output.is_some());
        assert_eq!(names(&systems, &["PADS", "slider"]), ["nano", "nano #2", "pads"]);
        assert_eq!(names(&systems, &["through"]), ["Midi Through"]);
        assert_eq!(names(&systems[1..], &[]), ["pads", "rt", "a2j"], "without ALSA they are real");
    }
}
