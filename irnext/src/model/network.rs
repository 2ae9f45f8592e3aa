//! IRNeXt (Fig. 3a): one U with three scales, the shrunken input entering on the way down, a
//! prediction leaving at each scale.

use crate::model::blocks::{cnn_block, conv, conv_gelu, conv_s, down, up};
use crate::model::config::ModelConfig;
use engine::Tensor;
use nn::layers::{Conv2d, Module, Sequential};
use nn::{Builder, Context, Result};
use std::sync::Arc;

/// The network: a description; its numbers are in [`nn::Params`].
pub struct IrNext {
    /// CNNBlocks on the way down, at full, half and quarter size.
    encoder: [Arc<Sequential>; 3],
    stem: Sequential,
    down: [Sequential; 2],
    up: [Sequential; 2],
    head: Conv2d,
    /// CNNBlocks on the way up, at quarter, half and full size.
    decoder: [Arc<Sequential>; 3],
    /// Halve the channels of decoder and encoder features together, at half and full size.
    fuse: [Sequential; 2],
    /// Predictions at quarter and half size.
    side_heads: [Conv2d; 2],
    /// Join features and ConvS, at half and quarter size.
    join: [Conv2d; 2],
    /// ConvS of the input at half and quarter size.
    conv_s: [Sequential; 2],
    config: ModelConfig,
}

impl IrNext {
    /// Names and order of the parameters are those of the published weight files.
    pub fn new(b: &mut Builder<'_>, config: &ModelConfig) -> Self {
        let c = config.width;
        let block = |b: &mut Builder<'_>, channels: usize| Arc::new(cnn_block(b, config, channels));
        let encoder = [
            block(&mut b.at("Encoder").at(0), c),
            block(&mut b.at("Encoder").at(1), 2 * c),
            block(&mut b.at("Encoder").at(2), 4 * c),
        ];
        let mut features = b.at("feat_extract");
        let stem = conv_gelu(&mut features.at(0), 3, c, 3);
        let down = [down(&mut features.at(1), c, 2 * c), down(&mut features.at(2), 2 * c, 4 * c)];
        let up = [up(&mut features.at(3), 4 * c, 2 * c), up(&mut features.at(4), 2 * c, c)];
        let head = conv(&mut features.at(5), c, 3, 3);
        let decoder = [
            block(&mut b.at("Decoder").at(0), 4 * c),
            block(&mut b.at("Decoder").at(1), 2 * c),
            block(&mut b.at("Decoder").at(2), c),
        ];
        let fuse = [
            conv_gelu(&mut b.at("Convs").at(0), 4 * c, 2 * c, 1),
            conv_gelu(&mut b.at("Convs").at(1), 2 * c, c, 1),
        ];
        let side_heads = [
            conv(&mut b.at("ConvsOut").at(0), 4 * c, 3, 3),
            conv(&mut b.at("ConvsOut").at(1), 2 * c, 3, 3),
        ];
        // Number 1 is the quarter size there.
        let join_quarter = conv(&mut b.at("FAM1").at("merge"), 8 * c, 4 * c, 3);
        let conv_s_quarter = conv_s(&mut b.at("SCM1"), 4 * c);
        let join_half = conv(&mut b.at("FAM2").at("merge"), 4 * c, 2 * c, 3);
        let conv_s_half = conv_s(&mut b.at("SCM2"), 2 * c);
        Self {
            encoder,
            stem,
            down,
            up,
            head,
            decoder,
            fuse,
            side_heads,
            join: [join_half, join_quarter],
            conv_s: [conv_s_half, conv_s_quarter],
            config: config.clone(),
        }
    }

    /// The predictions for a degraded image `[N, 3, H, W]` at quarter, half and full size.
    ///
    /// H and W must be multiples of [`ModelConfig::multiple`] and at least
    /// [`ModelConfig::least_side`].
    pub fn forward(&self, cx: &Context, x: &Tensor) -> Result<[Tensor; 3]> {
        let run = |cx: &Context, x: &[Tensor]| Ok(self.predictions(cx, &x[0])?.into());
        let predictions = cx.planned(std::slice::from_ref(x), run)?;
        Ok(predictions.try_into().expect("one for each of three sizes"))
    }

    /// As [`IrNext::forward`], one operation after the other.
    pub(crate) fn predictions(&self, cx: &Context, x: &Tensor) -> Result<[Tensor; 3]> {
        let Features { full, half, quarter, x_half, x_quarter } = self.features(cx, x)?;
        Ok([
            self.side_heads[0].forward(cx, &quarter)?.add(&x_quarter)?,
            self.side_heads[1].forward(cx, &half)?.add(&x_half)?,
            self.head.forward(cx, &full)?.add(x)?,
        ])
    }

    /// The prediction at full size alone.
    pub fn predict(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let run = |cx: &Context, x: &[Tensor]| {
            let Features { full, .. } = self.features(cx, &x[0])?;
            Ok(vec![self.head.forward(cx, &full)?.add(&x[0])?])
        };
        Ok(cx.planned(std::slice::from_ref(x), run)?.swap_remove(0))
    }

    /// The U: down to a quarter of the size, and up again.
    fn features(&self, cx: &Context, x: &Tensor) -> Result<Features> {
        self.check(x)?;
        let x_half = x.nearest_every(2)?;
        let x_quarter = x_half.nearest_every(2)?;

        let full = block(cx, &self.encoder[0], self.stem.forward(cx, x)?)?;
        let half = block(cx, &self.encoder[1], self.enter(cx, 0, &full, &x_half)?)?;
        let quarter = block(cx, &self.encoder[2], self.enter(cx, 1, &half, &x_quarter)?)?;

        let quarter = block(cx, &self.decoder[0], quarter)?;
        let half = block(cx, &self.decoder[1], self.merge(cx, 0, &quarter, &half)?)?;
        let full = block(cx, &self.decoder[2], self.merge(cx, 1, &half, &full)?)?;
        Ok(Features { full, half, quarter, x_half, x_quarter })
    }

    /// One scale down: the features shrunk, and the shrunken image's own joined to them.
    fn enter(&self, cx: &Context, scale: usize, features: &Tensor, x: &Tensor) -> Result<Tensor> {
        let image = self.conv_s[scale].forward(cx, x)?;
        let features = self.down[scale].forward(cx, features)?;
        self.join[scale].forward(cx, &Tensor::concat(&[&features, &image], 1)?)
    }

    /// One scale up: the features enlarged, and the encoder's joined to them.
    fn merge(
        &self,
        cx: &Context,
        scale: usize,
        features: &Tensor,
        skip: &Tensor,
    ) -> Result<Tensor> {
        let features = self.up[scale].forward(cx, features)?;
        self.fuse[scale].forward(cx, &Tensor::concat(&[&features, skip], 1)?)
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

/// The decoder's features at each size, and the image at the smaller ones.
struct Features {
    full: Tensor,
    half: Tensor,
    quarter: Tensor,
    x_half: Tensor,
    x_quarter: Tensor,
}

/// A CNNBlock, which may be computed again in the backward pass.
fn block(cx: &Context, block: &Arc<Sequential>, x: Tensor) -> Result<Tensor> {
    let block = block.clone();
    cx.checkpoint(&x, move |cx, x| block.forward(cx, x))
}
