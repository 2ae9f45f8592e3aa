//! The part of cuDNN 9 that is used: its functions and numbers, declared by hand from its
//! reference, and the library, found when the program runs.

use crate::cuda::driver;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};

pub(super) type Handle = *mut c_void;
pub(super) type Stream = *mut c_void;

/// A descriptor of the backend. Its [`kind`] says which part of a graph it describes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Raw(pub(super) *mut c_void);

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        /// The library, and the functions in it under their own names.
        #[allow(non_snake_case)]
        pub(super) struct CudnnLibrary {
            $(pub(super) $name: unsafe extern "C" fn($($argument: $type),*) -> c_int,)*
            cudnnGetVersion: unsafe extern "C" fn() -> usize,
            cudnnGetErrorString: unsafe extern "C" fn(c_int) -> *const c_char,
            cudnnGetLastErrorString: unsafe extern "C" fn(*mut c_char, usize),
            /// Keeps it loaded.
            _library: driver::SharedLibrary,
        }

        impl CudnnLibrary {
            /// Opens `file`, or says why not.
            pub(super) fn open(file: &OsStr) -> Result<Self, String> {
                // SAFETY: what runs as it is loaded is cuDNN's, or whatever the user named instead.
                let library = unsafe { driver::SharedLibrary::open(file) }?;
                macro_rules! find {
                    ($function:expr) => {
                        // SAFETY: the function has the type it gets here: that of cuDNN 9's
                        // reference.
                        unsafe { library.function($function)? }
                    };
                }
                Ok(Self {
                    $($name: find!(stringify!($name)),)*
                    cudnnGetVersion: find!("cudnnGetVersion"),
                    cudnnGetErrorString: find!("cudnnGetErrorString"),
                    cudnnGetLastErrorString: find!("cudnnGetLastErrorString"),
                    _library: library,
                })
            }
        }
    };
}

functions! {
    cudnnCreate(handle: *mut Handle);
    cudnnSetStream(handle: Handle, stream: Stream);
    cudnnBackendCreateDescriptor(kind: c_int, descriptor: *mut Raw);
    cudnnBackendDestroyDescriptor(descriptor: Raw);
    cudnnBackendSetAttribute(
        descriptor: Raw, attribute: c_int, value: c_int, count: i64, values: *const c_void
    );
    cudnnBackendGetAttribute(
        descriptor: Raw,
        attribute: c_int,
        value: c_int,
        most: i64,
        count: *mut i64,
        values: *mut c_void
    );
    cudnnBackendFinalize(descriptor: Raw);
    cudnnBackendExecute(handle: Handle, plan: Raw, pack: Raw);
}

impl CudnnLibrary {
    /// Major, minor, patch.
    pub(super) fn version(&self) -> (usize, usize, usize) {
        // SAFETY: it takes nothing.
        let version = unsafe { (self.cudnnGetVersion)() };
        // Up to cuDNN 8 it was major·1000 + minor·100 + patch.
        let major = if version < 10_000 { 1000 } else { 10_000 };
        (version / major, version % major / 100, version % 100)
    }

    /// The meaning of the code, and the library's message about the last failure.
    pub(super) fn describe(&self, status: c_int) -> String {
        let mut text = [0 as c_char; 1024];
        // SAFETY: at most `text.len()` characters are written, a final 0 among them.
        let last = unsafe {
            (self.cudnnGetLastErrorString)(text.as_mut_ptr(), text.len());
            CStr::from_ptr(text.as_ptr())
        };
        // SAFETY: the result is a text that is never freed, for any code.
        let name = unsafe { CStr::from_ptr((self.cudnnGetErrorString)(status)) }
            .to_string_lossy()
            .into_owned();
        match last.to_string_lossy().trim() {
            "" => name,
            last => format!("{name}: {last}"),
        }
    }
}

/// Whether a status means that cuDNN cannot do the requested work, as opposed to an error.
pub(super) fn unsupported(status: c_int) -> bool {
    (3000..4000).contains(&status)
}

