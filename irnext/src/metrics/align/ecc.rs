//! The homography of the largest enhanced correlation coefficient, by Gauss-Newton steps.
//!
//! Each step is a least-squares problem in the Jacobian G, one row per pixel and one column per
//! parameter. It needs only sums over pixels of products of G's columns, of the image, of the
//! template and of 1, and one pass over the template computes them all: means are subtracted
//! afterward.

use rayon::prelude::*;

use super::warp::{Homography, NO_OVERLAP, Raster};

/// The steps that the benchmarks' script takes at most.
const STEPS: usize = 100;
/// A step that moves no corner by this many pixels is the last one. The script takes further steps;
/// but since positions are rounded to 1/32 of a pixel, those only move back and forth by up to that
/// much.
const ENOUGH: f64 = 1e-3;

/// The homography from the pixels of `template` to their positions in `image`, or the reason why
/// there is none. Both are gray, `height` rows of `width` values.
pub(super) fn maximize(
    template: &[f64],
    image: &[f64],
    width: usize,
    height: usize,
) -> Result<Homography, &'static str> {
    let template = smooth(template, width, height);
    let image = with_gradient(&smooth(image, width, height), width, height);
    let mut found = Homography::IDENTITY;
    for _ in 0..STEPS {
        // Rows in parallel, their sums added in order: the same bits for any number of threads.
        let rows: Vec<_> = (0..height)
            .into_par_iter()
            .map(|y| row_products(&template, &image, found, y))
            .collect();
        let before = found;
        for (entry, step) in found.0.iter_mut().zip(step(&total(&rows))?) {
            *entry += step;
        }
        let (right, lower) = (width as f64, height as f64);
        let corners = [(0.0, 0.0), (right, 0.0), (0.0, lower), (right, lower)];
        if corners.iter().all(|&(x, y)| distance(before.apply(x, y), found.apply(x, y)) < ENOUGH) {
            break;
        }
    }
    Ok(found)
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// In a row of pixels y is one number, and these factors make up all columns: [u v w ux vx wx i t
/// m]. Here u, v and w are the image's derivatives with respect to the homography's three entries
/// that are not multiplied by x or y, i is the image, m is 1 in the overlap and 0 elsewhere, and t
/// is the template times m.
const FACTORS: usize = 9;
/// The Jacobian's eight columns and i, t and m.
const COLUMNS: usize = 11;
const IMAGE: usize = 8;
const TEMPLATE: usize = 9;
const MASK: usize = 10;
/// Each column as a factor and the power of y that it is multiplied by.
const COLUMN: [(usize, i32); COLUMNS] =
    [(3, 0), (0, 1), (0, 0), (4, 0), (1, 1), (1, 0), (5, 0), (2, 1), (6, 0), (7, 0), (8, 0)];

/// Sums of the products of every two of the `N`; those below the diagonal are left out in a row's
/// sums.
type Products<const N: usize> = [[f64; N]; N];

/// The products of every two factors, summed over row `y`.
fn row_products(template: &[f64], image: &Raster, at: Homography, y: usize) -> Products<FACTORS> {
    let mut products = [[0.0; FACTORS]; FACTORS];
    let mut image_squares = 0.0;
    let row = &template[y * image.width..][..image.width];
    for (x, t) in row.iter().enumerate() {
        let (x, y) = (x as f64, y as f64);
        let place = at.apply(x, y);
        let m = if image.covers(place) { 1.0 } else { 0.0 };
        let [i, dx, dy] = image.linear(place);
        let denominator = at.0[6] * x + at.0[7] * y + 1.0;
        let (u, v) = (dx / denominator, dy / denominator);
        let w = -(u * place.0 + v * place.1);
        let factors = [u, v, w, u * x, v * x, w * x, i, t * m, m];
        for p in 0..FACTORS {
            for q in p..FACTORS {
                products[p][q] += factors[p] * factors[q];
            }
        }
        image_squares += m * i * i;
    }
    // OpenCV has the image's norm of the overlap alone, but lets the half pixel beyond it, where
    // the image fades into the black outside, take part in the rest. The homography notices, by
    // hundredths of a pixel.
    products[6][6] = image_squares;
    products
}

/// The products of every two columns, summed over all rows.
fn total(rows: &[Products<FACTORS>]) -> Products<COLUMNS> {
    let mut sum = [[0.0; COLUMNS]; COLUMNS];
    for (y, products) in rows.iter().enumerate() {
        for (k, (p, power_p)) in COLUMN.into_iter().enumerate() {
            for (l, (q, power_q)) in COLUMN.into_iter().enumerate() {
                sum[k][l] += products[p.min(q)][p.max(q)] * (y as f64).powi(power_p + power_q);
            }
        }
    }
    sum
}

