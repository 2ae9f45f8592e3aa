//! The effect of a restoration on a photograph, measured without knowing the truth: how much it
//! changed, the signs of harm, and NIQE before and after.
//!
//! The limits were chosen by results that are known to be good or bad (docs/src/restoring.md).

use crate::image::{Note, Pixels, Plane, Rows};
use crate::metrics::Niqe;
use rayon::prelude::*;
use std::ops::Range;

/// The effect of a restoration. Shares are parts of all pixels, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effect {
    /// The mean change of a value, in units of the range from black to white.
    pub change: f64,
    /// The share of the pixels that turned black: detail in shadows that is lost.
    pub black: f64,
    /// The share of the pixels that turned white: detail in highlights that is lost.
    pub white: f64,
    /// The mean color of the pixels that were gray: the length of (R − G, B − G).
    pub tint: f64,
    /// The mean height of ripples beside edges that had none before.
    pub ringing: f64,
    /// NIQE of the photograph ([`Effect::with_niqe`]); none for a small one, or if not asked for.
    pub niqe_before: Option<f64>,
    /// NIQE of the result.
    pub niqe_after: Option<f64>,
}

/// The pixels of the copy of which NIQE is computed, at most: about those of the photographs that
/// its model was fitted to.
const NIQE_PIXELS: usize = 1 << 20;

/// More than this share of black or white pixels is harm.
const CLIPPED: f64 = 0.03;

/// More tint than this is harm.
const TINTED: f64 = 0.03;

/// More ringing than this is harm.
const RINGING: f64 = 0.02;

/// The largest value of a black pixel, and the distance of a white one from 1.
const CLIP: f32 = 1.5 / 255.0;

/// A pixel that is this far from black or white has not lost its detail.
const DETAIL: f32 = 4.0 / 255.0;

/// The largest difference of the channels of a gray pixel.
const GRAY: f32 = 3.0 / 255.0;

/// The least share of gray pixels of which a tint is said.
const FEW: f64 = 0.02;

impl Effect {
    /// The effect of turning `before` into `after`, of the same size.
    pub fn of(before: &Pixels, after: &Pixels) -> Self {
        let rows = 0..before.height.min(after.height);
        let sums = rows.into_par_iter().map(|y| Sums::of(&before.row(y), &after.row(y)));
        let sums = sums.reduce(Sums::default, Sums::add);
        let pixels = (before.width * before.height).max(1) as f64;
        let gray = sums.gray as f64;
        let tint = match gray >= FEW * pixels && gray > 0.0 {
            true => (sums.red / gray).hypot(sums.blue / gray),
            false => 0.0,
        };
        Self {
            change: sums.change / (3.0 * pixels),
            black: sums.black as f64 / pixels,
            white: sums.white as f64 / pixels,
            tint,
            ringing: ringing(before, after),
            ..Self::default()
        }
    }

    /// The same, with NIQE before and after: that of copies, shrunk by a whole factor to at most a
    /// megapixel. A picture without a score has none here.
    pub fn with_niqe(self, before: &Pixels, after: &Pixels) -> Self {
        let of = |pixels: &Pixels| Niqe::Gray.score(&pixels.at_most(NIQE_PIXELS)).ok();
        Self { niqe_before: of(before), niqe_after: of(after), ..self }
    }

    /// The signs of harm, as notes for people.
    pub fn harm(&self) -> Vec<Note> {
        let percent = |share: f64| (100.0 * share).round() as u8;
        let mut notes = Vec::new();
        if self.black > CLIPPED {
            notes.push(Note::TurnedBlack(percent(self.black)));
        }
        if self.white > CLIPPED {
            notes.push(Note::TurnedWhite(percent(self.white)));
        }
        if self.tint > TINTED {
            notes.push(Note::Tinted);
        }
        if self.ringing > RINGING {
            notes.push(Note::Ringing);
        }
        notes
    }
}

/// What the rows of a picture add to its effect.
#[derive(Clone, Copy, Default)]
struct Sums {
    change: f64,
    black: usize,
    white: usize,
    gray: usize,
    red: f64,
    blue: f64,
}

impl Sums {
    fn of(before: &[f32], after: &[f32]) -> Self {
        let mut sums = Self::default();
        for (before, after) in before.chunks_exact(3).zip(after.chunks_exact(3)) {
            let (low, high) = range(before);
            let (low_after, high_after) = range(after);
            let change = before.iter().zip(after).map(|(a, b)| (a - b).abs()).sum::<f32>();
            sums.change += f64::from(change);
            sums.black += usize::from(high_after <= CLIP && high > DETAIL);
            sums.white += usize::from(low_after >= 1.0 - CLIP && low < 1.0 - DETAIL);
            if high - low <= GRAY {
                sums.gray += 1;
                sums.red += f64::from(after[0] - after[1]);
                sums.blue += f64::from(after[2] - after[1]);
            }
        }
        sums
    }

