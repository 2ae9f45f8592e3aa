//! Parts of a picture in linear light, each with its own blur, laid over each other.

use crate::image::{Image, Plane};

/// The exponent between sRGB values and light, as the makers of the GoPro set took it.
pub(super) const LIGHT: f32 = 2.2;
/// The exponent between sRGB values and themselves.
pub(super) const VALUES: f32 = 1.0;

/// A part of a picture: red, green, blue light times coverage, and coverage, for each pixel in
/// reading order.
#[derive(Clone)]
pub(super) struct Overlay {
    width: usize,
    height: usize,
    gamma: f32,
    data: Vec<[f32; 4]>,
}

/// A position of the camera: the picture moved by (`x`, `y`) pixels and turned by `angle` radians
/// about its middle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pose {
    pub x: f32,
    pub y: f32,
    pub angle: f32,
}

/// The opening of a lens, which is the shape of a bright point out of focus. All have the area of
/// the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Opening {
    Disk,
    /// Six blades, with a corner at the top.
    Hexagon,
    /// Six blades, with an edge at the top.
    FlatHexagon,
}

impl Overlay {
    /// The whole of `image`. Its values to the power of `gamma`, [`LIGHT`] or [`VALUES`], are added
    /// where layers mix.
    pub fn of(image: &Image, gamma: f32) -> Self {
        let light = |v: f32| v.max(0.0).powf(gamma);
        Self {
            width: image.width,
            height: image.height,
            gamma,
            data: image.pixels().map(|[r, g, b]| [light(r), light(g), light(b), 1.0]).collect(),
        }
    }

    /// An empty layer of the size of `self`.
    pub fn empty(&self) -> Self {
        Self { data: vec![[0.0; 4]; self.data.len()], ..*self }
    }

    /// The layer multiplied by `coverage`, 0 to 1.
    pub fn cut(&self, coverage: &Plane) -> Self {
        let pairs = self.data.iter().zip(&coverage.data);
        Self { data: pairs.map(|(pixel, &c)| pixel.map(|v| v * c)).collect(), ..*self }
    }

    /// Lays `front` over this layer.
    pub fn cover_with(&mut self, front: &Self) {
        for (back, front) in self.data.iter_mut().zip(&front.data) {
            for (back, value) in back.iter_mut().zip(front) {
                *back = *value + *back * (1.0 - front[3]);
            }
        }
    }

    /// The picture. Light that no layer covers (uncovered by a blurred edge, and the border of the
    /// image) is taken to be like the light around it; where there is none at all the picture is
    /// black.
    pub fn image(&self) -> Image {
        let data = self.data.iter().flat_map(|&[r, g, b, coverage]| {
            let scale = 1.0 / coverage.max(1e-6);
            [r, g, b].map(|v| (v * scale).max(0.0).powf(1.0 / self.gamma))
        });
        Image { width: self.width, height: self.height, data: data.collect() }
    }

    /// Spreads every point over the shape of `opening` with the area of a disk of `radius` pixels:
    /// the image of a point out of focus. Light from outside the image is missing, in color and
    /// coverage alike.
    pub fn defocus(&self, opening: Opening, radius: f32) -> Self {
        if radius <= 0.0 {
            return self.clone();
        }
        let spans = opening.rows(radius);
        let area: f32 = spans.iter().map(|half| 2.0 * half).sum();
        let reach = spans.len() / 2;
        let sums = self.row_sums();
        let mut out = self.empty();
        for (y, out_row) in out.data.chunks_exact_mut(self.width).enumerate() {
            for (k, &half) in spans.iter().enumerate() {
                let Some(row) = (y + k).checked_sub(reach).filter(|&row| row < self.height) else {
                    continue;
                };
                let row = &sums[row * (self.width + 1)..][..=self.width];
                // A layer is often only a part of the picture.
                if row[self.width][3] > 0.0 {
                    add_spans(out_row, row, half, 1.0 / area);
                }
            }
        }
        out
    }

    /// For each row, the sums of its first 0, 1, ... pixels.
    fn row_sums(&self) -> Vec<[f64; 4]> {
        let mut sums = Vec::with_capacity((self.width + 1) * self.height);
        for row in self.data.chunks_exact(self.width) {
            let mut sum = [0.0; 4];
            sums.push(sum);
            for pixel in row {
                for (sum, &value) in sum.iter_mut().zip(pixel) {
                    *sum += f64::from(value);
                }
                sums.push(sum);
            }
        }
        sums
    }

