//! IRNeXt (Fig. 3a): one U with three scales. The downsampled input enters on the way down, and a
//! prediction leaves at each scale on the way up.

use crate::model::blocks::{CnnBlock, conv, conv_gelu, conv_s, downsample, upsample};
use crate::model::config::ModelConfig;
use engine::Tensor;
use nn::layers::{Conv2d, Module, Sequential};
use nn::{Builder, Context, Result};

/// The network: a description; its numbers are in [`nn::Params`].
pub struct IrNext {
    config: ModelConfig,
    stem: Sequential,
    encoder_full: CnnBlock,
    down_to_half: Down,
    encoder_half: CnnBlock,
    down_to_quarter: Down,
    encoder_quarter: CnnBlock,
    decoder_quarter: CnnBlock,
    head_quarter: Conv2d,
    up_to_half: Up,
    decoder_half: CnnBlock,
    head_half: Conv2d,
    up_to_full: Up,
    decoder_full: CnnBlock,
    head_full: Conv2d,
}

/// The way down to a scale, where the input of that size enters.
struct Down {
    downsample: Sequential,
    conv_s: Sequential,
    /// The 3×3 convolution of the concatenated features of both.
    merge: Conv2d,
}

/// The way up to a scale, where the encoder's features of that size enter.
struct Up {
    upsample: Sequential,
    /// The 1×1 convolution of the concatenated decoder and encoder features, which halves the
    /// channels, then GELU.
    merge: Sequential,
}

