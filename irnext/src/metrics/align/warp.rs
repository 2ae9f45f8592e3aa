//! Homographies, and images read between their pixels.

/// The reason why images without common pixels cannot be aligned.
pub(super) const NO_OVERLAP: &str = "they do not overlap";

/// A projective map of the plane, its 3x3 matrix row by row, scaled so that the last entry is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homography(pub [f64; 9]);

impl Homography {
    /// The map that moves nothing.
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);

    /// The image of the point (`x`, `y`).
    pub fn apply(&self, x: f64, y: f64) -> (f64, f64) {
        let [row_x, row_y, row_z] =
            [0, 3, 6].map(|i| self.0[i] * x + self.0[i + 1] * y + self.0[i + 2]);
        (row_x / row_z, row_y / row_z)
    }
}

/// An image of three values per pixel, read at any place. Pixel centers are the whole numbers.
pub(super) struct Raster {
    pub width: usize,
    pub height: usize,
    /// `height * width` pixels in reading order.
    pub pixels: Vec<[f64; 3]>,
}

impl Raster {
    /// Whether the pixel nearest to a position lies in the image.
    pub fn covers(&self, (x, y): (f64, f64)) -> bool {
        x >= -0.5 && y >= -0.5 && x < self.width as f64 - 0.5 && y < self.height as f64 - 0.5
    }

    /// The bilinear mean of the four pixels around a place; the outside of the image is 0.
    pub fn linear(&self, (x, y): (f64, f64)) -> [f64; 3] {
        let ((x, right), (y, down)) = (split(x), split(y));
        let (width, height) = (self.width as i64, self.height as i64);
        let [p, q, r, s] = if x >= 0 && y >= 0 && x + 1 < width && y + 1 < height {
            let first = (y * width + x) as usize;
            let (upper, lower) = (&self.pixels[first..], &self.pixels[first + self.width..]);
            [upper[0], upper[1], lower[0], lower[1]]
        } else {
            [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| {
                let inside = (0..width).contains(&x) && (0..height).contains(&y);
                if inside { self.pixels[(y * width + x) as usize] } else { [0.0; 3] }
            })
        };
        let (left, up) = (1.0 - right, 1.0 - down);
        std::array::from_fn(|c| {
            up * (left * p[c] + right * q[c]) + down * (left * r[c] + right * s[c])
        })
    }

    /// The bicubic mean (Keys, a = -3/4) of the sixteen pixels around a place; the outside mirrors
    /// the image, its border pixels repeated.
    pub fn cubic(&self, (x, y): (f64, f64)) -> [f64; 3] {
        let ((x, right), (y, down)) = (split(x), split(y));
        let columns = [-1, 0, 1, 2].map(|i| mirror(x + i, self.width));
        let mut sum = [0.0; 3];
        for (i, weight_y) in (-1..).zip(cubic_weights(down)) {
            let row = mirror(y + i, self.height) * self.width;
            for (column, weight_x) in columns.iter().zip(cubic_weights(right)) {
                let pixel = self.pixels[row + column];
                for c in 0..3 {
                    sum[c] += weight_y * weight_x * pixel[c];
                }
            }
        }
        sum
    }
}

/// The pixel at or before a coordinate and the distance from it, in whole 32nds of a pixel: OpenCV
/// 4 rounds to these, to the even one of two that are as near.
fn split(coordinate: f64) -> (i64, f64) {
    // Numbers of this size have no fraction: adding one rounds, at once and without a call.
    const ROUND: f64 = 3.0 * (1u64 << 51) as f64;
    let steps = (coordinate * 32.0 + ROUND - ROUND) as i64;
    (steps >> 5, (steps & 31) as f64 / 32.0)
}

/// The weights of the pixels at -1, 0, 1 and 2 for a place between 0 and 1.
fn cubic_weights(place: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |d: f64| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    [far(1.0 + place), near(place), near(1.0 - place), far(2.0 - place)]
}

/// Where `index` falls when 0..`len` is continued by its mirror images: … 1 0 0 1 2 2 1 … for `len`
/// 3.
fn mirror(index: i64, len: usize) -> usize {
    let place = index.rem_euclid(2 * len as i64) as usize;
    place.min(2 * len - 1 - place)
}
