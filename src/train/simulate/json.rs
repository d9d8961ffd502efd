//! A simulated transaction as JSON, spelled as its institution spells it.
//!
//! The invariant: what [`Event::write_json`] writes, `domain::decode` reads as a valid transaction. Written by hand,
//! since a generic serializer would cost as much as the rest of the simulation.

use super::{
    event::{Event, Party, Where, mix},
    institution::Institution,
    places::Places,
};
use crate::domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Base-32 digits of a transaction's number: 10^12 transactions.
const NUMBER_DIGITS: u32 = 8;
/// Base-32 digits of the simulation's own prefix.
const PREFIX_DIGITS: u32 = 6;
/// How far from a place's centre its people are, in degrees.
const SPREAD_DEGREES: f64 = 0.03;

/// Appends a transaction's id: the simulation's prefix and the number.
pub fn write_id(out: &mut Vec<u8>, prefix: u32, number: u64) {
    out.extend((0..PREFIX_DIGITS).rev().map(|digit| BASE32[(prefix >> (5 * digit)) as usize & 31]));
    out.extend((0..NUMBER_DIGITS).rev().map(|digit| BASE32[(number >> (5 * digit)) as usize & 31]));
}

impl Event {
    /// Appends the transaction's JSON, without a line end.
    pub fn write_json(&self, out: &mut Vec<u8>, prefix: u32, places: &Places) {
        let institution = Institution::of(self.institution);
        out.extend_from_slice(b"{\"transaction_id\":\"");
        write_id(out, prefix, self.number);
        out.extend_from_slice(b"\",\"amount\":");
        self.write_amount(out, institution);
        out.extend_from_slice(b",\"phone_number\":\"");
        if institution.national_numbers {
            write_national(out, self.phone);
        } else {
            write_e164(out, self.phone);
        }
        out.extend_from_slice(b"\",\"timestamp\":\"");
        write_time(out, self.at_ms, institution.local_time);
        out.extend_from_slice(b"\",\"transaction_type\":\"");
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.extend_from_slice(b"\",\"channel\":\"");
        out.extend_from_slice(self.channel.as_str().as_bytes());
        out.push(b'"');
        self.write_device_and_place(out, institution, places);
        self.write_party(out);
        self.write_history(out, institution, prefix);
        out.extend_from_slice(b",\"currency\":\"KES\",\"institution_id\":\"");
        out.extend_from_slice(institution.id.as_bytes());
        out.extend_from_slice(b"\"}");
    }

    fn write_amount(&self, out: &mut Vec<u8>, institution: &Institution) {
        let (units, cents) = (self.amount_minor / 100, self.amount_minor % 100);
        if institution.amounts_as_text {
            out.push(b'"');
        }
        write_number(out, units as u64);
        if cents != 0 || institution.amounts_as_text {
            out.extend_from_slice(&[b'.', b'0' + (cents / 10) as u8, b'0' + (cents % 10) as u8]);
        }
        if institution.amounts_as_text {
            out.push(b'"');
        }
    }

    fn write_device_and_place(&self, out: &mut Vec<u8>, institution: &Institution, places: &Places) {
        if let Some(device) = self.device {
            out.extend_from_slice(b",\"device_id\":\"");
            out.extend((0..16).rev().map(|digit| b"0123456789abcdef"[(device >> (4 * digit)) as usize & 15]));
            out.push(b'"');
        }
        let Where::At(place) = self.place else { return };
        out.extend_from_slice(b",\"location\":\"");
        out.extend_from_slice(places.name(place).as_bytes());
        out.push(b'"');
        if institution.coordinates {
            let (latitude, longitude) = places.centre(place);
            let (north, east) = self.offset_from_centre();
            out.extend_from_slice(b",\"latitude\":");
            write_degrees(out, latitude + north);
            out.extend_from_slice(b",\"longitude\":");
            write_degrees(out, longitude + east);
        }
    }

    /// Where in the place: from the event's own number, so that no draw is spent on it.
    fn offset_from_centre(&self) -> (f64, f64) {
        let mixed = mix(self.number ^ self.phone);
        let part = |bits: u64| (bits & 0xffff) as f64 / 65_535.0 * 2.0 - 1.0;
        (part(mixed) * SPREAD_DEGREES, part(mixed >> 16) * SPREAD_DEGREES)
    }