/// (GᵀG)⁻¹ Gᵀ (λ template − image), or the reason why there is no such step.
fn step(sums: &Products<COLUMNS>) -> Result<[f64; 8], &'static str> {
    if !sums.iter().flatten().all(|sum| sum.is_finite()) {
        return Err("the search for a homography diverges");
    }
    let count = sums[MASK][MASK];
    if count == 0.0 {
        return Err(NO_OVERLAP);
    }
    // The product of a column and of the image or the template less its mean in the overlap.
    let centerd = |k: usize, l: usize| sums[k][l] - sums[k][MASK] * sums[l][MASK] / count;
    if [IMAGE, TEMPLATE].iter().any(|&k| centerd(k, k) <= 1e-14 * sums[k][k]) {
        return Err("one of them has only one color where they overlap");
    }
    let lower = cholesky(sums).ok_or("they have too little structure")?;
    let onto_image = std::array::from_fn(|k| centerd(k, IMAGE));
    let onto_template = std::array::from_fn(|k| centerd(k, TEMPLATE));
    let (from_image, from_template) = (solve(&lower, onto_image), solve(&lower, onto_template));
    let numerator = centerd(IMAGE, IMAGE) - dot(&onto_image, &from_image);
    let denominator = centerd(IMAGE, TEMPLATE) - dot(&onto_template, &from_image);
    if denominator <= 0.0 {
        return Err("they are not correlated");
    }
    let lambda = numerator / denominator;
    Ok(std::array::from_fn(|k| lambda * from_template[k] - from_image[k]))
}

fn dot(a: &[f64; 8], b: &[f64; 8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The lower triangular L of L Lᵀ = GᵀG; none if that is singular.
fn cholesky(sums: &Products<COLUMNS>) -> Option<Products<8>> {
    let mut lower = [[0.0; 8]; 8];
    for i in 0..8 {
        for j in 0..=i {
            let rest = sums[i][j] - dot(&lower[i], &lower[j]);
            if i > j {
                lower[i][j] = rest / lower[j][j];
            } else if rest > 1e-12 * sums[i][i] {
                lower[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(lower)
}

/// The x of L Lᵀ x = `right`.
fn solve(lower: &Products<8>, right: [f64; 8]) -> [f64; 8] {
    let mut x = right;
    for i in 0..8 {
        x[i] = (x[i] - (0..i).map(|j| lower[i][j] * x[j]).sum::<f64>()) / lower[i][i];
    }
    for i in (0..8).rev() {
        x[i] = (x[i] - (i + 1..8).map(|j| lower[j][i] * x[j]).sum::<f64>()) / lower[i][i];
    }
    x
}

/// The image blurred by [1 4 6 4 1] / 16 along rows and columns: OpenCV's Gaussian of five taps.
fn smooth(plane: &[f64], width: usize, height: usize) -> Vec<f64> {
    const TAPS: [f64; 5] = [0.0625, 0.25, 0.375, 0.25, 0.0625];
    let blur = |plane: &[f64], step_x: i64, step_y: i64| -> Vec<f64> {
        let tap = |x: usize, y: usize, i: i64| {
            plane[reflected(x, y, i * step_x, i * step_y, width, height)]
        };
        let pixels = (0..plane.len()).map(|index| (index % width, index / width));
        pixels
            .map(|(x, y)| (-2..).zip(TAPS).map(|(i, weight)| weight * tap(x, y, i)).sum())
            .collect()
    };
    blur(&blur(plane, 1, 0), 0, 1)
}

/// The image with half the difference of each pixel's neighbors in x and in y.
fn with_gradient(plane: &[f64], width: usize, height: usize) -> Raster {
    let pixels = (0..plane.len()).map(|index| {
        let value = |dx, dy| plane[reflected(index % width, index / width, dx, dy, width, height)];
        [plane[index], (value(1, 0) - value(-1, 0)) / 2.0, (value(0, 1) - value(0, -1)) / 2.0]
    });
    Raster { width, height, pixels: pixels.collect() }
}

/// The index of the pixel `dx` to the right of (`x`, `y`) and `dy` below it, the image being
/// continued by reflection about its outermost pixels: … 2 1 0 1 2 1 … along three.
fn reflected(x: usize, y: usize, dx: i64, dy: i64, width: usize, height: usize) -> usize {
    let reflect = |index: i64, len: usize| {
        let period = (2 * len - 2).max(1);
        let place = index.rem_euclid(period as i64) as usize;
        place.min(period - place)
    };
    reflect(y as i64 + dy, height) * width + reflect(x as i64 + dx, width)
}
