//! Against the CPU in f64. On a machine without a GPU this runs on the emulator's cuDNN; how
//! the real one takes the graphs is tested by `the_real_library_has_plans_for_every_generation`.

use super::descriptor::Descriptor;
use super::sys::{BehaviorNote, NumericalNote, attribute, kind};
use super::*;
use crate::cuda::tests::{gpu, there};
use crate::{DType, Numerics, Rng, Tape};

const DTYPES: [(DType, f64); 3] = [(DType::F32, 1e-6), (DType::F16, 1e-3), (DType::BF16, 8e-3)];

/// The permissions under the default numerics.
const STRICT: Permissions = Permissions { tf32: false, nondeterministic: false, compiled: false };
const COMPILED: Permissions = Permissions { compiled: true, ..STRICT };

fn random(shape: &[usize], dtype: DType, rng: &mut Rng) -> Tensor {
    Tensor::randn(shape, DType::F64, rng).unwrap().to_dtype(dtype).unwrap()
}

fn exact(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F64).unwrap()
}

/// The largest difference relative to the largest value.
fn distance(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.shape(), expected.shape());
    let (got, expected) = (got.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    let scale = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    got.iter().zip(&expected).fold(0.0, |most, (a, b)| {
        let difference = (a - b).abs() / scale;
        if difference.is_nan() { f64::INFINITY } else { f64::max(most, difference) }
    })
}

/// x, weight, y and settings that reach strides, dilation, padding, groups, odd sizes and single
/// pixels.
fn cases() -> Vec<([usize; 4], [usize; 4], Conv2dOptions)> {
    let options =
        |stride, padding, dilation, groups| Conv2dOptions { stride, padding, dilation, groups };
    vec![
        ([2, 8, 7, 9], [16, 8, 3, 3], options(1, 1, 1, 1)),
        ([1, 3, 10, 8], [5, 3, 4, 2], options(2, 1, 1, 1)),
        ([1, 4, 9, 9], [6, 4, 3, 3], options(1, 2, 2, 1)),
        ([2, 6, 5, 6], [4, 3, 3, 3], options(3, 2, 1, 2)),
        ([1, 4, 6, 5], [8, 1, 3, 3], options(1, 1, 1, 4)),
        ([3, 5, 1, 1], [7, 5, 1, 1], options(1, 0, 1, 1)),
    ]
}

#[test]
fn all_three_passes_agree_with_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(1);
    for (dtype, tolerance) in DTYPES {
        for (x, weight, options) in cases() {
            let (x, weight) = (random(&x, dtype, &mut rng), random(&weight, dtype, &mut rng));
            let tape = Tape::new();
            let (x_leaf, weight_leaf) = (tape.leaf(&exact(&x)), tape.leaf(&exact(&weight)));
            let y = x_leaf.conv2d(&weight_leaf, None, options).unwrap();
            let dy = random(y.shape(), dtype, &mut rng);
            let mut gradients = tape.backward_from(&[&y], vec![Some(exact(&dy))]).unwrap();
            let (dx, dw) =
                (gradients.take(&x_leaf).unwrap(), gradients.take(&weight_leaf).unwrap());

            let (x_there, weight_there, dy_there) =
                (there(&x.row_major().unwrap()), there(&weight), there(&dy));
            let forward = Request::convolution(
                Direction::InToOut,
                options,
                &x_there,
                &weight_there,
                Epilogue::NONE,
                y.shape(),
            );
            let adjoint = Request::convolution(
                Direction::OutToIn,
                options,
                &dy_there,
                &weight_there,
                Epilogue::NONE,
                x.shape(),
            );
            let sums = Request::weight_sums(options, &x_there, &dy_there, weight.shape());
            for (request, expected) in [(forward, y.detach()), (adjoint, dx), (sums, dw)] {
                let request = request.unwrap();
                let got = request.compute(gpu, STRICT).unwrap().expect("cuDNN has it");
                assert!(got.layout().is_contiguous());
                let far = distance(&got, &expected);
                assert!(far <= tolerance, "{dtype} {:?}: off by {far:.1e}", request.graph);
            }
        }
    }
}

