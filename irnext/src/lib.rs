//! Image restoration with IRNeXt.
