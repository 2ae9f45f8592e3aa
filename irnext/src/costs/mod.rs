//! The costs of a network: parameters, true multiply-adds, and FLOPs by the paper's rule.
//!
//! [`layers`] lists every use of a layer on an image of a given size, [`Costs`] adds them up, and
//! [`tables`] holds the cost columns of the paper's tables beside the configurations that they
//! belong to.

pub mod tables;

use crate::error::{Error, Result};
use crate::model::Model;
use engine::{DType, Tensor};
use nn::layers::Activation;
use nn::{Context, Cost, LayerKind};

/// The side of the images that the paper counts for, pixels.
pub const PAPER_SIZE: usize = 256;

/// How the paper counts "FLOPs". These rules reproduce its figures to the last digit; they were
/// found by reconstruction.
///
/// Both count the multiply-adds of convolutions, a transposed one at the resolution of its
/// *output*; 1 for each output element that gets a bias or comes out of a GELU; 1 for each *input*
/// element of a pooling; 2 for each element of a normalization. Neither counts additions of maps,
/// resizing, or what turns LAM's scores into taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountRule {
    /// Tables 6 and 13: LAM's global average is counted as a pooling, its filter is not counted.
    Main,
    /// Tables 7 and 8: LAM's filter is counted, K² for each element, and its global average is not.
    Ablations,
}

impl CountRule {
    /// The FLOPs of one use of a layer.
    pub fn flops(self, cost: &Cost) -> u64 {
        let bias = |bias: bool| if bias { cost.output_elements() } else { 0 };
        match cost.kind {
            LayerKind::Conv2d { bias: b, .. } | LayerKind::Linear { bias: b, .. } => {
                cost.multiply_adds().saturating_add(bias(b))
            }
            LayerKind::ConvTranspose2d { bias: b, .. } => {
                let [input, output] =
                    [&cost.input, &cost.output].map(|shape| u128::from(pixels(shape)));
                let products = u128::from(cost.multiply_adds()) * output / input;
                u64::try_from(products).unwrap_or(u64::MAX).saturating_add(bias(b))
            }
            LayerKind::Activation(Activation::Gelu) => cost.output_elements(),
            LayerKind::AvgPool2d(_) | LayerKind::MaxPool2d(_) => cost.input_elements(),
            LayerKind::BatchNorm
            | LayerKind::InstanceNorm
            | LayerKind::LayerNorm
            | LayerKind::GroupNorm => cost.output_elements().saturating_mul(2),
            LayerKind::GlobalAvgPool if self == Self::Main => cost.input_elements(),
            LayerKind::DynamicFilter { .. } if self == Self::Ablations => cost.multiply_adds(),
            LayerKind::GlobalAvgPool
            | LayerKind::DynamicFilter { .. }
            | LayerKind::Activation(_)
            | LayerKind::Embedding
            | LayerKind::Function
            | LayerKind::Bilinear
            | LayerKind::Dropout
            | LayerKind::Flatten => 0,
        }
    }
}

/// The costs of a whole network on one image. Counts stop at [`u64::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// The number of trained parameters.
    pub parameters: u64,
    /// True multiply-adds of all convolutions.
    pub convolutions: u64,
    /// True multiply-adds of LAM's filters.
    pub filters: u64,
    /// FLOPs as the paper counts them.
    pub flops: u64,
}

impl Costs {
    /// Sums the costs that [`layers`] lists.
    pub fn of(layers: &[Cost], rule: CountRule) -> Self {
        let sum =
            |count: &dyn Fn(&Cost) -> u64| layers.iter().map(count).fold(0, u64::saturating_add);
        let is_filter = |cost: &Cost| matches!(cost.kind, LayerKind::DynamicFilter { .. });
        let multiply_adds = |filters: bool| {
            sum(&|cost| if is_filter(cost) == filters { cost.multiply_adds() } else { 0 })
        };
        Self {
            parameters: sum(&|cost| cost.parameters as u64),
            convolutions: multiply_adds(false),
            filters: multiply_adds(true),
            flops: sum(&|cost| rule.flops(cost)),
        }
    }
}

/// Every use of a layer, in order of execution, when `model` restores one image of `size`×`size`
/// pixels.
///
/// Nothing is computed: the network is traced.
///
/// # Errors
/// If the network takes no image of that size.
pub fn layers(model: &Model, size: usize) -> Result<Vec<Cost>> {
    let (multiple, least) = (model.config.multiple(), model.config.least_side());
    if size < least || !size.is_multiple_of(multiple) {
        return Err(Error::Config {
            reason: format!(
                "the network takes images with sides from {least} in steps of {multiple}, \
                 got {size}"
            ),
        });
    }
    let cx = Context::inference(&model.params);
    cx.count_costs();
    let x = Tensor::zeros(&[1, 3, 1, 1], DType::F32)?.broadcast_to(&[1, 3, size, size])?;
    engine::infer(&[&x], |x| Ok::<_, Error>(model.network.forward(&cx, &x[0])?.into()))?;
    Ok(cx.finish().costs)
}

