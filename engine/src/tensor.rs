//! The tensor: an immutable value that shares its storage with its views.
//!
//! A [`Tensor`] is a reference to a storage, a [`Layout`] over it, a dtype, and, if gradients are
//! needed, a node on a [`Tape`](crate::Tape). Cloning one costs a reference count. The operations
//! are methods, written in the folders of [`ops`](crate::ops); this file holds only what needs no
//! arithmetic: making, reading, sharing.

use crate::cuda::{Block, DeviceView, Gpu};
use crate::dispatch::on_device;
use crate::layout::checked_numel;
use crate::tape::Node;
use crate::trace::{self, TracedValue};
use crate::{Buffer, DType, Device, Element, Error, Layout, Meta, Result, Rng, counted, memory};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The memory behind a tensor and its views.
pub(crate) enum Storage {
    Cpu(Buffer),
    Cuda(Block),
    /// None: the computation is only traced.
    Traced(TracedValue),
}

/// An n-dimensional array: an immutable value that shares its storage with its views.
///
/// Tensors and references to them have Rust's operators `+`, `-`, `*` and `/`, also with a number.
/// Each gives a [`Result`], as shapes may not fit.
///
/// ```
/// use engine::{DType, Tensor};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// assert_eq!((x.shape(), x.rank(), x.numel(), x.dtype()), (&[2, 3][..], 2, 6, DType::F32));
/// let columns = x.transpose(0, 1)?; // a view: nothing is copied
/// assert_eq!(columns.to_vec::<f32>()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// assert_eq!(((&x * 2.0)? - &x)?.to_f64_vec()?, x.to_f64_vec()?);
/// let mean = x.mean(&[1])?;
/// assert_eq!(format!("{mean:?}"), "Tensor([2] f32, [2.0000, 5.0000])");
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    node: Option<Node>,
}

/// Making tensors.
impl Tensor {
    /// A tensor of `shape` with the contiguous layout, whose memory `fill` writes, all of it.
    ///
    /// `fill` sees the elements in *memory* order: for four dimensions that is N, H, W, C.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::build(&[1, 2, 1, 2], |memory: &mut [f32]| {
    ///     memory.copy_from_slice(&[1.0, 10.0, 2.0, 20.0]); // the two channels of each pixel
    /// })?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0, 10.0, 20.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of every constructor: [`Error::Shape`] if `shape` has too many elements, and
    /// [`Error::Memory`] if the system cannot allocate the memory for them.
    pub fn build<T: Element>(shape: &[usize], fill: impl FnOnce(&mut [T])) -> Result<Self> {
        Self::build_in(Layout::new("build", shape)?, fill).map_err(|error| error.in_op("build"))
    }

    /// Like [`Tensor::build`], but with a `fill` that may fail.
    pub(crate) fn try_build<T: Element>(
        shape: &[usize],
        fill: impl FnOnce(&mut [T]) -> Result<()>,
    ) -> Result<Self> {
        Self::try_build_in(Layout::new("build", shape)?, fill)
    }

    /// Like [`Tensor::build`], but with a dense layout of the caller's choice.
    pub(crate) fn build_in<T: Element>(
        layout: Layout,
        fill: impl FnOnce(&mut [T]),
    ) -> Result<Self> {
        Self::try_build_in(layout, |out| {
            fill(out);
            Ok(())
        })
    }

    /// Like [`Tensor::build_in`], but with a `fill` that may fail.
    pub(crate) fn try_build_in<T: Element>(
        layout: Layout,
        fill: impl FnOnce(&mut [T]) -> Result<()>,
    ) -> Result<Self> {
        debug_assert!(layout.is_dense() && layout.offset() == 0);
        let mut buffer = Buffer::new::<T>(layout.numel())?;
        fill(buffer.as_mut_slice())?;
        Ok(Self { storage: Arc::new(Storage::Cpu(buffer)), layout, dtype: T::DTYPE, node: None })
    }

    /// A tensor from elements in logical row-major order, of their dtype: numbers written without a
    /// type are f64.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.narrow(0, 1, 1)?.to_f64_vec()?, [4.0, 5.0, 6.0]); // the second row
    /// let error = Tensor::from_slice(&[1.0, 2.0], &[3]).unwrap_err();
    /// assert_eq!(error.to_string(), "from_slice: 2 elements cannot fill shape [3]");
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn from_slice<T: Element>(data: &[T], shape: &[usize]) -> Result<Self> {
        Self::from_row_major("from_slice", shape, data.len(), |out| out.copy_from_slice(data))
    }

    /// A tensor of `count` elements in logical row-major order, which `fill` writes, for `op`.
    fn from_row_major<T: Element>(
        op: &'static str,
        shape: &[usize],
        count: usize,
        fill: impl FnOnce(&mut [T]),
    ) -> Result<Self> {
        require_count(op, shape, count)?;
        Self::build_in(Layout::row_major(op, shape)?, fill)
            .and_then(|filled| filled.contiguous())
            .map_err(|error| error.in_op(op))
    }

