//! Places: a folded name for identity, and coordinates sent or looked up, kept as integers.
//!
//! Two spellings are one place exactly when their folded names are equal bytes. Not a gazetteer: the table beside
//! this file knows the 47 Kenyan county seats, by their own and their counties' names, and nothing else.

use std::{borrow::Cow, sync::LazyLock};

use caseless::Caseless;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use unicode_normalization::UnicodeNormalization;

use super::{blanks::trimmed, digits::number};

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

    /// The same of two texts in the common form: at most three digits and seven decimals each, which need no rounding. `None`
    /// also where a text has another form.
    pub fn from_common(latitude: &str, longitude: &str) -> Option<Self> {
        let (lat_e7, lon_e7) = (common_e7(latitude.as_bytes())?, common_e7(longitude.as_bytes())?);
        let within = lat_e7.abs() <= 900_000_000 && lon_e7.abs() <= 1_800_000_000;
        within.then_some(Self { lat_e7, lon_e7 })
    }
}

fn common_e7(text: &[u8]) -> Option<i32> {
    let (sign, text) = text.strip_prefix(b"-").map_or((1, text), |text| (-1, text));
    let point = text.iter().take(4).position(|byte| *byte == b'.')?;
    let decimals = &text[point + 1..];
    let missing = 7_u32.checked_sub(decimals.len() as u32)?;
    let e7 = number(&text[..point])? * 10_000_000 + number(decimals)? * 10_u64.pow(missing);
    // Below 1,000 degrees; what is beyond an i32 is out of range.
    Some(sign * i32::try_from(e7).ok()?)
}

/// One multiplication and one rounding, both exact by IEEE 754; the range is checked before.
fn to_e7(degrees: f64) -> i32 {
    (degrees * 1e7).round() as i32
}

/// Room for the folded name of nearly every place.
pub type Room = [u8; 48];

/// The name that identifies a place: trimmed, NFC, case-folded (Unicode's full default folding), NFC again.
///
/// An ASCII name is folded in `room`, where it fits.
pub fn fold<'r>(name: &str, room: &'r mut Room) -> Cow<'r, str> {
    let trimmed = trimmed(name);
    if !trimmed.is_ascii() {
        return Cow::Owned(trimmed.nfc().default_case_fold().nfc().collect());
    }
    let Some(room) = room.get_mut(..trimmed.len()) else { return Cow::Owned(trimmed.to_ascii_lowercase()) };
    room.copy_from_slice(trimmed.as_bytes());
    room.make_ascii_lowercase();
    // SAFETY: ASCII is UTF-8.
    Cow::Borrowed(unsafe { std::str::from_utf8_unchecked(room) })
}

/// Empty room.
pub fn room() -> Room {
    [0; _]
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
        places.extend(names.map(|name| (fold(name, &mut room()).into_owned(), point)));
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

    fn folded(name: &str) -> String {
        fold(name, &mut room()).into_owned()
    }

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
            assert_eq!(folded(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_folded_ascii_name_is_in_the_room_where_it_fits() {
        assert!(matches!(fold(" Nairobi ", &mut room()), Cow::Borrowed("nairobi")));
        let long = "A".repeat(room().len() + 1);
        assert_eq!(fold(&long, &mut room()), long.to_lowercase());
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
            names += line_names.inspect(|name| assert_eq!(lookup(&folded(name)), Some(point), "{name}")).count();
        }
        assert_eq!(PLACES.len(), names, "no name stands for two places");
    }

    #[test]
    fn a_county_is_where_its_seat_is_and_an_unknown_place_is_nowhere() {
        assert_eq!(lookup(&folded("Uasin Gishu")), lookup("eldoret"));
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

    #[test]
    fn what_is_no_common_form_is_left_to_the_library() {
        for text in ["", "-", ".5", "1.", "1", "1e1", "+1.5", "1.12345678", "1000.5", "--1.5", "1.5.5", "1.-5", "NaN"] {
            assert_eq!(common_e7(text.as_bytes()), None, "{text}");
        }
        assert_eq!(GeoPoint::from_common("90.0000001", "0.0"), None);
        assert_eq!(GeoPoint::from_common("0.0", "-180.0000001"), None);
        assert_eq!(GeoPoint::from_common("-0.0", "999.9999999"), None);
        let poles = GeoPoint { lat_e7: -900_000_000, lon_e7: 1_800_000_000 };
        assert_eq!(GeoPoint::from_common("-90.0", "180.0000000"), Some(poles));
    }

    proptest! {
        #[test]
        fn coordinates_in_the_common_form_read_as_the_library_reads_them(
            latitude in "-?[0-9]{1,3}[.][0-9]{1,7}", longitude in "-?[0-9]{1,3}[.][0-9]{1,7}",
        ) {
            let library = GeoPoint::from_degrees(latitude.parse().unwrap(), longitude.parse().unwrap());
            prop_assert_eq!(GeoPoint::from_common(&latitude, &longitude), library, "{} {}", latitude, longitude);
        }

        #[test]
        fn case_composition_and_margins_do_not_matter(name in "[ A-Za-zÀ-ÿ'-]{0,30}") {
            let (upper, decomposed) = (name.to_uppercase(), name.nfd().collect::<String>());
            let once = folded(&name);
            prop_assert_eq!(&folded(&upper), &once);
            prop_assert_eq!(&folded(&decomposed), &once);
            prop_assert_eq!(&folded(&once), &once);
        }
    }
}
