//! The tensor: an immutable value that shares its storage with its views.
//!
//! A [`Tensor`] is a reference to a storage, a [`Layout`] over it, a dtype, and, if gradients were asked for, a
//! place on a [`Tape`](crate::Tape). Cloning one costs a reference count. The operations are methods, written in
//! the rooms of [`ops`](crate::ops); this file holds only what needs no arithmetic: making, reading, sharing.

use crate::layout::checked_numel;
use crate::tape::Node;
use crate::{Buffer, DType, Element, Error, Layout, Result, Rng};
use std::fmt;
use std::sync::Arc;

/// Where a tensor's elements live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// Main memory.
    Cpu,
}

/// The memory behind a tensor and its views.
pub(crate) enum Storage {
    Cpu(Buffer),
}

/// Shape and dtype: what an operation must know of an input to say what it will return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Logical sizes.
    pub shape: Vec<usize>,
    /// Type of the elements.
    pub dtype: DType,
}

impl Meta {
    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of a dense tensor of this kind.
    pub fn bytes(&self) -> usize {
        self.numel() * self.dtype.size()
    }

    /// The four sizes of a `[N, C, H, W]` tensor.
    pub fn dims4(&self, op: &'static str) -> Result<[usize; 4]> {
        let refuse = |_| Error::shape(op, format!("expected [N, C, H, W], got shape {:?}", self.shape));
        self.shape.as_slice().try_into().map_err(refuse)
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.shape, self.dtype)
    }
}

/// An n-dimensional array: an immutable value that shares its storage with its views.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    node: Option<Node>,
}

/// Making tensors.
impl Tensor {
    /// A tensor of `shape` with the standard layout, whose memory `fill` writes, all of it.
    ///
    /// `fill` sees the elements in *memory* order: for four dimensions that is N, H, W, C.
    pub fn build<T: Element>(shape: &[usize], fill: impl FnOnce(&mut [T])) -> Self {
        Self::build_in(Layout::new(shape), fill)
    }

    /// As [`Tensor::build`], with a `fill` that may fail.
    pub(crate) fn try_build<T: Element>(shape: &[usize], fill: impl FnOnce(&mut [T]) -> Result<()>) -> Result<Self> {
        let mut result = Ok(());
        let tensor = Self::build(shape, |out| result = fill(out));
        result.map(|()| tensor)
    }

    /// As [`Tensor::build`], with a dense layout of the caller's choice.
    pub(crate) fn build_in<T: Element>(layout: Layout, fill: impl FnOnce(&mut [T])) -> Self {
        debug_assert!(layout.is_dense() && layout.offset() == 0);
        let mut buffer = Buffer::new::<T>(layout.numel());
        fill(buffer.as_mut_slice());
        Self { storage: Arc::new(Storage::Cpu(buffer)), layout, dtype: T::DTYPE, node: None }
    }

    /// A tensor from elements in logical row-major order.
    pub fn from_slice<T: Element>(data: &[T], shape: &[usize]) -> Result<Self> {
        if checked_numel(shape) != Some(data.len()) {
            return Err(Error::shape("from_slice", format!("{} elements do not fill shape {shape:?}", data.len())));
        }
        let row_major = Self::build_in(Layout::row_major(shape), |out| out.copy_from_slice(data));
        Ok(row_major.standard())
    }

    /// A tensor of four dimensions `[n, channels, height, width]` from elements in the order N, H, W, C,
    /// as decoded photographs have them.
    pub fn from_nhwc<T: Element>(data: &[T], shape: [usize; 4]) -> Result<Self> {
        if checked_numel(&shape) != Some(data.len()) {
            return Err(Error::shape("from_nhwc", format!("{} elements do not fill shape {shape:?}", data.len())));
        }
        Ok(Self::build(&shape, |out| out.copy_from_slice(data)))
    }

