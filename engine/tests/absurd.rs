//! Absurd shapes, settings and amounts of memory: each is an error, never a panic.

use engine::ops::{Saved, map};
use engine::{Border, Conv2dOptions, DType, Error, Padding, Result, Rng, Tape, Tensor, checkpoint};

const F32: DType = DType::F32;

/// Shapes whose elements, bytes or strides cannot be counted.
const ABSURD: [&[usize]; 4] =
    [&[1 << 40, 1 << 40], &[usize::MAX, 2], &[1 << 62], &[0, usize::MAX, usize::MAX]];

/// Elements that can be counted, and that no machine can hold.
const VAST: usize = 1 << 50;

/// One zero seen as a tensor of `shape`.
fn zero_as(shape: &[usize]) -> Tensor {
    let ones = vec![1; shape.len()];
    Tensor::zeros(&ones, F32).unwrap().broadcast_to(shape).unwrap()
}

#[track_caller]
fn assert_refused(op: &str, found: Result<Tensor>) {
    match found {
        Err(Error::Shape { op: by, .. }) => assert_eq!(by, op),
        other => panic!("{op}: {other:?}"),
    }
}

#[track_caller]
fn assert_out_of_memory(found: Result<Tensor>) {
    match found {
        Err(error @ Error::Memory { op: Some(op), bytes }) => {
            assert!(bytes >= VAST, "{error}");
            let message = error.to_string();
            assert!(message.starts_with(op) && message.contains(&bytes.to_string()), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn constructors_refuse_absurd_shapes() {
    let mut rng = Rng::new(0);
    for shape in ABSURD {
        for (name, made) in [
            ("zeros", Tensor::zeros(shape, F32)),
            ("ones", Tensor::ones(shape, F32)),
            ("full", Tensor::full(shape, 7.0, F32)),
            ("randn", Tensor::randn(shape, F32, &mut rng)),
            ("rand", Tensor::rand(shape, 0.0, 1.0, F32, &mut rng)),
            ("build", Tensor::build(shape, |_: &mut [f32]| {})),
        ] {
            let message = made.unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}: shape {shape:?} ")), "{message}");
        }
        assert_refused("from_slice", Tensor::from_slice::<f32>(&[], shape));
        assert_refused("from_le_bytes", Tensor::from_le_bytes(&[], shape, F32));
    }
    assert_refused("from_nhwc", Tensor::from_nhwc(&[1f32], [usize::MAX, usize::MAX, 1, 1]));
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    assert_out_of_memory(Tensor::zeros(&[VAST], F32));
    assert_out_of_memory(Tensor::randn(&[2, VAST], F32, &mut Rng::new(0)));
    assert_out_of_memory(zero_as(&[VAST]).relu());
    assert_out_of_memory(zero_as(&[VAST]).copy());
    assert!(matches!(zero_as(&[VAST]).to_f64_vec(), Err(Error::Memory { .. })));
    // It is not one element, whatever its memory.
    let message = zero_as(&[VAST]).item().unwrap_err().to_string();
    assert_eq!(message, format!("item: expected one element, got shape [{VAST}]"));
    for (name, copied) in [
        ("contiguous", zero_as(&[VAST]).contiguous()),
        ("row_major", zero_as(&[2, VAST]).row_major()),
        ("full of seven", map("full of seven", &[VAST], [], |[]: [f32; 0]| 7f32)),
    ] {
        assert_out_of_memory(copied.clone());
        assert!(copied.unwrap_err().to_string().starts_with(name), "{name}");
    }
    // A copy into another layout is a part of the operation that needs it.
    assert!(matches!(
        zero_as(&[VAST]).to_vec::<f32>(),
        Err(Error::Memory { op: Some("to_vec"), .. })
    ));
    // One number comes of it, but the operands are packed first.
    assert_out_of_memory(zero_as(&[1, VAST]).matmul(&zero_as(&[VAST, 1])));
}

#[test]
fn operations_refuse_absurd_results() {
    let x = Tensor::zeros(&[1, 1, 4, 4], F32).unwrap();
    assert_refused("bilinear", x.bilinear(usize::MAX / 2, 3, false));
    assert_refused("bilinear", x.bilinear_by_scale(1e300));
    assert_refused("nearest", x.nearest(usize::MAX, 1));
    assert_refused("adaptive_avg_pool2d", x.adaptive_avg_pool2d(1, usize::MAX));
    assert_refused("pad_zeros", x.pad_zeros(Padding::all(usize::MAX / 2)));
    assert_refused("pad_zeros", x.pad_zeros(Padding::all(1 << 40)));
    assert_refused("broadcast_to", x.broadcast_to(&[usize::MAX, 2, 4, 4]));
    let empty = Tensor::zeros(&[0], F32).unwrap();
    assert_refused("reshape", empty.reshape(&[0, usize::MAX, usize::MAX]));
    let wide = zero_as(&[VAST]);
    assert_refused("concat", Tensor::concat(&vec![&wide; 4096], 0));
    assert_refused("matmul", zero_as(&[VAST, 1]).matmul(&zero_as(&[1, VAST])));
    assert_refused("add", zero_as(&[VAST, 1]).add(&zero_as(&[1, VAST])));
    // The same if it is only traced.
    let inferred: Result<_> = engine::infer(&[&x], |x| Ok(vec![x[0].nearest(usize::MAX, 1)?]));
    assert!(matches!(inferred, Err(Error::Shape { op: "nearest", .. })));
}

#[test]
fn results_without_memory_are_errors() {
    let x = Tensor::zeros(&[1, 1, 4, 4], F32).unwrap();
    assert_out_of_memory(x.bilinear(VAST, 3, false));
    assert_out_of_memory(x.nearest(1, VAST));
    assert_out_of_memory(x.adaptive_avg_pool2d(VAST, 1));
    assert_out_of_memory(x.pad_zeros(Padding { left: VAST, ..Padding::default() }));
}

#[test]
fn convolutions_refuse_absurd_settings_and_operands() {
    let x = Tensor::zeros(&[1, 1, 4, 4], F32).unwrap();
    let weight = Tensor::zeros(&[1, 1, 3, 3], F32).unwrap();
    for absurd in [usize::MAX, usize::MAX / 2, 1 << 40] {
        for options in [
            Conv2dOptions { stride: absurd, ..Conv2dOptions::default() },
            Conv2dOptions { padding: absurd, ..Conv2dOptions::default() },
            Conv2dOptions { dilation: absurd, ..Conv2dOptions::default() },
            Conv2dOptions { stride: absurd, padding: absurd, ..Conv2dOptions::default() },
            Conv2dOptions { padding: absurd, dilation: absurd, ..Conv2dOptions::default() },
            Conv2dOptions { groups: absurd, ..Conv2dOptions::default() },
        ] {
            assert_refused("conv2d", x.conv2d(&weight, None, options));
            assert_refused("conv_transpose2d", x.conv_transpose2d(&weight, None, options));
        }
    }
    let map = zero_as(&[1, 1, 1 << 20, 1 << 20]);
    assert_refused("conv2d", map.conv2d(&map, None, Conv2dOptions::default()));
    assert_refused("conv_transpose2d", map.conv_transpose2d(&map, None, Conv2dOptions::default()));
    // The result is small, and the padded rows that a band of it reads are not.
    let far = Conv2dOptions { padding: 1 << 20, dilation: 1 << 20, ..Conv2dOptions::default() };
    let (x, weight) =
        (Tensor::zeros(&[1, 64, 4, 4], F32).unwrap(), Tensor::zeros(&[1, 64, 3, 3], F32).unwrap());
    assert_out_of_memory(x.conv2d(&weight, None, far));
    // As many weights, and as many channels, as one number can be seen as.
    let (x, weight) = (zero_as(&[1, 1 << 24, 1, 1]), zero_as(&[1 << 24, 1 << 24, 1, 1]));
    assert_out_of_memory(x.conv2d(&weight, None, Conv2dOptions::default()));
}

#[test]
fn the_step_of_a_slice_of_one_may_be_anything() {
    let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3]).unwrap();
    assert_eq!(x.slice(0, 2, 1, usize::MAX).unwrap().to_vec::<f32>().unwrap(), [3.0]);
    assert_refused("slice", x.slice(0, 0, 2, usize::MAX));
    assert_refused("slice", x.slice(0, usize::MAX, 1, 1));
}

#[test]
fn an_empty_view_beyond_the_end_of_its_memory_has_no_elements() {
    let nothing = Tensor::zeros(&[0, 3], F32).unwrap();
    assert_eq!(nothing.narrow(1, 1, 2).unwrap().to_vec::<f32>().unwrap(), []);
    let corner = Tensor::zeros(&[2, 3], F32).unwrap().narrow(0, 2, 0).unwrap();
    let corner = corner.narrow(1, 3, 0).unwrap();
    assert_eq!(corner.to_f64_vec().unwrap(), []);
    assert_eq!(corner.exp().unwrap().add(&corner).unwrap().shape(), [0, 0]);
    assert!(format!("{corner:?}").contains("[0, 0]"));
    let halves = Tensor::zeros(&[0, 6, 8, 8], F32).unwrap().chunk(2, 1).unwrap();
    let weight = Tensor::zeros(&[4, 3, 3, 3], F32).unwrap();
    let y = halves[1].conv2d(&weight, None, Conv2dOptions::default()).unwrap();
    assert_eq!(y.shape(), [0, 4, 6, 6]);
}

/// A size that makes a table of its own unaffordable, and an empty tensor cost nothing.
const LONG: usize = 1 << 40;

#[test]
fn vast_tensors_without_elements_cost_nothing() {
    type Operation = fn(&Tensor) -> Result<Tensor>;
    let operations: [(Operation, &[usize]); 9] = [
        (|x| x.adaptive_avg_pool2d(1, 1), &[0, 1, 1, 1]),
        (|x| x.nearest(2, 3), &[0, 1, 2, 3]),
        (|x| x.nearest(1 << 30, 1), &[0, 1, 1 << 30, 1]),
        (|x| x.bilinear(2, 3, true), &[0, 1, 2, 3]),
        (|x| x.rfft2(), &[0, 1, LONG, 1, 2]),
        (|x| x.max_pool2d(1, 1), &[0, 1, LONG, 1]),
        (|x| x.instance_norm(&zero_as(&[1]), &zero_as(&[1]), 1e-5), &[0, 1, LONG, 1]),
        (|x| x.relu(), &[0, 1, LONG, 1]),
        (|x| x.permute(&[3, 2, 1, 0]), &[1, LONG, 1, 0]),
    ];
    for (operation, shape) in operations {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::zeros(&[0, 1, LONG, 1], F32).unwrap());
        let y = operation(&x).unwrap();
        assert_eq!(y.shape(), shape);
        let seed = Tensor::zeros(shape, F32).unwrap();
        let gradients = tape.backward_from(&[&y], vec![Some(seed)]).unwrap();
        assert_eq!(gradients.get(&x).unwrap().shape(), x.shape());
    }
    let maps = Tensor::zeros(&[0, LONG, 1, 1], F32).unwrap();
    let (weight, bias) = (zero_as(&[LONG]), zero_as(&[LONG]));
    assert_refused("batch_norm", maps.batch_norm_train(&weight, &bias, 1e-5).map(|(y, _)| y));
    let images = Tensor::zeros(&[0, 1, 4, 4], F32).unwrap();
    let filters = Tensor::zeros(&[0, 1, (1 << 20) + 1, (1 << 20) + 1], F32).unwrap();
    assert_eq!(images.dynamic_filter(&filters, Border::Zero).unwrap().shape(), [0, 1, 4, 4]);
}