#[test]
fn epilogues_equal_separate_operations() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(2);
    let options = Conv2dOptions { stride: 2, padding: 1, ..Default::default() };
    let (small, large, weight) = ([2, 6, 4, 5], [2, 8, 7, 9], [6, 8, 3, 3]);
    for (dtype, tolerance) in DTYPES {
        for direction in [Direction::InToOut, Direction::OutToIn] {
            let (from, to) =
                if direction == Direction::InToOut { (large, small) } else { (small, large) };
            let [x, weight, bias, residual] =
                [&from[..], &weight, &to[1..2], &to].map(|shape| random(shape, dtype, &mut rng));
            let [x_there, weight_there, bias_there, residual_there] =
                [&x, &weight, &bias, &residual].map(there);
            for combination in 0..8 {
                let (with_bias, with_residual, gelu) =
                    (combination & 1 > 0, combination & 2 > 0, combination & 4 > 0);
                let epilogue = Epilogue {
                    bias: with_bias.then_some(&bias_there),
                    residual: with_residual.then_some(&residual_there),
                    gelu,
                    ..Epilogue::NONE
                };
                let request = Request::convolution(
                    direction,
                    options,
                    &x_there,
                    &weight_there,
                    epilogue,
                    &to,
                )
                .unwrap();
                // A fusion that needs the compiler is not available without it, and in f32 it
                // computes in TF32.
                let needs = gelu || direction == Direction::OutToIn && combination > 0;
                let got = request.compute(gpu, STRICT).unwrap();
                assert_eq!(got.is_none(), needs, "{dtype} {direction:?} {combination}");
                let may = Permissions { tf32: true, ..COMPILED };
                let got = if needs { request.compute(gpu, may).unwrap() } else { got }.unwrap();
                let tolerance = if needs && dtype == DType::F32 { 2e-3 } else { tolerance };

                let bias = with_bias.then(|| exact(&bias));
                let mut expected = match direction {
                    Direction::InToOut => exact(&x).conv2d(&exact(&weight), bias.as_ref(), options),
                    Direction::OutToIn => {
                        exact(&x).conv_transpose2d(&exact(&weight), bias.as_ref(), options)
                    }
                }
                .unwrap();
                if with_residual {
                    expected = expected.add(&exact(&residual)).unwrap();
                }
                if gelu {
                    expected = expected.gelu().unwrap();
                }
                let far = distance(&got, &expected);
                assert!(far <= tolerance, "{dtype} {direction:?} {combination}: off by {far:.1e}");
            }
        }
    }
}

#[test]
fn views_at_odd_addresses_are_copied() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(3);
    let (x, weight) = (
        random(&[3, 3, 5, 5], DType::BF16, &mut rng),
        random(&[4, 3, 3, 3], DType::BF16, &mut rng),
    );
    let view = there(&x).slice(0, 1, 2, 1).unwrap();
    assert!(!view.address().unwrap().is_multiple_of(ALIGNMENT));
    let got = convolve(
        gpu,
        Direction::InToOut,
        Conv2dOptions::default(),
        &view,
        &there(&weight),
        Epilogue::NONE,
        &[2, 4, 3, 3],
    );
    let expected = exact(&x)
        .slice(0, 1, 2, 1)
        .unwrap()
        .conv2d(&exact(&weight), None, Conv2dOptions::default())
        .unwrap();
    assert!(distance(&got.unwrap().unwrap(), &expected) < 8e-3);
}

/// The notes of the engine that a request was given.
fn engine(
    gpu: &'static Gpu,
    request: &Request<'_>,
    may: Permissions,
) -> (Vec<NumericalNote>, Vec<BehaviorNote>) {
    request.compute(gpu, may).unwrap().unwrap();
    let cudnn = Cudnn::of(gpu).unwrap().unwrap();
    let state = cudnn.state.lock().unwrap();
    let plan = state.plans[&(request.graph.clone(), may)].as_ref().unwrap();
    (plan.engine.numerical.clone(), plan.engine.behavior.clone())
}

