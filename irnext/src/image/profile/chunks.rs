//! What a PNG file says about its colors besides a profile, in the order in which browsers look:
//! `cICP`, then a profile, then `sRGB`, then `gAMA` and `cHRM`.

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile,
    MatrixCoefficients, ToneReprCurve, TransferCharacteristics,
};

/// A chunk of a PNG file: its type and its contents.
pub(in crate::image) type Chunk = ([u8; 4], Vec<u8>);

/// The type of the chunk with a profile.
pub(super) const PROFILE: &[u8; 4] = b"iCCP";

/// The types of the chunks about colors.
const KINDS: [&[u8; 4]; 5] = [b"cICP", PROFILE, b"sRGB", b"gAMA", b"cHRM"];

/// Whether a chunk of this type is about colors.
pub(in crate::image) fn is_about_colors(kind: &[u8; 4]) -> bool {
    KINDS.contains(&kind)
}

/// The exponent's inverse that stands for sRGB.
const SRGB_GAMMA: f64 = 0.454_55;

/// White, red, green and blue of sRGB, as `cHRM` lists them.
const SRGB_POINTS: [f64; 8] = [0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06];

/// The colors of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Colors {
    Srgb,
    /// Those of this profile, which was made of the chunks.
    Icc(Vec<u8>),
    /// High dynamic range, or a space that is not known here.
    Unknown,
}

/// The colors that the chunks tell. `has_profile` tells whether the file has a profile as well.
pub(super) fn colors(chunks: &[Chunk], gray: bool, has_profile: bool) -> Option<Colors> {
    let find = |kind: &[u8; 4]| chunks.iter().find(|chunk| chunk.0 == *kind).map(|chunk| &chunk.1);
    let coded = find(b"cICP").map(|contents| of_code_points(contents));
    if has_profile {
        return coded.filter(|colors| *colors != Colors::Unknown);
    }
    if coded.is_some() {
        return coded;
    }
    if find(b"sRGB").is_some() {
        return Some(Colors::Srgb);
    }
    let gamma = find(b"gAMA").and_then(|contents| number(contents, 0));
    // Exponents beyond these are errors.
    let gamma = gamma.filter(|gamma| (0.05..=20.0).contains(gamma));
    let points = find(b"cHRM").and_then(|contents| points(contents));
    if gamma.is_none() && points.is_none() {
        return None;
    }
    Some(of_gamma(gamma.unwrap_or(SRGB_GAMMA), points.unwrap_or(SRGB_POINTS), gray))
}

/// Numbers of H.273, for RGB in the full range.
fn of_code_points(contents: &[u8]) -> Colors {
    use TransferCharacteristics as Curve;
    let &[primaries, curve, 0, 1] = contents else { return Colors::Unknown };
    if (primaries, curve) == (1, 13) {
        return Colors::Srgb;
    }
    let (Ok(color_primaries), Ok(curve)) =
        (CicpColorPrimaries::try_from(primaries), Curve::try_from(curve))
    else {
        return Colors::Unknown;
    };
    // Of the known ones, those of high dynamic range would need another picture.
    let is_known = matches!(
        curve,
        Curve::Bt709
            | Curve::Bt470M
            | Curve::Bt470Bg
            | Curve::Bt601
            | Curve::Linear
            | Curve::Srgb
            | Curve::Bt202010bit
            | Curve::Bt202012bit
    );
    if !is_known {
        return Colors::Unknown;
    }
    made(ColorProfile::new_from_cicp(CicpProfile {
        color_primaries,
        transfer_characteristics: curve,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    }))
}

fn of_gamma(gamma: f64, points: [f64; 8], gray: bool) -> Colors {
    // Within 5 % is the same, as for libpng: a gamma of 0.45 means sRGB.
    let is_srgb_curve = (gamma / SRGB_GAMMA - 1.0).abs() < 0.05;
    let is_srgb_space = points.iter().zip(SRGB_POINTS).all(|(a, b)| (a - b).abs() < 0.002);
    if is_srgb_curve && (is_srgb_space || gray) {
        return Colors::Srgb;
    }
    let exponent = (1.0 / gamma) as f32;
    if gray {
        return made(ColorProfile::new_gray_with_gamma(exponent));
    }
    let mut profile = ColorProfile::new_srgb();
    if !is_srgb_curve {
        let curve = ToneReprCurve::Parametric(vec![exponent]);
        profile.red_trc = Some(curve.clone());
        profile.green_trc = Some(curve.clone());
        profile.blue_trc = Some(curve);
    }
    if !is_srgb_space {
        let [white, red, green, blue] =
            [0, 2, 4, 6].map(|i| Chromaticity { x: points[i] as f32, y: points[i + 1] as f32 });
        profile.update_rgb_colorimetry(white.to_xyyb(), ColorPrimaries { red, green, blue });
    }
    profile.cicp = None;
    profile.description = None;
    made(profile)
}

fn made(profile: ColorProfile) -> Colors {
    let colorants = [profile.red_colorant, profile.green_colorant, profile.blue_colorant];
    // Points on one line span no space.
    let is_finite = colorants.iter().all(|c| c.x.is_finite() && c.y.is_finite() && c.z.is_finite());
    match profile.encode() {
        Ok(icc) if is_finite => Colors::Icc(icc),
        _ => Colors::Unknown,
    }
}

/// Number `i`, in units of 1/100000.
fn number(contents: &[u8], i: usize) -> Option<f64> {
    let bytes = contents.get(4 * i..4 * i + 4)?.try_into().ok()?;
    Some(f64::from(u32::from_be_bytes(bytes)) / 100_000.0)
}

fn points(contents: &[u8]) -> Option<[f64; 8]> {
    let mut points = [0.0; 8];
    for (i, point) in points.iter_mut().enumerate() {
        *point = number(contents, i).filter(|value| (0.0..=1.0).contains(value))?;
    }
    let has_light = [1, 3, 5, 7].iter().all(|&y| points[y] > 0.0);
    // Of most wide spaces, blue has next to no y.
    has_light.then_some(points)
}