#[test]
fn vast_results_and_tables_are_errors() {
    let nothing = Tensor::zeros(&[1, 0, 1, 1], F32).unwrap();
    let weight = Tensor::zeros(&[VAST, 0, 1, 1], F32).unwrap();
    assert_out_of_memory(nothing.conv2d(&weight, None, Conv2dOptions::default()));
    assert_out_of_memory(zero_as(&[1, 1, VAST, 1]).adaptive_avg_pool2d(1 << 26, 1));
    let filters = zero_as(&[1, 1, 4001, 4001]).copy().unwrap();
    let pixel = Tensor::zeros(&[1, 1 << 24, 1, 1], F32).unwrap();
    let filtered = pixel.dynamic_filter(&filters, Border::Zero);
    let bytes = (4 * 4001 * 4001) << 24;
    assert_eq!(filtered.unwrap_err(), Error::Memory { op: Some("dynamic_filter"), bytes });
    let parts = Tensor::zeros(&[VAST, 0], F32).unwrap().chunk(VAST, 0);
    assert!(matches!(parts, Err(Error::Memory { op: Some("chunk"), .. })));
}

#[test]
fn sums_of_saved_bytes_saturate() {
    let x = zero_as(&[1 << 59]);
    let bytes = 4 << 59;
    assert_eq!((x.clone(), x.clone()).bytes(), 2 * bytes);
    let many = vec![x.clone(); 8];
    assert_eq!(many.bytes(), usize::MAX);
    assert_eq!((many.clone(), many.clone()).bytes(), usize::MAX);
    assert_eq!((x.clone(), many.clone(), many).bytes(), usize::MAX);
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    for _ in 0..8 {
        leaf.narrow(0, 0, 1).unwrap();
        let first = |x: &[Tensor]| Ok(vec![x[0].narrow(0, 0, 1)?]);
        checkpoint(&[&leaf; 8], first).unwrap();
    }
    assert_eq!(tape.saved_bytes(), usize::MAX);
}

