//! Reads through a JPEG file's scans without making pixels, to learn whether the picture is whole.
//!
//! Decoders fill missing parts with gray and shift the parts after a damaged byte, without a word.
//! The scans themselves tell: each has as many codes as the picture has blocks, no more and no
//! less.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::bits::{Bits, HuffmanTable, Stop};
use super::blocks::{SpectralBand, progressive, sequential};
use crate::image::segments::{DHT, DRI, EOI, SOS, Segment, is_frame, segment_at};

/// The state of a JPEG file's picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Walk {
    /// The part of the picture's rows that is there, 0 to 1.
    pub rows: f64,
    /// Whether the scans are complete, as far as the rows go.
    pub damaged: bool,
    /// Whether some of the fine detail of a progressive file is missing.
    pub coarse: bool,
    /// Whether the file has an end.
    pub ended: bool,
    /// Where the first scan starts that is cut short, if that is one of fine detail.
    pub cut: Option<usize>,
}

/// Walks through a file whose pixels are coded sequentially or progressively with Huffman codes;
/// `None` for others.
pub(super) fn walk(bytes: &[u8]) -> Option<Walk> {
    let mut walker = Walker::default();
    let mut walk = Walk { rows: 1.0, damaged: false, coarse: false, ended: false, cut: None };
    let mut at = 0;
    while let Some(segment) = segment_at(bytes, at) {
        let start = at;
        at = segment.end;
        match segment.marker {
            EOI => {
                walk.ended = true;
                break;
            }
            DHT => walker.read_tables(segment.contents)?,
            DRI => {
                walker.interval =
                    usize::from(u16::from_be_bytes(segment.contents.get(..2)?.try_into().ok()?))
            }
            SOS => {
                let scan = walker.scan(&segment)?;
                let (end, result) = walker.read_scan(&scan, bytes, segment.end);
                at = end;
                if let Err((stop, rows)) = result {
                    // The first scan of a progressive file has the averages of all blocks.
                    match (stop, scan.band.first > 0 || scan.band.high > 0) {
                        (Stop::Damage, _) => walk.damaged = true,
                        (Stop::End, true) => {
                            walk.coarse = true;
                            walk.cut.get_or_insert(start);
                        }
                        (Stop::End, false) => walk.rows = walk.rows.min(rows),
                    }
                }
            }
            0xC0..=0xC2 => walker.read_frame(&segment)?,
            marker if is_frame(marker) => return None,
            _ => {}
        }
    }
    if walker.components.is_empty() {
        return None;
    }
    // A component that no scan has, or coefficients that were never refined to the last bit.
    if walker.components.iter().any(|component| !component.seen) {
        walk.rows = 0.0;
    }
    walk.coarse |= walker.progressive && walker.components.iter().any(|c| c.unrefined());
    Some(walk)
}

#[derive(Default)]
struct Walker {
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    /// By class (DC, AC) and number.
    tables: [[Option<HuffmanTable>; 4]; 2],
    /// MCUs between restart markers; 0 for none.
    interval: usize,
}

struct Component {
    id: u8,
    horizontal: usize,
    vertical: usize,
    /// For each block of a progressive picture, which coefficients are not 0.
    nonzero: Vec<u64>,
    /// For each coefficient, the lowest bit that is known; 16 for none.
    low: [u8; 64],
    seen: bool,
}

impl Component {
    fn unrefined(&self) -> bool {
        self.low.iter().any(|&low| low != 0)
    }
}

struct Scan {
    /// Indices of components, with their DC and AC tables.
    parts: Vec<(usize, usize, usize)>,
    band: SpectralBand,
    low: u8,
}

/// Why and after which part of its rows a scan ended.
type Ended = (Stop, f64);

impl Walker {
    fn read_tables(&mut self, mut contents: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = contents.split_first() {
            let counts: &[u8; 16] = rest.get(..16)?.try_into().ok()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum::<usize>();
            let symbols = rest.get(16..16 + total)?;
            let class = self.tables.get_mut(usize::from(head >> 4))?;
            *class.get_mut(usize::from(head & 15))? = Some(HuffmanTable::new(counts, symbols));
            contents = &rest[16 + total..];
        }
        Some(())
    }

    fn read_frame(&mut self, segment: &Segment<'_>) -> Option<()> {
        let &[8, h1, h0, w1, w0, _, ref parts @ ..] = segment.contents else { return None };
        (self.width, self.height) =
            (u16::from_be_bytes([w1, w0]).into(), u16::from_be_bytes([h1, h0]).into());
        self.progressive = segment.marker == 0xC2;
        self.components = parts
            .chunks_exact(3)
            .map(|part| Component {
                id: part[0],
                horizontal: usize::from(part[1] >> 4).clamp(1, 4),
                vertical: usize::from(part[1] & 15).clamp(1, 4),
                nonzero: Vec::new(),
                low: [16; 64],
                seen: false,
            })
            .collect();
        if self.progressive {
            for index in 0..self.components.len() {
                let (columns, rows) = self.blocks(index);
                self.components[index].nonzero = vec![0; columns * rows];
            }
        }
        Some(())
    }