    /// The mean of the layer over `poses`: what an open shutter sees of it while the camera moves.
    /// Beyond its border the layer goes on as at the border.
    pub fn expose(&self, poses: &[Pose]) -> Self {
        let mut out = self.empty();
        let padded = self.repeat_edge();
        let weight = 1.0 / poses.len().max(1) as f32;
        let [right, bottom] = [self.width, self.height].map(|side| side as f32 - 1.0);
        let (cx, cy) = (right / 2.0, bottom / 2.0);
        for pose in poses {
            let (sin, cos) = pose.angle.sin_cos();
            for (y, row) in out.data.chunks_exact_mut(self.width).enumerate() {
                let dy = y as f32 - cy - pose.y;
                for (x, out) in row.iter_mut().enumerate() {
                    let dx = x as f32 - cx - pose.x;
                    let from_x = (cx + cos * dx + sin * dy).clamp(0.0, right);
                    let from_y = (cy - sin * dx + cos * dy).clamp(0.0, bottom);
                    padded.add_sample(out, from_x, from_y, weight);
                }
            }
        }
        out
    }

    /// Adds `weight` times the layer's value at (`x`, `y`), interpolated between the four pixels
    /// around it.
    fn add_sample(&self, out: &mut [f32; 4], x: f32, y: f32, weight: f32) {
        let (left, top) = (x as i32, y as i32);
        let (fx, fy) = (x - left as f32, y - top as f32);
        let above = &self.data[top as usize * self.width + left as usize..];
        let (Some([a, b]), Some([c, d])) = (above.get(..2), above.get(self.width..self.width + 2))
        else {
            return;
        };
        let [wa, wb] = [(1.0 - fx) * (1.0 - fy) * weight, fx * (1.0 - fy) * weight];
        let [wc, wd] = [(1.0 - fx) * fy * weight, fx * fy * weight];
        for k in 0..4 {
            out[k] += wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k];
        }
    }

    /// The layer with its last column and then its last row repeated once.
    fn repeat_edge(&self) -> Self {
        let row = |y: usize| {
            let row = &self.data[y * self.width..][..self.width];
            row.iter().chain(row.last()).copied()
        };
        let rows = (0..self.height).chain([self.height - 1]);
        Self {
            width: self.width + 1,
            height: self.height + 1,
            data: rows.flat_map(row).collect(),
            ..*self
        }
    }
}

impl Opening {
    /// The shape as rows: from the top one to the bottom one, how far each goes to the left and to
    /// the right of the middle of its middle pixel. Half a pixel is added to the radius, so that a
    /// disk of radius 0 is one pixel.
    fn rows(self, radius: f32) -> Vec<f32> {
        let radius = radius + 0.5;
        // Of a hexagon with the disk's area.
        let corner = radius * (2.0 * std::f32::consts::PI / 27f32.sqrt()).sqrt();
        let top = match self {
            Self::Disk => radius,
            Self::Hexagon => corner,
            Self::FlatHexagon => 0.75f32.sqrt() * corner,
        };
        let reach = (top - 0.5).ceil() as i32;
        let width = |y: f32| match self {
            Self::Disk => (radius * radius - y * y).max(0.0).sqrt(),
            Self::Hexagon => (3f32.sqrt() * (corner - y.abs())).clamp(0.0, 0.75f32.sqrt() * corner),
            Self::FlatHexagon if y.abs() > top => 0.0,
            Self::FlatHexagon => corner - y.abs() / 3f32.sqrt(),
        };
        // The mean over thin slices of the row smooths the outline.
        let half = |y: i32| {
            let slices = (0..8).map(|k| y as f32 + (k as f32 + 0.5) / 8.0 - 0.5);
            slices.map(width).sum::<f32>() / 8.0
        };
        (-reach..=reach).map(half).collect()
    }
}

