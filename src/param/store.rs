//! The writer's and the reader's end of the parameter snapshot.

use super::registry::{Param, Values, find};
use crate::base::error::Result;

/// Values with the number of the change that made them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub generation: u64,
    pub values: Values,
}

/// The first receipt of a change.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    pub param: &'static Param,
    pub value: f32,
    /// The render thread reports from which frame on this generation is seen.
    pub generation: u64,
}

/// The writer's end; one in a show, owned by whoever runs the director.
pub struct Store {
    latest: Snapshot,
    output: triple_buffer::Input<Snapshot>,
}

/// The render thread's end.
pub struct Reader {
    input: triple_buffer::Output<Snapshot>,
}

/// A pair of ends that start at `values`.
pub fn channel(values: Values) -> (Store, Reader) {
    let latest = Snapshot { generation: 0, values };
    let (output, input) = triple_buffer::triple_buffer(&latest);
    (Store { latest, output }, Reader { input })
}

impl Store {
    /// Sets the parameter at `address`; refused if there is none or the value is out of range.
    pub fn set(&mut self, address: &str, value: f32) -> Result<Accepted> {
        let param = find(address)?;
        let value = param.check(value)?;
        self.latest.generation += 1;
        self.latest.values[param.id] = value;
        self.output.write(self.latest);
        Ok(Accepted { param, value, generation: self.latest.generation })
    }

    pub fn values(&self) -> &Values {
        &self.latest.values
    }
}

impl Reader {
    /// The newest snapshot; never waits, never allocates.
    pub fn latest(&mut self) -> &Snapshot {
        self.input.read()
    }
}
