//! Execution plans: which of cuDNN's engines computes a convolution, and its execution.
//!
//! cuDNN's heuristics propose engines, the presumably fastest first. The first one is taken that is
//! allowed: it must sum in f32, add in a fixed order and compute in f32 where that is asked for, be
//! compiled already unless compiling is allowed, need no excessive workspace, and yield a plan.

use super::descriptor::{Attempt, Descriptor, Failure, check};
use super::graph::{GraphSpec, Name, OperationGraph};
use super::sys::{
    Address, BehaviorNote, CudnnLibrary, Handle, HandleValue, HeuristicMode, NumericalNote,
    attribute as a, kind,
};
use crate::{DType, Numerics};

/// The most memory that an engine may use beside its operands.
const MOST_WORKSPACE: i64 = 1 << 30;

/// The liberties that an engine may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Permissions {
    /// Round f32 to TF32.
    pub(super) tf32: bool,
    /// Give other bits each time.
    pub(super) nondeterministic: bool,
    /// Be compiled first.
    pub(super) compiled: bool,
}

impl Permissions {
    /// The permissions of a convolution in `dtype` under the current [`Numerics`].
    pub(super) fn now(dtype: DType) -> Self {
        // A setting that does not affect a dtype must not make a second set of plans.
        let Numerics { tf32, deterministic, compiled_fusion } = Numerics::current();
        Self {
            tf32: tf32 && dtype == DType::F32,
            nondeterministic: !deterministic,
            compiled: compiled_fusion,
        }
    }

    /// Whether this engine may compute in `dtype`.
    fn allow(self, dtype: DType, engine: &Engine) -> bool {
        engine.numerical.iter().all(|note| match *note {
            NumericalNote::REDUCED_PRECISION_REDUCTION => false,
            NumericalNote::NONDETERMINISTIC => self.nondeterministic,
            NumericalNote::TENSOR_CORE | NumericalNote::DOWN_CONVERT_INPUTS => {
                self.tf32 || dtype != DType::F32
            }
            _ => true,
        }) && (self.compiled || !engine.is_compiled())
    }
}

/// The GPU that a plan is made for.
#[derive(Clone, Copy)]
pub(super) enum PlanTarget {
    /// The GPU of this handle.
    Gpu(Handle),
    /// A GPU that a descriptor describes. There is nothing to run it on.
    #[cfg(test)]
    Described(super::sys::Raw),
}

impl PlanTarget {
    fn handle(self) -> Option<Handle> {
        match self {
            Self::Gpu(handle) => Some(handle),
            #[cfg(test)]
            Self::Described(_) => None,
        }
    }

    fn tell_heuristic(self, _heuristic: &Descriptor) -> Attempt<()> {
        match self {
            Self::Gpu(_) => Ok(()), // the graph knows the handle
            #[cfg(test)]
            Self::Described(properties) => _heuristic.set(a::ENGINEHEUR_DEVICEPROP, &[properties]),
        }
    }

    fn tell_plan(self, plan: &Descriptor) -> Attempt<()> {
        match self {
            Self::Gpu(handle) => plan.set(a::EXECUTION_PLAN_HANDLE, &[HandleValue(handle)]),
            #[cfg(test)]
            Self::Described(properties) => plan.set(a::EXECUTION_PLAN_DEVICEPROP, &[properties]),
        }
    }
}

/// An engine, ready to execute a graph.
pub(super) struct ExecutionPlan {
    // Dropped in this order, each before its referents.
    plan: Descriptor,
    #[cfg_attr(not(test), expect(dead_code, reason = "the plan refers to it"))]
    pub(super) engine: Engine,
    _graph: OperationGraph,
    pub(super) workspace: usize,
}

