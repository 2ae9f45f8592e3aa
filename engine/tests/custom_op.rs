//! Operations defined outside the engine: their guarantees, and the errors where they break a law
//! of `Op`.

use engine::checks::{Sample, SampleGenerator, Values, check};
use engine::ops::{Op, apply, map};
use engine::{DType, Error, Meta, Planner, Result, Tape, Tensor, checkpoint, planned};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// y = x³, with one mistake, or none.
#[derive(Clone, Default)]
struct Cube {
    mistake: Option<Mistake>,
    /// How often it was computed.
    runs: Arc<AtomicUsize>,
    settings: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    ValueShape,
    ValueDtype,
    Reuse,
    GradientShape,
    GradientOrder,
    GradientDtype,
    GradientCount,
    GradientMissing,
    GradientValue,
    ValueTraced,
    GradientTraced,
}
use Mistake::*;

impl Cube {
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        apply(self.clone(), &[x])
    }
}

impl Op for Cube {
    const NAME: &'static str = "cube";
    type Saved = Tensor;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Tensor)> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let y = x[0].square()?.mul(x[0])?;
        let y = match self.mistake {
            Some(ValueShape) => y.sum_keepdim(&[0])?,
            Some(ValueDtype) => y.to_dtype(DType::F32)?,
            Some(ValueTraced) => traced(&y),
            _ => y,
        };
        Ok((y, x[0].clone()))
    }

    fn backward(&self, x: Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = x.square()?.scale(3.0)?.mul(dy)?;
        Ok(match self.mistake {
            Some(GradientShape) => vec![Some(dx.sum_all()?)],
            Some(GradientOrder) => vec![Some(dx.transpose(0, 1)?)],
            Some(GradientDtype) => vec![Some(dx.to_dtype(DType::F32)?)],
            Some(GradientCount) => vec![Some(dx), None],
            Some(GradientMissing) => vec![None],
            Some(GradientValue) => vec![Some(dx.scale(1.001)?)],
            Some(GradientTraced) => vec![Some(traced(&dx))],
            _ => vec![Some(dx)],
        })
    }

    fn reuses(&self) -> Option<usize> {
        (self.mistake == Some(Reuse)).then_some(7)
    }

    fn settings(&self) -> Option<String> {
        self.settings.clone()
    }
}

/// A tensor like `x` of a trace that has ended.
fn traced(x: &Tensor) -> Tensor {
    let mut leaked = None;
    engine::infer(&[x], |x| {
        leaked = Some(x[0].clone());
        Ok::<_, Error>(Vec::new())
    })
    .unwrap();
    leaked.unwrap()
}

fn numbers() -> Tensor {
    Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap()
}

/// The value and gradient of Σ (x²)³.
fn both(f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<(f64, Vec<f64>)> {
    let tape = Tape::new();
    let x = tape.leaf(&numbers());
    let loss = f(&x.square()?)?.sum_all()?;
    let value = loss.item()?;
    Ok((value, tape.backward(&loss)?.get(&x).unwrap().to_f64_vec()?))
}

#[test]
fn it_is_computed_alike_on_a_tape_in_a_plan_and_in_a_checkpoint() {
    let cube = Cube::default();
    let plain = both(|x| cube.of(x)).unwrap();
    assert_eq!(plain.0, 1.0 + 64.0 + 729.0 + 4096.0 + 15625.0 + 46656.0);
    assert_eq!(plain.1[1], 6.0 * 32.0); // of x⁶ at 2

    let in_plan = |f: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor| {
        let inputs = std::slice::from_ref(x);
        planned(inputs, |x| Ok::<_, Error>(vec![f(&x[0])?])).map(|mut y| y.swap_remove(0))
    };
    assert_eq!(both(|x| in_plan(&|x| cube.of(x), x)).unwrap(), plain);

    let in_checkpoint = |x: &Tensor| {
        let cube = cube.clone();
        Ok(checkpoint(&[x], move |x| Ok(vec![cube.of(&x[0])?]))?.swap_remove(0))
    };
    let before = cube.runs.load(Ordering::Relaxed);
    assert_eq!(both(in_checkpoint).unwrap(), plain);
    assert_eq!(cube.runs.load(Ordering::Relaxed) - before, 2);
    assert_eq!(both(|x| in_plan(&in_checkpoint, x)).unwrap(), plain);
}

#[test]
fn a_plan_computes_it_once_for_constants_if_it_has_settings() {
    for (settings, runs) in [(None, 2), (Some(String::new()), 1)] {
        let (constant, cube) = (numbers(), Cube { settings, ..Cube::default() });
        let planner = Planner::new(std::slice::from_ref(&constant));
        for size in [2, 1] {
            let x = Tensor::ones(&[size, 1], DType::F64).unwrap();
            let f = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].sum_all()?.mul(&cube.of(&constant)?)?]);
            let y = planner.run(vec![x], f).unwrap();
            assert_eq!(y[0].to_f64_vec().unwrap()[1], 8.0 * size as f64);
        }
        assert_eq!(cube.runs.load(Ordering::Relaxed), runs, "{:?}", cube.settings);
    }
}

