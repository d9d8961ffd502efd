//! Places: a folded name for identity, and coordinates sent or looked up, kept as integers.
//!
//! Two spellings are one place exactly when their folded names are equal bytes. Not a gazetteer: the table beside
//! this file knows the 47 Kenyan county seats, by their own and their counties' names, and nothing else.

use std::{borrow::Cow, sync::LazyLock};

use caseless::Caseless;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use unicode_normalization::UnicodeNormalization;

/// WGS 84 coordinates in 10^-7 degrees: exact to a centimetre and the same on every processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GeoPoint {
    /// Latitude, -900_000_000 ..= 900_000_000.
    pub lat_e7: i32,
    /// Longitude, -1_800_000_000 ..= 1_800_000_000.
    pub lon_e7: i32,
}

impl GeoPoint {
    /// Rounds degrees to the grid; `None` outside -90..=90 and -180..=180.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        let within = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        within.then(|| Self { lat_e7: to_e7(latitude), lon_e7: to_e7(longitude) })
    }
}

/// One multiplication and one rounding, both exact by IEEE 754; the range is checked before.
fn to_e7(degrees: f64) -> i32 {
    (degrees * 1e7).round() as i32
}

/// The name that identifies a place: trimmed, NFC, case-folded (Unicode's full default folding), NFC again.
///
/// Borrowed where an ASCII name is folded already.
pub fn fold(name: &str) -> Cow<'_, str> {
    let trimmed = name.trim();
    if !trimmed.is_ascii() {
        return Cow::Owned(trimmed.nfc().default_case_fold().nfc().collect());
    }
    if trimmed.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(trimmed.to_ascii_lowercase());
    }
    Cow::Borrowed(trimmed)
}

/// The coordinates of a place of the table, by its folded name.
pub fn lookup(folded: &str) -> Option<GeoPoint> {
    PLACES.get(folded).copied()
}

/// The table as committed: `seat,other names,latitude,longitude`, other names parted by `|`.
pub(super) const TABLE: &str = include_str!("places.csv");

static PLACES: LazyLock<HashMap<String, GeoPoint, FixedState>> = LazyLock::new(|| {
    let mut places = HashMap::with_hasher(FixedState::default());
    for (names, point) in TABLE.lines().skip(1).filter_map(read_line) {
        places.extend(names.map(|name| (fold(name).into_owned(), point)));
    }
    places
});

/// One line's names and point; a test holds the committed table to having no line that does not read.
fn read_line(line: &str) -> Option<(impl Iterator<Item = &str>, GeoPoint)> {
    let mut columns = line.split(',');
    let (seat, others) = (columns.next()?, columns.next()?);
    let (latitude, longitude) = (columns.next()?.parse().ok()?, columns.next()?.parse().ok()?);
    let names = std::iter::once(seat).chain(others.split('|')).filter(|name| !name.is_empty());
    Some((names, GeoPoint::from_degrees(latitude, longitude)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_people_hold_equal_fold_to_equal_bytes() {
        let cases = [
            ("nairobi", "nairobi"),
            ("  Nairobi\t", "nairobi"),
            ("NAIROBI", "nairobi"),
            ("Cafe\u{301}", "caf\u{e9}"),
            ("CAF\u{c9}", "caf\u{e9}"),
            ("Stra\u{df}e", "strasse"),
            ("STRASSE", "strasse"),
            ("\u{a0}Ol Kalou\u{2003}", "ol kalou"),
            ("ΣΑΣ", "σασ"),
            ("", ""),
            ("  ", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(fold(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_folded_ascii_name_is_not_copied() {
        assert!(matches!(fold(" nairobi "), Cow::Borrowed("nairobi")));
    }

    #[test]
    fn the_table_holds_47_seats_within_kenya_and_every_line_reads() {
        let lines: Vec<_> = TABLE.lines().skip(1).collect();
        assert_eq!(lines.len(), 47);
        let mut names = 0;
        for line in lines {
            let (line_names, point) = read_line(line).expect(line);
            assert!((-50_000_000..=56_000_000).contains(&point.lat_e7), "{line}");
            assert!((338_000_000..=420_000_000).contains(&point.lon_e7), "{line}");
            names += line_names.inspect(|name| assert_eq!(lookup(&fold(name)), Some(point), "{name}")).count();
        }
        assert_eq!(PLACES.len(), names, "no name stands for two places");
    }

    #[test]
    fn a_county_is_where_its_seat_is_and_an_unknown_place_is_nowhere() {
        assert_eq!(lookup(&fold("Uasin Gishu")), lookup("eldoret"));
        assert_eq!(lookup("nairobi"), Some(GeoPoint { lat_e7: -12_864_000, lon_e7: 368_172_000 }));
        assert_eq!(lookup("atlantis"), None);
        assert_eq!(lookup("Nairobi"), None, "the caller folds");
    }

    #[test]
    fn degrees_round_to_the_grid_within_the_globe() {
        let cases = [
            ((0.0, -0.0), Some((0, 0))),
            ((90.0, 180.0), Some((900_000_000, 1_800_000_000))),
            ((-90.0, -180.0), Some((-900_000_000, -1_800_000_000))),
            ((0.000_000_05, -0.000_000_049), Some((1, 0))),
            ((90.000_000_1, 0.0), None),
            ((0.0, -180.000_000_1), None),
            ((f64::NAN, 0.0), None),
        ];
        for ((latitude, longitude), expected) in cases {
            let point = GeoPoint::from_degrees(latitude, longitude).map(|point| (point.lat_e7, point.lon_e7));
            assert_eq!(point, expected, "{latitude} {longitude}");
        }
    }

    proptest! {
        #[test]
        fn case_composition_and_margins_do_not_matter(name in "[ A-Za-zÀ-ÿ'-]{0,30}") {
            let (upper, decomposed) = (name.to_uppercase(), name.nfd().collect::<String>());
            let folded = fold(&name).into_owned();
            prop_assert_eq!(&fold(&upper), &folded);
            prop_assert_eq!(&fold(&decomposed), &folded);
            prop_assert_eq!(&fold(&folded), &folded);
        }
    }
}
