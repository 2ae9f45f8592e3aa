//! Convolutions by cuDNN, NVIDIA's library of them, where it is installed.
//!
//! A convolution, with the bias, residual and GELU that follow it, is a graph of operations
//! (`graph.rs`). For each new one, cuDNN is asked once which of its engines should run it on this
//! GPU (`execution_plan.rs`), and the answer is cached. If it has no engine, the functions here
//! return `None`, and the caller computes with the program's own kernels. f64 is always left to
//! those.
//!
//! Building the program does not need cuDNN: `libcudnn.so.9` is loaded at the first convolution
//! (`sys.rs` declares its functions). If it cannot be found, that is an error which names the
//! package to install: a program that was silently many times slower would be worse.
//! `ENGINE_CUDNN=off` does without it.
//!
//! Nothing waits for the GPU. But the first convolution of a kind allocates memory and loads code,
//! so launches are recorded for a graph only after they have run once without.
#![allow(unsafe_code)]

mod descriptor;
mod execution_plan;
mod graph;
mod sys;

use crate::conv::Epilogue;
use crate::conv::{Conv2dOptions, Direction};
use crate::cuda::{Gpu, MOST};
use crate::{Error, Result, Tensor};
use descriptor::{Failure, check};
use execution_plan::{ExecutionPlan, Permissions, PlanTarget};
use graph::{ALIGNMENT, ConvolutionPass, GraphSpec, Name};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::sync::{Mutex, OnceLock, PoisonError};
use sys::{CudnnLibrary, Handle};

/// The environment variable that names cuDNN's library, or says that it is not to be used.
const VARIABLE: &str = "ENGINE_CUDNN";

/// The convolution of `x` with `weight` into a map of `shape` (`InToOut`), or the adjoint
/// (`OutToIn`), with an `epilogue` of bias, residual and GELU. `None` if no engine of cuDNN does
/// all of it; one may exist for less of the epilogue, with a kernel for the rest.
///
/// A bias and a residual after `InToOut` are available wherever the convolution is; the rest only
/// under [`Numerics::compiled_fusion`](crate::Numerics::compiled_fusion).
pub(crate) fn convolve(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    x: &Tensor,
    weight: &Tensor,
    epilogue: Epilogue<&Tensor>,
    shape: &[usize],
) -> Result<Option<Tensor>> {
    Request::convolution(direction, options, x, weight, epilogue, shape)?
        .compute(gpu, Permissions::now(x.dtype()))
}

/// The weight's gradient, of `shape`: the sums over pixels of the products of `x` and `dy`. `None`
/// if cuDNN does not have it.
pub(crate) fn weight_sums(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
) -> Result<Option<Tensor>> {
    Request::weight_sums(options, x, dy, shape)?.compute(gpu, Permissions::now(x.dtype()))
}

/// A convolution to compute, with its operands.
struct Request<'a> {
    graph: GraphSpec,
    operands: Vec<(Name, &'a Tensor)>,
}

impl<'a> Request<'a> {
    fn convolution(
        direction: Direction,
        options: Conv2dOptions,
        x: &'a Tensor,
        weight: &'a Tensor,
        Epilogue { bias, residual, gelu, .. }: Epilogue<&'a Tensor>,
        shape: &[usize],
    ) -> Result<Self> {
        let (from, to) = (x.dims4("conv2d")?, four(shape)?);
        let (pass, name, x_shape, y_shape) = match direction {
            Direction::InToOut => (ConvolutionPass::Output, Name::X, from, to),
            Direction::OutToIn => (ConvolutionPass::Input, Name::Y, to, from),
        };
        let graph = GraphSpec {
            bias: bias.is_some(),
            residual: residual.is_some(),
            gelu,
            ..GraphSpec::new(pass, x.dtype(), options, [x_shape, weight.dims4("conv2d")?, y_shape])
        };
        let epilogue = bias
            .map(|bias| (Name::Bias, bias))
            .into_iter()
            .chain(residual.map(|map| (Name::Residual, map)));
        Ok(Self {
            graph,
            operands: [(name, x), (Name::Weight, weight)].into_iter().chain(epilogue).collect(),
        })
    }

    fn weight_sums(
        options: Conv2dOptions,
        x: &'a Tensor,
        dy: &'a Tensor,
        shape: &[usize],
    ) -> Result<Self> {
        let shapes = [x.dims4("conv2d")?, four(shape)?, dy.dims4("conv2d")?];
        let graph = GraphSpec::new(ConvolutionPass::Weight, x.dtype(), options, shapes);
        Ok(Self { graph, operands: vec![(Name::X, x), (Name::Y, dy)] })
    }

    /// The result in a new tensor; `None` if cuDNN does not have this convolution.
    fn compute(&self, gpu: &'static Gpu, may: Permissions) -> Result<Option<Tensor>> {
        let GraphSpec { dtype, x, weight, y, .. } = self.graph;
        if let Some((_, other)) = self.operands.iter().find(|(_, tensor)| tensor.dtype() != dtype) {
            return Err(Error::dtype("conv2d", dtype, other.dtype()));
        }
        // cuDNN knows no empty tensors, and not all of it takes more elements than an i32 counts.
        let sizes = [x, weight, y].map(|shape| shape.iter().product::<usize>());
        if sizes.iter().any(|&size| size == 0 || size > i32::MAX as usize)
            || self.graph.data_type().is_none()
        {
            return Ok(None);
        }
        // A compiler is not welcome where it is not needed.
        let may = Permissions { compiled: may.compiled && self.graph.needs_compiler(), ..may };
        match Cudnn::of(gpu)? {
            Some(cudnn) => cudnn.execute(self, may),
            None => Ok(None),
        }
    }
}

