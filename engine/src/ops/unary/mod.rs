//! Functions of one number, element by element: exp, log, sqrt, square, pow, abs, tanh, sigmoid,
//! silu, relu, leaky_relu, clamp.
//!
//! Each is a `UnaryFunction`: its value, and its gradient written with whichever of x and y is at
//! hand, which is the one it saves. At a kink the gradient is PyTorch's: 0 for `abs` and `relu` at
//! 0, the slope for `leaky_relu` at 0, 1 for `clamp` on its bounds.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::pointwise;
use super::{Op, apply, save_if};
use crate::ops::map;
use crate::rows::RowRule;
use crate::{Element, Error, Float, Meta, Result, Tensor, dispatch_float};
use kernels::Packable;
use kernels::pointwise::*;

/// An elementwise function y = f(x), and its derivative.
pub(crate) trait UnaryFunction: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The operation's name.
    const NAME: &'static str;
    /// Its kernel on a GPU and that of its gradient, whose inputs are the saved number and dy.
    const KERNELS: [Packable; 2];
    /// The number that the gradient is written with, which is saved for backward.
    const SAVED: SavedNumber;

    fn value<T: Float>(&self, x: T) -> T;

    /// dx, given dy and the saved number.
    fn gradient<T: Float>(&self, dy: T, saved: T) -> T;

    /// Its parameters, for the GPU's kernel.
    fn constants(&self) -> [f64; 2] {
        [0.0; 2]
    }
}

/// One of the two numbers of a function: its argument or its value.
pub(crate) enum SavedNumber {
    X,
    Y,
}

/// Defines functions without parameters, and their methods.
macro_rules! functions {
    ($(
        $(#[$doc:meta])*
        $method:ident = $Type:ident [$kernel:ident, $gradient_kernel:ident]: |$x:ident| $value:expr,
            saves $saved:ident, |$dy:ident, $number:ident| $gradient:expr;
    )*) => {
        impl Tensor {
            $($(#[$doc])* pub fn $method(&self) -> Result<Tensor> {
                apply(Elementwise($Type), &[self])
            })*
        }

        $(#[derive(Clone, Copy, Debug)]
        pub(crate) struct $Type;

        impl UnaryFunction for $Type {
            const NAME: &'static str = stringify!($method);
            const KERNELS: [Packable; 2] = [$kernel, $gradient_kernel];
            const SAVED: SavedNumber = SavedNumber::$saved;

            #[inline(always)]
            fn value<T: Float>(&self, $x: T) -> T {
                $value
            }

            #[inline(always)]
            fn gradient<T: Float>(&self, $dy: T, $number: T) -> T {
                $gradient
            }
        })*
    };
}

// The comparisons are arranged so that NaN comes out as NaN.
functions! {
    /// eˣ.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 1.0, f64::NEG_INFINITY], &[3])?;
    /// assert_eq!(x.exp()?.to_f64_vec()?, [1.0, std::f64::consts::E, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    exp = Exp [EXP, MUL]: |x| x.exp(), saves Y, |dy, y| dy * y;

    /// The natural logarithm: −∞ at 0, NaN below.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, std::f64::consts::E, 0.0], &[3])?;
    /// assert_eq!(x.log()?.to_f64_vec()?, [0.0, 1.0, f64::NEG_INFINITY]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    log = Log [LOG, LOG_GRADIENT]: |x| x.ln(), saves X, |dy, x| dy / x;

    /// The square root: NaN below 0. Its gradient is infinite at 0.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[4.0, 9.0], &[2])?;
    /// assert_eq!(x.sqrt()?.to_f64_vec()?, [2.0, 3.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    sqrt = Sqrt [SQRT, SQRT_GRADIENT]: |x| x.sqrt(), saves Y, |dy, y| dy / (y + y);

    /// x².
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-3.0, 2.0], &[2])?;
    /// assert_eq!(x.square()?.to_f64_vec()?, [9.0, 4.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    square = Square [SQUARE, SQUARE_GRADIENT]: |x| x * x, saves X, |dy, x| dy * (x + x);

    /// |x|.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-3.0, 0.0, 2.0], &[3])?;
    /// assert_eq!(x.abs()?.to_f64_vec()?, [3.0, 0.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    abs = Abs [ABS, ABS_GRADIENT]: |x| x.abs(), saves X,
        |dy, x| if x > T::zero() { dy } else if x < T::zero() { -dy } else { T::zero() };

    /// The hyperbolic tangent.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 1.0, 1000.0], &[3])?;
    /// assert_eq!(x.tanh()?.to_f64_vec()?, [0.0, 1f64.tanh(), 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    tanh = Tanh [TANH, TANH_GRADIENT]: |x| x.tanh(), saves Y, |dy, y| dy * (T::one() - y * y);

    /// 1 / (1 + e⁻ˣ).
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-1000.0, 0.0, 1000.0], &[3])?;
    /// assert_eq!(x.sigmoid()?.to_f64_vec()?, [0.0, 0.5, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    sigmoid = Sigmoid [SIGMOID, SIGMOID_GRADIENT]: |x| (T::one() + (-x).exp()).recip(),
        saves Y, |dy, y| dy * y * (T::one() - y);

    /// x · sigmoid(x), also known as swish.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-1.0, 0.0, 1.0], &[3])?;
    /// let y = x.silu()?.to_f64_vec()?;
    /// assert!((y[0] + 0.26894142137).abs() < 1e-11 && y[1] == 0.0);
    /// # Ok::<_, engine::Error>(())
    /// ```
    silu = Silu [SILU, SILU_GRADIENT]: |x| x / (T::one() + (-x).exp()), saves X, |dy, x| {
        let sigmoid = (T::one() + (-x).exp()).recip();
        dy * sigmoid * (T::one() + x * (T::one() - sigmoid))
    };

    /// max(x, 0).
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-1.0, 0.0, 2.0], &[3])?;
    /// assert_eq!(x.relu()?.to_f64_vec()?, [0.0, 0.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    relu = Relu [RELU, RELU_GRADIENT]: |x| if x <= T::zero() { T::zero() } else { x }, saves Y,
        |dy, y| if y <= T::zero() { T::zero() } else { dy };
}

