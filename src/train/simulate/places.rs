//! Kenyan places with coordinates and how many people live there, relative to a small county seat.
//!
//! Names and coordinates are those of the engine's own table; only the weights are the simulator's.

use super::dice::Dice;

/// An index of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub u8);

/// A place a line: its name first, latitude and longitude last.
const TABLE: &str = include_str!("../../domain/places.csv");

/// Places where more people live than in an ordinary county seat (weight 1).
const WEIGHTS: [(&str, f64); 9] = [
    ("Nairobi", 22.0),
    ("Mombasa", 7.0),
    ("Kisumu", 4.0),
    ("Nakuru", 4.5),
    ("Eldoret", 3.5),
    ("Kiambu", 5.0),
    ("Machakos", 2.5),
    ("Kakamega", 2.0),
    ("Meru", 2.0),
];

struct Entry {
    name: &'static str,
    latitude: f64,
    longitude: f64,
}

/// The table, read.
pub struct Places {
    entries: Vec<Entry>,
    weights: Vec<f64>,
}

impl Places {
    /// Reads the built-in table; lines that are no place (a heading, a comment) are skipped.
    pub fn built_in() -> Self {
        let entries: Vec<Entry> = TABLE.lines().filter_map(parse).collect();
        let weights = entries.iter().map(|entry| weight(entry.name)).collect();
        Self { entries, weights }
    }

    /// A place drawn by its population.
    pub fn draw(&self, dice: &mut Dice) -> Place {
        Place(dice.weighted(&self.weights) as u8)
    }

    /// A place other than `here`, drawn by population.
    pub fn draw_other(&self, dice: &mut Dice, here: Place) -> Place {
        loop {
            let place = self.draw(dice);
            if place != here {
                return place;
            }
        }
    }

    /// The place's name.
    pub fn name(&self, place: Place) -> &'static str {
        self.entries[usize::from(place.0)].name
    }

    /// Latitude and longitude of the centre.
    pub fn centre(&self, place: Place) -> (f64, f64) {
        let entry = &self.entries[usize::from(place.0)];
        (entry.latitude, entry.longitude)
    }
}

fn parse(line: &'static str) -> Option<Entry> {
    let mut fields = line.split(',').map(str::trim);
    let (name, longitude, latitude) = (fields.next()?, fields.next_back()?, fields.next_back()?);
    Some(Entry { name, latitude: latitude.parse().ok()?, longitude: longitude.parse().ok()? })
}

fn weight(name: &str) -> f64 {
    WEIGHTS.iter().find(|(heavy, _)| *heavy == name).map_or(1.0, |(_, weight)| *weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weighted_place_is_in_the_table_and_all_lie_in_kenya() {
        let places = Places::built_in();
        assert!(places.entries.len() >= 47 && places.entries.len() < 256);
        for entry in &places.entries {
            assert!((-5.0..6.0).contains(&entry.latitude), "{}", entry.name);
            assert!((33.5..42.5).contains(&entry.longitude), "{}", entry.name);
        }
        for (name, _) in WEIGHTS {
            assert!(places.entries.iter().any(|entry| entry.name == name), "{name}");
        }
    }
}