fn four(shape: &[usize]) -> Result<[usize; 4]> {
    shape
        .try_into()
        .map_err(|_| Error::shape("conv2d", format!("a map has 4 dimensions, got {shape:?}")))
}

/// cuDNN at work on one GPU.
pub(crate) struct Cudnn {
    gpu: &'static Gpu,
    library: &'static CudnnLibrary,
    state: Mutex<State>,
}

/// The state that one thread may use at a time.
struct State {
    handle: Handle,
    /// The plans made so far; `None` where cuDNN has no engine.
    plans: HashMap<(GraphSpec, Permissions), Option<ExecutionPlan>>,
}

// SAFETY: a handle may be used from any thread, by one at a time, as long as the GPU's context is
// current there, which `execute` ensures.
unsafe impl Send for State {}

impl Cudnn {
    /// cuDNN on `gpu`, started at the first call. `None` if it is switched off.
    pub(crate) fn of(gpu: &'static Gpu) -> Result<Option<&'static Self>> {
        static STARTED: [OnceLock<Result<Option<&'static Cudnn>>>; MOST] =
            [const { OnceLock::new() }; MOST];
        STARTED[gpu.index()].get_or_init(|| Self::start(gpu, std::env::var_os(VARIABLE))).clone()
    }

    /// `setting` is the value of the environment variable.
    fn start(gpu: &'static Gpu, setting: Option<OsString>) -> Result<Option<&'static Self>> {
        let library: &CudnnLibrary = match setting {
            Some(setting) if setting == "off" => return Ok(None),
            Some(file) if !file.is_empty() => Box::leak(Box::new(open(&file)?)),
            _ => Box::leak(Box::new(open(OsStr::new("libcudnn.so.9"))?)),
        };
        gpu.bind()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the new handle is written there.
        check(library, "cudnnCreate", unsafe { (library.cudnnCreate)(&mut handle) })
            .map_err(error)?;
        let state = Mutex::new(State { handle, plans: HashMap::new() });
        Ok(Some(Box::leak(Box::new(Self { gpu, library, state }))))
    }

    /// Its version, as people write it.
    pub(crate) fn version(&self) -> String {
        let (major, minor, patch) = self.library.version();
        format!("{major}.{minor}.{patch}")
    }

    /// Executes the plan for this request, made at the first call; `None` if there is none.
    fn execute(
        &self,
        Request { graph, operands }: &Request<'_>,
        may: Permissions,
    ) -> Result<Option<Tensor>> {
        self.gpu.bind()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { handle, plans } = &mut *state;
        let plan = match plans.entry((graph.clone(), may)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(entry) => {
                match ExecutionPlan::new(self.library, PlanTarget::Gpu(*handle), graph, may) {
                    Ok(plan) => entry.insert(Some(plan)),
                    Err(Failure::Unsupported) => entry.insert(None),
                    Err(Failure::Failed(error)) => return Err(error),
                }
            }
        };
        let Some(plan) = plan else { return Ok(None) };
        let align = |&(name, tensor): &(Name, &Tensor)| Ok((name, aligned(tensor)?));
        let operands: Vec<(Name, Tensor)> = operands.iter().map(align).collect::<Result<_>>()?;
        let (name, shape) = graph.result();
        let result = Tensor::new_on_gpu(self.gpu, &shape, graph.dtype)?;
        let workspace =
            (plan.workspace > 0).then(|| self.gpu.allocate(plan.workspace)).transpose()?;
        let mut addresses = vec![(name, result.address()?)];
        for (name, tensor) in &operands {
            addresses.push((*name, tensor.address()?));
        }
        let workspace = workspace.as_ref().map_or(0, |block| block.address());
        // Not always the same: a recording has a stream of its own.
        // SAFETY: both are alive.
        let set = unsafe { (self.library.cudnnSetStream)(*handle, self.gpu.stream()) };
        check(self.library, "cudnnSetStream", set).map_err(error)?;
        plan.execute(self.library, *handle, &addresses, workspace).map_err(error)?;
        Ok(Some(result))
    }
}

/// Opens the library; the error names the package to install.
fn open(file: &OsStr) -> Result<CudnnLibrary> {
    let missing = |why: String| {
        let message = format!(
            "cuDNN 9 is needed for convolutions on a GPU: {why}. Install it, for example with `pip \
             install nvidia-cudnn-cu12`, and put the folder of libcudnn.so.9 \
             (site-packages/nvidia/cudnn/lib) on LD_LIBRARY_PATH, or name the file \
             in {VARIABLE}. {VARIABLE}=off computes with this program's own, slower convolutions \
             instead"
        );
        Error::cuda("cudnn", message)
    };
    let library = CudnnLibrary::open(file).map_err(missing)?;
    supported(library.version()).map_err(missing)?;
    Ok(library)
}

/// Whether this version of the library will do, or why not.
fn supported((major, minor, patch): (usize, usize, usize)) -> Result<(), String> {
    match major {
        9 => Ok(()),
        _ => Err(format!("version {major}.{minor}.{patch} was found")),
    }
}

/// In the contiguous layout, where cuDNN's engines can read 16 bytes at once.
fn aligned(tensor: &Tensor) -> Result<Tensor> {
    let tensor = tensor.contiguous()?;
    if tensor.address()?.is_multiple_of(ALIGNMENT) {
        return Ok(tensor);
    }
    tensor.copy()
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