#[test]
fn engines_are_chosen_by_what_they_may_do() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(4);
    let (x, dy) = ([1, 4, 6, 7], [1, 8, 4, 5]);
    let options = Conv2dOptions::default();
    for (dtype, _) in DTYPES {
        let (x, dy) = (there(&random(&x, dtype, &mut rng)), there(&random(&dy, dtype, &mut rng)));
        let request = Request::weight_sums(options, &x, &dy, &[8, 4, 3, 3]).unwrap();
        let (strict, _) = engine(gpu, &request, STRICT);
        for tf32 in [false, true] {
            let (notes, behavior) = engine(gpu, &request, Permissions { tf32, ..STRICT });
            assert!(!notes.contains(&NumericalNote::NONDETERMINISTIC), "{dtype}");
            assert!(!notes.contains(&NumericalNote::REDUCED_PRECISION_REDUCTION), "{dtype}");
            assert!(!behavior.contains(&BehaviorNote::RUNTIME_COMPILATION), "{dtype}");
            assert!(tf32 || dtype != DType::F32 || !notes.contains(&NumericalNote::TENSOR_CORE));
            assert!(dtype == DType::F32 || notes == strict, "TF32 is nothing to {dtype}");
        }
    }
}

#[test]
fn permissions_are_those_of_the_scope() {
    let loose = Numerics { tf32: true, deterministic: false, compiled_fusion: true };
    loose.scope(|| {
        let may = Permissions { nondeterministic: true, ..COMPILED };
        assert_eq!(Permissions::now(DType::F32), Permissions { tf32: true, ..may });
        assert_eq!(Permissions::now(DType::BF16), may);
    });
    assert_eq!(Permissions::now(DType::F32), STRICT);
}

/// These are about engines of the emulator's cuDNN that are marked by their effect on the numbers.
fn emulated() -> Option<&'static Gpu> {
    gpu().filter(|gpu| crate::cuda::driver::probe(gpu.index()).unwrap().name.contains("emulator"))
}

#[test]
fn the_order_is_kept_unless_told_otherwise() {
    let Some(gpu) = emulated() else { return };
    let mut rng = Rng::new(5);
    let (x, dy) = (
        there(&random(&[1, 4, 6, 7], DType::F32, &mut rng)),
        there(&random(&[1, 8, 4, 5], DType::F32, &mut rng)),
    );
    let request = Request::weight_sums(Conv2dOptions::default(), &x, &dy, &[8, 4, 3, 3]).unwrap();
    let bits = |may: Permissions| request.compute(gpu, may).unwrap().unwrap().to_f64_vec().unwrap();
    assert!(bits(STRICT) == bits(STRICT));
    let loose = Permissions { nondeterministic: true, ..STRICT };
    assert!(bits(loose) != bits(loose));
}

#[test]
fn f32_is_rounded_to_tf32_only_if_allowed() {
    let Some(gpu) = emulated() else { return };
    let mut rng = Rng::new(6);
    let (x, weight) = (
        random(&[1, 16, 6, 6], DType::F32, &mut rng),
        random(&[8, 16, 3, 3], DType::F32, &mut rng),
    );
    let expected = exact(&x).conv2d(&exact(&weight), None, Conv2dOptions::default()).unwrap();
    let (x, weight) = (there(&x), there(&weight));
    let request = Request::convolution(
        Direction::InToOut,
        Conv2dOptions::default(),
        &x,
        &weight,
        Epilogue::NONE,
        expected.shape(),
    )
    .unwrap();
    let far = |may| distance(&request.compute(gpu, may).unwrap().unwrap(), &expected);
    assert!(far(STRICT) < 1e-6);
    let tf32 = far(Permissions { tf32: true, ..STRICT });
    assert!((1e-5..1e-2).contains(&tf32), "{tf32:.1e}");
}