impl Tensor {
    /// The nearest number in [`min`, `max`].
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-2.0, 0.5, 3.0], &[3])?;
    /// assert_eq!(x.clamp(0.0, 1.0)?.to_f64_vec()?, [0.0, 0.5, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `min` > `max`, or one of them is NaN.
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        if min.is_nan() || max.is_nan() || min > max {
            return Err(Error::shape(
                Clamp::NAME,
                format!("there are no numbers from {min} to {max}"),
            ));
        }
        apply(Elementwise(Clamp { min, max }), &[self])
    }

    /// x where it is positive, and `slope` · x elsewhere. PyTorch's default slope is 0.01.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-2.0, 0.0, 3.0], &[3])?;
    /// assert_eq!(x.leaky_relu(0.25)?.to_f64_vec()?, [-0.5, 0.0, 3.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        apply(Elementwise(LeakyRelu { slope }), &[self])
    }

    /// xᵖ for a constant p = `exponent`: NaN for a negative x and a p that is not whole, and 1 for
    /// p = 0. The gradient p·xᵖ⁻¹ is 0 for p = 0, and infinite at 0 for 0 < p < 1. The exponent 2
    /// is computed, and recorded, as [`square`](Tensor::square).
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[-2.0, 1.0, 4.0], &[3])?;
    /// assert_eq!(x.pow(3.0)?.to_f64_vec()?, [-8.0, 1.0, 64.0]);
    /// assert_eq!(x.pow(-1.0)?.to_f64_vec()?, [-0.5, 1.0, 0.25]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn pow(&self, exponent: f64) -> Result<Tensor> {
        if exponent == 2.0 {
            return self.square();
        }
        apply(Elementwise(Pow { exponent }), &[self])
    }
}

#[derive(Clone, Copy, Debug)]
struct LeakyRelu {
    slope: f64,
}

impl UnaryFunction for LeakyRelu {
    const NAME: &'static str = "leaky_relu";
    const KERNELS: [Packable; 2] = [LEAKY_RELU, LEAKY_RELU_GRADIENT];
    const SAVED: SavedNumber = SavedNumber::X;

    #[inline(always)]
    fn value<T: Float>(&self, x: T) -> T {
        if x > T::zero() { x } else { x * <T as Element>::from_f64(self.slope) }
    }

    #[inline(always)]
    fn gradient<T: Float>(&self, dy: T, x: T) -> T {
        if x > T::zero() { dy } else { dy * <T as Element>::from_f64(self.slope) }
    }

    fn constants(&self) -> [f64; 2] {
        [self.slope, 0.0]
    }
}

#[derive(Clone, Copy, Debug)]
struct Pow {
    exponent: f64,
}

impl UnaryFunction for Pow {
    const NAME: &'static str = "pow";
    const KERNELS: [Packable; 2] = [POW, POW_GRADIENT];
    const SAVED: SavedNumber = SavedNumber::X;

    #[inline(always)]
    fn value<T: Float>(&self, x: T) -> T {
        x.powf(<T as Element>::from_f64(self.exponent))
    }

