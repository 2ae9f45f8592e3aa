//! The codes of one block of a JPEG scan, read and forgotten.

#[cfg(test)]
mod tests;

use super::bits::{Bits, HuffmanTable, Stop};

/// A block of a sequential scan: the difference of its average, then runs of zeros and the
/// coefficients behind them.
pub(super) fn sequential(
    [dc, ac]: [&Option<HuffmanTable>; 2],
    bits: &mut Bits<'_>,
) -> Result<(), Stop> {
    let (dc, ac) = (dc.as_ref().ok_or(Stop::Damage)?, ac.as_ref().ok_or(Stop::Damage)?);
    first_dc(dc, bits)?;
    let mut k = 1;
    while k < 64 {
        match ac.decode(bits)? {
            0xF0 => k += 16,
            symbol if symbol & 15 == 0 => break,
            symbol => {
                k += 1 + usize::from(symbol >> 4);
                bits.take(u32::from(symbol & 15)).ok_or(Stop::End)?;
            }
        }
    }
    if k > 64 { Err(Stop::Damage) } else { Ok(()) }
}

fn first_dc(table: &HuffmanTable, bits: &mut Bits<'_>) -> Result<(), Stop> {
    match table.decode(bits)? {
        size @ 0..=15 => bits.take(size.into()).ok_or(Stop::End).map(|_| ()),
        _ => Err(Stop::Damage),
    }
}

/// Which coefficients a progressive scan has, and which bit of them it refines; 0 for none.
#[derive(Clone, Copy)]
pub(super) struct SpectralBand {
    pub first: usize,
    pub last: usize,
    pub high: u8,
}

/// A block of a progressive scan (annex G of the standard). `nonzero` has a bit for each
/// coefficient that is not 0; `run` counts the blocks without any further ones.
pub(super) fn progressive(
    band: SpectralBand,
    [dc, ac]: [&Option<HuffmanTable>; 2],
    bits: &mut Bits<'_>,
    nonzero: &mut u64,
    run: &mut u32,
) -> Result<(), Stop> {
    if band.first == 0 {
        return match band.high {
            0 => first_dc(dc.as_ref().ok_or(Stop::Damage)?, bits),
            _ => bits.take(1).ok_or(Stop::End).map(|_| ()),
        };
    }
    let table = ac.as_ref().ok_or(Stop::Damage)?;
    let refines = band.high > 0;
    let mut k = band.first;
    while k <= band.last && *run == 0 {
        let symbol = table.decode(bits)?;
        let (mut zeros, size) = (symbol >> 4, symbol & 15);
        if size == 0 && zeros < 15 {
            *run = (1 << zeros) + bits.take(zeros.into()).ok_or(Stop::End)?;
            break;
        }
        bits.take(if refines { u32::from(size > 0) } else { size.into() }).ok_or(Stop::End)?;
        // Passes the zeros; a scan that refines has a bit for each coefficient on the way that is
        // not 0.
        while k <= band.last {
            if refines && *nonzero >> k & 1 == 1 {
                bits.take(1).ok_or(Stop::End)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            k += 1;
        }
        if k > band.last && (size > 0 || zeros > 0) {
            return Err(Stop::Damage);
        }
        if size > 0 {
            *nonzero |= 1 << k;
        }
        k += 1;
    }
    if *run > 0 {
        *run -= 1;
        if refines {
            let rest = *nonzero >> k & (u64::MAX >> (63 - (band.last - k.min(band.last))));
            let count = if k > band.last { 0 } else { rest.count_ones() };
            for _ in 0..count {
                bits.take(1).ok_or(Stop::End)?;
            }
        }
    }
    Ok(())
}