    fn add(self, other: Self) -> Self {
        Self {
            change: self.change + other.change,
            black: self.black + other.black,
            white: self.white + other.white,
            gray: self.gray + other.gray,
            red: self.red + other.red,
            blue: self.blue + other.blue,
        }
    }
}

/// The least and the largest of the channels.
fn range(pixel: &[f32]) -> (f32, f32) {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]];
    (r.min(g).min(b), r.max(g).max(b))
}

/// The distance from an edge at which ripples are looked for, in pixels.
const REACH: usize = 8;

/// The least step of brightness, over two pixels, that is an edge.
const EDGE: f32 = 0.15;

/// The rows that are looked at in one go, so that only they are held in f32.
const BAND: usize = 128;

/// The mean of the new ripples beside edges, along rows and columns. Those of `before` are taken
/// off, enlarged by as much as the edge was.
fn ringing(before: &Pixels, after: &Pixels) -> f64 {
    let height = before.height.min(after.height);
    let bands = (0..height).into_par_iter().step_by(BAND);
    let bands = bands.map(|first| of_band(before, after, first..(first + BAND).min(height)));
    let (sum, count) = bands.reduce(|| (0.0, 0), add);
    sum / count.max(1) as f64
}

/// The sum of the new ripples beside the edges in these rows, and the number of places looked at.
fn of_band(before: &Pixels, after: &Pixels, rows: Range<usize>) -> (f64, usize) {
    // Ripples beside an edge lie up to here, and are seen by the pixels two away.
    let margin = REACH + 2;
    let (width, height) = (after.width, after.height);
    let (top, bottom) = (rows.start.saturating_sub(margin), (rows.end + margin).min(height));
    let gray = |pixels: &Pixels| Plane::gray(&pixels.part(0, top, width, bottom - top));
    let (before, after) = (gray(before), gray(after));
    let inside = rows.start - top..rows.end - top;
    let line = |start, step, len, edges| {
        let of = |plane| Line { plane, start, step, len };
        of_line(of(&before), of(&after), edges)
    };
    let along = inside.clone().map(|y| line(y * width, 1, width, 0..width));
    let across = (0..width).map(|x| line(x, width, bottom - top, inside.clone()));
    along.chain(across).fold((0.0, 0), add)
}

fn add(a: (f64, usize), b: (f64, usize)) -> (f64, usize) {
    (a.0 + b.0, a.1 + b.1)
}

/// The sum of the new ripples beside the edges of a line that lie in `edges`, and the number of
/// places looked at.
fn of_line(before: Line<'_>, after: Line<'_>, edges: Range<usize>) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    let inside = 2..after.len.saturating_sub(2);
    for edge in edges.filter(|i| inside.contains(i) && after.edge(*i) >= EDGE) {
        let gain = (after.edge(edge) / before.edge(edge).max(1e-3)).clamp(1.0, 4.0);
        let left = (3..=REACH).map(|distance| edge.wrapping_sub(distance));
        let right = (3..=REACH).map(|distance| edge + distance);
        for place in left.chain(right).filter(|place| inside.contains(place)) {
            let new = after.ripple(place) - gain * before.ripple(place);
            sum += f64::from(new.max(0.0));
            count += 1;
        }
    }
    (sum, count)
}

/// A row or a column of a picture.
#[derive(Clone, Copy)]
struct Line<'a> {
    plane: &'a Plane,
    start: usize,
    step: usize,
    len: usize,
}

