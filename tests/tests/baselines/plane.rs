//! One value per pixel, and the filters that the methods are made of.

use irnext::image::Image;

/// `width * height` values in reading order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<f32>,
}

impl Plane {
    /// The plane of `f(pixel)`.
    pub fn of(image: &Image, f: impl Fn([f32; 3]) -> f32) -> Self {
        Self { width: image.width(), height: image.height(), data: image.pixels().map(f).collect() }
    }

    /// The value at a place; outside, that of the nearest pixel inside.
    pub fn at(&self, x: isize, y: isize) -> f32 {
        let [x, y] = [(x, self.width), (y, self.height)]
            .map(|(v, side)| v.clamp(0, side as isize - 1) as usize);
        self.data[y * self.width + x]
    }

    /// The plane of `f(a, b)`, pixel by pixel.
    pub fn zip(&self, other: &Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        Self { data, ..*self }
    }

    /// For each pixel `f` of the window that reaches `across` pixels to either side and `down` up
    /// and down.
    pub fn windows(
        &self,
        across: usize,
        down: usize,
        mut f: impl FnMut(&mut Vec<f32>) -> f32,
    ) -> Self {
        let (across, down) = (across as isize, down as isize);
        let mut window = Vec::new();
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..self.height as isize {
            for x in 0..self.width as isize {
                window.clear();
                for v in y - down..=y + down {
                    window.extend((x - across..=x + across).map(|u| self.at(u, v)));
                }
                data.push(f(&mut window));
            }
        }
        Self { data, ..*self }
    }

    /// The least value in each square of `2 * radius + 1` pixels a side.
    pub fn erode(&self, radius: usize) -> Self {
        let least = |window: &mut Vec<f32>| window.iter().copied().fold(f32::INFINITY, f32::min);
        self.windows(radius, 0, least).windows(0, radius, least)
    }

    /// The greatest.
    pub fn dilate(&self, radius: usize) -> Self {
        let negative = Self { data: self.data.iter().map(|v| -v).collect(), ..*self }.erode(radius);
        Self { data: negative.data.iter().map(|v| -v).collect(), ..negative }
    }

    /// The median of each window.
    pub fn median(&self, across: usize, down: usize) -> Self {
        self.windows(across, down, |window| {
            let middle = window.len() / 2;
            *window.select_nth_unstable_by(middle, f32::total_cmp).1
        })
    }

    /// The mean of each square of `2 * radius + 1` pixels a side, by running sums.
    pub fn mean(&self, radius: usize) -> Self {
        self.row_means(radius).transposed().row_means(radius).transposed()
    }

    fn row_means(&self, radius: usize) -> Self {
        let mut out = Vec::with_capacity(self.data.len());
        for row in self.data.chunks_exact(self.width) {
            let mut sums = vec![0.0f64];
            row.iter().for_each(|&v| sums.push(sums[sums.len() - 1] + f64::from(v)));
            out.extend((0..self.width).map(|x| {
                let (from, to) = (x.saturating_sub(radius), (x + radius + 1).min(self.width));
                ((sums[to] - sums[from]) / (to - from) as f64) as f32
            }));
        }
        Self { data: out, ..*self }
    }

    fn transposed(&self) -> Self {
        let place = |i: usize| (i % self.height) * self.width + i / self.height;
        Self {
            width: self.height,
            height: self.width,
            data: (0..self.data.len()).map(|i| self.data[place(i)]).collect(),
        }
    }

    /// The guided filter (He, Sun, Tang: "Guided image filtering", ECCV 2010): in each window the
    /// best straight-line function of the guide.
    pub fn guided(&self, guide: &Self, radius: usize, epsilon: f32) -> Self {
        let times = |a: &Self, b: &Self| a.zip(b, |a, b| a * b);
        let (mean_guide, mean) = (guide.mean(radius), self.mean(radius));
        let variance =
            times(guide, guide).mean(radius).zip(&times(&mean_guide, &mean_guide), |a, b| a - b);
        let covariance =
            times(guide, self).mean(radius).zip(&times(&mean_guide, &mean), |a, b| a - b);
        let slope =
            covariance.zip(&variance, |covariance, variance| covariance / (variance + epsilon));
        let offset = mean.zip(&times(&slope, &mean_guide), |a, b| a - b);
        times(&slope.mean(radius), guide).zip(&offset.mean(radius), |a, b| a + b)
    }
}

/// The image whose channels are `f` of those of `image`.
pub fn by_channel(image: &Image, mut f: impl FnMut(&Plane) -> Plane) -> Image {
    let channels = [0, 1, 2].map(|c| f(&Plane::of(image, |pixel| pixel[c])));
    let at = |x: usize, y: usize| [0, 1, 2].map(|c: usize| channels[c].data[y * image.width() + x]);
    Image::build(image.width(), image.height(), at).unwrap().clamp()
}
