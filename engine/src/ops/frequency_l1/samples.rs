//! Sample inputs for the op check.

use super::*;
use crate::checks::{OpInfo, Sample, SampleGenerator, Values};

/// The operations of this folder and their samples.
pub(in crate::ops) const INFO: OpInfo = OpInfo {
    name: "frequency_l1",
    operations: &[
        ("frequency_l1", |c| sample(c, FrequencyNorm::Stacked)),
        ("frequency_l1", |c| sample(c, FrequencyNorm::Modulus)),
    ],
};

/// Images whose spectra differ everywhere: the distance has kinks where they meet, and finite
/// differences must not step over one. Imaginary parts that are zero by symmetry stay so, and do
/// not count.
fn sample(c: &mut SampleGenerator, norm: FrequencyNorm) -> Sample {
    let channels = c.size(1..=2);
    let shape = c.map_shape(channels, 1, 6);
    let inputs = loop {
        let inputs = vec![c.tensor(&shape, Values::Normal), c.tensor(&shape, Values::Normal)];
        if c.is_large() || keeps_away_from_kinks(&inputs[0], &inputs[1]) {
            break inputs;
        }
    };
    Sample::new(format!("{norm:?}"), inputs, move |x| x[0].frequency_l1(&x[1], norm))
}

fn keeps_away_from_kinks(x: &Tensor, target: &Tensor) -> bool {
    const STRUCTURAL: f64 = 1e-9;
    const MARGIN: f64 = 0.02;
    let spectrum = x
        .sub(target)
        .and_then(|difference| difference.rfft2())
        .and_then(|spectrum| spectrum.to_f64_vec());
    let away = |v: &[f64]| {
        let [re, im] = [v[0].abs(), v[1].abs()];
        re > MARGIN && !(STRUCTURAL..MARGIN).contains(&im) && re.hypot(im) > 10.0 * MARGIN
    };
    spectrum.is_ok_and(|spectrum| spectrum.chunks(2).all(away))
}