impl Line<'_> {
    fn at(self, i: usize) -> f32 {
        self.plane.data[self.start + i * self.step]
    }

    /// The step of brightness at `i`, over two pixels.
    fn edge(self, i: usize) -> f32 {
        (self.at(i + 1) - self.at(i - 1)).abs()
    }

    /// The height of the local extremum of brightness at `i`: the smaller of its differences from
    /// the neighbors two pixels away. 0 if it is none.
    fn ripple(self, i: usize) -> f32 {
        let [left, right] = [self.at(i - 2), self.at(i + 2)].map(|other| self.at(i) - other);
        if left * right > 0.0 { left.abs().min(right.abs()) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    fn image(f: impl Fn(usize, usize) -> [f32; 3]) -> Pixels {
        Image::from_fn(64, 48, f).into()
    }

    #[test]
    fn nothing_changes_nothing() {
        let image = image(|x, y| [x as f32 / 64.0, y as f32 / 48.0, 0.5]);
        assert_eq!(Effect::of(&image, &image).harm(), []);
        assert_eq!(Effect::of(&image, &image), Effect { ..Effect::default() });
    }

    #[test]
    fn lost_shadows_and_highlights_are_counted() {
        let before = image(|x, _| [0.1 + 0.8 * x as f32 / 64.0; 3]);
        let after = image(|x, _| match x {
            0..16 => [0.0; 3],
            60.. => [1.0; 3],
            _ => [0.5; 3],
        });
        let effect = Effect::of(&before, &after);
        assert_eq!((effect.black, effect.white), (0.25, 0.0625));
        assert_eq!(effect.harm(), [Note::TurnedBlack(25), Note::TurnedWhite(6)]);
        // A pixel that is black already loses nothing.
        assert_eq!(Effect::of(&after, &after).black, 0.0);
        let darker = image(|_, _| [2.0 / 255.0, 0.0, 0.0]);
        assert_eq!(Effect::of(&darker, &image(|_, _| [0.0; 3])).black, 0.0);
    }

    #[test]
    fn a_tint_is_that_of_gray_pixels() {
        let before = image(|x, _| if x < 32 { [0.5; 3] } else { [0.9, 0.2, 0.1] });
        let after = image(|x, _| if x < 32 { [0.5, 0.5, 0.62] } else { [1.0, 0.1, 0.0] });
        let effect = Effect::of(&before, &after);
        assert!((effect.tint - 0.12).abs() < 1e-6, "{effect:?}");
        assert_eq!(effect.harm(), [Note::Tinted]);
        // Without gray pixels there is nothing to tell it by.
        let colored = image(|_, _| [0.9, 0.2, 0.1]);
        assert_eq!(Effect::of(&colored, &after).tint, 0.0);
    }

    #[test]
    fn ripples_beside_an_edge_are_ringing() {
        let step = |x: usize| if x < 32 { 0.25 } else { 0.75 };
        let before = image(|x, _| [step(x); 3]);
        let rippled = |height: f32| {
            image(|x, _| {
                let away = x as f32 - 31.5;
                let ripple = height * (away * 1.3).sin() * (-away.abs() / 8.0).exp();
                [step(x) + ripple; 3]
            })
        };
        let of = |height: f32| Effect::of(&before, &rippled(height));
        assert_eq!(of(0.0).ringing, 0.0);
        assert!(of(0.05).ringing < of(0.1).ringing);
        assert_eq!(of(0.15).harm(), [Note::Ringing]);
        // Those that were there before are none, nor is a slope.
        assert_eq!(Effect::of(&rippled(0.15), &rippled(0.15)).ringing, 0.0);
        let sloping = image(|x, _| [step(x) + 0.003 * x as f32; 3]);
        assert_eq!(Effect::of(&before, &sloping).ringing, 0.0);
        // A sharper edge alone is none.
        let soft = image(|x, _| [0.25 + 0.5 * ((x as f32 - 28.0) / 8.0).clamp(0.0, 1.0); 3]);
        assert_eq!(Effect::of(&soft, &before).ringing, 0.0);
    }

    #[test]
    fn niqe_is_that_of_a_copy_of_at_most_a_megapixel() {
        let texture = |x: usize, y: usize| ((x * x + 3 * y) ^ (y * y + x)) % 97;
        let image = Image::from_fn(1100, 1000, |x, y| [texture(x, y) as f32 / 96.0; 3]);
        let copy = Niqe::Gray.score(&image.shrink(2)).unwrap();
        let small = Pixels::from(image.part(0, 0, 95, 95));
        let effect = Effect::default().with_niqe(&image.into(), &small);
        assert_eq!((effect.niqe_before, effect.niqe_after), (Some(copy), None));
    }

    /// Rows are looked at in bands, and edges near the ends of a band by their ripples in the next.
    #[test]
    fn ripples_along_columns_are_those_along_rows() {
        let height = 2 * BAND + 50;
        let value = |at: usize, ripple: f32| {
            let wave = (at as f32 * 1.3).sin() * ripple;
            (if (at / 21).is_multiple_of(2) { 0.25 } else { 0.75 }) + wave * (at % 5) as f32
        };
        let upright =
            |ripple| Pixels::from(Image::from_fn(40, height, |_, y| [value(y, ripple); 3]));
        let level = |ripple| Pixels::from(Image::from_fn(height, 40, |x, _| [value(x, ripple); 3]));
        let [down, along] = [
            Effect::of(&upright(0.0), &upright(0.02)).ringing,
            Effect::of(&level(0.0), &level(0.02)).ringing,
        ];
        assert!(down > 0.005 && (down - along).abs() < 1e-9, "{down}, {along}");
    }
}
