use super::*;

/// An H100, as cuDNN describes one to itself.
const H100: &str = r#"{"cudaDeviceId":0,"deviceVer":900,"driverVer":12060,"maxGridSize":[2147483647,65535,65535],
"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":132,"smClockRateKHz":1980000,
"memClockRateKHz":2619000,"l2CacheSize":52428800,"warpSize":32,"maxSharedMemoryPerBlock":49152,
"maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"pciDeviceId":0,
"maxCtasPerSM":32,"maxThreadsPerSM":2048,"isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":85000000000,"deviceName":"NVIDIA H100 80GB HBM3"}"#;

#[test]
fn explore() {
    let Some(file) = std::env::var_os("IRNEXT_REAL_CUDNN") else { return };
    let library: &'static Library = Box::leak(Box::new(open(&file).unwrap()));
    let gpu = descriptor::Descriptor::new(library, sys::kind::DEVICEPROP).unwrap();
    gpu.set(sys::attribute::DEVICEPROP_JSON_REPRESENTATION, format!("{H100}\0").as_bytes()).unwrap();
    gpu.complete().unwrap();
    for dtype in [DType::BF16, DType::F16, DType::F32] {
        for (n, c, o, side, k, stride, pad, dil, groups) in [
            (8, 32, 32, 256, 3, 1, 1, 1, 1),
            (8, 64, 64, 128, 3, 1, 1, 1, 1),
            (8, 3, 32, 256, 3, 1, 1, 1, 1),
            (8, 32, 3, 256, 3, 1, 1, 1, 1),
            (8, 32, 64, 256, 3, 2, 1, 1, 1),
            (1, 128, 128, 64, 1, 1, 0, 1, 1),
            (2, 6, 6, 20, 3, 1, 1, 1, 2),
            (2, 64, 64, 32, 3, 1, 2, 2, 1),
            (2, 64, 64, 32, 3, 1, 1, 1, 64),
            (1, 5, 7, 9, 4, 3, 2, 1, 1),
            (8, 32, 64, 256, 4, 2, 1, 1, 1),
        ] {
            let out = (side + 2 * pad - dil * (k - 1) - 1) / stride + 1;
            for (pass, bias, residual, gelu) in [
                (Pass::ToOutput, false, false, false),
                (Pass::ToOutput, true, false, false),
                (Pass::ToOutput, true, true, false),
                (Pass::ToOutput, true, true, true),
                (Pass::ToOutput, true, false, true),
                (Pass::ToInput, false, false, false),
                (Pass::ToInput, true, false, true),
                (Pass::ToWeight, false, false, false),
            ] {
                let options = Conv2dOptions { stride, padding: pad, dilation: dil, groups };
                let convolution = Convolution {
                    x: [n, c, side, side],
                    weight: [o, c / groups, k, k],
                    y: [n, o, out, out],
                    bias,
                    residual,
                    gelu,
                    ..Convolution::new(pass, dtype, options)
                };
                for tf32 in [false, true] {
                    if tf32 && dtype != DType::F32 {
                        continue;
                    }
                    let start = std::time::Instant::now();
                    let plan = Plan::new(
                        library,
                        Target::Described(gpu.raw()),
                        &convolution,
                        Permissions { tf32, nondeterministic: false, compiled: false },
                    );
                    println!(
                        "{dtype} tf32 {tf32} {c}->{o} k{k} s{stride} p{pad} d{dil} g{groups} {pass:?} {bias} {residual} {gelu}: {} {:?}",
                        match plan {
                            Ok(plan) => format!("workspace {}", plan.workspace),
                            Err(failure) => format!("{failure:?}"),
                        },
                        start.elapsed()
                    );
                }
            }
        }
    }
}
