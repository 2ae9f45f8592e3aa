//! Draws the feature maps inside a network, as in Figures 9 and 10 of the paper.
//!
//! The network restores an image once, and the input of one of its multi-scale modules (MSM) is
//! recorded. The module then runs on that input as it is, and with a part removed: its coarser
//! branches (Fig. 9), or filter modulation (Fig. 10). The paper compares networks that were trained
//! without that part. Here all maps come from the same weights, so they show the effect of the part
//! in a network that has learned to use it; everything before the module is the same.

use crate::error::{Error, Result};
use crate::image::Image;
use crate::model::{Model, Msm};
use crate::restore::one_piece;
use engine::{DType, Tensor};
use nn::layers::Module;
use nn::{Builder, Context, Params};

/// The CNNBlocks that have an MSM each, by their published names.
pub const BLOCKS: [&str; 6] =
    ["Encoder.0", "Encoder.1", "Encoder.2", "Decoder.0", "Decoder.1", "Decoder.2"];

/// A named picture of the size of the input image.
pub type Panel = (String, Image);

/// The pictures of [`explain`].
pub struct Explanation {
    /// The image, and its restored version.
    pub images: [Panel; 2],
    /// MSM's result with its finest branch alone, with the two finest, and so on, all on one scale
    /// of gray.
    pub results: Vec<Panel>,
    /// The contribution of each branch, the coarsest first, each on its own scale.
    pub branches: Vec<Panel>,
    /// None if the network has no filter modulation.
    pub modulation: Option<Modulation>,
}

/// The effect of filter modulation (FM).
pub struct Modulation {
    /// MSM's result without and with filter modulation, on one scale.
    pub results: Vec<Panel>,
    /// The strength of the difference of the two, on its own scale.
    pub difference: Panel,
    /// The mean magnitude of the difference, relative to that of the result.
    pub change: f64,
}

impl Explanation {
    /// All panels, each for a file of its own.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.images
            .iter()
            .chain(&self.results)
            .chain(&self.branches)
            .chain(self.modulation.iter().flat_map(Modulation::panels))
    }

    /// The maps of Figure 9: the image and MSM's results; below, the restored image and the
    /// branches.
    pub fn figure_9(&self) -> Image {
        let [input, output] = &self.images;
        fn row<'a>(image: &'a Panel, maps: &'a [Panel]) -> Vec<&'a Image> {
            std::iter::once(image).chain(maps).map(|(_, image)| image).collect()
        }
        sheet(&[row(input, &self.results), row(output, &self.branches)])
    }

    /// The maps of Figure 10: the image, MSM's result without and with filter modulation; and their
    /// difference.
    pub fn figure_10(&self) -> Option<Image> {
        let panels = self.images[..1].iter().chain(self.modulation.as_ref()?.panels());
        Some(sheet(&[panels.map(|(_, image)| image).collect()]))
    }
}

impl Modulation {
    fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.results.iter().chain([&self.difference])
    }
}

/// Draws the last MSM of the CNNBlock `block`, one of [`BLOCKS`], while `model` restores `image`.
///
/// The image goes through the network in one piece.
///
/// # Errors
/// If the network has no MSM, or no such block.
pub fn explain(model: &Model, image: &Image, block: &str) -> Result<Explanation> {
    let config = &model.config;
    if config.msm == 0 {
        return Err(Error::Config {
            reason: "this network has no multi-scale modules (MSM)".into(),
        });
    }
    let path = format!("{block}.layers.{}.main.{}", config.n, config.msm);
    let (input, restored) = restore_watching(model, image, &path)?;
    let module = LoneMsm { model, path: &path, input: &input, image };

    let (whole, branches) = module.compute(|msm| msm)?;
    let results = (1..=config.branches.len()).map(|count| {
        let rates: Vec<String> =
            config.branches.iter().rev().take(count).rev().map(usize::to_string).collect();
        Ok((format!("branches-{}", rates.join("-")), module.compute(|msm| msm.finest(count))?.0))
    });
    let results = module.pictures(results.collect::<Result<Vec<_>>>()?)?;
    let branches = config
        .branches
        .iter()
        .zip(branches)
        .map(|(rate, y)| module.picture(&format!("branch-{rate}"), y));
    let branches = branches.collect::<Result<Vec<_>>>()?;
    let modulation =
        (config.lam && config.modulation).then(|| modulation(&module, whole)).transpose()?;
    Ok(Explanation {
        images: [("input".into(), image.clone()), ("output".into(), restored)],
        results,
        branches,
        modulation,
    })
}

