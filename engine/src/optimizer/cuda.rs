//! Many tensors at once on a GPU: the tables that the kernels in `optimizer.cu` take, and who owns
//! the memory that is overwritten.

use super::parameters::{Clip, Parameter, StepScalars};
use super::rule::{OP, Rule, Scalars};
use crate::cuda::{Argument, Gpu, Launch};
use crate::{DType, Error, Result, Tensor};
use kernels::Kernel;
use kernels::optimizer::*;

/// The same as in `optimizer.cu`.
const TENSORS: usize = 64;
const OPERANDS: usize = 4;
const SPAN: usize = 4096;

/// The tensors of a launch, as in `optimizer.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Table {
    tensors: u32,
    blocks: u32,
    ends: [u32; TENSORS],
    sizes: [u32; TENSORS],
    rows: [u32; TENSORS],
    at: [[u64; OPERANDS]; TENSORS],
}

/// A tensor of a table.
struct Listed {
    /// The dtype that says which kernel it is for.
    dtype: DType,
    size: u32,
    row: usize,
    at: [u64; OPERANDS],
}

impl Listed {
    /// One tensor of what `tensors` hold, all of the same shape and on `gpu`; `dtype` is that of
    /// one of them.
    fn new(
        op: &'static str,
        gpu: &Gpu,
        dtype: DType,
        row: usize,
        tensors: &[&Tensor],
    ) -> Result<Self> {
        let mut at = [0; OPERANDS];
        for (at, tensor) in at.iter_mut().zip(tensors) {
            on(op, gpu, tensor)?;
            *at = tensor.address()?;
        }
        Ok(Self { dtype, size: crate::cuda::count(op, tensors[0].shape())?, row, at })
    }

    fn blocks(&self) -> usize {
        (self.size as usize).div_ceil(SPAN)
    }
}

/// An error if `tensor` is not on `gpu`.
fn on(op: &'static str, gpu: &Gpu, tensor: &Tensor) -> Result<()> {
    match tensor.gpu() {
        Some(other) if other.index() == gpu.index() => Ok(()),
        _ => Err(Error::cuda(
            op,
            format!("tensors are on cuda:{} and on {}", gpu.index(), tensor.device()),
        )),
    }
}

/// Launches `kernel` over all of `listed`, with the arguments that come before the table and after
/// it. Blocks are numbered through all launches; returns how many there were.
fn launch(
    gpu: &Gpu,
    kernel: Kernel,
    listed: &[Listed],
    before: &[&dyn Argument],
    after: &[&dyn Argument],
) -> Result<usize> {
    let mut blocks = 0;
    let mut rest = listed;
    while let Some(first) = rest.first() {
        // A run of tensors that one kernel takes.
        let most = rest.len().min(TENSORS);
        let run = rest[..most].iter().take_while(|tensor| tensor.dtype == first.dtype).count();
        let mut table: Table = bytemuck::Zeroable::zeroed();
        (table.tensors, table.blocks) = (run as u32, blocks as u32);
        let mut end = 0;
        for (i, tensor) in rest[..run].iter().enumerate() {
            end += tensor.blocks();
            table.ends[i] = end as u32;
            (table.sizes[i], table.rows[i], table.at[i]) =
                (tensor.size, tensor.row as u32, tensor.at);
        }
        let arguments: Vec<&dyn Argument> = before
            .iter()
            .copied()
            .chain([&table as &dyn Argument])
            .chain(after.iter().copied())
            .collect();
        Launch::blocks(kernel, first.dtype, [end, 1, 1]).run(gpu, &arguments)?;
        blocks += end;
        rest = &rest[run..];
    }
    Ok(blocks)
}

/// Copies `tensor` unless it can be overwritten: it alone holds its memory, or the step is
/// `in_place` and overwrites shared memory as well.
fn own(tensor: &mut Tensor, in_place: bool) -> Result<()> {
    let overwritten = match in_place {
        false => tensor.is_exclusive(),
        true => tensor.layout().is_contiguous(),
    };
    if !overwritten {
        *tensor = tensor.copy()?;
    }
    Ok(())
}

/// The address of the numbers on `gpu`.
fn address(gpu: &'static Gpu, scalars: &mut StepScalars) -> Result<u64> {
    if scalars
        .there
        .as_ref()
        .is_none_or(|there| there.gpu().is_none_or(|other| other.index() != gpu.index()))
    {
        let shape = [scalars.scalars.len() * size_of::<Scalars>() / size_of::<f64>()];
        scalars.there = Some(Tensor::new_on_gpu(gpu, &shape, DType::F64)?);
        scalars.refresh()?;
    }
    scalars.there.as_ref().map_or(Ok(0), Tensor::address)
}

