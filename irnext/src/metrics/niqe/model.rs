//! The model of clean photographs, and the distance from it.

use super::features::FEATURES;
use nn::weights::WeightFile;
use std::sync::LazyLock;

/// Features of a block, at both sizes.
const ALL: usize = 2 * FEATURES;

/// The distribution of features.
struct Gaussian {
    mean: Vec<f64>,
    /// `ALL` rows of `ALL`.
    covariance: Vec<f64>,
}

/// That of the authors' release, over 125 photographs (`irnext/weights/README.md`).
static CLEAN: LazyLock<Gaussian> = LazyLock::new(|| {
    let bytes = include_bytes!("../../../weights/niqe.safetensors");
    let file = WeightFile::from_bytes("the model of NIQE", bytes).expect("it is built in");
    let numbers = |name: &str| file.tensors[name].to_vec::<f64>().expect("it is in f64");
    // The upper triangle, row by row.
    let mut triangle = numbers("covariance").into_iter();
    let mut covariance = vec![0.0; ALL * ALL];
    for row in 0..ALL {
        for (column, value) in (row..ALL).zip(&mut triangle) {
            covariance[row * ALL + column] = value;
            covariance[column * ALL + row] = value;
        }
    }
    Gaussian { mean: numbers("mean"), covariance }
});

/// The blocks all of whose features exist.
pub(super) fn complete(features: &[Vec<f64>]) -> impl Iterator<Item = &Vec<f64>> {
    features.iter().filter(|block| block.iter().all(|value| value.is_finite()))
}

/// The distance of the features of blocks from those of clean photographs; none if less than two
/// blocks have all features.
pub(super) fn distance(features: &[Vec<f64>]) -> Option<f64> {
    let Gaussian { mean, covariance } = Gaussian::of(features)?;
    let difference = mean.iter().zip(&CLEAN.mean).map(|(a, b)| a - b).collect();
    let both = covariance.iter().zip(&CLEAN.covariance).map(|(a, b)| (a + b) / 2.0).collect();
    Some(mahalanobis(difference, both))
}

impl Gaussian {
    /// The mean of each feature over the blocks where it exists, and the sample covariance over
    /// those where all do, as with MATLAB's `nanmean` and `nancov`.
    fn of(features: &[Vec<f64>]) -> Option<Self> {
        let count = complete(features).count();
        if count < 2 {
            return None;
        }
        let of_existing = |i: usize| mean(features.iter().map(|block| block[i]));
        let center: Vec<f64> =
            (0..ALL).map(|i| mean(complete(features).map(|block| block[i]))).collect();
        let mut covariance = vec![0.0; ALL * ALL];
        for block in complete(features) {
            for (i, row) in covariance.chunks_exact_mut(ALL).enumerate() {
                let share = (block[i] - center[i]) / (count - 1) as f64;
                for (j, sum) in row.iter_mut().enumerate() {
                    *sum += share * (block[j] - center[j]);
                }
            }
        }
        Some(Self { mean: (0..ALL).map(of_existing).collect(), covariance })
    }
}

/// The mean of the values that exist.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let existing = values.filter(|value| value.is_finite());
    let (sum, count) = existing.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// √(xᵀ A⁻¹ x) for a positive definite matrix A: with A = L Lᵀ, the norm of L⁻¹ x. The published
/// code takes a pseudoinverse; as the model's own covariance is positive definite (its least
/// eigenvalue is 7·10⁻⁶, its largest 1.1), so is the mean with any other, and the two are equal.
fn mahalanobis(mut x: Vec<f64>, mut a: Vec<f64>) -> f64 {
    let len = x.len();
    for i in 0..len {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| a[i * len + k] * a[j * len + k]).sum();
            let rest = a[i * len + j] - known;
            a[i * len + j] = if i == j { rest.sqrt() } else { rest / a[j * len + j] };
        }
        let known: f64 = (0..i).map(|k| a[i * len + k] * x[k]).sum();
        x[i] = (x[i] - known) / a[i * len + i];
    }
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_that_of_the_inverse() {
        // A = [[4, 2], [2, 3]] has the inverse [[3, −2], [−2, 4]] / 8; x = (1, 2).
        let found = mahalanobis(vec![1.0, 2.0], vec![4.0, 2.0, 2.0, 3.0]);
        assert!((found - (11.0f64 / 8.0).sqrt()).abs() < 1e-15, "{found}");
    }

    #[test]
    fn the_model_is_positive_definite() {
        assert_eq!((CLEAN.mean.len(), CLEAN.covariance.len()), (ALL, ALL * ALL));
        for i in 0..ALL {
            let unit = (0..ALL).map(|j| f64::from(i == j)).collect();
            assert!(mahalanobis(unit, CLEAN.covariance.clone()) > 0.0);
        }
    }

    #[test]
    fn features_that_do_not_exist_are_left_out_as_in_matlab() {
        let block = |first, second| [vec![first, second], vec![0.0; ALL - 2]].concat();
        let blocks = [block(1.0, 2.0), block(3.0, 6.0), block(8.0, f64::NAN)];
        let Gaussian { mean, covariance } = Gaussian::of(&blocks).unwrap();
        assert_eq!(mean[..2], [4.0, 4.0]);
        assert_eq!([covariance[0], covariance[1], covariance[ALL + 1]], [2.0, 4.0, 8.0]);
        assert!(Gaussian::of(&blocks[1..]).is_none());
    }
}
