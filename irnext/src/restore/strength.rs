//! How much of a restoration is applied.

use crate::image::{Pixels, Rows};

/// Mixes row `y` of a result, `after`, with that of the picture `before` it: 0 gives that picture,
/// 1 leaves `after` as it is, and more than 1 goes further in the same direction.
///
/// sRGB values are mixed, not light. The network's last step adds a correction to the sRGB values
/// of its input, so this scales the correction. Mixed as light, haze at one half looks nearer to
/// the photograph, and at 1.5 dark parts end at black: in the sample of the Colosseum a third of
/// the values, against a twenty-fifth so, and where rain was removed there are black streaks.
pub(crate) fn mix(before: &Pixels, y: usize, after: &mut [f32], strength: f32) {
    // To the bit, and without reading the row.
    if strength == 1.0 {
        return;
    }
    for (after, before) in after.iter_mut().zip(&*before.row(y)) {
        *after = (before + strength * (*after - before)).clamp(0.0, 1.0);
    }
}
