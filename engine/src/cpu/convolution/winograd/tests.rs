//! Winograd's convolutions in f32 against direct ones in f64, over thousands of shapes.

use super::*;
use crate::conv::Epilogue;
use crate::cpu::convolution::Map;
use crate::cpu::convolution::direct::{self, Geometry, Stencil};
use crate::{DType, Rng, Tensor};
use proptest::prelude::*;

/// The tolerance of benchdnn for Winograd's algorithm, relative to the output's root mean square.
const TOLERANCE: f64 = 2e-5;

/// The largest difference, in root mean squares of `expected`; NaN if there is one, which is within
/// no tolerance.
fn off(found: &[f32], expected: &[f64]) -> f64 {
    let rms = (expected.iter().map(|y| y * y).sum::<f64>() / expected.len() as f64).sqrt();
    let differences = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.max_by(f64::total_cmp).unwrap_or(0.0) / rms
}

fn normal(shape: [usize; 4], rng: &mut Rng) -> (Vec<f32>, Vec<f64>) {
    let values = Tensor::randn(&shape, DType::F32, rng).unwrap().to_vec::<f32>().unwrap();
    let wide = values.iter().map(|&x| f64::from(x)).collect();
    (values, wide)
}

/// The errors of a convolution of `[n, h, w, c_in]` with a padding: forward, input gradient and
/// weight gradient.
fn check(
    n: usize,
    (h, w): (usize, usize),
    (c_in, c_out): (usize, usize),
    padding: usize,
    seed: u64,
) -> [f64; 3] {
    let mut rng = Rng::new(seed);
    let (out_h, out_w) = (h + 2 * padding - 2, w + 2 * padding - 2);
    let (x32, x64) = normal([n, h, w, c_in], &mut rng);
    let (k32, k64) = normal([9, c_in, c_out, 1], &mut rng);
    let (dy32, dy64) = normal([n, out_h, out_w, c_out], &mut rng);
    let (x32, x64) =
        (Map { data: &x32[..], n, h, w, c: c_in }, Map { data: &x64[..], n, h, w, c: c_in });
    let dy32 = Map { data: &dy32[..], n, h: out_h, w: out_w, c: c_out };
    let dy64 = Map { data: &dy64[..], n, h: out_h, w: out_w, c: c_out };
    let at = |e: usize, i: usize, o: usize| (e * c_in + i) * c_out + o;
    let geometry = Geometry { kernel: (3, 3), stride: 1, padding, dilation: 1 };

    let (mut y, mut expected) = (vec![0f32; dy32.data.len()], vec![0f64; dy32.data.len()]);
    let weights = WinogradWeights::new(1, c_in, c_out, |_, e, i, o| k32[at(e, i, o)]).unwrap();
    convolve(x32, &weights, padding as isize, &mut y, (out_h, out_w), Epilogue::NONE, false)
        .unwrap();
    let stencil = Stencil::forward(geometry);
    let weights =
        direct::DirectWeights::new(&stencil, 1, c_in, c_out, |_, e, i, o| k64[at(e, i, o)])
            .unwrap();
    direct::correlate(
        &stencil,
        x64,
        &weights,
        &mut expected,
        (out_h, out_w),
        Epilogue::NONE,
        false,
    )
    .unwrap();
    let forward = off(&y, &expected);

    let (mut dx, mut expected) = (vec![0f32; x32.data.len()], vec![0f64; x32.data.len()]);
    let weights = WinogradWeights::new(1, c_out, c_in, |_, e, o, i| k32[at(8 - e, i, o)]).unwrap();
    convolve(dy32, &weights, 2 - padding as isize, &mut dx, (h, w), Epilogue::NONE, false).unwrap();
    let adjoint = Stencil::adjoint(geometry);
    let weights =
        direct::DirectWeights::new(&adjoint, 1, c_out, c_in, |_, e, o, i| k64[at(e, i, o)])
            .unwrap();
    direct::correlate(&adjoint, dy64, &weights, &mut expected, (h, w), Epilogue::NONE, false)
        .unwrap();
    let input = off(&dx, &expected);

    let dw = weight_gradient(x32, dy32, padding as isize, None).unwrap();
    let expected = direct::weight_gradient(&stencil, x64, dy64, 1, None).unwrap();
    [forward, input, off(dw.as_slice(), expected.as_slice())]
}

proptest! {
    #![proptest_config(ProptestConfig {
            cases: 2048, failure_persistence: None, ..ProptestConfig::default()
        })]

    // At least 64 numbers in every result, or its root mean square says little of what went into
    // it.
    #[test]
    fn errors_stay_within_the_tolerance(
        n in 1..=2usize, h in 8..=23usize, w in 8..=23usize,
            c_in in 1..=40usize, c_out in 1..=40usize,
        padding in 0..=2usize, seed in any::<u64>(),
    ) {
        prop_assume!(c_in * c_out >= 8);
        let offs = check(n, (h, w), (c_in, c_out), padding, seed);
            for (what, off) in ["y", "dx", "dw"].iter().zip(offs) {
            prop_assert!(off <= TOLERANCE, "{} is off by {:e}", what, off);
        }
    }
}

#[test]
fn winograd_and_direct_agree_at_the_networks_widest_layer() {
    for (size, c_in, c_out) in
        [((64, 64), 32, 32), ((40, 72), 64, 64), ((32, 32), 128, 128), ((32, 32), 256, 128)]
    {
        for off in check(1, size, (c_in, c_out), 1, 7) {
            assert!(off <= TOLERANCE, "{c_in} to {c_out}: off by {off:e}");
        }
    }
}

#[test]
fn the_smallest_maps_are_right() {
    for (h, w) in (1..=9).flat_map(|h| (1..=9).map(move |w| (h, w))) {
        let off = check(1, (h, w), (5, 40), 1, (h * 10 + w) as u64);
        assert!(off.iter().all(|&off| off <= TOLERANCE), "{h}×{w}: {off:?}");
    }
}
