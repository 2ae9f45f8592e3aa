//! Files of libjpeg-turbo (`jpegtran`), cut and damaged at every place.
//!
//! `refined`, 61x45, has twelve scans: some of the coefficients come in four steps. `intervals` is
//! the same with a restart marker after every 3 MCUs. `gray` and `four` (4:1:1) have the usual
//! scans. `rows` and `components` are sequential, the latter with one scan for each component; both
//! have a restart marker after each row of MCUs.

use super::*;
use crate::image::segments::segments;
use crate::image::{Limits, Note, Photo};

const REFINED: &[u8] = include_bytes!("../samples/refined.jpg");
const INTERVALS: &[u8] = include_bytes!("../samples/intervals.jpg");
const GRAY: &[u8] = include_bytes!("../samples/gray.jpg");
const FOUR: &[u8] = include_bytes!("../samples/four.jpg");
const ROWS: &[u8] = include_bytes!("../samples/rows.jpg");
const COMPONENTS: &[u8] = include_bytes!("../samples/components.jpg");

const PROGRESSIVE: [&[u8]; 4] = [REFINED, INTERVALS, GRAY, FOUR];
const WHOLE: Walk = Walk { rows: 1.0, damaged: false, coarse: false, ended: true, cut: None };
const END: &[u8] = &[0xFF, EOI];

/// A scan of a file.
struct Place {
    /// Where its tables start, or its header if it has none of its own.
    tables: usize,
    /// Where its header starts.
    header: usize,
    /// Its bits, with the restart markers among them.
    bits: Range<usize>,
    /// Whether it has the averages of blocks, for the first time.
    is_first: bool,
    /// Where its restart markers are.
    markers: Vec<usize>,
}

fn scans(file: &[u8]) -> Vec<Place> {
    let mut scans = Vec::new();
    let (mut at, mut tables) = (0, None);
    while let Some(segment) = segment_at(file, at) {
        let start = at;
        at = segment.end;
        match segment.marker {
            DHT => {
                tables.get_or_insert(start);
            }
            SOS => {
                let is_restart = |at: usize| (0xD0..=0xD7).contains(&file[at + 1]);
                let is_marker = |at: usize| file[at] == 0xFF && file[at + 1] != 0;
                let mut inside = (at..file.len()).take_while(|&i| !is_marker(i) || is_restart(i));
                let end = inside.by_ref().last().unwrap() + 1;
                let markers = (at..end - 1).filter(|&i| is_marker(i)).collect();
                let [.., first, _, bits] = *segment.contents else { panic!() };
                scans.push(Place {
                    tables: tables.take().unwrap_or(start),
                    header: start,
                    bits: at..end,
                    is_first: first == 0 && bits >> 4 == 0,
                    markers,
                });
                at = end;
            }
            _ => {}
        }
    }
    scans
}

#[test]
fn whole_files_are_whole() {
    for file in [PROGRESSIVE.as_slice(), &[ROWS, COMPONENTS]].concat() {
        assert_eq!(walk(file), Some(WHOLE));
        let without_end = &file[..file.len() - 2];
        assert_eq!(walk(without_end), Some(Walk { ended: false, ..WHOLE }));
    }
    let counts = PROGRESSIVE.map(|file| scans(file).len());
    assert_eq!(counts, [12, 12, 6, 10]);
}

#[test]
fn a_progressive_file_that_is_cut_before_its_last_scan_is_coarse_and_nothing_else() {
    for file in PROGRESSIVE {
        let last = scans(file).pop().unwrap();
        let cut = [&file[..last.tables], END].concat();
        let photo = Photo::from_bytes(&cut, &Limits::default()).unwrap();
        assert_eq!(photo.notes, [Note::Coarse]);
    }
}

#[test]
fn a_progressive_file_that_is_cut_between_its_scans_is_coarse() {
    for file in PROGRESSIVE {
        for scan in scans(file).into_iter().filter(|scan| !scan.is_first) {
            for at in [scan.tables, scan.header] {
                let coarse = Walk { coarse: true, ..WHOLE };
                assert_eq!(walk(&[&file[..at], END].concat()), Some(coarse), "{at}");
                assert_eq!(walk(&file[..at]), Some(Walk { ended: false, ..coarse }), "{at}");
            }
        }
    }
}

#[test]
fn a_scan_of_detail_that_is_cut_anywhere_is_missing_from_there_on() {
    for file in PROGRESSIVE {
        for scan in scans(file).into_iter().filter(|scan| !scan.is_first) {
            let coarse = Walk { coarse: true, cut: Some(scan.header), ..WHOLE };
            for at in scan.bits {
                let walked = walk(&[&file[..at], END].concat());
                assert_eq!(walked, Some(coarse), "{at}");
                let open = walk(&file[..at]);
                assert_eq!(open, Some(Walk { ended: false, ..coarse }), "{at}");
                // The first cut scan counts, whatever comes behind it.
                let rest = &file[scans(file).pop().unwrap().tables..];
                assert_eq!(walk(&[&file[..at], rest].concat()).unwrap().cut, coarse.cut, "{at}");
            }
        }
    }
}