    /// A tensor from the little-endian bytes of its elements in logical row-major order, as weight files have them.
    pub fn from_le_bytes(bytes: &[u8], shape: &[usize], dtype: DType) -> Result<Self> {
        crate::dispatch_element!(dtype, T => {
            if !bytes.len().is_multiple_of(dtype.size()) {
                return Err(Error::shape("from_le_bytes", format!("{} bytes are no whole number of {dtype}", bytes.len())));
            }
            let bytes: Vec<u8> = bytes.chunks_exact(dtype.size()).flat_map(native).collect();
            Self::from_slice(&bytemuck::pod_collect_to_vec::<u8, T>(&bytes), shape)
        })
    }

    /// Every element `value`.
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Self {
        crate::dispatch_element!(dtype, T => Self::build::<T>(shape, |out| out.fill(T::from_f64(value))))
    }

    /// Every element 0.
    pub fn zeros(shape: &[usize], dtype: DType) -> Self {
        Self::full(shape, 0.0, dtype)
    }

    /// Every element 1.
    pub fn ones(shape: &[usize], dtype: DType) -> Self {
        Self::full(shape, 1.0, dtype)
    }

    /// A tensor without dimensions that holds `value`.
    pub fn scalar(value: f64, dtype: DType) -> Self {
        Self::full(&[], value, dtype)
    }

    /// Independent draws from the normal distribution with mean 0 and variance 1, in logical row-major order.
    pub fn randn(shape: &[usize], dtype: DType, rng: &mut Rng) -> Self {
        Self::from_draws(shape, dtype, || rng.normal())
    }

    /// Independent draws, uniform in [`low`, `high`), in logical row-major order.
    pub fn rand(shape: &[usize], low: f64, high: f64, dtype: DType, rng: &mut Rng) -> Self {
        Self::from_draws(shape, dtype, || rng.range(low..high))
    }

    fn from_draws(shape: &[usize], dtype: DType, mut draw: impl FnMut() -> f64) -> Self {
        crate::dispatch_element!(dtype, T => {
            let fill = |out: &mut [T]| out.iter_mut().for_each(|x| *x = T::from_f64(draw()));
            Self::build_in(Layout::row_major(shape), fill).standard()
        })
    }
}

/// Looking at tensors.
impl Tensor {
    /// Logical sizes.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The size of dimension `d`.
    pub fn dim(&self, op: &'static str, d: usize) -> Result<usize> {
        self.shape()
            .get(d)
            .copied()
            .ok_or_else(|| Error::shape(op, format!("there is no dimension {d} in shape {:?}", self.shape())))
    }

    /// The four sizes of a `[N, C, H, W]` tensor.
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

    /// Where the elements live.
    pub fn device(&self) -> Device {
        match *self.storage {
            Storage::Cpu(_) => Device::Cpu,
        }
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
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let dense = self.row_major();
        Ok(dense.dense_data("to_vec")?.to_vec())
    }

    /// The elements in logical row-major order as f64, whatever the dtype.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        let dense = self.row_major();
        crate::dispatch_element!(self.dtype, T => {
            let start = dense.layout.offset();
            let data = &dense.raw::<T>()[start..start + dense.numel()];
            data.iter().map(|x| x.to_f64()).collect()
        })
    }

    /// The little-endian bytes of the elements in logical row-major order.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let dense = self.row_major();
        crate::dispatch_element!(self.dtype, T => {
            let start = dense.layout.offset();
            let bytes: &[u8] = bytemuck::cast_slice(&dense.raw::<T>()[start..start + dense.numel()]);
            bytes.chunks_exact(self.dtype.size()).flat_map(native).collect()
        })
    }

    /// The value of a tensor with one element, as f64.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64_vec().as_slice() {
            [value] => Ok(*value),
            _ => Err(Error::shape("item", format!("expected one element, got shape {:?}", self.shape()))),
        }
    }
}