/// A type whose values attributes have.
///
/// # Safety
/// It is laid out as the values of the attribute type are, and any of those is one of its values.
pub(super) unsafe trait AttributeValue: Copy {
    /// The attribute type, `CUDNN_TYPE_…`.
    const TYPE: c_int;
}

macro_rules! values {
    ($($type:ty = $number:literal),* $(,)?) => {$(
        // SAFETY: C's counterpart, or a transparent wrapper of it.
        unsafe impl AttributeValue for $type {
            const TYPE: c_int = $number;
        }
    )*};
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $type:ident { $($name:ident = $number:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(transparent)]
        pub(super) struct $type(c_int);

        impl $type {
            $(pub(super) const $name: Self = Self($number);)*
        }
    )*};
}

numbers! {
    /// Types of elements.
    DataType { FLOAT = 0, HALF = 2, BFLOAT16 = 9 }
    /// Whether the kernel is mirrored.
    ConvolutionMode { CROSS_CORRELATION = 1 }
    /// Which engines are proposed: those that should be the fastest, or those that should always
    /// do.
    HeuristicMode { FALLBACK = 2, A = 3 }
    /// Effects of an engine on numbers.
    NumericalNote {
        TENSOR_CORE = 0,
        DOWN_CONVERT_INPUTS = 1,
        REDUCED_PRECISION_REDUCTION = 2,
        NONDETERMINISTIC = 4,
    }
    /// Other properties of an engine.
    BehaviorNote { RUNTIME_COMPILATION = 0 }
    /// Operations element by element. This GELU is the exact one.
    PointwiseMode { ADD = 0, GELU_FWD = 104 }
}

/// A handle as the value of an attribute.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct HandleValue(pub(super) Handle);

/// An address on the GPU.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Address(pub(super) u64);

values! {
    HandleValue = 0,
    DataType = 1,
    bool = 2,
    i64 = 3,
    f32 = 4,
    Address = 6,
    ConvolutionMode = 7,
    HeuristicMode = 8,
    NumericalNote = 11,
    PointwiseMode = 14,
    Raw = 15,
    BehaviorNote = 19,
    u8 = 24,
}

/// Kinds of descriptors, `CUDNN_BACKEND_…_DESCRIPTOR`.
pub(super) mod kind {
    use super::c_int;

    pub(in super::super) const POINTWISE: c_int = 0;
    pub(in super::super) const CONVOLUTION: c_int = 1;
    pub(in super::super) const ENGINE: c_int = 2;
    pub(in super::super) const ENGINECFG: c_int = 3;
    pub(in super::super) const ENGINEHEUR: c_int = 4;
    pub(in super::super) const EXECUTION_PLAN: c_int = 5;
    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD: c_int = 10;
    pub(in super::super) const OPERATION_CONVOLUTION_BACKWARD_FILTER: c_int = 11;
    pub(in super::super) const OPERATION_CONVOLUTION_BACKWARD_DATA: c_int = 12;
    pub(in super::super) const OPERATION_POINTWISE: c_int = 13;
    pub(in super::super) const OPERATIONGRAPH: c_int = 15;
    pub(in super::super) const VARIANT_PACK: c_int = 16;
    pub(in super::super) const TENSOR: c_int = 17;
    #[cfg(test)]
    pub(in super::super) const DEVICEPROP: c_int = 38;
}

/// Attributes of descriptors, `CUDNN_ATTR_…`.
pub(super) mod attribute {
    use super::c_int;

    pub(in super::super) const POINTWISE_MODE: c_int = 0;
    pub(in super::super) const POINTWISE_MATH_PREC: c_int = 1;