/// The address of the norm, if there is one.
fn norm_address(op: &'static str, gpu: &Gpu, norm: Option<&Tensor>) -> Result<u64> {
    let Some(norm) = norm else { return Ok(0) };
    on(op, gpu, norm)?;
    if norm.dtype() != DType::F64 {
        return Err(Error::dtype(op, DType::F64, norm.dtype()));
    }
    norm.address()
}

pub(super) fn step(
    gpu: &'static Gpu,
    rule: Rule,
    scalars: &mut StepScalars,
    parameters: &mut [Parameter<'_>],
    clip: Option<Clip<'_>>,
    in_place: bool,
) -> Result<()> {
    // Gradients in another layout are copied; the copies must live until the kernel is queued.
    let mut gradients = Vec::with_capacity(parameters.len());
    let mut listed = Vec::with_capacity(parameters.len());
    for Parameter { value, gradient, slots, scalars: index } in parameters.iter_mut() {
        let dtype = gradient.dtype();
        crate::dispatch::require_compute(OP, dtype)?;
        scalars.get(*index)?;
        own(value, in_place)?;
        if slots.is_empty() {
            for _ in rule.slot_names() {
                slots.push(Tensor::zeros_on_gpu(gpu, value.shape(), value.dtype())?);
            }
        }
        slots.iter_mut().try_for_each(|slot| own(slot, in_place))?;
        let gradient = gradient.contiguous()?;
        let operands: Vec<&Tensor> =
            [&**value, &gradient].into_iter().chain(slots.iter()).collect();
        listed.push(Listed::new(OP, gpu, dtype, *index, &operands)?);
        gradients.push(gradient);
    }
    let scalars = address(gpu, scalars)?;
    let norm = norm_address(OP, gpu, clip.map(|clip| clip.norm))?;
    let limit = clip.map_or(f64::INFINITY, |clip| clip.limit);
    match rule {
        Rule::Adam { betas, eps, weight_decay } => {
            let constants = [betas.0, betas.1, eps, weight_decay];
            launch(gpu, OPTIMIZER_ADAM, &listed, &[], &[&scalars, &norm, &limit, &constants])?
        }
        Rule::AdamW { betas, eps, .. } => {
            let constants = [betas.0, betas.1, eps, 0.0];
            launch(gpu, OPTIMIZER_ADAM, &listed, &[], &[&scalars, &norm, &limit, &constants])?
        }
        Rule::Sgd { momentum, weight_decay } => launch(
            gpu,
            OPTIMIZER_SGD,
            &listed,
            &[],
            &[&scalars, &norm, &limit, &[momentum, weight_decay]],
        )?,
    };
    Ok(())
}

pub(super) fn norm(gpu: &'static Gpu, gradients: &[&Tensor]) -> Result<Tensor> {
    const OP: &str = "norm";
    let gradients: Vec<Tensor> =
        gradients.iter().map(|gradient| gradient.contiguous()).collect::<Result<_>>()?;
    let listed = gradients.iter().map(|gradient| {
        crate::dispatch::require_compute(OP, gradient.dtype())?;
        Listed::new(OP, gpu, gradient.dtype(), 0, &[gradient])
    });
    let listed = listed.collect::<Result<Vec<_>>>()?;
    let blocks: usize = listed.iter().map(Listed::blocks).sum();
    let sums = gpu.allocate(blocks * size_of::<f64>())?;
    launch(gpu, OPTIMIZER_SQUARES, &listed, &[&sums.address()], &[])?;
    let norm = Tensor::new_on_gpu(gpu, &[], DType::F64)?;
    // Of f64, whatever the gradients are.
    let launch = Launch::blocks(OPTIMIZER_NORM, DType::F32, [1, 1, 1]);
    launch.run(gpu, &[&norm.address()?, &sums.address(), &(blocks as u32)])?;
    Ok(norm)
}

pub(super) fn average(
    gpu: &'static Gpu,
    scalars: &mut StepScalars,
    averages: &mut [Tensor],
    values: &[&Tensor],
    norm: Option<&Tensor>,
    in_place: bool,
) -> Result<()> {
    const OP: &str = "average";
    let mut kept = Vec::with_capacity(values.len());
    let mut listed = Vec::with_capacity(values.len());
    for (average, value) in averages.iter_mut().zip(values) {
        crate::dispatch::require_compute(OP, average.dtype())?;
        own(average, in_place)?;
        let value = value.contiguous()?;
        listed.push(Listed::new(OP, gpu, average.dtype(), 0, &[average, &value])?);
        kept.push(value);
    }
    scalars.get(0)?;
    let (scalars, norm) = (address(gpu, scalars)?, norm_address(OP, gpu, norm)?);
    launch(gpu, OPTIMIZER_AVERAGE, &listed, &[], &[&scalars, &norm])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::{average, decay_scalars, norm, step};
    use crate::{Device, Rng};

    const RULES: [Rule; 3] = [
        Rule::Adam { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.1 },
        Rule::AdamW { betas: (0.8, 0.99), eps: 1e-6, weight_decay: 0.1 },
        Rule::Sgd { momentum: 0.9, weight_decay: 0.1 },
    ];

    /// Parameters of a model and what an optimizer keeps.
    struct Model {
        values: Vec<Tensor>,
        slots: Vec<Vec<Tensor>>,
        scalars: StepScalars,
        steps: u64,
    }

    impl Model {
        fn new(values: Vec<Tensor>) -> Self {
            Self {
                slots: vec![Vec::new(); values.len()],
                values,
                scalars: StepScalars::default(),
                steps: 0,
            }
        }

        /// A step, for which every second parameter has numbers of its own.
        fn step(
            &mut self,
            rule: Rule,
            gradients: &[Tensor],
            clip: Option<Clip<'_>>,
            in_place: bool,
        ) {
            self.steps += 1;
            self.scalars
                .set(vec![rule.scalars(self.steps, 0.1), rule.scalars(self.steps + 3, 0.05)])
                .unwrap();
            let parts = self.values.iter_mut().zip(gradients).zip(&mut self.slots).enumerate();
            let mut parameters: Vec<Parameter<'_>> = parts
                .map(|(i, ((value, gradient), slots))| Parameter {
                    value,
                    gradient,
                    slots,
                    scalars: i % 2,
                })
                .collect();
            step(rule, &mut self.scalars, &mut parameters, clip, in_place).unwrap();
        }

        fn numbers(&self) -> Vec<f64> {
            let all = self.values.iter().chain(self.slots.iter().flatten());
            all.flat_map(|x| x.to_f64_vec().unwrap()).collect()
        }
    }

    /// More tensors than a table holds: none, one, a few elements, several blocks of them, four
    /// dimensions.
    fn tensors(rng: &mut Rng, dtype: DType) -> Vec<Tensor> {
        let shapes: [&[usize]; 5] = [&[0], &[1], &[5], &[2 * SPAN + 3], &[6, 5, 3, 3]];
        (0..70)
            .map(|i| {
                Tensor::randn(shapes[if i % 14 == 3 { 3 } else { [0, 1, 2, 4][i % 4] }], dtype, rng)
                    .unwrap()
            })
            .collect()
    }

    fn there(tensors: &[Tensor]) -> Vec<Tensor> {
        tensors.iter().map(|x| x.to_device(Device::Cuda(0)).unwrap()).collect()
    }

    fn close(a: &[f64], b: &[f64], tolerance: f64) {
        assert_eq!(a.len(), b.len());
        let far = a
            .iter()
            .zip(b)
            .position(|(a, b)| (a - b).is_nan() || (a - b).abs() > tolerance * a.abs().max(1.0));
        assert!(
            far.is_none(),
            "{} is not {} at {}",
            a[far.unwrap()],
            b[far.unwrap()],
            far.unwrap()
        );
    }

    #[test]
    fn steps_are_those_of_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(1);
        for (real, dtype, tolerance) in [
            (DType::F64, DType::F64, 1e-13),
            (DType::F32, DType::F32, 1e-5),
            (DType::F32, DType::F16, 1e-5),
        ] {
            for rule in RULES {
                let values = tensors(&mut rng, real);
                let (mut here, mut gpu) = (Model::new(values.clone()), Model::new(there(&values)));
                for limit in [None, Some(1.0), Some(1e9)] {
                    let gradients: Vec<Tensor> = values
                        .iter()
                        .map(|x| {
                            Tensor::randn(x.shape(), DType::F32, &mut rng)
                                .unwrap()
                                .to_dtype(dtype)
                                .unwrap()
                        })
                        .collect();
                    let wide: Vec<Tensor> =
                        gradients.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect();
                    let gradients_there = there(&gradients);
                    let norms = [&wide, &gradients_there]
                        .map(|x| norm(&x.iter().collect::<Vec<_>>()).unwrap());
                    close(&norms[0].to_f64_vec().unwrap(), &norms[1].to_f64_vec().unwrap(), 1e-13);
                    let [clip, clip_there] =
                        norms.each_ref().map(|norm| limit.map(|limit| Clip { norm, limit }));
                    here.step(rule, &gradients, clip, false);
                    gpu.step(rule, &gradients_there, clip_there, false);
                    close(&here.numbers(), &gpu.numbers(), tolerance);
                }
            }
        }
    }

    #[test]
    fn a_norm_that_is_no_number_changes_nothing() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for bad in [f64::NAN, f64::INFINITY] {
            for rule in RULES {
                let values = tensors(&mut Rng::new(2), DType::F32);
                let gradients = there(&values);
                let norm =
                    Tensor::scalar(bad, DType::F64).unwrap().to_device(Device::Cuda(0)).unwrap();
                let mut model = Model::new(there(&values));
                model.step(rule, &gradients, None, false);
                let before = model.numbers();
                model.step(rule, &gradients, Some(Clip { norm: &norm, limit: 1.0 }), false);
                assert_eq!(model.numbers(), before);
                let (mut averages, mut scalars) = (there(&values), StepScalars::default());
                scalars.set(vec![decay_scalars(0.5)]).unwrap();
                average(
                    &mut scalars,
                    &mut averages,
                    &model.values.iter().collect::<Vec<_>>(),
                    Some(&norm),
                    false,
                )
                .unwrap();
                assert!(
                    averages
                        .iter()
                        .zip(&values)
                        .all(|(a, b)| a.to_f64_vec().unwrap() == b.to_f64_vec().unwrap())
                );
            }
        }
    }

    #[test]
    fn memory_is_overwritten_where_it_may_be_and_always_if_asked_to() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(3);
        let values = there(&[Tensor::randn(&[3, 4], DType::F32, &mut rng).unwrap()]);
        let gradients = there(&[Tensor::randn(&[3, 4], DType::F32, &mut rng).unwrap()]);
        let addresses = |model: &Model| {
            let all = model.values.iter().chain(&model.slots[0]).chain(model.scalars.there.iter());
            all.map(|x| x.address().unwrap()).collect::<Vec<_>>()
        };
        let (held, before) = (values[0].clone(), values[0].to_f64_vec().unwrap());
        let mut model = Model::new(values);
        model.step(Rule::adam(), &gradients, None, false);
        assert_eq!(held.to_f64_vec().unwrap(), before);
        let first = addresses(&model);
        assert_ne!(first[0], held.address().unwrap());
        model.step(Rule::adam(), &gradients, None, false);
        assert_eq!(addresses(&model), first);
        let held = model.values[0].clone();
        model.step(Rule::adam(), &gradients, None, true);
        assert_eq!(addresses(&model), first);
        assert_eq!(held.to_f64_vec().unwrap(), model.values[0].to_f64_vec().unwrap());
    }

    #[test]
    fn averages_follow_in_every_type() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(4);
        for (dtype, tolerance) in
            [(DType::F64, 1e-15), (DType::F32, 1e-6), (DType::F16, 1e-3), (DType::BF16, 1e-2)]
        {
            let [start, values] = [0, 1].map(|_| tensors(&mut rng, DType::F64));
            let [start, values] = [start, values]
                .map(|x| x.iter().map(|x| x.to_dtype(dtype).unwrap()).collect::<Vec<_>>());
            let run = |mut averages: Vec<Tensor>, values: &[Tensor]| {
                let mut scalars = StepScalars::default();
                for decay in [0.1, 0.9] {
                    scalars.set(vec![decay_scalars(decay)]).unwrap();
                    let values: Vec<&Tensor> = values.iter().collect();
                    average(&mut scalars, &mut averages, &values, None, false).unwrap();
                }
                averages.iter().flat_map(|x| x.to_f64_vec().unwrap()).collect::<Vec<_>>()
            };
            let exact = |x: &[Tensor]| {
                x.iter().map(|x| x.to_dtype(DType::F64).unwrap()).collect::<Vec<_>>()
            };
            close(
                &run(exact(&start), &exact(&values)),
                &run(there(&start), &there(&values)),
                tolerance,
            );
        }
    }

    #[test]
    fn parameters_of_half_precision_and_on_two_devices_are_refused() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let refused = |value: &Tensor, gradient: &Tensor| {
            let (mut value, mut slots, mut scalars) =
                (value.clone(), Vec::new(), StepScalars::default());
            scalars.set(vec![Rule::adam().scalars(1, 0.1)]).unwrap();
            let parameter =
                Parameter { value: &mut value, gradient, slots: &mut slots, scalars: 0 };
            step(Rule::adam(), &mut scalars, &mut [parameter], None, false).unwrap_err().to_string()
        };
        let x = Tensor::ones(&[2], DType::F32).unwrap();
        let half = there(&[x.to_dtype(DType::F16).unwrap()]);
        assert_eq!(refused(&half[0], &half[0]), "optimizer: expected dtype f32, got f16");
        assert_eq!(
            refused(&there(std::slice::from_ref(&x))[0], &x),
            "optimizer: tensors are on cuda:0 and on cpu"
        );
    }
}