    /// A tensor of four dimensions `[n, channels, height, width]` from elements in the order N, H,
    /// W, C, as decoded photographs have them.
    ///
    /// ```
    /// use engine::Tensor;
    /// let pixels = [255u8, 0, 0, 0, 0, 255]; // red, then blue
    /// let x = Tensor::from_nhwc(&pixels, [1, 3, 1, 2])?;
    /// assert_eq!(x.to_vec::<u8>()?, [255, 0, 0, 0, 0, 255]); // the channels red, green and blue
    /// assert_eq!(x.narrow(1, 0, 1)?.to_vec::<u8>()?, [255, 0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn from_nhwc<T: Element>(data: &[T], shape: [usize; 4]) -> Result<Self> {
        const OP: &str = "from_nhwc";
        require_count(OP, &shape, data.len())?;
        Self::build_in(Layout::new(OP, &shape)?, |out| out.copy_from_slice(data))
            .map_err(|error| error.in_op(OP))
    }

    /// A tensor from the little-endian bytes of its elements in logical row-major order, as weight
    /// files have them.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::from_le_bytes(&[0, 0, 0x80, 0x3F, 0, 0, 0, 0x40], &[2], DType::F32)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn from_le_bytes(bytes: &[u8], shape: &[usize], dtype: DType) -> Result<Self> {
        const OP: &str = "from_le_bytes";
        let (len, size) = (bytes.len(), dtype.size());
        if !len.is_multiple_of(size) {
            let message = format!("a number of {dtype} takes {size} bytes, got {len} in all");
            return Err(Error::shape(OP, message));
        }
        crate::dispatch_element!(dtype, T => {
            Self::from_row_major(OP, shape, len / size, |out: &mut [T]| {
                let out = bytemuck::cast_slice_mut::<T, u8>(out);
                out.copy_from_slice(bytes);
                swap_on_big_endian(out, size);
            })
        })
    }

    /// Every element `value`.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// assert_eq!(Tensor::full(&[2, 2], 7.0, DType::I64)?.to_vec::<i64>()?, [7; 4]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Tensor::build`]; if `dtype` is an integer type that does not have `value`.
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Result<Self> {
        Self::filled("full", shape, value, dtype)
    }

    /// Every element 0.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[3], DType::F32)?.to_vec::<f32>()?, [0.0; 3]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::filled("zeros", shape, 0.0, dtype)
    }

    /// Every element 1.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[3], DType::F32)?.to_vec::<f32>()?, [1.0; 3]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::filled("ones", shape, 1.0, dtype)
    }

    /// The whole numbers of `range`, in order: positions, for instance. None if the range is empty.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let places = Tensor::arange(0..4, DType::F32)?;
    /// assert_eq!(places.to_vec::<f32>()?, [0.0, 1.0, 2.0, 3.0]);
    /// // Other steps, by arithmetic.
    /// assert_eq!(places.affine(0.5, -1.0)?.to_vec::<f32>()?, [-1.0, -0.5, 0.0, 0.5]);
    /// // A mask of the places that come before each, or are the same.
    /// let earlier = places.unsqueeze(1)?.ge(&places)?;
    /// assert_eq!(earlier.narrow(0, 1, 1)?.to_vec::<f32>()?, [1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Tensor::build`]; if `dtype` is [`DType::U8`] and lacks one of them. A
    /// floating-point type has the nearest number that it has.
    pub fn arange(range: Range<i64>, dtype: DType) -> Result<Self> {
        const OP: &str = "arange";
        if range.is_empty() {
            return Self::zeros(&[0], dtype);
        }
        let mut ends = [range.start, range.end - 1].into_iter();
        if dtype == DType::U8 && ends.any(|end| u8::try_from(end).is_err()) {
            let message = format!("{} to {} are not all of dtype u8", range.start, range.end - 1);
            return Err(Error::shape(OP, message));
        }
        let count = usize::try_from(range.end.abs_diff(range.start)).unwrap_or(usize::MAX);
        let fill = |out: &mut [i64]| out.iter_mut().zip(range).for_each(|(x, i)| *x = i);
        let whole = Self::build_in(Layout::new(OP, &[count])?, fill);
        whole.and_then(|whole| whole.to_dtype(dtype)).map_err(|error| error.in_op(OP))
    }

    /// A tensor without dimensions that holds `value`.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let half = Tensor::scalar(0.5, DType::F32)?;
    /// assert_eq!((half.shape(), half.item()?), (&[][..], 0.5));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn scalar(value: f64, dtype: DType) -> Result<Self> {
        Self::filled("scalar", &[], value, dtype)
    }

    fn filled(op: &'static str, shape: &[usize], value: f64, dtype: DType) -> Result<Self> {
        require_number(op, value, dtype)?;
        let layout = Layout::new(op, shape)?;
        crate::dispatch_element!(dtype, T => {
            Self::build_in::<T>(layout, |out| out.fill(T::from_f64(value)))
        })
        .map_err(|error| error.in_op(op))
    }

    /// Independent draws from the normal distribution with mean 0 and variance 1, in logical
    /// row-major order.
    ///
    /// ```
    /// use engine::{DType, Rng, Tensor};
    /// let x = Tensor::randn(&[1000], DType::F64, &mut Rng::new(7))?;
    /// assert!(x.mean_all()?.item()?.abs() < 0.1);
    /// assert!((x.square()?.mean_all()?.item()? - 1.0).abs() < 0.1);
    /// let again = Tensor::randn(&[1000], DType::F64, &mut Rng::new(7))?;
    /// assert_eq!(x.to_f64_vec()?, again.to_f64_vec()?);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn randn(shape: &[usize], dtype: DType, rng: &mut Rng) -> Result<Self> {
        Self::from_draws("randn", shape, dtype, || rng.normal())
    }

    /// Independent draws, uniform in [`low`, `high`), in logical row-major order; `low` if both are
    /// the same. What would round to `high` or beyond in `dtype` becomes the largest number below
    /// it.
    ///
    /// ```
    /// use engine::{DType, Rng, Tensor};
    /// let x = Tensor::rand(&[1000], -1.0, 1.0, DType::F32, &mut Rng::new(7))?;
    /// assert!(x.to_vec::<f32>()?.iter().all(|x| (-1.0..1.0).contains(x)));
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Tensor::build`]; if `low` > `high`, or one of them, in `dtype`, or their
    /// difference is not finite.
    pub fn rand(shape: &[usize], low: f64, high: f64, dtype: DType, rng: &mut Rng) -> Result<Self> {
        let finite = crate::dispatch_element!(dtype, T => {
            [low, high].iter().all(|&bound| <T as Element>::from_f64(bound).to_f64().is_finite())
        });
        if !finite || low > high || !(high - low).is_finite() {
            let message = format!("there are no uniform numbers of {dtype} from {low} to {high}");
            return Err(Error::shape("rand", message));
        }
        let largest = crate::dispatch_element!(dtype, T => largest_below::<T>(high));
        Self::from_draws("rand", shape, dtype, || {
            let draw = rng.range(low..high);
            if low < high && draw > largest { largest } else { draw }
        })
    }

    fn from_draws(
        op: &'static str,
        shape: &[usize],
        dtype: DType,
        mut draw: impl FnMut() -> f64,
    ) -> Result<Self> {
        let layout = Layout::row_major(op, shape)?;
        crate::dispatch_element!(dtype, T => {
            let fill = |out: &mut [T]| out.iter_mut().for_each(|x| *x = T::from_f64(draw()));
            let drawn = Self::build_in(layout, fill);
            drawn.and_then(|drawn| drawn.rearranged::<T>(Layout::of(drawn.shape())))
        })
        .map_err(|error| error.in_op(op))
    }
}

/// Looking at tensors.
///
/// ```
/// use engine::{DType, Device, Layout, Meta, Tensor};
/// let x = Tensor::zeros(&[2, 3], DType::F32)?;
/// assert_eq!((x.shape(), x.rank(), x.numel()), (&[2, 3][..], 2, 6));
/// assert_eq!((x.dtype(), x.device()), (DType::F32, Device::Cpu));
/// assert_eq!(x.meta(), Meta { shape: vec![2, 3], dtype: DType::F32 });
/// assert_eq!(x.layout(), &Layout::new("example", &[2, 3])?);
/// # Ok::<_, engine::Error>(())
/// ```
impl Tensor {
    /// Logical sizes.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The size of dimension `d`.
    ///
    /// `op` is the operation that an error names.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3, 4, 5], DType::F32)?;
    /// assert_eq!(x.dim("crop", 3)?, 5);
    /// let error = x.dim("crop", 4).unwrap_err();
    /// assert_eq!(error.to_string(), "crop: there is no dimension 4 in shape [2, 3, 4, 5]");
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn dim(&self, op: &'static str, d: usize) -> Result<usize> {
        self.meta().dim(op, d)
    }