    pub(in super::super) const CONVOLUTION_COMP_TYPE: c_int = 100;
    pub(in super::super) const CONVOLUTION_CONV_MODE: c_int = 101;
    pub(in super::super) const CONVOLUTION_DILATIONS: c_int = 102;
    pub(in super::super) const CONVOLUTION_FILTER_STRIDES: c_int = 103;
    pub(in super::super) const CONVOLUTION_POST_PADDINGS: c_int = 104;
    pub(in super::super) const CONVOLUTION_PRE_PADDINGS: c_int = 105;
    pub(in super::super) const CONVOLUTION_SPATIAL_DIMS: c_int = 106;

    pub(in super::super) const ENGINEHEUR_MODE: c_int = 200;
    pub(in super::super) const ENGINEHEUR_OPERATION_GRAPH: c_int = 201;
    pub(in super::super) const ENGINEHEUR_RESULTS: c_int = 202;

    #[cfg(test)]
    pub(in super::super) const ENGINEHEUR_DEVICEPROP: c_int = 204;

    pub(in super::super) const ENGINECFG_ENGINE: c_int = 300;

    pub(in super::super) const EXECUTION_PLAN_HANDLE: c_int = 400;
    pub(in super::super) const EXECUTION_PLAN_ENGINE_CONFIG: c_int = 401;
    pub(in super::super) const EXECUTION_PLAN_WORKSPACE_SIZE: c_int = 402;

    #[cfg(test)]
    pub(in super::super) const EXECUTION_PLAN_DEVICEPROP: c_int = 407;

    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD_ALPHA: c_int = 700;
    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD_BETA: c_int = 701;
    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD_CONV_DESC: c_int = 702;
    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD_W: c_int = 703;
    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD_X: c_int = 704;
    pub(in super::super) const OPERATION_CONVOLUTION_FORWARD_Y: c_int = 705;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_DATA_ALPHA: c_int = 706;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_DATA_BETA: c_int = 707;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC: c_int = 708;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_DATA_W: c_int = 709;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_DATA_DX: c_int = 710;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_DATA_DY: c_int = 711;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_FILTER_ALPHA: c_int = 712;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_FILTER_BETA: c_int = 713;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC: c_int = 714;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_FILTER_DW: c_int = 715;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_FILTER_X: c_int = 716;
    pub(in super::super) const OPERATION_CONVOLUTION_BWD_FILTER_DY: c_int = 717;

    pub(in super::super) const OPERATION_POINTWISE_PW_DESCRIPTOR: c_int = 750;
    pub(in super::super) const OPERATION_POINTWISE_XDESC: c_int = 751;
    pub(in super::super) const OPERATION_POINTWISE_BDESC: c_int = 752;
    pub(in super::super) const OPERATION_POINTWISE_YDESC: c_int = 753;

    pub(in super::super) const OPERATIONGRAPH_HANDLE: c_int = 800;
    pub(in super::super) const OPERATIONGRAPH_OPS: c_int = 801;

    pub(in super::super) const TENSOR_BYTE_ALIGNMENT: c_int = 900;
    pub(in super::super) const TENSOR_DATA_TYPE: c_int = 901;
    pub(in super::super) const TENSOR_DIMENSIONS: c_int = 902;
    pub(in super::super) const TENSOR_STRIDES: c_int = 903;
    pub(in super::super) const TENSOR_UNIQUE_ID: c_int = 906;
    pub(in super::super) const TENSOR_IS_VIRTUAL: c_int = 907;

    pub(in super::super) const VARIANT_PACK_UNIQUE_IDS: c_int = 1000;
    pub(in super::super) const VARIANT_PACK_DATA_POINTERS: c_int = 1001;
    pub(in super::super) const VARIANT_PACK_WORKSPACE: c_int = 1003;

    pub(in super::super) const ENGINE_NUMERICAL_NOTE: c_int = 1303;
    pub(in super::super) const ENGINE_BEHAVIOR_NOTE: c_int = 1305;

    #[cfg(test)]
    pub(in super::super) const DEVICEPROP_JSON_REPRESENTATION: c_int = 2702;
}