#[test]
fn plans_are_made_once_and_their_absence_is_remembered() {
    let Some(gpu) = gpu() else { return };
    // A shape that no other test has.
    let (x, weight) = (
        Tensor::ones(&[1, 2, 13, 3], DType::F16).unwrap(),
        Tensor::ones(&[3, 2, 1, 1], DType::F16).unwrap(),
    );
    let (x, weight) = (there(&x), there(&weight));
    let options = Conv2dOptions::default();
    let cudnn = Cudnn::of(gpu).unwrap().unwrap();
    let count =
        || cudnn.state.lock().unwrap().plans.keys().filter(|(of, _)| of.x == [1, 2, 13, 3]).count();
    for _ in 0..3 {
        convolve(gpu, Direction::InToOut, options, &x, &weight, Epilogue::NONE, &[1, 3, 13, 3])
            .unwrap()
            .unwrap();
        assert_eq!(count(), 1);
    }
    let epilogue = Epilogue { gelu: true, ..Epilogue::NONE };
    for _ in 0..3 {
        let request = Request::convolution(
            Direction::InToOut,
            options,
            &x,
            &weight,
            epilogue,
            &[1, 3, 13, 3],
        )
        .unwrap();
        assert!(request.compute(gpu, STRICT).unwrap().is_none());
        assert_eq!(count(), 2);
    }
}

#[test]
fn f64_and_empty_maps_are_left_to_the_caller() {
    let Some(gpu) = gpu() else { return };
    let convolve = |x: &[usize], dtype| {
        let (x, weight) = (
            there(&Tensor::ones(x, dtype).unwrap()),
            there(&Tensor::ones(&[3, 2, 1, 1], dtype).unwrap()),
        );
        super::convolve(
            gpu,
            Direction::InToOut,
            Conv2dOptions::default(),
            &x,
            &weight,
            Epilogue::NONE,
            &[x.shape()[0], 3, 2, 2],
        )
    };
    assert!(convolve(&[1, 2, 2, 2], DType::F64).unwrap().is_none());
    assert!(convolve(&[0, 2, 2, 2], DType::F32).unwrap().is_none());
    assert!(convolve(&[1, 2, 2, 2], DType::F32).unwrap().is_some());
}

#[test]
fn a_shape_that_does_not_follow_is_an_error() {
    let Some(gpu) = gpu() else { return };
    let (x, weight) = (
        there(&Tensor::ones(&[1, 2, 4, 4], DType::F32).unwrap()),
        there(&Tensor::ones(&[3, 2, 3, 3], DType::F32).unwrap()),
    );
    let message = convolve(
        gpu,
        Direction::InToOut,
        Conv2dOptions::default(),
        &x,
        &weight,
        Epilogue::NONE,
        &[1, 3, 3, 2],
    )
    .err()
    .unwrap();
    assert!(
        message.to_string().starts_with("cudnn: cudnnBackendFinalize: CUDNN_STATUS_BAD_PARAM"),
        "{message}"
    );
    let dtype = convolve(
        gpu,
        Direction::InToOut,
        Conv2dOptions::default(),
        &x,
        &there(&Tensor::ones(&[3, 2, 3, 3], DType::F16).unwrap()),
        Epilogue::NONE,
        &[1, 3, 2, 2],
    );
    assert_eq!(dtype.err().unwrap().to_string(), "conv2d: expected dtype f32, got f16");
}