    /// The four sizes of a `[N, C, H, W]` tensor.
    ///
    /// `op` is the operation that an error names.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3, 4, 5], DType::F32)?;
    /// let [n, c, h, w] = x.dims4("crop")?;
    /// assert_eq!([n, c, h, w], [2, 3, 4, 5]);
    /// assert!(x.reshape(&[6, 20])?.dims4("crop").is_err());
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn dims4(&self, op: &'static str) -> Result<[usize; 4]> {
        self.meta().dims4(op)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device that the elements live on.
    pub fn device(&self) -> Device {
        match &*self.storage {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Cuda(block) => Device::Cuda(block.gpu().index()),
            Storage::Traced(traced) => traced.device,
        }
    }

    /// Whether this tensor is one of a computation that is only traced, inside
    /// [`planned`](crate::planned) for instance: it has a shape, a dtype and a device, and no
    /// elements.
    ///
    /// ```
    /// use engine::{DType, Error, Tensor, infer};
    /// let x = Tensor::zeros(&[2], DType::F32)?;
    /// let mut traced = Vec::new();
    /// infer(&[&x], |x| {
    ///     traced = vec![x[0].clone(), x[0].exp()?];
    ///     Ok::<_, Error>(Vec::new())
    /// })?;
    /// assert!(traced.iter().all(Tensor::is_traced) && !x.is_traced());
    /// assert_eq!(traced[1].to_f64_vec(), Err(Error::Traced { op: "to_f64_vec" }));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn is_traced(&self) -> bool {
        self.as_traced().is_some()
    }

    /// How the elements lie in the storage.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Shape and dtype.
    pub fn meta(&self) -> Meta {
        Meta { shape: self.shape().to_vec(), dtype: self.dtype }
    }

