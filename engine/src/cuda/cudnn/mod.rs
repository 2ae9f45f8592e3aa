//! Convolutions by cuDNN, NVIDIA's library of them, where it is installed.
//!
//! A convolution, with the bias, residual and GELU that follow it, is a graph of operations (`graph.rs`). For each one that comes up, cuDNN is asked
//! once which of its engines should run it on this GPU (`plan.rs`); the answer is kept, as is that there is none. Then the functions here return `None`,
//! and the caller computes with the program's own kernels. f64 is always left to those.
//!
//! Nothing of cuDNN is needed to build the program: `libcudnn.so.9` is looked for at the first convolution (`sys.rs` declares what is in it). If it
//! cannot be found, that is an error which says what to install: a program that was silently many times slower would be worse. Who wants to do without it
//! sets `IRNEXT_CUDNN=off`.

mod descriptor;
mod graph;
mod plan;
mod sys;

use super::{Gpu, MOST, copy_into};
use crate::ops::conv2d::{Conv2dOptions, Direction};
use crate::{DType, Error, Result, Tensor};
use descriptor::{Failure, check};
use graph::{ALIGNMENT, Convolution, Name, Pass};
use plan::{Permissions, Plan, Target};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Mutex, OnceLock, PoisonError};
use sys::{Handle, Library};

/// The environment variable that names cuDNN's library, or says that it is not to be used.
const VARIABLE: &str = "IRNEXT_CUDNN";

/// The convolution of `x` with `weight` into a map of `shape` (`InToOut`), or the adjoint (`OutToIn`). `None` if cuDNN does not have it.
pub(crate) fn convolve(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    x: &Tensor,
    weight: &Tensor,
    shape: &[usize],
) -> Result<Option<Tensor>> {
    convolve_fused(gpu, direction, options, x, weight, Epilogue::default(), shape)
}

/// What is computed of a convolution's result before it is written: `[gelu](… + bias + residual)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// A number for each channel.
    pub(crate) bias: Option<&'a Tensor>,
    /// A map of the result's shape.
    pub(crate) residual: Option<&'a Tensor>,
    pub(crate) gelu: bool,
}

/// The same, with an `epilogue`. `None` if cuDNN does not have it in one: then [`convolve`] and a kernel for the rest may do.
pub(crate) fn convolve_fused(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    x: &Tensor,
    weight: &Tensor,
    epilogue: Epilogue<'_>,
    shape: &[usize],
) -> Result<Option<Tensor>> {
    let Epilogue { bias, residual, gelu } = epilogue;
    let (from, to) = (x.dims4("conv2d")?, four(shape)?);
    let (pass, name, x_shape, y_shape) = match direction {
        Direction::InToOut => (Pass::ToOutput, Name::X, from, to),
        Direction::OutToIn => (Pass::ToInput, Name::Y, to, from),
    };
    let convolution = Convolution {
        x: x_shape,
        weight: weight.dims4("conv2d")?,
        y: y_shape,
        bias: bias.is_some(),
        residual: residual.is_some(),
        gelu,
        ..Convolution::new(pass, x.dtype(), options)
    };
    let operands = [(name, Some(x)), (Name::Weight, Some(weight)), (Name::Bias, bias), (Name::Residual, residual)];
    run(gpu, &convolution, &operands)
}

/// The weight's gradient, of `shape`: the sums over pixels of the products of `x` and `dy`. `None` if cuDNN does not have it.
pub(crate) fn weight_sums(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
) -> Result<Option<Tensor>> {
    let convolution = Convolution {
        x: x.dims4("conv2d")?,
        weight: four(shape)?,
        y: dy.dims4("conv2d")?,
        ..Convolution::new(Pass::ToWeight, x.dtype(), options)
    };
    run(gpu, &convolution, &[(Name::X, Some(x)), (Name::Y, Some(dy))])
}

fn four(shape: &[usize]) -> Result<[usize; 4]> {
    shape.try_into().map_err(|_| Error::shape("conv2d", format!("a map has 4 dimensions, got {shape:?}")))
}

fn run(gpu: &'static Gpu, convolution: &Convolution, operands: &[(Name, Option<&Tensor>)]) -> Result<Option<Tensor>> {
    let operands: Vec<(Name, &Tensor)> = operands.iter().filter_map(|&(name, tensor)| Some((name, tensor?))).collect();
    if let Some((_, other)) = operands.iter().find(|(_, tensor)| tensor.dtype() != convolution.dtype) {
        return Err(Error::dtype("conv2d", convolution.dtype, other.dtype()));
    }
    // cuDNN knows no empty tensors, and not all of it takes more elements than an i32 counts.
    let all = [convolution.x, convolution.weight, convolution.y].map(|shape| shape.iter().product::<usize>());
    if all.iter().any(|&count| count == 0 || count > i32::MAX as usize) || convolution.data_type().is_none() {
        return Ok(None);
    }
    let Some(cudnn) = Cudnn::of(gpu)? else { return Ok(None) };
    cudnn.run(convolution, &operands)
}

/// cuDNN at work on one GPU.
pub(crate) struct Cudnn {
    gpu: &'static Gpu,
    library: &'static Library,
    state: Mutex<State>,
}