#[test]
fn rows_end_where_the_averages_do() {
    for (file, rows) in [(ROWS, 5), (COMPONENTS, 3), (INTERVALS, 12)] {
        let place = match file {
            INTERVALS => scans(file).swap_remove(0),
            _ => scans(file).pop().unwrap(),
        };
        let mut starts = vec![place.bits.start];
        starts.extend(&place.markers);
        for (i, at) in starts.into_iter().enumerate() {
            for end in [END, &[]] {
                let walked = walk(&[&file[..at], end].concat()).unwrap();
                // An interval of `intervals` is three of the four MCUs of a row.
                let done = if file == INTERVALS { 3 * i / 4 * 4 } else { i };
                assert_eq!(walked.rows, done as f64 / f64::from(rows), "{i}");
                assert!(!walked.damaged && walked.cut.is_none(), "{i}");
            }
        }
    }
    // Before the last component's only scan there is nothing of it.
    let places = scans(COMPONENTS);
    for at in [places[1].bits.start, places[2].tables, places[2].header] {
        assert_eq!(walk(&[&COMPONENTS[..at], END].concat()), Some(Walk { rows: 0.0, ..WHOLE }));
    }
    let none = walk(&REFINED[..scans(REFINED)[0].tables]).unwrap();
    assert_eq!((none.rows, none.ended), (0.0, false));
}

#[test]
fn lost_intervals_are_damage() {
    let damaged = Walk { damaged: true, ..WHOLE };
    for file in [INTERVALS, ROWS, COMPONENTS] {
        let markers = scans(file).pop().unwrap().markers;
        for start in 0..markers.len() {
            // More than seven cannot be told from their numbers.
            for end in start + 1..markers.len().min(start + 8) {
                let lost = [&file[..markers[start]], &file[markers[end]..]].concat();
                assert_eq!(walk(&lost), Some(damaged), "{start} to {end}");
            }
        }
    }
    // Sixteen intervals need all numbers.
    assert_eq!(scans(INTERVALS).pop().unwrap().markers.len(), 15);
}

#[test]
fn bytes_too_many_are_damage() {
    for file in [PROGRESSIVE.as_slice(), &[ROWS, COMPONENTS]].concat() {
        for scan in scans(file) {
            for at in scan.markers.iter().copied().chain([scan.bits.end]) {
                let more = [&file[..at], &[0x55], &file[at..]].concat();
                let walked = walk(&more).unwrap();
                assert!(walked.damaged && walked.rows == 1.0 && !walked.coarse, "{at}");
            }
        }
    }
}

/// The file with a segment changed by `change`.
fn with(file: &[u8], marker: u8, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let segment = segments(file).find(|segment| segment.marker == marker);
    let (start, end) = match segment {
        Some(segment) => (segment.end - segment.contents.len(), segment.end),
        None => (scans(file)[0].header + 4, scans(file)[0].bits.start),
    };
    let mut file = file.to_vec();
    change(&mut file[start..end]);
    file
}

#[test]
fn headers_that_make_no_sense_are_not_walked_through() {
    const FRAME: u8 = 0xC2;
    assert_eq!(walk(&with(GRAY, FRAME, |frame| frame[0] = 12)), None, "12 bits");
    assert_eq!(walk(&with(GRAY, DHT, |table| table[0] = 0x20)), None, "a third class");
    assert_eq!(walk(&with(GRAY, DHT, |table| table[0] = 0x04)), None, "a fifth table");
    assert_eq!(walk(&with(GRAY, DHT, |table| table[5] = 200)), None, "too few symbols");
    assert_eq!(walk(&with(GRAY, SOS, |scan| scan[1] = 77)), None, "of no component");
    assert_eq!(walk(&with(GRAY, SOS, |scan| scan[0] = 0)), None, "of no component");
    assert_eq!(walk(&with(GRAY, SOS, |scan| scan[0] = 3)), None, "too short");
    assert_eq!(walk(&with(GRAY, SOS, |scan| (scan[3], scan[4]) = (1, 64))), None, "65 numbers");
    assert_eq!(walk(&with(GRAY, SOS, |scan| (scan[3], scan[4]) = (5, 4))), None, "an empty band");
    assert_eq!(walk(&with(REFINED, SOS, |scan| scan[8] = 5)), None, "detail of several");
    assert_eq!(walk(&GRAY[..2]), None, "no frame");
    for marker in [0xC3, 0xC5, 0xC9, 0xCA, 0xCF] {
        let at = GRAY.windows(2).position(|window| window == [0xFF, FRAME]).unwrap();
        let other = [&GRAY[..at + 1], &[marker], &GRAY[at + 2..]].concat();
        assert_eq!(walk(&other), None, "{marker:x}");
    }
    // A table that no segment defines.
    let none = with(GRAY, SOS, |scan| scan[2] = 0x30);
    assert!(walk(&none).unwrap().damaged);
}
