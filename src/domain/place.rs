//! Places: a folded name for identity, and coordinates sent or looked up, kept as integers.

/// WGS 84 coordinates in 10^-7 degrees: exact to a centimetre and the same on every processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GeoPoint {
    /// Latitude, -900_000_000 ..= 900_000_000.
    pub lat_e7: i32,
    /// Longitude, -1_800_000_000 ..= 1_800_000_000.
    pub lon_e7: i32,
}