    #[inline(always)]
    fn gradient<T: Float>(&self, dy: T, x: T) -> T {
        // 0·0⁻¹ would be NaN.
        if self.exponent == 0.0 {
            return T::zero();
        }
        let [exponent, less] = [self.exponent, self.exponent - 1.0].map(<T as Element>::from_f64);
        dy * (exponent * x.powf(less))
    }

    fn constants(&self) -> [f64; 2] {
        [self.exponent, self.exponent - 1.0]
    }
}

#[derive(Clone, Copy, Debug)]
struct Clamp {
    min: f64,
    max: f64,
}

impl Clamp {
    #[inline(always)]
    fn bounds<T: Float>(&self) -> (T, T) {
        (<T as Element>::from_f64(self.min), <T as Element>::from_f64(self.max))
    }
}

impl UnaryFunction for Clamp {
    const NAME: &'static str = "clamp";
    const KERNELS: [Packable; 2] = [CLAMP, CLAMP_GRADIENT];
    const SAVED: SavedNumber = SavedNumber::X;

    #[inline(always)]
    fn value<T: Float>(&self, x: T) -> T {
        let (min, max) = self.bounds();
        if x < min {
            min
        } else if x > max {
            max
        } else {
            x
        }
    }

    #[inline(always)]
    fn gradient<T: Float>(&self, dy: T, x: T) -> T {
        let (min, max) = self.bounds();
        if x >= min && x <= max { dy } else { T::zero() }
    }

    fn constants(&self) -> [f64; 2] {
        [self.min, self.max]
    }
}

/// A [`UnaryFunction`] of every element.
#[derive(Debug)]
pub(crate) struct Elementwise<F>(pub(crate) F);