    /// The elements in logical row-major order.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1i64, 2, 3, 4], &[2, 2])?;
    /// assert_eq!(x.transpose(0, 1)?.to_vec::<i64>()?, [1, 3, 2, 4]);
    /// assert!(x.to_vec::<f32>().is_err()); // it does not convert
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        const OP: &str = "to_vec";
        let dense = self.row_major_on_cpu(OP)?;
        collected(OP, dense.dense_data(OP)?.iter().copied())
    }

    /// The elements in logical row-major order as f64, whatever the dtype.
    ///
    /// ```
    /// use engine::Tensor;
    /// assert_eq!(Tensor::from_slice(&[1u8, 255], &[2])?.to_f64_vec()?, [1.0, 255.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        const OP: &str = "to_f64_vec";
        let dense = self.row_major_on_cpu(OP)?;
        crate::dispatch_element!(self.dtype, T => {
            collected(OP, dense.dense_data::<T>(OP)?.iter().map(|x| x.to_f64()))
        })
    }

    /// The little-endian bytes of the elements in logical row-major order.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1i64, 256], &[2])?;
    /// assert_eq!(x.to_le_bytes()?, [1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn to_le_bytes(&self) -> Result<Vec<u8>> {
        const OP: &str = "to_le_bytes";
        let dense = self.row_major_on_cpu(OP)?;
        let mut bytes = crate::dispatch_element!(self.dtype, T => {
            let bytes: &[u8] = bytemuck::cast_slice(dense.dense_data::<T>(OP)?);
            collected(OP, bytes.iter().copied())
        })?;
        swap_on_big_endian(&mut bytes, self.dtype.size());
        Ok(bytes)
    }

    /// The value of a tensor with one element, as f64.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[3.0, 4.0], &[2])?;
    /// assert_eq!(x.square()?.sum_all()?.item()?, 25.0);
    /// assert_eq!(x.item().unwrap_err().to_string(), "item: expected one element, got shape [2]");
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn item(&self) -> Result<f64> {
        const OP: &str = "item";
        self.require_elements(OP)?;
        let not_one = || {
            let message = format!("expected one element, got shape {:?}", self.shape());
            Err(Error::shape(OP, message))
        };
        // Before any allocation: a view may have more elements than fit into it.
        if self.numel() != 1 {
            return not_one();
        }
        match self.to_f64_vec().map_err(|error| error.in_op(OP))?.as_slice() {
            [value] => Ok(*value),
            _ => not_one(),
        }
    }
}