    fn write_party(&self, out: &mut Vec<u8>) {
        let (kind, number) = match self.party {
            Party::Nobody => return,
            Party::Phone(digits) => ("phone", digits),
            Party::Till(number) => ("till", u64::from(number)),
            Party::Paybill(number) => ("paybill", u64::from(number)),
            Party::Agent(number) => ("agent", u64::from(number)),
        };
        out.extend_from_slice(b",\"counterparty\":\"");
        if let Party::Phone(digits) = self.party {
            write_e164(out, digits);
        } else {
            write_number(out, number);
        }
        out.extend_from_slice(b"\",\"counterparty_type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
    }

    fn write_history(&self, out: &mut Vec<u8>, institution: &Institution, prefix: u32) {
        if let Some(number) = self.reverses {
            out.extend_from_slice(b",\"original_transaction_id\":\"");
            write_id(out, prefix, number);
            out.push(b'"');
        }
        if let (true, Some(at_ms)) = (institution.sim_swaps, self.sim_swapped_ms) {
            out.extend_from_slice(b",\"sim_swapped_at\":\"");
            write_time(out, at_ms, institution.local_time);
            out.push(b'"');
        }
        if institution.account_ages {
            out.extend_from_slice(b",\"account_opened_at\":\"");
            write_time(out, self.opened_ms, institution.local_time);
            out.push(b'"');
        }
    }
}

fn write_e164(out: &mut Vec<u8>, digits: u64) {
    out.push(b'+');
    write_number(out, digits);
}

/// `0712345678` for 254712345678.
fn write_national(out: &mut Vec<u8>, digits: u64) {
    out.push(b'0');
    write_number(out, digits % 1_000_000_000);
}

fn write_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Degrees with five decimals, about a metre.
fn write_degrees(out: &mut Vec<u8>, degrees: f64) {
    let scaled = libm::round(degrees.abs() * 1e5) as u64;
    if degrees < 0.0 && scaled != 0 {
        out.push(b'-');
    }
    write_number(out, scaled / 100_000);
    out.push(b'.');
    write_padded(out, scaled % 100_000, 5);
}

fn write_padded(out: &mut Vec<u8>, value: u64, width: u32) {
    out.extend((0..width).rev().map(|digit| b'0' + (value / 10_u64.pow(digit) % 10) as u8));
}

/// RFC 3339 with milliseconds, in UTC or with Nairobi's offset.
fn write_time(out: &mut Vec<u8>, at_ms: i64, local: bool) {
    let shown = if local { at_ms + super::clock::NAIROBI_OFFSET_MS } else { at_ms };
    let (year, month, day) = civil(shown.div_euclid(DAY_MS));
    let in_day = shown.rem_euclid(DAY_MS);
    let parts = [
        (year as u64, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        ((in_day / HOUR_MS) as u64, 2, b':'),
        ((in_day / MINUTE_MS % 60) as u64, 2, b':'),
        ((in_day / SECOND_MS % 60) as u64, 2, b'.'),
    ];
    for (value, width, after) in parts {
        write_padded(out, value, width);
        out.push(after);
    }
    write_padded(out, (in_day % SECOND_MS) as u64, 3);
    out.extend_from_slice(if local { b"+03:00" } else { b"Z" });
}

/// Year, month and day of a day number since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month_index + 2) / 5 + 1) as u64;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u64;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::EventTimeMs;

    #[test]
    fn a_written_time_reads_back_as_itself() {
        for at_ms in [0, 951_782_400_123, 1_709_164_799_999, 1_767_560_400_001, 1_798_761_599_500] {
            for local in [false, true] {
                let mut out = Vec::new();
                write_time(&mut out, at_ms, local);
                let text = String::from_utf8(out).unwrap();
                assert_eq!(EventTimeMs::parse(&text), Some(EventTimeMs(at_ms)), "{text}");
            }
        }
    }

    #[test]
    fn ids_of_different_numbers_differ_and_have_one_length() {
        let id = |number| {
            let mut out = Vec::new();
            write_id(&mut out, 0x1234_5678, number);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(id(0).len(), (PREFIX_DIGITS + NUMBER_DIGITS) as usize);
        assert_ne!(id(31), id(32));
        assert_eq!(id(7)[..6], id(1_000_000)[..6]);
    }

    #[test]
    fn degrees_keep_their_sign() {
        let text = |degrees| {
            let mut out = Vec::new();
            write_degrees(&mut out, degrees);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(-1.28333), "-1.28333");
        assert_eq!(text(36.00007), "36.00007");
        assert_eq!(text(-0.000_001), "0.00000");
    }
}
