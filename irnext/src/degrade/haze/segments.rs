//! The segments of a picture, each of which looks like one object.

use crate::image::Image;

/// A picture divided into connected parts.
pub(super) struct Segments {
    /// The number of each pixel's part, in reading order. Parts are numbered from 0, in the order
    /// of their first pixels.
    pub of: Vec<usize>,
    /// How many parts there are.
    pub count: usize,
}

impl Segments {
    /// Merges neighbors from the most alike to the least (Felzenszwalb, Huttenlocher: "Efficient
    /// graph-based image segmentation", 2004): two parts become one if the step in color between
    /// them is at most the largest step inside either, plus `scale` divided by its pixels. Then
    /// parts of fewer than `least` pixels join a neighbor.
    pub fn new(image: &Image, scale: f32, least: usize) -> Self {
        let edges = edges(image);
        let mut parts = Parts::new(image.width * image.height);
        for &(step, a, b) in &edges {
            let (a, b) = (parts.root(a), parts.root(b));
            let limit = |part: usize| parts.largest_step[part] + scale / parts.size[part] as f32;
            if a != b && step <= limit(a).min(limit(b)) {
                parts.join(a, b, step);
            }
        }
        for &(step, a, b) in &edges {
            let (a, b) = (parts.root(a), parts.root(b));
            if a != b && parts.size[a].min(parts.size[b]) < least {
                parts.join(a, b, step);
            }
        }
        parts.numbered()
    }
}

/// Every two pixels side by side or one above the other, and how far apart their colors are: the
/// least first, of equals the first in reading order.
fn edges(image: &Image) -> Vec<(f32, usize, usize)> {
    let (width, height) = (image.width, image.height);
    let step = |a: usize, b: usize| {
        let pixel = |at: usize| &image.data[3 * at..3 * at + 3];
        pixel(a).iter().zip(pixel(b)).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    let mut edges = Vec::with_capacity(2 * width * height);
    for at in 0..width * height {
        let (x, y) = (at % width, at / width);
        if x + 1 < width {
            edges.push((step(at, at + 1), at, at + 1));
        }
        if y + 1 < height {
            edges.push((step(at, at + width), at, at + width));
        }
    }
    edges.sort_by(|a, b| a.0.total_cmp(&b.0));
    edges
}

/// Pixels that have been joined to parts. A part is known by one of its pixels, its root.
struct Parts {
    /// On the way from each pixel to its root, the next one; a root's is itself.
    parent: Vec<usize>,
    /// Pixels in the part of each root.
    size: Vec<usize>,
    /// The largest of the steps that joined the part of each root.
    largest_step: Vec<f32>,
}

impl Parts {
    /// Each pixel a part of its own.
    fn new(count: usize) -> Self {
        Self { parent: (0..count).collect(), size: vec![1; count], largest_step: vec![0.0; count] }
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parent[at] != at {
            self.parent[at] = self.parent[self.parent[at]];
            at = self.parent[at];
        }
        at
    }

    /// Joins the parts of two roots over a step at least as large as those before it.
    fn join(&mut self, a: usize, b: usize, step: f32) {
        let (from, to) = if self.size[a] < self.size[b] { (a, b) } else { (b, a) };
        self.parent[from] = to;
        self.size[to] += self.size[from];
        self.largest_step[to] = step;
    }

    fn numbered(mut self) -> Segments {
        let mut numbers = vec![usize::MAX; self.parent.len()];
        let mut count = 0;
        let of = (0..self.parent.len())
            .map(|at| {
                let root = self.root(at);
                if numbers[root] == usize::MAX {
                    numbers[root] = count;
                    count += 1;
                }
                numbers[root]
            })
            .collect();
        Segments { of, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_color_are_a_part_each() {
        // A wall, a door in it, a ball before it.
        let color = |x: usize, y: usize| match (x, y) {
            (4..8, 10..20) => [0.5, 0.2, 0.1],
            (14..20, 12..18) => [0.1, 0.6, 0.2],
            _ => [0.8, 0.8, 0.7],
        };
        let segments = Segments::new(&Image::from_fn(24, 20, color), 0.3, 8);
        assert_eq!(segments.count, 3);
        for (at, number) in segments.of.iter().enumerate() {
            let expected = match (at % 24, at / 24) {
                (4..8, 10..20) => 1,
                (14..20, 12..18) => 2,
                _ => 0,
            };
            assert_eq!(*number, expected, "{at}");
        }
    }

    #[test]
    fn slow_changes_are_one_part_and_specks_are_none() {
        let sunset = Image::from_fn(40, 30, |x, y| {
            if (x, y) == (20, 15) { [0.0; 3] } else { [0.3 + y as f32 / 60.0; 3] }
        });
        assert_eq!(Segments::new(&sunset, 3.0, 2).count, 1);
        assert_eq!(Segments::new(&sunset, 3.0, 1).count, 2);
        assert_eq!(Segments::new(&Image::new(0, 0), 0.3, 2).count, 0);
    }
}