/// Sharing, and the order of elements in memory. None of this shows on a tape: the values stay the
/// same.
impl Tensor {
    /// The same values, off the tape.
    ///
    /// ```
    /// use engine::{DType, Tape, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(&Tensor::scalar(3.0, DType::F64)?);
    /// let y = x.mul(&x.detach())?; // the second factor is a constant
    /// assert_eq!(tape.backward(&y)?.get(&x).unwrap().item()?, 3.0);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn detach(&self) -> Self {
        if self.as_traced().is_some()
            && let Ok(Some(mut results)) = trace::note(trace::detach, &[self], &[self.meta()])
        {
            return results.swap_remove(0);
        }
        Self { node: None, ..self.clone() }
    }

    /// The same values with the contiguous layout (channels-last for four dimensions); copies only
    /// if it must.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3], DType::F32)?.transpose(0, 1)?;
    /// assert!(!x.layout().is_contiguous());
    /// assert!(x.contiguous()?.layout().is_contiguous());
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn contiguous(&self) -> Result<Self> {
        self.laid_out("contiguous", self.layout.is_contiguous(), Layout::of)
    }

    /// The same values in row-major order; copies only if it must.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::zeros(&[1, 3, 4, 5], DType::F32)?;
    /// assert_eq!(x.layout().strides(), [60, 1, 15, 3]); // channels-last
    /// assert_eq!(x.row_major()?.layout().strides(), [60, 20, 5, 1]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn row_major(&self) -> Result<Self> {
        self.laid_out("row_major", self.layout.is_row_major(), Layout::row_major_of)
    }

    fn laid_out(
        &self,
        op: &'static str,
        already: bool,
        layout: impl FnOnce(&[usize]) -> Layout,
    ) -> Result<Self> {
        // One without elements has no order of them.
        if already || self.as_traced().is_some() {
            return Ok(self.clone());
        }
        self.copied(layout(self.shape())).map_err(|error| error.in_op(op))
    }

    /// The same values in memory of their own, in a dense layout.
    fn copied(&self, layout: Layout) -> Result<Self> {
        self.require_elements("copy")?;
        on_device(
            self.gpu(),
            layout,
            |layout| crate::dispatch_element!(self.dtype, T => self.rearranged::<T>(layout)),
            |gpu, layout| {
                let copy = Self::on_gpu(gpu, layout, self.dtype)?;
                crate::cuda::copy(gpu, copy.cuda_view()?, self.cuda_view()?)?;
                Ok(Self { node: self.node.clone(), ..copy })
            },
        )
    }

    /// The same values in main memory in another dense layout.
    fn rearranged<T: Element>(&self, layout: Layout) -> Result<Self> {
        let source = self.raw::<T>();
        let copy = Self::build_in(layout.clone(), |out| {
            crate::cpu::copy(out, &layout, source, &self.layout)
        })?;
        Ok(Self { node: self.node.clone(), ..copy })
    }

    /// The same values on `device`, off the tape; copies only if they are on another.
    ///
    /// ```
    /// use engine::{DType, Device, Tensor};
    /// let x = Tensor::ones(&[2], DType::F32)?;
    /// let there = x.to_device("cpu".parse()?)?; // or cuda:0
    /// assert_eq!(there.device(), Device::Cpu);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn to_device(&self, device: Device) -> Result<Self> {
        const OP: &str = "to_device";
        if self.device() == device {
            return Ok(self.detach());
        }
        let here = self.on_cpu(OP).map_err(|error| error.in_op(OP))?;
        on_device(device.gpu()?, here, |here| Ok(here.detach()), |gpu, here| here.uploaded(gpu))
            .map_err(|error| error.in_op(OP))
    }

    /// A contiguous copy, off the tape.
    ///
    /// ```
    /// use engine::Tensor;
    /// let row = Tensor::from_slice(&[1.0, 2.0], &[1, 2])?;
    /// let rows = row.broadcast_to(&[1000, 2])?; // holds two numbers
    /// assert!(!rows.layout().is_dense() && rows.copy()?.layout().is_dense());
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn copy(&self) -> Result<Self> {
        let noted = trace::note(trace::copy, &[self], &[self.meta()])?;
        if let Some(mut noted) = noted {
            return Ok(noted.swap_remove(0));
        }
        let copy = self.copied(Layout::of(self.shape())).map_err(|error| error.in_op("copy"))?;
        Ok(copy.detach())
    }

    /// A tensor of these values in logical row-major order, with the dtype and on the device of
    /// this one: a constant of a computation. On a GPU it is copied there once, and shared from
    /// then on.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::ones(&[2, 3], DType::F32)?;
    /// let weights = x.constant(&[0.0, 1.0, 2.0], &[3])?;
    /// assert_eq!(weights.dtype(), DType::F32);
    /// assert_eq!(x.mul(&weights)?.sum_all()?.item()?, 6.0);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn constant(&self, values: &[f64], shape: &[usize]) -> Result<Self> {
        Self::constant_on(self.device(), self.dtype, values, shape)
    }

    /// Like [`Tensor::constant`], for a device and a dtype.
    pub(crate) fn constant_on(
        device: Device,
        dtype: DType,
        values: &[f64],
        shape: &[usize],
    ) -> Result<Self> {
        const OP: &str = "constant";
        values.iter().try_for_each(|&value| require_number(OP, value, dtype))?;
        let here = crate::dispatch_element!(dtype, T => {
            Self::from_row_major(OP, shape, values.len(), |out: &mut [T]| {
                out.iter_mut().zip(values).for_each(|(x, &value)| *x = T::from_f64(value));
            })
        })?;
        on_device(device.gpu()?, here, Ok, |gpu, here| {
            let block = crate::dispatch_element!(dtype, T => {
                gpu.constant_block(bytemuck::cast_slice(here.dense_data::<T>(OP)?))
            })?;
            Ok(Self { storage: Arc::new(Storage::Cuda(block)), ..here })
        })
    }

    /// The same values in main memory, in logical row-major order, for `op`.
    fn row_major_on_cpu(&self, op: &'static str) -> Result<Self> {
        self.on_cpu(op)?.row_major().map_err(|error| error.in_op(op))
    }

    /// The same values in main memory, for `op`.
    fn on_cpu(&self, op: &'static str) -> Result<Self> {
        match &*self.storage {
            Storage::Cpu(_) => Ok(self.clone()),
            Storage::Traced(_) => Err(trace::no_elements(op)),
            Storage::Cuda(block) => {
                // Dense memory is copied as it lies; a view of something larger is first gathered
                // on the GPU.
                let dense = if self.layout.is_dense() { self.clone() } else { self.contiguous()? };
                let size = self.dtype.size();
                let bytes = block.gpu().download(
                    dense.block()?,
                    dense.layout.offset() * size,
                    dense.numel() * size,
                )?;
                let layout =
                    Layout::from_parts(self.shape().to_vec(), dense.layout.strides().to_vec(), 0);
                let copy = crate::dispatch_element!(self.dtype, T => {
                    Self::build_in(
                        layout,
                        |out: &mut [T]| bytemuck::cast_slice_mut(out).copy_from_slice(&bytes),
                    )
                })?;
                Ok(Self { node: self.node.clone(), ..copy })
            }
        }
    }
}

