//! Weight files that PyTorch wrote from the published code, against the same numbers in
//! safetensors.
//!
//! The files are data beside the checkout (`shared/reference`, or where `IRNEXT_REFERENCE` points);
//! without them these tests say so and pass.

use irnext::model::Model;
use nn::weights::WeightFile;
use std::path::PathBuf;

fn reference(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference"));
    let path = std::env::var_os("IRNEXT_REFERENCE").map_or_else(beside, PathBuf::from).join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn pickles_and_their_twins_hold_the_same_bits() {
    for (pickle, twin) in [
        ("weights_w8_num_res2_legacy.pkl", "weights_w8_num_res2.safetensors"),
        ("weights_w8_num_res2_cudatag.pkl", "weights_w8_num_res2.safetensors"),
        ("checkpoint_w8_num_res2_after1.pkl", "checkpoint_w8_num_res2_after1.safetensors"),
    ] {
        let (Some(pickle), Some(twin)) = (reference(pickle), reference(twin)) else { return };
        let (read, mut twin) =
            (WeightFile::read(&pickle).unwrap(), WeightFile::read(&twin).unwrap());
        twin.tensors.retain(|name, _| !name.starts_with("adam."));
        assert_eq!(read.tensors.len(), twin.tensors.len());
        for (name, tensor) in &read.tensors {
            assert_eq!(tensor.dtype(), twin.tensors[name].dtype(), "{name}");
            assert_eq!(tensor.to_le_bytes(), twin.tensors[name].to_le_bytes(), "{name}");
        }
    }
}

#[test]
fn the_full_size_file_loads() {
    let Some(path) = reference("official_num_res2.pkl") else { return };
    let (model, metadata) = Model::read(&path).unwrap();
    assert_eq!((model.config.width, model.config.n, model.config.groups), (32, 1, 8));
    assert_eq!(metadata["epoch"], "1");
}