impl<F: UnaryFunction> Op for Elementwise<F> {
    const NAME: &'static str = F::NAME;
    /// x or y, as the function asks.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(F::NAME, inputs[0].dtype)?;
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let y = self.value(x[0])?;
        let saved = match F::SAVED {
            SavedNumber::X => save_if(need[0], x[0]),
            SavedNumber::Y => save_if(need[0], &y),
        };
        Ok((y, saved))
    }

    fn backward(&self, saved: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![saved.map(|saved| self.gradient(&saved, dy)).transpose()?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

impl<F: UnaryFunction> Elementwise<F> {
    fn value(&self, x: &Tensor) -> Result<Tensor> {
        let function = self.0;
        x.on_device(
            || {
                dispatch_float!(F::NAME, x.dtype(), T => {
                    map(F::NAME, x.shape(), [x], move |[x]: [T; 1]| function.value(x))
                })
            },
            |gpu| pointwise(gpu, F::KERNELS[0], x.shape(), &[x], function.constants()),
        )
    }

    fn gradient(&self, saved: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let function = self.0;
        dy.on_device(
            || {
                dispatch_float!(F::NAME, dy.dtype(), T => {
                    map(
                        F::NAME,
                        dy.shape(),
                        [saved, dy],
                        move |[saved, dy]: [T; 2]| function.gradient(dy, saved),
                    )
                })
            },
            |gpu| pointwise(gpu, F::KERNELS[1], dy.shape(), &[saved, dy], function.constants()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape};

    /// Values of `f` at `x`, and its gradients for dy = 1.
    fn both(f: impl Fn(&Tensor) -> Result<Tensor>, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let tape = Tape::new();
        let leaf = tape.leaf(&Tensor::from_slice(x, &[x.len()]).unwrap());
        let y = f(&leaf).unwrap();
        let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
        (y.to_f64_vec().unwrap(), gradients.get(&leaf).unwrap().to_f64_vec().unwrap())
    }

    #[test]
    fn values_and_gradients_at_kinks_are_those_of_pytorch() {
        assert_eq!(
            both(Tensor::abs, &[-2.0, 0.0, 3.0]),
            (vec![2.0, 0.0, 3.0], vec![-1.0, 0.0, 1.0])
        );
        assert_eq!(
            both(Tensor::relu, &[-2.0, 0.0, 3.0]),
            (vec![0.0, 0.0, 3.0], vec![0.0, 0.0, 1.0])
        );
        let clamped = both(|x| x.clamp(-1.0, 2.0), &[-1.5, -1.0, 0.5, 2.0, 2.5]);
        assert_eq!(clamped, (vec![-1.0, -1.0, 0.5, 2.0, 2.0], vec![0.0, 1.0, 1.0, 1.0, 0.0]));
        assert_eq!(
            both(|x| x.leaky_relu(0.25), &[-2.0, 0.0, 3.0]),
            (vec![-0.5, 0.0, 3.0], vec![0.25, 0.25, 1.0])
        );
    }

    #[test]
    fn smooth_functions_have_known_values_and_gradients() {
        assert_eq!(both(Tensor::exp, &[0.0]), (vec![1.0], vec![1.0]));
        assert_eq!(
            both(Tensor::log, &[1.0, 0.0]),
            (vec![0.0, f64::NEG_INFINITY], vec![1.0, f64::INFINITY])
        );
        assert_eq!(both(Tensor::sqrt, &[4.0, 0.0]), (vec![2.0, 0.0], vec![0.25, f64::INFINITY]));
        assert_eq!(both(Tensor::square, &[-3.0]), (vec![9.0], vec![-6.0]));
        assert_eq!(both(Tensor::tanh, &[0.0, 800.0]), (vec![0.0, 1.0], vec![1.0, 0.0]));
        assert_eq!(
            both(Tensor::sigmoid, &[0.0, 800.0, -800.0]),
            (vec![0.5, 1.0, 0.0], vec![0.25, 0.0, 0.0])
        );
    }

    #[test]
    fn powers_are_those_of_pytorch() {
        let infinite = f64::INFINITY;
        type Case<'a> = (f64, &'a [f64], &'a [f64], &'a [f64]);
        // The exponent, x, y and dx.
        let cases: [Case<'_>; 6] = [
            (3.0, &[-2.0, 0.0, 4.0], &[-8.0, 0.0, 64.0], &[12.0, 0.0, 48.0]),
            (2.0, &[-3.0], &[9.0], &[-6.0]),
            (1.0, &[-3.0, 0.0], &[-3.0, 0.0], &[1.0, 1.0]),
            (0.0, &[-3.0, 0.0, f64::NAN], &[1.0, 1.0, 1.0], &[0.0, 0.0, 0.0]),
            (0.5, &[4.0, 0.0], &[2.0, 0.0], &[0.25, infinite]),
            (-1.0, &[2.0, 0.0], &[0.5, infinite], &[-0.25, -infinite]),
        ];
        for (exponent, x, y, dx) in cases {
            assert_eq!(both(|x| x.pow(exponent), x), (y.to_vec(), dx.to_vec()), "{exponent}");
        }
        let root = Tensor::scalar(-4.0, DType::F64).unwrap().pow(0.5).unwrap();
        assert!(root.item().unwrap().is_nan());
    }

    #[test]
    fn silu_is_that_of_pytorch() {
        // By torch.nn.functional.silu and its gradient, in f64.
        const X: [f64; 5] = [-800.0, -3.0, 0.0, 0.5, 40.0];
        const Y: [f64; 5] = [-0.0, -0.14227761953270035, 0.0, 0.3112296656009273, 40.0];
        const DX: [f64; 5] = [-0.0, -0.08810410601516962, 0.5, 0.7399611873026519, 1.0];
        let (y, dx) = both(Tensor::silu, &X);
        for (found, expected) in y.iter().chain(&dx).zip(Y.iter().chain(&DX)) {
            assert!((found - expected).abs() <= 4e-16 * expected.abs(), "{found} {expected}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        let functions: [fn(&Tensor) -> Result<Tensor>; 12] = [
            Tensor::exp,
            Tensor::log,
            Tensor::sqrt,
            Tensor::square,
            Tensor::abs,
            Tensor::tanh,
            Tensor::sigmoid,
            Tensor::relu,
            |x| x.clamp(0.0, 1.0),
            Tensor::silu,
            |x| x.leaky_relu(0.1),
            |x| x.pow(1.5),
        ];
        for (i, f) in functions.into_iter().enumerate() {
            for dtype in [DType::F32, DType::F64] {
                assert!(
                    f(&Tensor::scalar(f64::NAN, dtype).unwrap()).unwrap().item().unwrap().is_nan(),
                    "function {i}"
                );
            }
        }
    }

    #[test]
    fn each_is_recorded_under_its_name_and_saves_one_tensor() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::ones(&[8], DType::F32).unwrap());
        x.tanh().unwrap().relu().unwrap().clamp(0.0, 1.0).unwrap();
        assert_eq!(tape.operations(), ["tanh", "relu", "clamp"]);
        assert_eq!(tape.saved_bytes(), 3 * 8 * 4);
    }

    #[test]
    fn errors_name_the_operation() {
        let message = Tensor::ones(&[2], DType::U8).unwrap().exp().unwrap_err().to_string();
        assert_eq!(message, "exp: expected dtype f32 or f64, got u8");
        let message =
            Tensor::ones(&[2], DType::F32).unwrap().clamp(1.0, 0.0).unwrap_err().to_string();
        assert_eq!(message, "clamp: there are no numbers from 1 to 0");
        assert!(Tensor::ones(&[2], DType::F32).unwrap().clamp(f64::NAN, 0.0).is_err());
    }
}