/// On a GPU.
impl Tensor {
    /// The GPU that the elements live on, if they do.
    pub(crate) fn gpu(&self) -> Option<&'static Gpu> {
        match &*self.storage {
            Storage::Cpu(_) => None,
            Storage::Cuda(block) => Some(block.gpu()),
            Storage::Traced(traced) => traced.device.gpu().ok().flatten(),
        }
    }

    /// The result of `on_cpu` if the elements are in main memory, or that of `on_gpu` for the GPU
    /// that they live on. Every operation chooses its kernel here.
    pub(crate) fn on_device<R>(
        &self,
        on_cpu: impl FnOnce() -> Result<R>,
        on_gpu: impl FnOnce(&'static Gpu) -> Result<R>,
    ) -> Result<R> {
        on_device(self.gpu(), (), |()| on_cpu(), |gpu, ()| on_gpu(gpu))
    }

    /// A dense tensor on `gpu` whose elements are yet to be written.
    pub(crate) fn on_gpu(gpu: &'static Gpu, layout: Layout, dtype: DType) -> Result<Self> {
        debug_assert!(layout.is_dense() && layout.offset() == 0);
        let storage = Arc::new(Storage::Cuda(gpu.allocate(layout.numel() * dtype.size())?));
        Ok(Self { storage, layout, dtype, node: None })
    }

    /// A tensor of the contiguous layout on `gpu` whose elements are yet to be written.
    pub(crate) fn new_on_gpu(gpu: &'static Gpu, shape: &[usize], dtype: DType) -> Result<Self> {
        Self::on_gpu(gpu, Layout::new("device", shape)?, dtype)
    }

    /// Zeros on `gpu`.
    pub(crate) fn zeros_on_gpu(gpu: &'static Gpu, shape: &[usize], dtype: DType) -> Result<Self> {
        let zeros = Self::new_on_gpu(gpu, shape, dtype)?;
        gpu.fill(zeros.block()?, zeros.numel() * dtype.size(), 0)?;
        Ok(zeros)
    }

    /// The memory on the GPU.
    pub(crate) fn block(&self) -> Result<&Block> {
        match &*self.storage {
            Storage::Cpu(_) => {
                Err(Error::cuda("device", "a kernel of the GPU was given a tensor in main memory"))
            }
            Storage::Cuda(block) => Ok(block),
            Storage::Traced(_) => Err(trace::no_elements("device")),
        }
    }

    /// The tensor as GPU kernels see it.
    pub(crate) fn cuda_view(&self) -> Result<DeviceView<'_>> {
        Ok(DeviceView { address: self.address()?, layout: &self.layout, dtype: self.dtype })
    }

    /// The address of the first element in the GPU's memory.
    pub(crate) fn address(&self) -> Result<u64> {
        let block = self.block()?;
        block.gpu().note_use(block);
        Ok(block.address() + (self.layout.offset() * self.dtype.size()) as u64)
    }

    /// The same values, which are in main memory, on `gpu`, lying as they do here if they are
    /// dense.
    fn uploaded(&self, gpu: &'static Gpu) -> Result<Self> {
        let dense = if self.layout.is_dense() { self.clone() } else { self.contiguous()? };
        let block = crate::dispatch_element!(
            self.dtype, T => gpu.upload(bytemuck::cast_slice(dense.dense_data::<T>("to_device")?))
        )?;
        let layout = Layout::from_parts(self.shape().to_vec(), dense.layout.strides().to_vec(), 0);
        Ok(Self { storage: Arc::new(Storage::Cuda(block)), layout, dtype: self.dtype, node: None })
    }
}

/// For operations.
impl Tensor {
    /// The storage seen through another layout; off the tape.
    pub(crate) fn view(&self, layout: Layout) -> Self {
        Self { layout, node: None, ..self.clone() }
    }

    /// The whole storage, through which [`Tensor::layout`] leads.
    ///
    /// # Panics
    /// If `T` is not the tensor's dtype or the tensor is on a GPU, which is the calling kernel's
    /// mistake: operations dispatch on both first.
    pub(crate) fn raw<T: Element>(&self) -> &[T] {
        assert_eq!(T::DTYPE, self.dtype, "kernel instantiated for another dtype");
        match &*self.storage {
            Storage::Cpu(buffer) => buffer.as_slice(),
            Storage::Cuda(_) => panic!("a kernel of the CPU was given a tensor on a GPU"),
            Storage::Traced(_) => panic!("a kernel was given a tensor without elements"),
        }
    }

    /// An error if the elements are on a GPU, where `op` has no kernel.
    pub(crate) fn require_cpu(&self, op: &'static str) -> Result<()> {
        self.require_elements(op)?;
        let device = self.device();
        let refuse = |_| Err(Error::cuda(op, format!("has no kernel for {device}")));
        self.on_device(|| Ok(()), refuse)
    }

    /// The elements of a dense tensor in memory order.
    pub(crate) fn dense_data<T: Element>(&self, op: &'static str) -> Result<&[T]> {
        if T::DTYPE != self.dtype {
            return Err(Error::dtype(op, T::DTYPE, self.dtype));
        }
        self.require_cpu(op)?;
        if !self.layout.is_dense() {
            return Err(Error::shape(
                op,
                format!("shape {:?} is not dense in memory", self.shape()),
            ));
        }
        let start = self.layout.offset();
        Ok(&self.raw()[start..start + self.numel()])
    }

    /// Whether the elements are contiguous and nothing else holds their storage: then they may be
    /// written to.
    pub(crate) fn is_exclusive(&self) -> bool {
        let sole = match &*self.storage {
            Storage::Cpu(_) => true,
            Storage::Cuda(block) => block.is_exclusive(),
            Storage::Traced(_) => false,
        };
        sole && Arc::strong_count(&self.storage) == 1 && self.layout.is_contiguous()
    }

    /// The elements of a dense tensor in memory order, to be overwritten; `None` if anyone else can
    /// see them.
    pub(crate) fn exclusive_data<T: Element>(&mut self) -> Option<&mut [T]> {
        if T::DTYPE != self.dtype || !self.layout.is_dense() {
            return None;
        }
        let (start, len) = (self.layout.offset(), self.layout.numel());
        match Arc::get_mut(&mut self.storage)? {
            Storage::Cpu(buffer) => Some(&mut buffer.as_mut_slice()[start..start + len]),
            Storage::Cuda(_) => None,
            Storage::Traced(_) => None,
        }
    }

    /// A tensor without elements, of which only shape, dtype and device are known.
    pub(crate) fn traced(traced: TracedValue, Meta { shape, dtype }: Meta) -> Self {
        let layout = Layout::of(&shape);
        Self { storage: Arc::new(Storage::Traced(traced)), layout, dtype, node: None }
    }

    /// The value of a trace that this tensor stands for, if it is traced.
    pub(crate) fn as_traced(&self) -> Option<&TracedValue> {
        match &*self.storage {
            Storage::Traced(traced) => Some(traced),
            _ => None,
        }
    }