    /// Columns and rows of a component's blocks, without those that pad the last MCU.
    fn blocks(&self, index: usize) -> (usize, usize) {
        let (h, v) = self.largest_factors();
        let component = &self.components[index];
        let blocks =
            |side: usize, factor: usize, largest: usize| (side * factor).div_ceil(8 * largest);
        (blocks(self.width, component.horizontal, h), blocks(self.height, component.vertical, v))
    }

    /// Columns and rows of MCUs.
    fn mcus(&self) -> (usize, usize) {
        let (h, v) = self.largest_factors();
        (self.width.div_ceil(8 * h), self.height.div_ceil(8 * v))
    }

    fn largest_factors(&self) -> (usize, usize) {
        let largest =
            |factor: fn(&Component) -> usize| self.components.iter().map(factor).max().unwrap_or(1);
        (largest(|c| c.horizontal), largest(|c| c.vertical))
    }

    fn scan(&self, segment: &Segment<'_>) -> Option<Scan> {
        let (&count, rest) = segment.contents.split_first()?;
        let parts = rest.get(..2 * usize::from(count))?;
        let &[first, last, bits] = rest.get(parts.len()..parts.len() + 3)? else { return None };
        let part = |part: &[u8]| {
            let index = self.components.iter().position(|component| component.id == part[0])?;
            Some((index, usize::from(part[1] >> 4) & 3, usize::from(part[1] & 3)))
        };
        let parts: Option<Vec<_>> = parts.chunks_exact(2).map(part).collect();
        let (band, low) = match self.progressive {
            true => (
                SpectralBand { first: first.into(), last: last.into(), high: bits >> 4 },
                bits & 15,
            ),
            false => (SpectralBand { first: 0, last: 63, high: 0 }, 0),
        };
        let scan = Scan { parts: parts?, band, low };
        let is_band = band.first <= band.last && band.last < 64;
        let is_known = match (scan.parts.len(), self.progressive) {
            (0, _) => false,
            (1, _) | (_, false) => true,
            _ => band.last == 0,
        };
        (is_band && is_known).then_some(scan)
    }

    /// Reads a scan that starts at `at`. Returns where the marker behind it is.
    fn read_scan(&mut self, scan: &Scan, bytes: &[u8], at: usize) -> (usize, Result<(), Ended>) {
        let alone = scan.parts.len() == 1;
        let (columns, rows) = if alone { self.blocks(scan.parts[0].0) } else { self.mcus() };
        for &(index, ..) in &scan.parts {
            self.components[index].seen = true;
        }
        let total = columns * rows;
        let interval = if self.interval == 0 { total.max(1) } else { self.interval };
        let (mut at, mut first, mut damaged) = (at, 0, false);
        loop {
            let last = (first + interval).min(total);
            let mut bits = Bits::new(bytes, at);
            let result = self.read_interval(scan, &mut bits, first..last, alone);
            let (end, left) = bits.finish();
            damaged |= left > 0 || result.is_err();
            // Behind a damaged interval, its marker's number tells which one follows.
            let next = restart(bytes, end).map(|number| {
                let done = first / interval;
                let lost = (number + 8 - done % 8) % 8;
                (lost, (done + 1 + lost) * interval)
            });
            match (result, next) {
                (_, Some((lost, next))) if next < total => {
                    damaged |= lost > 0;
                    (at, first) = (end + 2, next);
                }
                (Err((stop, mcu)), _) => {
                    return (end, Err((stop, (mcu / columns) as f64 / rows as f64)));
                }
                (Ok(()), _) if last < total => {
                    return (end, Err((Stop::End, (last / columns) as f64 / rows as f64)));
                }
                (Ok(()), _) => {
                    for &(index, ..) in &scan.parts {
                        let known = &mut self.components[index].low;
                        known[scan.band.first..=scan.band.last].fill(scan.low);
                    }
                    let result = if damaged { Err((Stop::Damage, 1.0)) } else { Ok(()) };
                    return (end, result);
                }
            }
        }
    }

    /// Reads some MCUs of a scan; where it fails, with the number of the MCU.
    fn read_interval(
        &mut self,
        scan: &Scan,
        bits: &mut Bits<'_>,
        mcus: Range<usize>,
        alone: bool,
    ) -> Result<(), (Stop, usize)> {
        let (mut run, mut none) = (0, 0);
        for mcu in mcus {
            for &(index, dc, ac) in &scan.parts {
                let component = &mut self.components[index];
                let (h, v) =
                    if alone { (1, 1) } else { (component.horizontal, component.vertical) };
                for _ in 0..h * v {
                    let tables = [&self.tables[0][dc], &self.tables[1][ac]];
                    let result = match self.progressive {
                        false => sequential(tables, bits),
                        true => {
                            // Only scans of one component have more than averages.
                            let nonzero = component.nonzero.get_mut(mcu).unwrap_or(&mut none);
                            progressive(scan.band, tables, bits, nonzero, &mut run)
                        }
                    };
                    result.map_err(|stop| (stop, mcu))?;
                }
            }
        }
        Ok(())
    }
}

/// The number of the restart marker at `at`, 0 to 7, if there is one.
fn restart(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1) {
        Some(&marker @ 0xD0..=0xD7) => Some(usize::from(marker - 0xD0)),
        _ => None,
    }
}