fn modulation(module: &LoneMsm<'_>, with: Tensor) -> Result<Modulation> {
    let (without, _) = module.compute(Msm::without_modulation)?;
    let difference = with.sub(&without)?;
    let size = |map: &Tensor| Ok::<_, Error>(map.abs()?.sum_all()?.item()?);
    let change = size(&difference)? / size(&with)?.max(f64::MIN_POSITIVE);
    let [without, with] =
        [("without-fm", without), ("with-fm", with)].map(|(name, map)| (name.to_string(), map));
    let difference = module.picture("fm-difference", difference)?;
    Ok(Modulation { results: module.pictures(vec![without, with])?, difference, change })
}

/// The input of the module at `path`, and the restored image.
fn restore_watching(model: &Model, image: &Image, path: &str) -> Result<(Tensor, Image)> {
    let cx = Context::inference(&model.params);
    cx.watch(format!("{path}.input"));
    let restored = one_piece(&model.config, image, |x| Ok(model.network.predict(&cx, x)?))?;
    match cx.finish().observed.pop() {
        Some((_, input)) => Ok((input, restored)),
        None => {
            let blocks = BLOCKS.join(", ");
            Err(Error::Config {
                reason: format!("no multi-scale module at {path}; the blocks are {blocks}"),
            })
        }
    }
}

/// One MSM, taken out of its network to run with parts removed.
struct LoneMsm<'a> {
    model: &'a Model,
    path: &'a str,
    input: &'a Tensor,
    image: &'a Image,
}

impl LoneMsm<'_> {
    /// The result of the MSM after `change`, and the results of its branches, each at its own size.
    fn compute(&self, change: impl FnOnce(Msm) -> Msm) -> Result<(Tensor, Vec<Tensor>)> {
        let (config, channels) = (&self.model.config, self.input.shape()[1]);
        let prefix = format!("{}.", self.path);
        let inside =
            self.model.params.entries().iter().filter(|entry| entry.path.starts_with(&prefix));
        let values = inside.map(|entry| (entry.path.clone(), entry.value.clone())).collect();
        let build = |b: &mut Builder<'_>| Ok(Msm::new(&mut b.at(self.path), config, channels));
        let (msm, params) = Params::build_from(self.path, values, DType::F32, build)?;
        let cx = Context::inference(&params);
        cx.watch(format!("{prefix}branch"));
        let msm = change(msm);
        let run = |cx: &Context, x: &[Tensor]| Ok(vec![msm.forward(cx, &x[0])?]);
        let y = cx.planned(std::slice::from_ref(self.input), run)?.swap_remove(0);
        Ok((y, cx.finish().observed.into_iter().map(|(_, y)| y).collect()))
    }

    /// A picture of `map` on a scale of its own.
    fn picture(&self, name: &str, map: Tensor) -> Result<Panel> {
        Ok(self.pictures(vec![(name.to_string(), map)])?.remove(0))
    }

    /// Gray pictures of maps, all on one scale: black up to the 1st percentile of the pixels'
    /// values, white from the 99th.
    fn pictures(&self, maps: Vec<(String, Tensor)>) -> Result<Vec<Panel>> {
        let (config, &Image { width, height, .. }) = (&self.model.config, self.image);
        let mut panels = Vec::new();
        for (name, map) in maps {
            let whole = strength(&map)?.resampled(config.side_for(width), config.side_for(height));
            panels.push((name, whole.part(0, 0, width, height)));
        }
        let mut values: Vec<f32> =
            panels.iter().flat_map(|(_, map)| map.pixels().map(|[v, _, _]| v)).collect();
        values.sort_unstable_by(f32::total_cmp);
        let hundredth = values.len() / 100;
        let (black, white) = (values[hundredth], values[values.len() - 1 - hundredth]);
        let range = (white - black).max(f32::MIN_POSITIVE);
        for value in panels.iter_mut().flat_map(|(_, map)| &mut map.data) {
            *value = ((*value - black) / range).clamp(0.0, 1.0);
        }
        Ok(panels)
    }
}

/// The strength of `[1, C, H, W]` at each pixel, as gray: the mean magnitude of its channels.
fn strength(map: &Tensor) -> Result<Image> {
    let [_, channels, height, width] = map.dims4("strength")?;
    let values = map.permute(&[0, 2, 3, 1])?.to_vec::<f32>()?;
    let data = values
        .chunks_exact(channels)
        .flat_map(|pixel| [pixel.iter().map(|v| v.abs()).sum::<f32>() / channels as f32; 3])
        .collect();
    Ok(Image { width, height, data })
}