#[test]
fn a_seed_without_elements_is_an_error() {
    let tape = Tape::new();
    let x = tape.leaf(&Tensor::zeros(&[2], F32).unwrap());
    let y = x.narrow(0, 0, 2).unwrap();
    let mut leaked = None;
    engine::infer(&[&y.detach()], |inputs| {
        leaked = Some(inputs[0].clone());
        Ok::<_, Error>(Vec::new())
    })
    .unwrap();
    let found = tape.backward_from(&[&y], vec![leaked]);
    assert!(matches!(found, Err(Error::Traced { op: "backward" })));
}

#[test]
fn one_thing_is_not_many() {
    let x = Tensor::zeros(&[1, 1, 4, 4], F32).unwrap();
    let message = |found: Result<Tensor>| found.unwrap_err().to_string();
    let (one, two) = (Conv2dOptions::default(), Conv2dOptions { groups: 2, ..Default::default() });
    let [wide, single] =
        [[4, 3, 3, 3], [1, 1, 3, 3]].map(|shape| Tensor::zeros(&shape, F32).unwrap());
    for (found, expected) in [
        (x.conv2d(&wide, None, one), "input has 1 channel, weight [4, 3, 3, 3] with 1 group"),
        (x.conv_transpose2d(&wide, None, one), "input has 1 channel, weight [4, 3, 3, 3] with 1 g"),
        (x.narrow(2, 4, 1), "narrow: 1 element from 4"),
        (Tensor::from_slice(&[1f32], &[2]), "from_slice: 1 element cannot fill shape [2]"),
    ] {
        let message = message(found);
        assert!(message.contains(expected), "{message}");
    }
    let pair = Tensor::zeros(&[1, 2, 4, 4], F32).unwrap();
    let message = message(pair.conv2d(&single, None, two));
    assert!(message.contains("has 1 output channel, which 2 groups do not divide"), "{message}");
    let tape = Tape::new();
    tape.leaf(&x).square().unwrap();
    assert_eq!(format!("{tape:?}"), "Tape(1 record, keeps 64 bytes)");
}

