//! The objects that a pickle builds.
//!
//! They are numbered in one flat list and refer to each other by number. So sharing and cycles cost
//! nothing, however they are nested, nothing recurses when they are dropped, and memory is bounded
//! by the length of the pickle.

use std::borrow::Cow;

/// The number of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ObjectId(pub(super) u32);

/// An object. Sets are lists here, and byte arrays bytes.
#[derive(Debug)]
pub(super) enum Object<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, as written: little-endian bytes, or decimal digits.
    Long(&'a [u8]),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Tuple(Vec<ObjectId>),
    List(Vec<ObjectId>),
    Dict(Vec<(ObjectId, ObjectId)>),
    /// An imported name.
    Global {
        module: ObjectId,
        name: ObjectId,
    },
    /// A call, and the operations on its result.
    Call(Box<PickledCall>),
    /// An object outside the pickle: a storage.
    Persistent(ObjectId),
}

/// A call that was not made.
#[derive(Debug)]
pub(super) struct PickledCall {
    pub(super) callable: ObjectId,
    /// The arguments: a tuple, in valid pickles.
    pub(super) args: ObjectId,
    /// Entries to set on the result, as in an `OrderedDict`.
    pub(super) items: Vec<(ObjectId, ObjectId)>,
    /// Attributes to set on the result.
    pub(super) state: Option<ObjectId>,
}