/// What one thread may use at a time.
struct State {
    handle: Handle,
    /// The plans that have been used; `None` where there is none to be had.
    plans: HashMap<(Convolution, Permissions), Option<Plan>>,
}

// SAFETY: a handle may be used from any thread, by one at a time, as long as the GPU's context is current there, which `run` sees to.
unsafe impl Send for State {}

impl Cudnn {
    /// cuDNN on `gpu`, started at the first call. `None` if it is switched off.
    pub(crate) fn of(gpu: &'static Gpu) -> Result<Option<&'static Self>> {
        static STARTED: [OnceLock<Result<Option<&'static Cudnn>>>; MOST] = [const { OnceLock::new() }; MOST];
        STARTED[gpu.index()].get_or_init(|| Self::start(gpu, std::env::var_os(VARIABLE))).clone()
    }

    /// `setting` is what the environment says.
    fn start(gpu: &'static Gpu, setting: Option<OsString>) -> Result<Option<&'static Self>> {
        let library: &Library = match setting {
            Some(setting) if setting == "off" => return Ok(None),
            Some(file) if !file.is_empty() => Box::leak(Box::new(open(&file)?)),
            _ => Box::leak(Box::new(open(OsStr::new("libcudnn.so.9"))?)),
        };
        gpu.bind()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the new handle is written there.
        check(library, "cudnnCreate", unsafe { (library.cudnnCreate)(&mut handle) }).map_err(error)?;
        // SAFETY: both are alive, and remain so: a GPU's stream to the program's end.
        check(library, "cudnnSetStream", unsafe { (library.cudnnSetStream)(handle, gpu.stream()) }).map_err(error)?;
        let state = Mutex::new(State { handle, plans: HashMap::new() });
        Ok(Some(Box::leak(Box::new(Self { gpu, library, state }))))
    }

    fn run(&self, convolution: &Convolution, operands: &[(Name, &Tensor)]) -> Result<Option<Tensor>> {
        self.gpu.bind()?;
        let permissions = Permissions {
            // What it says does not matter to other dtypes, and should not have their plans made anew.
            tf32: crate::tf32() && convolution.dtype == DType::F32,
            nondeterministic: !crate::deterministic(),
            compiled: crate::compiled_fusion(),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { handle, plans } = &mut *state;
        let key = (convolution.clone(), permissions);
        if !plans.contains_key(&key) {
            let plan = match Plan::new(self.library, Target::Gpu(*handle), convolution, permissions) {
                Ok(plan) => Some(plan),
                Err(Failure::Unsupported) => None,
                Err(Failure::Failed(error)) => return Err(error),
            };
            plans.insert(key.clone(), plan);
        }
        let Some(Some(plan)) = plans.get(&key) else { return Ok(None) };
        let operands = operands
            .iter()
            .map(|&(name, tensor)| Ok((name, aligned(self.gpu, tensor)?)))
            .collect::<Result<Vec<(Name, Tensor)>>>()?;
        let (name, shape) = convolution.result();
        let result = Tensor::new_on_gpu(self.gpu, &shape, convolution.dtype)?;
        let workspace = (plan.workspace > 0).then(|| self.gpu.allocate(plan.workspace)).transpose()?;
        let mut addresses = vec![(name, result.address()?)];
        for (name, tensor) in &operands {
            addresses.push((*name, tensor.address()?));
        }
        let workspace = workspace.as_ref().map_or(0, |block| block.address());
        plan.run(self.library, *handle, &addresses, workspace).map_err(error)?;
        Ok(Some(result))
    }
}

/// Opens the library, or says what to do.
fn open(file: &OsStr) -> Result<Library> {
    let missing = |why: String| {
        let message = format!(
            "cuDNN 9 is needed for convolutions on a GPU: {why}. Install it, for example with `pip install \
             nvidia-cudnn-cu12`, and put the folder of libcudnn.so.9 (site-packages/nvidia/cudnn/lib) on LD_LIBRARY_PATH, or name the file \
             in {VARIABLE}. {VARIABLE}=off computes with this program's own, slower convolutions instead"
        );
        Error::cuda("cudnn", message)
    };
    let library = Library::open(file).map_err(missing)?;
    match library.version() {
        (9, ..) => Ok(library),
        (major, minor, patch) => Err(missing(format!("{} is version {major}.{minor}.{patch}", file.to_string_lossy()))),
    }
}

/// In the standard layout, where cuDNN's engines can read 16 bytes at once.
fn aligned(gpu: &'static Gpu, tensor: &Tensor) -> Result<Tensor> {
    let tensor = tensor.standard()?;
    if tensor.address()? % ALIGNMENT == 0 {
        return Ok(tensor);
    }
    let copy = Tensor::new_on_gpu(gpu, tensor.shape(), tensor.dtype())?;
    copy_into(gpu, &copy, &tensor)?;
    Ok(copy)
}

/// The failure as an error, where nothing can be unsupported.
fn error(failure: Failure) -> Error {
    match failure {
        Failure::Failed(error) => error,
        Failure::Unsupported => Error::cuda("cudnn", "cuDNN refuses what it offered"),
    }
}

#[cfg(test)]
mod tests;