/// Rows of images, all of one size, shrunk to at most 320 pixels a side, with white gaps between
/// them.
fn sheet(rows: &[Vec<&Image>]) -> Image {
    const SIDE: usize = 320;
    const GAP: usize = 4;
    let (width, height) = (rows[0][0].width, rows[0][0].height);
    let shrunk = |side: usize| (side * SIDE / width.max(height).max(SIDE)).max(1);
    let (width, height) = (shrunk(width), shrunk(height));
    let mut sheet =
        Image::new((width + GAP) * rows[0].len() - GAP, (height + GAP) * rows.len() - GAP);
    sheet.data.fill(1.0);
    for (row, images) in rows.iter().enumerate() {
        for (column, image) in images.iter().enumerate() {
            let image = image.resampled(width, height);
            for y in 0..height {
                let start = 3 * ((row * (height + GAP) + y) * sheet.width + column * (width + GAP));
                sheet.data[start..start + 3 * width].copy_from_slice(image.row(y));
            }
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, Variant};
    use crate::restore::to_tensor;

    fn model(change: impl FnOnce(&mut ModelConfig)) -> Model {
        let mut config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
        change(&mut config);
        Model::new(&config, 1, DType::F32).unwrap()
    }

    fn image() -> Image {
        Image::from_fn(70, 40, |x, y| {
            [x as f32 / 70.0, y as f32 / 40.0, ((x / 4 + y / 4) % 2) as f32]
        })
    }

    /// Puts `value` into every parameter whose path ends in `name`.
    fn set(model: &mut Model, name: &str, value: f64) {
        let ids: Vec<_> = model
            .params
            .parameters()
            .filter(|(_, e)| e.path.ends_with(name))
            .map(|(id, e)| (id, e.value.shape().to_vec()))
            .collect();
        for (id, shape) in ids {
            model.params.set(id, Tensor::full(&shape, value, DType::F32).unwrap()).unwrap();
        }
    }

    #[test]
    fn the_module_alone_computes_what_it_computes_inside() {
        for variant in [Variant::Released, Variant::Paper] {
            let mut model = model(|c| c.variant = variant);
            set(&mut model, "lamb_l", 0.7);
            let path = "Decoder.1.layers.0.main.1";
            let (input, _) = restore_watching(&model, &image(), path).unwrap();
            let (_, alone) = LoneMsm { model: &model, path, input: &input, image: &image() }
                .compute(|msm| msm)
                .unwrap();
            let cx = Context::inference(&model.params);
            cx.watch(format!("{path}.branch"));
            model.network.forward(&cx, &to_tensor(&image().pad_reflect(96, 64)).unwrap()).unwrap();
            let inside = cx.finish().observed;
            assert_eq!(
                inside.iter().map(|(name, _)| &name[path.len()..]).collect::<Vec<_>>(),
                [".branch.8", ".branch.4", ".branch.2"]
            );
            for ((name, inside), alone) in inside.iter().zip(&alone) {
                assert_eq!(inside.to_f64_vec().unwrap(), alone.to_f64_vec().unwrap(), "{name}");
            }
        }
    }

    #[test]
    fn every_panel_has_the_size_of_the_image() {
        for block in BLOCKS {
            let shown = explain(&model(|c| c.branches = vec![4, 2]), &image(), block).unwrap();
            let names: Vec<&str> = shown.panels().map(|(name, _)| name.as_str()).collect();
            let expected = [
                "branches-2",
                "branches-4-2",
                "branch-4",
                "branch-2",
                "without-fm",
                "with-fm",
                "fm-difference",
            ];
            assert_eq!(names, [&["input", "output"][..], &expected].concat());
            for (name, panel) in shown.panels() {
                assert_eq!((panel.width, panel.height), (70, 40), "{name}");
                assert!(panel.data.iter().all(|v| (0.0..=1.0).contains(v)), "{name}");
            }
            assert_eq!((shown.figure_9().width, shown.figure_9().height), (3 * 74 - 4, 2 * 44 - 4));
            assert_eq!(shown.figure_10().unwrap().width, 4 * 74 - 4);
        }
    }

    #[test]
    fn modulation_shows_what_it_changes() {
        // A new network filters nothing: λ_l is 0. Then its filters, unmodulated: w is 0. Then
        // modulated ones.
        let mut model = model(|_| ());
        let change = |model: &Model| {
            explain(model, &image(), "Decoder.2").unwrap().modulation.unwrap().change
        };
        assert_eq!(change(&model), 0.0);
        set(&mut model, "lamb_l", 1.0);
        assert_eq!(change(&model), 0.0);
        set(&mut model, "inside_all", 0.5);
        assert!(change(&model) > 1e-3);
    }

    #[test]
    fn missing_modules_are_not_shown() {
        let message =
            explain(&model(|c| c.msm = 0), &image(), "Decoder.2").err().unwrap().to_string();
        assert!(message.contains("no multi-scale modules"), "{message}");
        let message = explain(&model(|_| ()), &image(), "Decoder.3").err().unwrap().to_string();
        assert!(message.contains("Decoder.3") && message.contains("Decoder.2"), "{message}");
        for change in [(|c| c.lam = false) as fn(&mut ModelConfig), |c| c.modulation = false] {
            let shown = explain(&model(change), &image(), "Decoder.2").unwrap();
            assert!(
                shown.modulation.is_none()
                    && shown.figure_10().is_none()
                    && shown.branches.len() == 3
            );
        }
    }
}