#[test]
fn the_check_passes_it_and_finds_a_wrong_gradient() {
    let sample = |mistake| {
        let cube = Cube { mistake, ..Cube::default() };
        let x = SampleGenerator::from_seed(5).tensor(&[3, 4], Values::Normal);
        Sample::new("cube", vec![x], move |x| cube.of(&x[0]))
    };
    assert_eq!(check(&sample(None)).unwrap().recorded, ["cube"]);
    let message = check(&sample(Some(GradientValue))).err().unwrap().to_string();
    assert!(message.starts_with("gradcheck: gradient of input 0 [3, 4]"), "{message}");
}

#[test]
fn a_broken_law_is_an_error_that_names_the_operation() {
    let of = |mistake| Cube { mistake: Some(mistake), ..Cube::default() };
    for (mistake, gives) in [(ValueShape, "[1, 3] f64"), (ValueDtype, "[2, 3] f32")] {
        let expected = format!("cube: forward gives {gives}, infer [2, 3] f64");
        let error = of(mistake).of(&numbers()).unwrap_err();
        assert!(matches!(error, Error::Disagreement { op: "cube", .. }));
        assert_eq!(error.to_string(), expected);
        assert_eq!(both(|x| of(mistake).of(x)).unwrap_err().to_string(), expected);
    }
    for (mistake, is) in
        [(GradientShape, "[] f64"), (GradientOrder, "[3, 2] f64"), (GradientDtype, "[2, 3] f32")]
    {
        let expected =
            format!("cube: the gradient of input 0 is {is} on cpu, the input [2, 3] f64 on cpu");
        assert_eq!(both(|x| of(mistake).of(x)).unwrap_err().to_string(), expected);
    }
    let error = both(|x| of(GradientCount).of(x)).unwrap_err();
    assert_eq!(error.to_string(), "cube: backward gives 2 gradients for 1 input");
    let error = both(|x| of(GradientMissing).of(x)).unwrap_err();
    assert!(matches!(error, Error::Disagreement { op: "cube", .. }));
    assert_eq!(error.to_string(), "cube: backward gives no gradient of input 0, which is needed");
    let expected = "cube: forward gives a traced tensor, without elements";
    assert_eq!(of(ValueTraced).of(&numbers()).unwrap_err().to_string(), expected);
    assert_eq!(both(|x| of(ValueTraced).of(x)).unwrap_err().to_string(), expected);
    let error = both(|x| of(GradientTraced).of(x)).unwrap_err().to_string();
    assert_eq!(error, "cube: the gradient of input 0 is a traced tensor, without elements");
    assert_eq!(both(|x| of(Reuse).of(x)), both(|x| Cube::default().of(x)));
    assert_eq!(of(Reuse).of(&numbers()).unwrap().to_f64_vec().unwrap()[2], 27.0);
}

/// x plus a tensor that the operation has from elsewhere.
struct Plus(Tensor);

impl Op for Plus {
    const NAME: &'static str = "plus";
    type Saved = Tensor;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Tensor)> {
        Ok((x[0].add(&self.0)?, self.0.clone()))
    }

    fn backward(&self, other: Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.add(&other.scale(0.0)?)?)])
    }
}

#[test]
fn nothing_of_it_is_on_the_tape_of_a_tensor_that_it_has_from_elsewhere() {
    let elsewhere = Tape::new();
    let other = elsewhere.leaf(&numbers());
    let plus = |x: &Tensor| apply(Plus(other.clone()), &[x]);
    // Off the tape and on one.
    let sum = plus(&numbers()).unwrap();
    assert!(elsewhere.node_id(&sum).is_none());
    let (tape, recorded) = (Tape::new(), elsewhere.operations().len());
    let x = tape.leaf(&numbers());
    let y = sum.add(&plus(&x).unwrap()).unwrap();
    assert_eq!(y.to_f64_vec().unwrap()[5], 24.0);
    let seed = other.square().unwrap();
    let gradients = tape.backward_from(&[&y], vec![Some(seed)]).unwrap();
    let gradient = gradients.get(&x).unwrap();
    assert_eq!(gradient.to_f64_vec().unwrap()[5], 36.0);
    assert!(elsewhere.node_id(gradient).is_none());
    // The sum, the square and the scaled tensor are the caller's and the operation's own.
    assert!(elsewhere.operations().len() > recorded);
}

#[test]
fn a_kernel_refuses_inputs_that_it_is_not_compiled_for() {
    let halve = |x: &Tensor, shape: &[usize]| map("halve", shape, [x], |[x]: [f64; 1]| x / 2.0);
    let column = numbers().narrow(1, 0, 1).unwrap();
    assert_eq!(halve(&column, &[2, 2]).unwrap().to_f64_vec().unwrap(), [0.5, 0.5, 2.0, 2.0]);
    let message = |x: &Tensor, shape: &[usize]| halve(x, shape).unwrap_err().to_string();
    assert_eq!(message(&numbers(), &[3]), "halve: [2, 3] cannot be broadcast to [3]");
    let single = numbers().to_dtype(DType::F32).unwrap();
    assert_eq!(message(&single, &[2, 3]), "halve: expected dtype f64, got f32");
    let endless = map("one", &[usize::MAX, 2], [], |[]: [f64; 0]| 1.0);
    assert!(endless.unwrap_err().to_string().contains("has too many elements"));
}