impl IrNext {
    /// Names and order of the parameters are those of the published weight files.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig) -> Self {
        let config = &config.or_refuse(b);
        let c = config.width;
        let block = |b: &mut Builder<'_>, channels: usize| CnnBlock::new(b, config, channels);
        let encoder_full = block(&mut b.at("Encoder").at(0), c);
        let encoder_half = block(&mut b.at("Encoder").at(1), 2 * c);
        let encoder_quarter = block(&mut b.at("Encoder").at(2), 4 * c);
        let mut features = b.at("feat_extract");
        let stem = conv_gelu(&mut features.at(0), 3, c, 3);
        let downsample_to_half = downsample(&mut features.at(1), c, 2 * c);
        let downsample_to_quarter = downsample(&mut features.at(2), 2 * c, 4 * c);
        let upsample_to_half = upsample(&mut features.at(3), 4 * c, 2 * c);
        let upsample_to_full = upsample(&mut features.at(4), 2 * c, c);
        let head_full = conv(&mut features.at(5), c, 3, 3);
        let decoder_quarter = block(&mut b.at("Decoder").at(0), 4 * c);
        let decoder_half = block(&mut b.at("Decoder").at(1), 2 * c);
        let decoder_full = block(&mut b.at("Decoder").at(2), c);
        let merge_up_half = conv_gelu(&mut b.at("Convs").at(0), 4 * c, 2 * c, 1);
        let merge_up_full = conv_gelu(&mut b.at("Convs").at(1), 2 * c, c, 1);
        let head_quarter = conv(&mut b.at("ConvsOut").at(0), 4 * c, 3, 3);
        let head_half = conv(&mut b.at("ConvsOut").at(1), 2 * c, 3, 3);
        // FAM1 and SCM1 are those of the quarter size.
        let merge_quarter = conv(&mut b.at("FAM1").at("merge"), 8 * c, 4 * c, 3);
        let conv_s_quarter = conv_s(&mut b.at("SCM1"), 4 * c);
        let merge_half = conv(&mut b.at("FAM2").at("merge"), 4 * c, 2 * c, 3);
        let conv_s_half = conv_s(&mut b.at("SCM2"), 2 * c);
        Self {
            config: config.clone(),
            stem,
            encoder_full,
            down_to_half: Down {
                downsample: downsample_to_half,
                conv_s: conv_s_half,
                merge: merge_half,
            },
            encoder_half,
            down_to_quarter: Down {
                downsample: downsample_to_quarter,
                conv_s: conv_s_quarter,
                merge: merge_quarter,
            },
            encoder_quarter,
            decoder_quarter,
            head_quarter,
            up_to_half: Up { upsample: upsample_to_half, merge: merge_up_half },
            decoder_half,
            head_half,
            up_to_full: Up { upsample: upsample_to_full, merge: merge_up_full },
            decoder_full,
            head_full,
        }
    }

    /// The predictions for a degraded image `[N, 3, H, W]` at quarter, half and full size.
    ///
    /// H and W must be multiples of [`ModelConfig::multiple`] and at least
    /// [`ModelConfig::least_side`].
    pub fn forward(&self, cx: &Context, x: &Tensor) -> Result<[Tensor; 3]> {
        let run = |cx: &Context, x: &[Tensor]| Ok(self.predictions_unplanned(cx, &x[0])?.into());
        let predictions = cx.planned(std::slice::from_ref(x), run)?;
        Ok(predictions.try_into().expect("one for each of three sizes"))
    }

    /// The prediction at full size alone. A plan leaves out what only the others need.
    pub fn predict(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let run = |cx: &Context, x: &[Tensor]| {
            let [.., full] = self.predictions_unplanned(cx, &x[0])?;
            Ok(vec![full])
        };
        Ok(cx.planned(std::slice::from_ref(x), run)?.swap_remove(0))
    }

    /// Like [`IrNext::forward`], but without a plan, one operation after the other.
    pub(crate) fn predictions_unplanned(&self, cx: &Context, x: &Tensor) -> Result<[Tensor; 3]> {
        self.check(x)?;
        let x_half = x.nearest_every(2)?;
        let x_quarter = x_half.nearest_every(2)?;

        let full = self.encoder_full.forward(cx, self.stem.forward(cx, x)?)?;
        let half = self.encoder_half.forward(cx, self.down_to_half.forward(cx, &full, &x_half)?)?;
        let quarter = self.down_to_quarter.forward(cx, &half, &x_quarter)?;
        let quarter = self.encoder_quarter.forward(cx, quarter)?;

        let quarter = self.decoder_quarter.forward(cx, quarter)?;
        let predicted_quarter = self.head_quarter.forward(cx, &quarter)?.add(&x_quarter)?;
        let half = self.decoder_half.forward(cx, self.up_to_half.forward(cx, &quarter, &half)?)?;
        let predicted_half = self.head_half.forward(cx, &half)?.add(&x_half)?;
        let full = self.decoder_full.forward(cx, self.up_to_full.forward(cx, &half, &full)?)?;
        let predicted_full = self.head_full.forward(cx, &full)?.add(x)?;
        Ok([predicted_quarter, predicted_half, predicted_full])
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let (multiple, least) = (self.config.multiple(), self.config.least_side());
        let fits = |side: usize| side >= least && side.is_multiple_of(multiple);
        match x.shape() {
            &[_, 3, h, w] if fits(h) && fits(w) => Ok(()),
            shape => Err(nn::Error::Setting(format!(
                "IRNeXt takes [N, 3, H, W] with sides from {least} in steps of {multiple}, got \
                 {shape:?}"
            ))),
        }
    }
}

impl Down {
    /// The features of the next scale from those of the one above, and from the input `x` at the
    /// next scale.
    fn forward(&self, cx: &Context, features: &Tensor, x: &Tensor) -> Result<Tensor> {
        let shallow = self.conv_s.forward(cx, x)?;
        let features = self.downsample.forward(cx, features)?;
        self.merge.forward(cx, &Tensor::concat(&[&features, &shallow], 1)?)
    }
}

impl Up {
    /// The features of the next scale from those of the one below, and from the encoder's, `skip`.
    fn forward(&self, cx: &Context, features: &Tensor, skip: &Tensor) -> Result<Tensor> {
        let features = self.upsample.forward(cx, features)?;
        self.merge.forward(cx, &Tensor::concat(&[&features, skip], 1)?)
    }
}
