use super::*;
use crate::{DType, Rng};

#[test]
fn long_sums_are_right_and_do_not_depend_on_threads() {
    let x = Tensor::randn(&[2, 3, 150, 201], DType::F32, &mut Rng::new(1)).unwrap();
    let sums = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let all = x.sum_all().unwrap().to_vec::<f32>().unwrap();
            let per_channel = x.sum_keepdim(&[0, 2, 3]).unwrap().to_vec::<f32>().unwrap();
            (all[0].to_bits(), per_channel.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        })
    };
    assert_eq!(sums(1), sums(3));
    let expected: f64 = x.to_f64_vec().unwrap().iter().sum();
    assert!((x.sum_all().unwrap().item().unwrap() - expected).abs() < 0.02);
}

#[test]
fn empty_tensors_have_sums() {
    let none = Tensor::zeros(&[2, 0, 3], DType::F32).unwrap();
    assert_eq!(none.sum_keepdim(&[1]).unwrap().to_vec::<f32>().unwrap(), [0.0; 6]);
    assert_eq!(none.sum_keepdim(&[2]).unwrap().shape(), [2, 0, 1]);
    assert_eq!(none.sum_all().unwrap().item().unwrap(), 0.0);
    // A convolution without output channels, of whose map a gradient sums.
    let tape = crate::Tape::new();
    let x = tape.leaf(&Tensor::ones(&[1, 2, 4, 4], DType::F32).unwrap());
    let (w, b) = (
        Tensor::zeros(&[0, 2, 3, 3], DType::F32).unwrap(),
        Tensor::zeros(&[0], DType::F32).unwrap(),
    );
    let b = tape.leaf(&b);
    let y =
        x.conv2d(&w, Some(&b), crate::Conv2dOptions { padding: 1, ..Default::default() }).unwrap();
    assert_eq!(y.shape(), [1, 0, 4, 4]);
    let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.0; 32]);
}

#[test]
fn the_place_of_a_maximum_is_the_first_of_equals_or_of_nan() {
    let nan = f32::NAN;
    let data = [1.0, 3.0, 3.0, nan, 5.0, nan, -f32::INFINITY, -f32::INFINITY, 0.0];
    let x = Tensor::from_slice(&data, &[3, 3]).unwrap();
    let places = |x: &Tensor, dim| x.argmax_keepdim(dim).unwrap().to_vec::<i64>().unwrap();
    assert_eq!(places(&x, 1), [1, 0, 2]);
    assert_eq!(places(&x, 0), [1, 1, 1]);
    assert_eq!(places(&x.transpose(0, 1).unwrap(), 0), [1, 0, 2]);
    assert_eq!(places(&Tensor::full(&[1, 2], f64::NEG_INFINITY, DType::F64).unwrap(), 1), [0]);
    let none = Tensor::zeros(&[0, 3], DType::F32).unwrap();
    assert_eq!(none.argmax_keepdim(1).unwrap().shape(), [0, 1]);
    let message = none.argmax_keepdim(0).unwrap_err().to_string();
    assert_eq!(message, "argmax: [0, 3] has no largest element along 0");
    assert!(x.argmax_keepdim(2).is_err());
}

#[test]
fn dimensions_must_exist_once() {
    let x = Tensor::zeros(&[2, 3], DType::F32).unwrap();
    assert!(x.sum_keepdim(&[2]).is_err());
    assert!(x.sum_keepdim(&[1, 1]).is_err());
    assert!(Tensor::zeros(&[0, 3], DType::F32).unwrap().amax_keepdim(&[0]).is_err());
}
