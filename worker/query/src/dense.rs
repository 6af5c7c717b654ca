//! Sums by neighbourhood, each in a slot of its own: what is added up from many shards and panes is added in place.

use tips_worker::core::amount::TipSum;
use tips_worker::core::fold::Sums;
use tips_worker::core::locate::Place;

/// Sums of all neighbourhoods up to the last that has any.
#[derive(Clone, Debug, Default)]
pub struct Dense(Vec<TipSum>);

impl Dense {
    /// Adds `sums`.
    pub fn add(&mut self, sums: &Sums) {
        for (place, sum) in sums {
            let slot = slot(*place);
            if slot >= self.0.len() {
                self.0.resize(slot + 1, TipSum::default());
            }
            self.0[slot] += *sum;
        }
    }

    /// Adds the sums of `other`.
    pub fn merge(&mut self, other: &Dense) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), TipSum::default());
        }
        for (sum, part) in self.0.iter_mut().zip(&other.0) {
            *sum += *part;
        }
    }

    /// The neighbourhoods that have trips.
    pub fn sums(&self) -> Sums {
        let slots = self.0.iter().enumerate().filter(|(_, sum)| sum.trips > 0);
        slots.map(|(slot, sum)| (place(slot), *sum)).collect()
    }
}

/// What lies in no neighbourhood comes first, the neighbourhoods in their order.
fn slot(place: Place) -> usize {
    usize::from(place.index().wrapping_add(1))
}

fn place(slot: usize) -> Place {
    // A slot was made of a place.
    Place::new((slot as u16).wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use tips_worker::core::fold;

    use super::*;

    fn sums() -> impl Strategy<Value = Sums> {
        let place = prop_oneof![9 => 0..300_u16, 1 => Just(u16::MAX)].prop_map(Place::new);
        let sum = (0..1_000_000_i128, 1..100_u64).prop_map(|(micros, trips)| TipSum { micros, trips });
        btree_map(place, sum, 0..20)
    }

    proptest! {
        #[test]
        fn what_is_added_in_slots_is_what_is_added_by_name(one in vec(sums(), 0..5), other in vec(sums(), 0..5)) {
            let mut expected = Sums::new();
            one.iter().chain(&other).for_each(|part| fold::add(&mut expected, part));
            let (mut dense, mut rest) = (Dense::default(), Dense::default());
            one.iter().for_each(|part| dense.add(part));
            other.iter().for_each(|part| rest.add(part));
            dense.merge(&rest);
            prop_assert_eq!(dense.sums(), expected);
        }
    }
}