#[test]
fn messages_name_the_operation_that_was_called() {
    let x = Tensor::zeros(&[2, 3], F32).unwrap();
    assert_refused("sum_to", x.sum_to(&[2, 2]));
    assert_refused("sum_to", x.sum_to(&[3, 3]));
    assert_refused("mean", x.mean_keepdim(&[2]));
    let map = Tensor::zeros(&[1, 1, 2, 2], F32).unwrap();
    assert_refused("nearest_every", map.nearest_every(3));
    let (whole, none) = (x.to_dtype(DType::I64).unwrap(), Tensor::zeros(&[0], F32).unwrap());
    let index = Tensor::from_slice(&[7i64], &[1]).unwrap();
    for (found, expected) in [
        (x.narrow(0, 5, 1), "narrow: 1 element from 5"),
        (whole.neg(), "neg: expected dtype f32"),
        (whole.scale(2.0), "scale: expected dtype f32"),
        (Tensor::stack(&[], 0), "stack: there is nothing to join"),
        (Tensor::stack(&[&x], 9), "stack: shape [2, 3] has no place 9"),
        (Tensor::stack(&[&x, &whole], 0), "stack: expected dtype f32, got i64"),
        (x.index_select(0, &index), "index_select: index 7 is out of bounds"),
        (none.amax(&[0]), "amax: [0] has no largest element"),
        (x.amax(&[1, 1]), "amax: dimension 1 is repeated in [1, 1]"),
        (x.sum(&[0, 4]), "sum: there is no dimension 4 in shape [2, 3]"),
        (x.transpose(0, 2), "transpose: there is no dimension 2 in shape [2, 3]"),
        (whole.gt(&x), "gt: expected dtype i64, got f32"),
        (x.ge(&none.reshape(&[0, 1]).unwrap()), "ge: shapes [2, 3] and [0, 1] do not"),
        (whole.mean_all(), "mean: expected dtype f32"),
        (engine::optimizer::norm(&[&whole]), "norm: expected dtype f32"),
    ] {
        let message = found.unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    let message = Tensor::zeros(&[VAST], F32).unwrap_err().to_string();
    assert_eq!(message, format!("zeros: out of memory: cannot allocate {} bytes", 4 * VAST));
    // Also where it computes with other operations, or by a kernel of its own.
    let vast = zero_as(&[VAST >> 10, 1 << 10, 1, 1]);
    for (op, found) in [
        ("softmax", vast.softmax(1)),
        ("log_softmax", vast.log_softmax(1)),
        ("pad_zeros", vast.pad_zeros(Padding::all(1))),
        ("pad_reflect", vast.pad_reflect(Padding::all(0))),
        ("item", zero_as(&[VAST]).item().and_then(|value| Tensor::scalar(value, F32))),
    ] {
        let message = found.unwrap_err().to_string();
        assert!(message.starts_with(&format!("{op}: ")), "{message}");
    }
    for (op, read) in [
        ("to_vec", (|x| x.to_vec::<f32>().map(drop)) as fn(&Tensor) -> Result<()>),
        ("to_f64_vec", |x| x.to_f64_vec().map(drop)),
        ("to_le_bytes", |x| x.to_le_bytes().map(drop)),
    ] {
        let message = engine::infer(&[&x], |x| read(&x[0]).map(|()| Vec::new())).unwrap_err();
        assert_eq!(message, Error::Traced { op });
    }
}