    /// An error of `op`, which needs elements, if this tensor is traced and has none.
    pub(crate) fn require_elements(&self, op: &'static str) -> Result<()> {
        self.as_traced().map_or(Ok(()), |_| Err(trace::no_elements(op)))
    }

    /// Whether both are the same elements, seen in the same way, with the same node on a tape.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same_node = match (&self.node, &other.node) {
            (Some(one), Some(other)) => one.is(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        Arc::ptr_eq(&self.storage, &other.storage)
            && self.layout == other.layout
            && self.dtype == other.dtype
            && same_node
    }

    /// Whether gradients flow here.
    pub(crate) fn is_on_tape(&self) -> bool {
        self.node.is_some()
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    pub(crate) fn with_node(self, node: Node) -> Self {
        Self { node: Some(node), ..self }
    }
}

/// The largest number that `T` has below `end`; `end` itself if it has none.
fn largest_below<T: Element>(end: f64) -> f64 {
    let rounded = |x: f64| T::from_f64(x).to_f64();
    // Doubled until it is seen in `T`, a step does not reach beyond the first number below.
    let steps = std::iter::successors(Some(end - end.next_down()), |step| Some(2.0 * step));
    let steps = steps.take_while(|step| step.is_finite());
    steps.map(|step| rounded(end - step)).find(|below| *below < end).unwrap_or(end)
}

/// An error of `op` if `dtype` is an integer type that does not have `value`.
pub(crate) fn require_number(op: &'static str, value: f64, dtype: DType) -> Result<()> {
    match dtype.whole_numbers() {
        Some(range) if !range.contains(&value) || value.fract() != 0.0 => {
            Err(Error::shape(op, format!("{value} is not a number of dtype {dtype}")))
        }
        _ => Ok(()),
    }
}

/// An error of `op` unless a tensor of `shape` has `count` elements.
fn require_count(op: &'static str, shape: &[usize], count: usize) -> Result<()> {
    if checked_numel(shape) == Some(count) {
        return Ok(());
    }
    let message = format!("{} cannot fill shape {shape:?}", counted(count, "element"));
    Err(Error::shape(op, message))
}

/// `elements` as a vector, for `op`.
fn collected<T>(op: &'static str, elements: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    memory::reserve(&mut all, elements.len()).map_err(|error| error.in_op(op))?;
    all.extend(elements);
    Ok(all)
}

/// Turns elements of `size` bytes between little-endian and the machine's own order.
fn swap_on_big_endian(bytes: &mut [u8], size: usize) {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}

/// A number for people: with 4 digits behind the point, or with 5 significant ones where that would
/// show too little or too much.
fn legible(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || !value.is_finite() || (0.01..1e6).contains(&size) => {
            format!("{value:.4}")
        }
        _ => format!("{value:.4e}"),
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        fn first<T>(values: Vec<T>, shown: impl Fn(T) -> String) -> Vec<String> {
            values.into_iter().take(SHOWN).map(shown).collect()
        }
        write!(f, "Tensor({}", self.meta())?;
        if let Some(node) = &self.node {
            write!(f, ", #{}", node.id)?;
        }
        let elements = |f: &mut fmt::Formatter<'_>| {
            let few = self.numel() <= 1 << 20;
            let shown = || -> Result<Vec<String>> {
                Ok(match self.dtype {
                    DType::I64 => first(self.to_vec::<i64>()?, |value| value.to_string()),
                    DType::U8 => first(self.to_vec::<u8>()?, |value| value.to_string()),
                    _ => first(self.to_f64_vec()?, legible),
                })
            };
            let Some(shown) = few.then(|| shown().ok()).flatten() else { return Ok(()) };
            let more = if self.numel() > SHOWN { ", …" } else { "" };
            write!(f, ", [{}{more}]", shown.join(", "))
        };
        on_device(self.gpu(), &mut *f, elements, |_, f| write!(f, ", {}", self.device()))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_below_the_end_of_their_range_in_every_dtype() {
        use DType::*;
        let mut rng = Rng::new(1);
        let ranges = [(0.0, 1.0), (-1.0, 1.0), (0.9, 1.1), (-2.5, -0.5), (3.0, 3.03), (-1.0, 0.0)];
        for dtype in [F16, BF16, F32, F64, I64] {
            for (low, high) in ranges {
                let x = Tensor::rand(&[20_000], low, high, dtype, &mut rng).unwrap();
                let x = x.to_f64_vec().unwrap();
                assert!(x.iter().all(|&x| x < high), "{dtype} in {low}..{high}");
            }
        }
        // The largest f16 below 1 is drawn, by draws rounded to it and draws once rounded to 1.
        let x = Tensor::rand(&[20_000], 0.0, 1.0, F16, &mut rng).unwrap().to_f64_vec().unwrap();
        let largest = 1.0 - 2f64.powi(-11);
        assert!(x.contains(&largest));
        assert_eq!(largest_below::<half::f16>(1.0), largest);
        // 0.1 is less than the f32 that it is rounded to.
        assert_eq!(largest_below::<f32>(0.1), f64::from(0.1f32.next_down()));
        assert_eq!(largest_below::<f64>(0.0), 0.0f64.next_down());
        assert_eq!(largest_below::<i64>(-0.5), -1.0);
        assert_eq!(largest_below::<u8>(-0.5), -0.5); // there is none
        // A range of one number, or from the wrong end, stays as it is.
        let x = Tensor::rand(&[3], 0.0, 0.0, F16, &mut rng).unwrap();
        assert_eq!(x.to_f64_vec().unwrap(), [0.0; 3]);
    }

