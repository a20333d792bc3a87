//! What tests do to the kernel path behind the program's back.

use aya::maps::{Array, Map, MapData};
use genkan::fastpath::pins::Pins;

use crate::gateway::Genkan;

/// Fills one of a running gateway's maps whose values have 64 octets with zeros.
///
/// # Panics
///
/// When there is none.
#[track_caller]
pub fn empty(gateway: &Genkan, map: &str) {
    let pins =
        Pins::find(&gateway.config().with_extension("state")).expect("the gateway has pinned its maps");
    let path = pins.current().expect("a generation is in use").join(map);
    let opened = MapData::from_pin(&path).and_then(Map::from_map_data);
    let opened = opened.and_then(Array::<_, [u8; 64]>::try_from);
    let mut array = opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for index in 0..array.len() {
        array.set(index, [0; 64], 0).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