/// Adds to each pixel of `out` `weight` times the sum of a row from `half` pixels left of the
/// pixel's middle to as many right of it. `sums` are the row's running sums; a pixel at either end
/// counts in part.
fn add_spans(out: &mut [[f32; 4]], sums: &[[f64; 4]], half: f32, weight: f32) {
    let last = sums.len() - 1;
    // The middle of pixel x lies at x + 1/2 on the axis of the running sums.
    let whole = (half + 0.5).floor();
    let part = f64::from(half + 0.5 - whole);
    let whole = whole as usize;
    for (x, out) in out.iter_mut().enumerate() {
        let (right, beyond) = (&sums[(x + whole).min(last)], &sums[(x + whole + 1).min(last)]);
        let left = &sums[(x + 1).saturating_sub(whole)];
        let before = &sums[x.saturating_sub(whole)];
        for k in 0..4 {
            let end = right[k] + part * (beyond[k] - right[k]);
            let start = left[k] - part * (left[k] - before[k]);
            out[k] += weight * (end - start) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(width: usize, height: usize) -> Overlay {
        let middle = (height / 2) * width + width / 2;
        let mut layer = Overlay::of(&Image::new(width, height), LIGHT).empty();
        layer.data[middle] = [1.0; 4];
        layer
    }

    fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance)
    }

    #[test]
    fn a_point_out_of_focus_has_the_shape_of_the_opening() {
        let radius = 9.0;
        // The middle of an edge, and a corner, from the middle of the shape.
        let corner = (radius + 0.5) * 1.0996;
        let edge = corner * 0.75f32.sqrt();
        for (opening, [across, down]) in
            [(Opening::Hexagon, [edge, corner]), (Opening::FlatHexagon, [corner, edge])]
        {
            let blurred = dot(41, 41).defocus(opening, radius);
            let peak = blurred.data[20 * 41 + 20][0];
            let area: f32 = blurred.data.iter().map(|p| p[0] / peak).sum();
            assert!((area / (std::f32::consts::PI * 9.5 * 9.5) - 1.0).abs() < 0.02, "{area}");
            let row: f32 = (20..41).map(|x| blurred.data[20 * 41 + x][0] / peak).sum();
            assert!((row - 0.5 - across).abs() < 0.6, "{opening:?}: {row}, not {across}");
            let column: f32 = (20..41).map(|y| blurred.data[y * 41 + 20][0] / peak).sum();
            assert!((column - 0.5 - down).abs() < 0.6, "{opening:?}: {column}, not {down}");
        }
    }

    #[test]
    fn a_point_out_of_focus_is_a_disk_with_all_its_light() {
        for radius in [0.3, 1.0, 2.5, 7.0] {
            for opening in [Opening::Hexagon, Opening::FlatHexagon] {
                let blurred = dot(31, 31).defocus(opening, radius);
                let total: f32 = blurred.data.iter().map(|p| p[1]).sum();
                assert!((total - 1.0).abs() < 1e-4, "{opening:?} {radius}: {total}");
            }
            let blurred = dot(31, 31).defocus(Opening::Disk, radius);
            let total: f32 = blurred.data.iter().map(|p| p[1]).sum();
            assert!((total - 1.0).abs() < 1e-4, "{radius}: {total}");
            let inside = 1.0 / (std::f32::consts::PI * (radius + 0.5).powi(2));
            for (i, p) in blurred.data.iter().enumerate() {
                let (x, y) = ((i % 31) as f32 - 15.0, (i / 31) as f32 - 15.0);
                let distance = x.hypot(y);
                if distance < radius - 0.5 {
                    assert!((p[0] / inside - 1.0).abs() < 0.1, "{radius} at {distance}");
                } else if distance > radius + 1.5 {
                    assert!(p[0].abs() < 1e-6, "{radius} at {distance}");
                }
            }
        }
    }

    #[test]
    fn blur_leaves_a_flat_picture_flat_up_to_its_border() {
        let flat = Image::from_fn(20, 9, |_, _| [0.25, 0.5, 0.75]);
        let layer = Overlay::of(&flat, LIGHT);
        assert!(close(&layer.defocus(Opening::Disk, 4.3).image().data, &flat.data, 1e-4));
        let poses = [(3.5, -2.0, 0.1), (0.0, 0.25, 0.0)].map(|(x, y, angle)| Pose { x, y, angle });
        assert!(close(&layer.expose(&poses).image().data, &flat.data, 1e-4));
    }

    #[test]
    fn a_pose_moves_and_turns_the_picture() {
        let moved = dot(9, 9).expose(&[Pose { x: 2.0, y: -1.0, angle: 0.0 }]);
        assert!((moved.data[3 * 9 + 6][0] - 1.0).abs() < 1e-6);
        // A quarter turn of a point right of the middle takes it below (y grows downwards).
        let mut side = dot(9, 9).empty();
        side.data[4 * 9 + 7] = [1.0; 4];
        let turned = side.expose(&[Pose { x: 0.0, y: 0.0, angle: std::f32::consts::FRAC_PI_2 }]);
        assert!((turned.data[7 * 9 + 4][0] - 1.0).abs() < 1e-4);
    }

    #[test]
    fn nearer_objects_hide_farther_ones() {
        let red = Overlay::of(&Image::from_fn(4, 1, |_, _| [1.0, 0.0, 0.0]), LIGHT);
        let green = Overlay::of(&Image::from_fn(4, 1, |_, _| [0.0, 1.0, 0.0]), LIGHT);
        let coverage = Plane { width: 4, height: 1, data: vec![0.0, 1.0, 1.0, 0.0] };
        let mut picture = red;
        picture.cover_with(&green.cut(&coverage));
        let image = picture.image();
        assert_eq!(image.at(0, 0), [1.0, 0.0, 0.0]);
        assert_eq!(image.at(1, 0), [0.0, 1.0, 0.0]);
    }
}