    #[test]
    fn ranges_that_have_no_uniform_numbers_are_refused() {
        let rng = &mut Rng::new(1);
        let (most, infinite) = (f64::MAX, f64::INFINITY);
        for (low, high) in [(1.0, 0.0), (0.0, infinite), (-infinite, 0.0), (-most, most)] {
            let error = Tensor::rand(&[2], low, high, DType::F64, rng).unwrap_err().to_string();
            let reason = format!("there are no uniform numbers of f64 from {low} to {high}");
            assert_eq!(error, format!("rand: {reason}"));
        }
        for (low, high, dtype) in
            [(f64::NAN, 1.0, DType::I64), (0.0, 1e6, DType::F16), (-1e300, 0.0, DType::F32)]
        {
            assert!(Tensor::rand(&[2], low, high, dtype, rng).is_err(), "{dtype}");
        }
        let large = [(DType::F16, 65504.0), (DType::F32, f64::from(f32::MAX)), (DType::F64, 1e308)];
        for (dtype, high) in large {
            let x = Tensor::rand(&[1000], 0.0, high, dtype, rng).unwrap().to_f64_vec().unwrap();
            assert!(x.iter().all(|&x| x < high), "{dtype}");
        }
    }

    #[test]
    fn integers_are_filled_with_their_own_numbers_alone() {
        use DType::{I64, U8};
        for (value, dtype) in
            [(f64::NAN, I64), (-1.0, U8), (256.0, U8), (0.5, I64), (2f64.powi(63), I64)]
        {
            let expected = format!("{value} is not a number of dtype {dtype}");
            for (op, made) in [
                ("full", Tensor::full(&[2], value, dtype)),
                ("scalar", Tensor::scalar(value, dtype)),
                ("constant", Tensor::zeros(&[1], dtype).unwrap().constant(&[value], &[1])),
            ] {
                assert_eq!(made.unwrap_err().to_string(), format!("{op}: {expected}"));
            }
        }
        assert_eq!(Tensor::full(&[1], -2f64.powi(63), I64).unwrap().to_vec(), Ok(vec![i64::MIN]));
        assert!(Tensor::full(&[1], f64::NAN, DType::F16).unwrap().item().unwrap().is_nan());
    }

    #[test]
    fn ranges_are_exact_and_in_their_dtype() {
        let (first, last) = (i64::MAX - 3, i64::MAX);
        let x = Tensor::arange(first..last, DType::I64).unwrap();
        assert_eq!(x.to_vec::<i64>().unwrap(), [first, first + 1, first + 2]);
        assert_eq!(
            Tensor::arange(253..256, DType::U8).unwrap().to_vec(),
            Ok(vec![253u8, 254, 255])
        );
        let rounded = Tensor::arange(2047..2050, DType::F16).unwrap().to_f64_vec().unwrap();
        assert_eq!(rounded, [2047.0, 2048.0, 2048.0]);
        for empty in [Range { start: 5, end: 5 }, Range { start: 7, end: -7 }] {
            assert_eq!(Tensor::arange(empty, DType::F64).unwrap().shape(), [0]);
        }
        let message = |range, dtype| Tensor::arange(range, dtype).unwrap_err().to_string();
        assert_eq!(message(-1..3, DType::U8), "arange: -1 to 2 are not all of dtype u8");
        assert_eq!(message(0..257, DType::U8), "arange: 0 to 256 are not all of dtype u8");
        let all = message(i64::MIN..i64::MAX, DType::F32);
        assert_eq!(all, "arange: shape [18446744073709551615] has too many elements");
        assert!(message(0..1 << 50, DType::F32).starts_with("arange: out of memory"));
    }

    #[test]
    fn numbers_are_shown_legibly() {
        let shown = |x: Tensor| format!("{x:?}");
        let whole = Tensor::from_slice(&[-3i64, i64::MAX >> 11], &[2]).unwrap();
        assert_eq!(shown(whole), "Tensor([2] i64, [-3, 4503599627370495])");
        // Beyond 2⁵³ not every one is an f64.
        let large = Tensor::from_slice(&[i64::MIN, (1 << 53) + 1, i64::MAX], &[3]).unwrap();
        assert_eq!(
            shown(large),
            "Tensor([3] i64, [-9223372036854775808, 9007199254740993, 9223372036854775807])"
        );
        let x = [2.5e-5, -1e-7, 0.25, 0.0, 123456.0, 3e20, f64::NAN, f64::NEG_INFINITY];
        assert_eq!(
            shown(Tensor::from_slice(&x, &[8]).unwrap()),
            "Tensor([8] f64, [2.5000e-5, -1.0000e-7, 0.2500, 0.0000, 123456.0000, 3.0000e20, NaN, \
             -inf])"
        );
    }

    #[test]
    fn draws_that_do_not_reach_the_end_keep_their_bits() {
        let (mut rng, mut twin) = (Rng::new(2), Rng::new(2));
        let x = Tensor::rand(&[1000], -0.3, 0.7, DType::F32, &mut rng).unwrap();
        for x in x.to_vec::<f32>().unwrap() {
            assert_eq!(x.to_bits(), ((-0.3 + twin.uniform()) as f32).to_bits());
        }
    }
}