impl ExecutionPlan {
    /// The best plan for `of`. Unsupported if there is none.
    pub(super) fn new(
        library: &'static CudnnLibrary,
        target: PlanTarget,
        of: &GraphSpec,
        may: Permissions,
    ) -> Attempt<Self> {
        let dtype = of.data_type().ok_or(Failure::Unsupported)?;
        if of.needs_compiler() && !may.compiled {
            return Err(Failure::Unsupported); // what cuDNN takes a tenth of a second to find out
        }
        let graph = OperationGraph::new(library, target.handle(), of, dtype)?;
        let mut failed = Failure::Unsupported;
        for mode in [HeuristicMode::A, HeuristicMode::FALLBACK] {
            for engine in proposals(library, target, &graph, mode)? {
                if !may.allow(of.dtype, &engine) {
                    continue;
                }
                match planned(library, target, &engine) {
                    Ok((plan, workspace)) if workspace <= MOST_WORKSPACE => {
                        return Ok(Self {
                            plan,
                            engine,
                            _graph: graph,
                            workspace: workspace.max(0) as usize,
                        });
                    }
                    // A proposed engine may still fail, and another one succeed. An engine that
                    // cannot be compiled here is skipped.
                    Err(failure @ Failure::Failed(_)) if !engine.is_compiled() => failed = failure,
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Err(failed)
    }

    /// Queues the plan on the stream of `handle`. `operands` are the addresses of all the graph's
    /// tensors, multiples of 16; the workspace is as large as the plan asks for.
    pub(super) fn execute(
        &self,
        library: &'static CudnnLibrary,
        handle: Handle,
        operands: &[(Name, u64)],
        workspace: u64,
    ) -> Attempt<()> {
        let names: Vec<i64> = operands.iter().map(|&(name, _)| name as i64).collect();
        let addresses: Vec<Address> =
            operands.iter().map(|&(_, address)| Address(address)).collect();
        let pack = Descriptor::new(library, kind::VARIANT_PACK)?;
        pack.set(a::VARIANT_PACK_UNIQUE_IDS, &names)?;
        pack.set(a::VARIANT_PACK_DATA_POINTERS, &addresses)?;
        pack.set(a::VARIANT_PACK_WORKSPACE, &[Address(workspace)])?;
        pack.complete()?;
        // SAFETY: all three are alive and complete. The operands' memory stays theirs until the
        // work is done, as the stream's order ensures.
        let status = unsafe { (library.cudnnBackendExecute)(handle, self.plan.raw(), pack.raw()) };
        check(library, "cudnnBackendExecute", status)
    }
}

/// An engine and its settings, as the heuristics propose it.
pub(super) struct Engine {
    settings: Descriptor,
    /// Its effects on numbers.
    pub(super) numerical: Vec<NumericalNote>,
    /// Its other behavior.
    pub(super) behavior: Vec<BehaviorNote>,
}

impl Engine {
    fn new(library: &'static CudnnLibrary, settings: Descriptor) -> Attempt<Self> {
        let engine = Descriptor::new(library, kind::ENGINE)?;
        settings.read(a::ENGINECFG_ENGINE, &mut [engine.raw()])?;
        let numerical = engine.list(a::ENGINE_NUMERICAL_NOTE, NumericalNote::TENSOR_CORE)?;
        let behavior = engine.list(a::ENGINE_BEHAVIOR_NOTE, BehaviorNote::RUNTIME_COMPILATION)?;
        Ok(Self { settings, numerical, behavior })
    }

    /// Whether building a plan from it compiles it, which takes seconds.
    fn is_compiled(&self) -> bool {
        self.behavior.contains(&BehaviorNote::RUNTIME_COMPILATION)
    }
}

/// The engines that cuDNN proposes, best first.
fn proposals(
    library: &'static CudnnLibrary,
    target: PlanTarget,
    graph: &OperationGraph,
    mode: HeuristicMode,
) -> Attempt<Vec<Engine>> {
    let heuristic = Descriptor::new(library, kind::ENGINEHEUR)?;
    heuristic.set(a::ENGINEHEUR_OPERATION_GRAPH, &[graph.graph.raw()])?;
    heuristic.set(a::ENGINEHEUR_MODE, &[mode])?;
    target.tell_heuristic(&heuristic)?;
    match heuristic.complete() {
        Ok(()) => {}
        Err(Failure::Unsupported) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    }
    let settings = heuristic.descriptors(a::ENGINEHEUR_RESULTS, kind::ENGINECFG)?;
    settings.into_iter().map(|settings| Engine::new(library, settings)).collect()
}

/// A plan for this engine, and the workspace that it needs.
fn planned(
    library: &'static CudnnLibrary,
    target: PlanTarget,
    engine: &Engine,
) -> Attempt<(Descriptor, i64)> {
    let plan = Descriptor::new(library, kind::EXECUTION_PLAN)?;
    target.tell_plan(&plan)?;
    plan.set(a::EXECUTION_PLAN_ENGINE_CONFIG, &[engine.settings.raw()])?;
    plan.complete()?;
    let mut workspace = [0i64];
    plan.read(a::EXECUTION_PLAN_WORKSPACE_SIZE, &mut workspace)?;
    Ok((plan, workspace[0]))
}