/// Sharing, and the order of elements in memory. None of this shows on a tape: the values stay the same.
impl Tensor {
    /// The same values, off the tape.
    pub fn detach(&self) -> Self {
        Self { node: None, ..self.clone() }
    }

    /// The same values with the standard layout (channels-last for four dimensions); copies only if it must.
    pub fn standard(&self) -> Self {
        self.laid_out(self.layout.is_standard(), Layout::new)
    }

    /// The same values in row-major order; copies only if it must.
    pub fn row_major(&self) -> Self {
        self.laid_out(self.layout.is_row_major(), Layout::row_major)
    }

    fn laid_out(&self, already: bool, layout: impl FnOnce(&[usize]) -> Layout) -> Self {
        if already {
            return self.clone();
        }
        let layout = layout(self.shape());
        let copy = crate::dispatch_element!(self.dtype, T => {
            let source = self.raw::<T>();
            Self::build_in(layout.clone(), |out: &mut [T]| crate::cpu::copy(out, &layout, source, &self.layout))
        });
        Self { node: self.node.clone(), ..copy }
    }
}

/// For the rooms.
impl Tensor {
    /// The storage seen through another layout; off the tape.
    pub(crate) fn view(&self, layout: Layout) -> Self {
        Self { layout, node: None, ..self.clone() }
    }

    /// The whole storage, through which [`Tensor::layout`] leads.
    ///
    /// # Panics
    /// If `T` is not the tensor's dtype, which is the calling kernel's mistake: rooms dispatch on the dtype first.
    pub(crate) fn raw<T: Element>(&self) -> &[T] {
        assert_eq!(T::DTYPE, self.dtype, "kernel instantiated for another dtype");
        match &*self.storage {
            Storage::Cpu(buffer) => buffer.as_slice(),
        }
    }

    /// The elements of a dense tensor in memory order.
    pub(crate) fn dense_data<T: Element>(&self, op: &'static str) -> Result<&[T]> {
        if T::DTYPE != self.dtype {
            return Err(Error::dtype(op, T::DTYPE, self.dtype));
        }
        if !self.layout.is_dense() {
            return Err(Error::shape(op, format!("shape {:?} is not dense in memory", self.shape())));
        }
        let start = self.layout.offset();
        Ok(&self.raw()[start..start + self.numel()])
    }

    /// Whether the elements lie in the standard layout and nobody else holds their storage: then they may be written to.
    pub(crate) fn is_exclusive(&self) -> bool {
        Arc::strong_count(&self.storage) == 1 && self.layout.is_standard()
    }

    /// The elements of a dense tensor in memory order, to be overwritten; `None` if anyone else can see them.
    pub(crate) fn exclusive_data<T: Element>(&mut self) -> Option<&mut [T]> {
        if T::DTYPE != self.dtype || !self.layout.is_dense() {
            return None;
        }
        let (start, len) = (self.layout.offset(), self.layout.numel());
        match Arc::get_mut(&mut self.storage)? {
            Storage::Cpu(buffer) => Some(&mut buffer.as_mut_slice()[start..start + len]),
        }
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    pub(crate) fn with_node(self, node: Node) -> Self {
        Self { node: Some(node), ..self }
    }
}

/// One element's bytes, turned between little-endian and the machine's own order.
fn native(element: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let n = element.len();
    (0..n).map(move |i| element[if cfg!(target_endian = "little") { i } else { n - 1 - i }])
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        write!(f, "Tensor({}", self.meta())?;
        if let Some(node) = &self.node {
            write!(f, ", #{}", node.id)?;
        }
        if self.numel() <= 1 << 20 {
            let values = self.to_f64_vec();
            let shown: Vec<String> = values.iter().take(SHOWN).map(|v| format!("{v:.4}")).collect();
            let more = if values.len() > SHOWN { ", …" } else { "" };
            write!(f, ", [{}{more}]", shown.join(", "))?;
        }
        f.write_str(")")
    }
}
