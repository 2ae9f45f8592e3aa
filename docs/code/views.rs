//! Views share storage, broadcasting repeats with stride 0, and maps are channels-last.

use engine::{DType, Result, Tensor};

pub fn views() -> Result<()> {
    // Four dimensions are [N, C, H, W] to the reader and N, H, W, C in memory.
    let map = Tensor::zeros(&[2, 3, 4, 5], DType::F32)?;
    assert_eq!(map.layout().strides(), [60, 1, 15, 3]);

    // A permutation exchanges strides and moves nothing.
    let nhwc = map.permute(&[0, 2, 3, 1])?;
    assert_eq!(nhwc.shape(), [2, 4, 5, 3]);
    assert_eq!(nhwc.layout().strides(), [60, 15, 3, 1]);

    // One number for each channel, repeated over images, rows and columns by strides of 0.
    let scale = Tensor::from_slice(&[1.0f32, 2.0, 3.0], &[1, 3, 1, 1])?;
    let repeated = scale.broadcast_to(map.shape())?;
    assert_eq!(repeated.layout().strides(), [0, 1, 0, 0]);

    // The same logical elements, whatever the order in memory.
    let counted: Vec<f32> = (0..120u8).map(f32::from).collect();
    let counted = Tensor::from_slice(&counted, &[2, 3, 4, 5])?;
    assert_eq!(counted.to_vec::<f32>()?, counted.row_major()?.to_vec::<f32>()?);
    assert_eq!(counted.row_major()?.layout().strides(), [60, 20, 5, 1]);
    Ok(())
}