fn pixels(shape: &[usize]) -> u64 {
    shape[2..].iter().fold(1, |product: u64, &side| product.saturating_mul(side as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, Pooling, Variant};

    fn small(change: impl FnOnce(&mut ModelConfig)) -> Model {
        let mut config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
        change(&mut config);
        Model::new(&config, 0, DType::F32).unwrap()
    }

    #[test]
    fn enlarged_counts_are_those_of_a_run_at_that_size() {
        let changes: [fn(&mut ModelConfig); 5] = [
            |_| (),
            |c| c.variant = Variant::Paper,
            |c| c.pooling = Pooling::Learned,
            |c| c.lam = false,
            |c| (c.kernel, c.branches) = (1, vec![16, 2]),
        ];
        for change in changes {
            let model = small(change);
            let size = 3 * model.config.least_side().max(model.config.multiple() * 2);
            let cx = Context::inference(&model.params);
            cx.count_costs();
            model
                .network
                .forward(&cx, &Tensor::zeros(&[1, 3, size, size], DType::F32).unwrap())
                .unwrap();
            assert_eq!(layers(&model, size).unwrap(), cx.finish().costs);
        }
    }

    #[test]
    fn every_parameter_is_some_layers() {
        let changes: [fn(&mut ModelConfig); 6] = [
            |_| (),
            |c| c.variant = Variant::Paper,
            |c| c.modulation = false,
            |c| c.pooling = Pooling::Learned,
            |c| c.lam = false,
            |c| c.msm = 2,
        ];
        for change in changes {
            let model = small(change);
            let costs = Costs::of(&layers(&model, 64).unwrap(), CountRule::Main);
            assert_eq!(costs.parameters, model.params.count() as u64, "{:?}", model.config);
        }
    }

    #[test]
    fn a_layer_counts_as_the_rule_says() {
        let x = Tensor::zeros(&[1, 8, 4, 4], DType::F32).unwrap();
        let y = Tensor::zeros(&[1, 2, 8, 8], DType::F32).unwrap();
        let count = |kind, rule: CountRule| rule.flops(&Cost::new("", kind, &x, &y));
        let both = |kind| [CountRule::Main, CountRule::Ablations].map(|rule| count(kind, rule));
        // 2·64 outputs of 72 products, and a bias each.
        assert_eq!(
            both(LayerKind::Conv2d { kernel: [3, 3], fan_in: 72, bias: true }),
            [128 * 72 + 128; 2]
        );
        // True: 8·16 inputs in 32 products each. Four times that, since the output has four times
        // the pixels.
        let up = LayerKind::ConvTranspose2d { kernel: [4, 4], fan_out: 32, bias: false };
        assert_eq!(Cost::new("", up, &x, &y).multiply_adds(), 128 * 32);
        assert_eq!(both(up), [4 * 128 * 32; 2]);
        assert_eq!(both(LayerKind::AvgPool2d(2)), [128; 2]);
        assert_eq!(both(LayerKind::InstanceNorm), [256; 2]);
        assert_eq!(both(LayerKind::Activation(Activation::Gelu)), [128; 2]);
        assert_eq!(both(LayerKind::Activation(Activation::Tanh)), [0; 2]);
        assert_eq!(both(LayerKind::GlobalAvgPool), [128, 0]);
        assert_eq!(both(LayerKind::DynamicFilter { kernel: [3, 3] }), [0, 128 * 9]);
    }

    #[test]
    fn counts_of_absurd_sizes_saturate() {
        let layer = |kind| Cost {
            path: String::new(),
            kind,
            input: vec![1, 8, 1 << 40, 1 << 40],
            output: vec![1, 8, 1 << 40, 1 << 40],
            parameters: usize::MAX,
        };
        let layers = [
            layer(LayerKind::Conv2d { kernel: [3, 3], fan_in: 72, bias: true }),
            layer(LayerKind::ConvTranspose2d { kernel: [4, 4], fan_out: 32, bias: true }),
            layer(LayerKind::DynamicFilter { kernel: [3, 3] }),
            layer(LayerKind::InstanceNorm),
        ];
        let costs = Costs::of(&layers, CountRule::Ablations);
        let most = u64::MAX;
        let expected = Costs { parameters: most, convolutions: most, filters: most, flops: most };
        assert_eq!(costs, expected);
    }

    #[test]
    fn a_size_that_the_network_does_not_take_is_refused() {
        let message = |size| layers(&small(|_| ()), size).unwrap_err().to_string();
        for size in [0, 32, 100] {
            assert!(message(size).contains("sides from 64 in steps of 32"), "{}", message(size));
        }
    }
}