#[test]
fn without_the_library_the_message_says_what_to_do() {
    let Some(gpu) = gpu() else { return };
    let message =
        Cudnn::start(gpu, Some("/nonexistent/libcudnn.so.9".into())).err().unwrap().to_string();
    for part in [
        "cudnn: cuDNN 9 is needed",
        "/nonexistent/libcudnn.so.9",
        "pip install nvidia-cudnn-cu12",
        "ENGINE_CUDNN=off",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(Cudnn::start(gpu, Some("off".into())).unwrap().is_none());
    assert!(Cudnn::start(gpu, Some("".into())).unwrap().is_some());
    assert!(Cudnn::start(gpu, None).unwrap().is_some());
    assert!(supported((9, 10, 2)).is_ok());
    let message = supported((8, 9, 7)).unwrap_err();
    assert_eq!(message, "version 8.9.7 was found");
}

/// A GPU of this compute capability (times 100), as cuDNN describes GPUs to itself. Only the
/// capability is that of the GPU; the rest is an H100's.
fn described(capability: usize) -> String {
    format!(
        r#"{{"deviceName":"a GPU","cudaDeviceId":0,"deviceVer":{capability},"driverVer":12060,
        "maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,
        "multiProcessorCount":132,"smClockRateKHz":1980000,
            "memClockRateKHz":2619000,"l2CacheSize":52428800,
        "warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,
        "reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"pciDeviceId":0,
            "maxCtasPerSM":32,
        "maxThreadsPerSM":2048,"isTccDriver":0,"supportCoopLaunch":1,
            "totalGlobalMem":85000000000}}"#
    )
}

/// From 9.8 on, cuDNN makes plans for a GPU that is only described to it. So every call but the
/// last can be tried on the real library without a GPU: `ENGINE_REAL_CUDNN` names it (of
/// `nvidia-cudnn-cu12==9.10.2.21`, with `nvidia-cublas-cu12` installed beside it).
#[test]
fn the_real_library_has_plans_for_every_generation() {
    let Some(file) = std::env::var_os("ENGINE_REAL_CUDNN") else { return };
    let library: &'static CudnnLibrary = Box::leak(Box::new(open(&file).unwrap()));
    let mut cases = cases();
    for channels in [3, 32, 64, 128] {
        let x = [8, channels, 8192 / channels.max(32), 8192 / channels.max(32)];
        let padded = Conv2dOptions { padding: 1, ..Default::default() };
        cases.push((x, [64, channels, 3, 3], padded));
        cases.push((x, [3, channels, 3, 3], padded));
        cases.push((x, [64, channels, 1, 1], Conv2dOptions::default()));
        cases.push((x, [64, channels, 4, 4], Conv2dOptions { stride: 2, ..padded }));
    }
    for (capability, dtypes) in
        [(700, &DTYPES[..2]), (800, &DTYPES), (900, &DTYPES), (1200, &DTYPES)]
    {
        let gpu = Descriptor::new(library, kind::DEVICEPROP).unwrap();
        let description = format!("{}\0", described(capability));
        gpu.set(attribute::DEVICEPROP_JSON_REPRESENTATION, description.as_bytes()).unwrap();
        gpu.complete().unwrap();
        for (&(dtype, _), &(x, weight, options)) in
            dtypes.iter().flat_map(|d| cases.iter().map(move |c| (d, c)))
        {
            let Conv2dOptions { stride, padding, dilation, .. } = options;
            let out =
                |size: usize, k: usize| (size + 2 * padding - dilation * (k - 1) - 1) / stride + 1;
            let y = [x[0], weight[0], out(x[2], weight[2]), out(x[3], weight[3])];
            let plain = |pass| GraphSpec::new(pass, dtype, options, [x, weight, y]);
            let with_bias = GraphSpec { bias: true, ..plain(ConvolutionPass::Output) };
            let with_both = GraphSpec { residual: true, ..with_bias.clone() };
            let passes = [ConvolutionPass::Output, ConvolutionPass::Input, ConvolutionPass::Weight]
                .map(plain);
            for of in passes.into_iter().chain([with_bias, with_both]) {
                for may in [STRICT, Permissions { tf32: true, ..STRICT }] {
                    match ExecutionPlan::new(library, PlanTarget::Described(gpu.raw()), &of, may) {
                        Ok(plan) => {
                            println!(
                                "{capability} {of:?}: {} bytes, {:?}",
                                plan.workspace, plan.engine.numerical
                            )
                        }
                        Err(failure) => panic!("{capability} {of:?}: {failure:?}"),
                    }
                }
            }
        }
    }
}
