//! Names, shapes and order of a network's parameters: `state_dict_num_res<n + 1>.json`.

use crate::reference::folders;
use crate::report::Report;
use engine::DType;
use irnext::model::{Model, ModelConfig};
use serde_json::Value;

#[test]
fn names_shapes_and_order() {
    for folder in folders() {
        let mut report = Report::new(format!("{}, names of parameters", folder.name));
        for stem in folder.stems("state_dict_num_res", "json") {
            let file = folder.json(&stem).expect("it was listed");
            let mut expected = Vec::new();
            for entry in file.as_array().expect("a list of entries") {
                let name = entry["name"].as_str().expect("a name");
                if name.ends_with(".num_batches_tracked") {
                    report.skip("num_batches_tracked, which nothing here needs");
                } else {
                    expected.push((name.to_string(), shape(&entry["shape"])));
                }
            }
            let blocks: usize =
                stem["state_dict_num_res".len()..].parse().expect("a number of blocks");
            let stem_weight =
                expected.iter().find(|(name, _)| name == "feat_extract.0.main.0.weight");
            let width = stem_weight.expect("the first convolution").1[0];
            let config = ModelConfig { width, n: blocks - 1, ..ModelConfig::default() };
            let params = Model::new(&config, 0, DType::F32).unwrap().params;
            let found = params
                .entries()
                .iter()
                .map(|entry| (entry.path.clone(), entry.value.shape().to_vec()));
            let found: Vec<_> = found.collect();
            let different =
                (0..found.len().max(expected.len())).find(|&i| found.get(i) != expected.get(i));
            if let Some(i) = different {
                report.fail(format!(
                    "entry {i} is {:?}, expected {:?}",
                    found.get(i),
                    expected.get(i)
                ));
            }
            report.check("names and shapes", &stem, expected.len(), 0.0, 1.0);
        }
        report.finish();
    }
}

fn shape(value: &Value) -> Vec<usize> {
    let sizes = value.as_array().expect("a shape").iter();
    sizes.map(|size| size.as_u64().expect("a size") as usize).collect()
}
