//! A shard's partitions by their numbers. Several parts of a turn ask for each record's, and numbers are small: a place in a
//! row is found at once. Not who owns which partition, nor how many a topic has.

use super::slot::Slot;

/// What a shard knows of each partition it reads.
#[derive(Default)]
pub struct Slots(Vec<Option<Box<Slot>>>);

impl Slots {
    /// The slot of a partition.
    #[inline]
    pub fn get(&self, partition: &i32) -> Option<&Slot> {
        self.0.get(usize::try_from(*partition).ok()?)?.as_deref()
    }

    /// The slot of a partition, to change it.
    #[inline]
    pub fn get_mut(&mut self, partition: &i32) -> Option<&mut Slot> {
        self.0.get_mut(usize::try_from(*partition).ok()?)?.as_deref_mut()
    }

    /// Sets the slot of a partition, in place of the one before. A number below 0 is no partition's.
    pub fn insert(&mut self, partition: i32, slot: Slot) {
        let Ok(at) = usize::try_from(partition) else { return };
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(Box::new(slot));
    }

    /// Takes the slot of a partition out.
    pub fn remove(&mut self, partition: &i32) {
        if let Some(slot) = usize::try_from(*partition).ok().and_then(|at| self.0.get_mut(at)) {
            *slot = None;
        }
    }

    /// All slots, by partition.
    pub fn values(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter().filter_map(Option::as_deref)
    }

    /// All slots, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.0.iter_mut().filter_map(Option::as_deref_mut)
    }
}

#[cfg(test)]
impl std::ops::Index<&i32> for Slots {
    type Output = Slot;

    fn index(&self, partition: &i32) -> &Slot {
        self.get(partition).expect("a slot of this partition")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_by_number_walked_in_order_and_gone_when_removed() {
        let mut slots = Slots::default();
        [7, 0, -1, 300].iter().for_each(|partition| slots.insert(*partition, Slot::new(*partition, 1)));
        let numbers = |slots: &Slots| slots.values().map(|slot| slot.partition).collect::<Vec<_>>();
        assert_eq!(numbers(&slots), [0, 7, 300]);
        assert!([-1, 1, 8, 301].iter().all(|partition| slots.get(partition).is_none()));
        slots.insert(7, Slot::new(7, 2));
        assert_eq!(slots.get_mut(&7).map(|slot| slot.generation), Some(2));
        [0, -1, 301].iter().for_each(|partition| slots.remove(partition));
        assert_eq!(numbers(&slots), [7, 300]);
    }
}
