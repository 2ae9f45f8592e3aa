//! The stencil of a correlation: the input pixels that each output pixel reads, for a convolution
//! and for its adjoint.

/// Output pixels that read with the same taps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    /// The first output pixel (row, column); others follow at [`Stencil::out_step`].
    pub(crate) origin: (usize, usize),
    /// Offsets (row, column) into the input.
    pub(crate) taps: Vec<(isize, isize)>,
    /// The kernel element of each tap, counted row-major.
    pub(crate) elements: Vec<usize>,
}

/// The taps of a correlation, by phases: see the [module](super).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stencil {
    /// Input pixels from one output pixel of a phase to the next.
    pub(crate) in_step: usize,
    /// Output pixels from one output pixel of a phase to the next.
    pub(crate) out_step: usize,
    pub(crate) phases: Vec<Phase>,
}

/// Kernel size and settings of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) kernel: (usize, usize),
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
}

impl Stencil {
    /// The stencil of a convolution's forward pass.
    pub(crate) fn forward(g: Geometry) -> Self {
        let offset = |k: usize| (k * g.dilation) as isize - g.padding as isize;
        let elements: Vec<usize> = (0..g.kernel.0 * g.kernel.1).collect();
        let taps =
            elements.iter().map(|e| (offset(e / g.kernel.1), offset(e % g.kernel.1))).collect();
        Self {
            in_step: g.stride,
            out_step: 1,
            phases: vec![Phase { origin: (0, 0), taps, elements }],
        }
    }

    /// The stencil of its adjoint: from the output's map to the input's.
    pub(crate) fn adjoint(g: Geometry) -> Self {
        // Input pixel p gets from output pixel q through kernel element k if p = q·stride +
        // k·dilation − padding.
        let reach = |p: usize, k: usize| {
            let distance = (p + g.padding) as isize - (k * g.dilation) as isize;
            (distance.rem_euclid(g.stride as isize) == 0)
                .then(|| distance.div_euclid(g.stride as isize))
        };
        let phase = |row: usize, column: usize| {
            let (mut taps, mut elements) = (Vec::new(), Vec::new());
            for (ky, kx) in (0..g.kernel.0).flat_map(|ky| (0..g.kernel.1).map(move |kx| (ky, kx))) {
                if let (Some(dy), Some(dx)) = (reach(row, ky), reach(column, kx)) {
                    taps.push((dy, dx));
                    elements.push(ky * g.kernel.1 + kx);
                }
            }
            Phase { origin: (row, column), taps, elements }
        };
        let phases = (0..g.stride * g.stride).map(|i| phase(i / g.stride, i % g.stride)).collect();
        Self { in_step: 1, out_step: g.stride, phases }
    }

    /// The smallest and largest offsets of all taps: ((row, column), (row, column)).
    pub(crate) fn reach(&self) -> ((isize, isize), (isize, isize)) {
        let taps = || self.phases.iter().flat_map(|phase| &phase.taps);
        let least = |f: fn(&(isize, isize)) -> isize| taps().map(f).min().unwrap_or(0);
        let most = |f: fn(&(isize, isize)) -> isize| taps().map(f).max().unwrap_or(0);
        ((least(|t| t.0), least(|t| t.1)), (most(|t| t.0), most(|t| t.1)))
    }

    /// The number of output pixels of a phase, which begin at `origin`, along an axis of `size`
    /// pixels.
    pub(super) fn count(&self, origin: usize, size: usize) -> usize {
        size.saturating_sub(origin).div_ceil(self.out_step)
    }
}
