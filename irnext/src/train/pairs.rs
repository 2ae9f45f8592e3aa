//! The choice of the pairs to train on, and of those held back for validation.
//!
//! The published code validates on the test set. Weights that are chosen by the test are scored too
//! well by it, so here the test split is left alone unless requested.

use super::config::{DataConfig, ScoredSplit, TrainConfig};
use super::training_set::TrainingSet;
use crate::data::{
    MakePair, Pair, Paired, Pairing, PhotoCache, Role, Source, Split, Synthetic, splits,
};
use crate::degrade::{Look, Task, blur_linear_motion, pair};
use crate::error::{Error, Result};
use crate::protocol::is_of_the_last_five;
use crate::protocol::sets::Set;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// The pairs of a run.
pub(super) struct Pairs {
    /// The training pairs.
    pub(super) source: Arc<dyn Source>,
    /// The validation pairs.
    pub(super) validation: Option<Paired>,
    /// Remarks on the choice, a line each.
    pub(super) remarks: Vec<String>,
}

impl Pairs {
    /// Finds the pairs of a run.
    pub(super) fn find(config: &TrainConfig, cache: &Arc<PhotoCache>) -> Result<Self> {
        let (data, task) = (&config.data, config.task);
        let mut held_back = Vec::new();
        let mut remarks = Vec::new();
        let source: Arc<dyn Source> = match (&data.folder, &data.clean, &data.input, &data.target) {
            (Some(folder), ..) => {
                let division = Division::of(folder, data, config.validation.split)?;
                (held_back, remarks) = (division.validation, division.remarks);
                Arc::new(Paired::new(division.train, cache.clone()))
            }
            (None, Some(clean), ..) => {
                Arc::new(Synthetic::open(clean, make_pair(task, data), cache.clone())?)
            }
            (None, None, Some(input), Some(target)) => {
                Arc::new(Paired::from_folders(input, target, cache.clone())?)
            }
            _ => {
                let reason = "data: give either `folder`, or `clean`, or `input` and `target`";
                return Err(Error::Config { reason: reason.into() });
            }
        };
        let validation = match (&config.validation.input, &config.validation.target) {
            (Some(input), Some(target)) => {
                Some(Paired::from_folders(input, target, cache.clone())?)
            }
            _ => (!held_back.is_empty()).then(|| Paired::new(held_back, cache.clone())),
        };
        // Not at the first validation, which is hours away.
        if let Some(pairs) = &validation {
            pairs.check_sizes(config.validation.limit)?;
        }
        Ok(Self { source, validation, remarks })
    }
}

/// How pairs are made of clean photographs.
fn make_pair(task: Task, data: &DataConfig) -> MakePair {
    if let Some([least, most]) = data.linear_motion {
        return Arc::new(move |clean, rng| (blur_linear_motion(&clean, least..most, rng), clean));
    }
    let look = data.look.unwrap_or(Look::Benchmark);
    Arc::new(move |photograph, rng| pair(task, &photograph, look, rng))
}

/// The pairs of a data set's folder, divided.
#[derive(Debug, Default)]
struct Division {
    train: Vec<Pair>,
    validation: Vec<Pair>,
    remarks: Vec<String>,
}

impl Division {
    fn of(folder: &Path, data: &DataConfig, scored: ScoredSplit) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::data(
                folder,
                "no such folder; give the data set's folder with --data DIR",
            ));
        }
        let splits = splits(folder)?;
        let mut found = Self::default();
        for split in training(folder, &splits, data.set)? {
            let Pairing { pairs, unpaired } = &split.pairing;
            found.remarks.push(format!("{}: {} pairs", split.name, pairs.len()));
            if !unpaired.is_empty() {
                let count = unpaired.len();
                found
                    .remarks
                    .push(format!("{count} files are unpaired (`irnext doctor` lists them)"));
            }
            if split.role == Role::Unknown {
                found
                    .remarks
                    .push("no training split: training on all pairs outside the test split".into());
            }
            found.train.extend(pairs.iter().cloned());
        }
        if let Some(set) = data.set {
            if matches!(set, TrainingSet::DenseHaze | TrainingSet::NhHaze) {
                found.train.retain(|pair| !is_of_the_last_five(&pair.name));
            }
            if !set.counts().contains(&found.train.len()) {
                let published: Vec<String> = set.counts().iter().map(usize::to_string).collect();
                let count = found.train.len();
                found.remarks.push(format!(
                    "{count} training pairs; the published count is {}",
                    published.join(" or ")
                ));
            }
        }
        found.hold_back(folder, data.hold_back.unwrap_or(0))?;
        if scored != ScoredSplit::None {
            found.take_split(folder, splits, scored)?;
        }
        Ok(found)
    }

    /// Holds back the last scenes in the order of names, until they have `least` pairs. Not drawn
    /// at random: frames of a scene look alike, and so do files beside each other in a composite;
    /// and the last five of the fifty in Dense-Haze and NH-HAZE are what their authors meant for
    /// this.
    fn hold_back(&mut self, folder: &Path, least: usize) -> Result<()> {
        let mut sizes: HashMap<String, usize> = HashMap::new();
        for pair in &self.train {
            *sizes.entry(scene(pair)).or_default() += 1;
        }
        let (mut scenes, mut count) = (HashSet::new(), 0);
        for pair in self.train.iter().rev() {
            if count >= least {
                break;
            }
            let scene = scene(pair);
            let size = sizes[&scene];
            if scenes.insert(scene) {
                count += size;
            }
        }
        if count >= self.train.len() {
            let reason = format!(
                "has {} training pairs; data.hold_back = {least} leaves none (whole scenes are \
                 held back)",
                self.train.len()
            );
            return Err(Error::data(folder, reason));
        }
        let train = std::mem::take(&mut self.train).into_iter();
        (self.validation, self.train) = train.partition(|pair| scenes.contains(&scene(pair)));
        if count > 0 {
            let (train, scenes) = (self.train.len(), scenes.len());
            self.remarks.push(format!(
                "training on {train} pairs; {count} are held back for validation ({scenes} scenes)"
            ));
        }
        Ok(())
    }

    fn take_split(&mut self, folder: &Path, splits: Vec<Split>, scored: ScoredSplit) -> Result<()> {
        let (role, name) = match scored {
            ScoredSplit::Test => (Role::Test, "test"),
            _ => (Role::Validation, "validation"),
        };
        let of_role = splits.into_iter().filter(|split| split.role == role);
        self.validation = of_role.flat_map(|split| split.pairing.pairs).collect();
        if self.validation.is_empty() {
            let reason = format!(
                "has no {name} split; hold back pairs of the training split instead \
                 (--set validation.split=none --set data.hold_back=50)"
            );
            return Err(Error::data(folder, reason));
        }
        self.remarks
            .push(format!("validating on {} pairs of the {name} split", self.validation.len()));
        if scored == ScoredSplit::Test {
            self.remarks.push(
                "validating on the test split: scores of weights chosen by them are biased".into(),
            );
        }
        Ok(())
    }
}

/// The splits to train on: those named so; if there are none, a single split whose folders do not
/// name its role.
fn training<'a>(
    folder: &Path,
    splits: &'a [Split],
    set: Option<TrainingSet>,
) -> Result<Vec<&'a Split>> {
    let named: Vec<&Split> = splits.iter().filter(|split| split.role == Role::Train).collect();
    let ours = |split: &&&Split| {
        let named_set = Set::of_split(folder, &split.name, None);
        set.zip(named_set).is_some_and(|(set, named_set)| set.names().contains(&named_set.name))
    };
    // A folder that holds several data sets: the one that is meant.
    let of_set: Vec<&Split> = named.iter().filter(ours).copied().collect();
    let chosen = match splits {
        _ if !of_set.is_empty() => of_set,
        _ if !named.is_empty() => named,
        [only] if only.role == Role::Unknown && set != Some(TrainingSet::Rsblur) => vec![only],
        _ => {
            let names: Vec<_> = splits.iter().map(|split| split.name.as_str()).collect();
            let hint = match set {
                Some(TrainingSet::Rsblur) => {
                    "; RSBlur's list RSBlur_real_train.txt belongs beside its folder"
                }
                _ => "; its folder should be named train",
            };
            return Err(Error::data(
                folder,
                format!("has no training split, only {}{hint}", names.join(", ")),
            ));
        }
    };
    if chosen.iter().all(|split| split.pairing.pairs.is_empty()) {
        return Err(Error::data(
            folder,
            "has no pairs of photographs in its training split (see `irnext doctor`)",
        ));
    }
    Ok(chosen)
}

/// The key that a pair shares with others that look like it: the folder of its scene, or the ground
/// truth.
fn scene(pair: &Pair) -> String {
    match pair.name.rsplit_once('/') {
        Some((scene, _)) => scene.into(),
        None => pair.target.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::CropSpec;
    use engine::Rng;
    use tempfile::TempDir;

    fn tree(files: &[String]) -> TempDir {
        crate::data::tests::tree(&files.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn both(inputs: &str, targets: &str, names: &[&str]) -> Vec<String> {
        names
            .iter()
            .flat_map(|name| [format!("{inputs}/{name}.png"), format!("{targets}/{name}.png")])
            .collect()
    }

    /// The names of the training pairs and of the pairs held back.
    fn divided(
        root: &Path,
        set: Option<TrainingSet>,
        hold_back: usize,
        scored: ScoredSplit,
    ) -> [Vec<String>; 2] {
        let data = DataConfig { set, hold_back: Some(hold_back), ..DataConfig::default() };
        let found = Division::of(root, &data, scored).unwrap();
        [found.train, found.validation]
            .map(|pairs| pairs.into_iter().map(|pair| pair.name).collect())
    }

    fn refused(
        root: &Path,
        set: Option<TrainingSet>,
        hold_back: usize,
        scored: ScoredSplit,
    ) -> String {
        let data = DataConfig { set, hold_back: Some(hold_back), ..DataConfig::default() };
        Division::of(root, &data, scored).unwrap_err().to_string()
    }

    #[test]
    fn linear_motion_replaces_all_motion_blur() {
        let photographs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
        let text = format!(
            "task = \"deblur-motion\"\nout = \"run\"\n[data]\nclean = \
             {photographs:?}\n[optimizer]\nsteps = 1\n"
        );
        let pair = |overrides: &[String]| {
            let config = TrainConfig::parse("c.toml", &text, overrides).unwrap();
            Pairs::find(&config, &PhotoCache::new(1 << 30)).unwrap().source.full(0).unwrap()
        };
        let ((all, clean), (simple, same)) =
            (pair(&[]), pair(&["data.linear_motion=[6, 16]".into()]));
        assert!(clean == same && all != simple && simple != clean);
    }

    #[test]
    fn the_look_of_a_run_is_the_one_configured() {
        let photographs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
        let text = format!(
            "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = {photographs:?}\n[optimizer]\nsteps \
             = 1\n"
        );
        let inputs = |overrides: &[String]| {
            let config = TrainConfig::parse("c.toml", &text, overrides).unwrap();
            let source = Pairs::find(&config, &PhotoCache::new(1 << 30)).unwrap().source;
            let crop = CropSpec::square(64);
            let sample = |index| source.sample(0, &mut Rng::at(1, 0, index), &crop).unwrap();
            (0..8).map(sample).collect::<Vec<_>>()
        };
        // Runs of before the setting resume with the pairs that they had.
        let before = inputs(&[]);
        assert!(before == inputs(&["data.look=benchmark".into()]));
        let wild = inputs(&["data.look=wild".into()]);
        assert!(wild == inputs(&["data.look=wild".into()]) && wild != before);
    }

    #[test]
    fn whole_scenes_are_held_back_and_the_test_is_left_alone() {
        let files = [
            both("train/GOPR1/blur", "train/GOPR1/sharp", &["1", "2"]),
            both("train/GOPR2/blur", "train/GOPR2/sharp", &["1", "2", "3"]),
            both("test/GOPR9/blur", "test/GOPR9/sharp", &["1"]),
        ];
        let root = tree(&files.concat());
        let [train, held] = divided(root.path(), Some(TrainingSet::Gopro), 1, ScoredSplit::None);
        assert_eq!(train, ["GOPR1/1.png", "GOPR1/2.png"]);
        assert_eq!(held, ["GOPR2/1.png", "GOPR2/2.png", "GOPR2/3.png"]);
        let [train, held] = divided(root.path(), None, 0, ScoredSplit::Test);
        assert_eq!((train.len(), held), (5, vec!["GOPR9/1.png".to_string()]));
        assert!(refused(root.path(), None, 4, ScoredSplit::None).contains("leaves none"));
        assert!(
            refused(root.path(), None, 0, ScoredSplit::Validation).contains("no validation split")
        );
    }

    #[test]
    fn hazy_images_of_one_ground_truth_are_a_scene() {
        let mut files: Vec<String> =
            ["1_1", "1_2", "2_1", "2_2"].map(|name| format!("train/hazy/{name}.png")).into();
        files.extend(["1", "2"].map(|name| format!("train/gt/{name}.png")));
        let root = tree(&files);
        let [train, held] =
            divided(root.path(), Some(TrainingSet::ResideIndoor), 1, ScoredSplit::None);
        assert_eq!(
            (train, held),
            (vec!["1_1.png".into(), "1_2.png".into()], vec!["2_1.png".into(), "2_2.png".into()])
        );
    }

    #[test]
    fn one_folder_of_nh_haze_is_divided_as_its_authors_do() {
        let number = |i: usize| [format!("NH/{i:02}_hazy.png"), format!("NH/{i:02}_GT.png")];
        let root = tree(&(1..=55).flat_map(number).collect::<Vec<_>>());
        let [train, held] = divided(root.path(), Some(TrainingSet::NhHaze), 5, ScoredSplit::None);
        assert_eq!((train.len(), train[44].as_str()), (45, "45_hazy.png"));
        assert_eq!(
            (held.len(), held[0].as_str(), held[4].as_str()),
            (5, "46_hazy.png", "50_hazy.png")
        );
    }

    #[test]
    fn the_named_data_set_is_chosen_among_several() {
        let files = [
            both("CSD/train2500/Snow", "CSD/train2500/Gt", &["1"]),
            both("SRRS/train2500/Snow", "SRRS/train2500/Gt", &["1", "2"]),
        ];
        let root = tree(&files.concat());
        assert_eq!(divided(root.path(), Some(TrainingSet::Srrs), 0, ScoredSplit::None)[0].len(), 2);
        assert_eq!(divided(root.path(), None, 0, ScoredSplit::None)[0].len(), 3);
    }

    #[test]
    fn folders_without_training_pairs_are_refused() {
        let root = tree(&both("test/input", "test/target", &["1"]));
        assert!(
            refused(root.path(), None, 0, ScoredSplit::None)
                .contains("no training split, only test")
        );
        assert!(refused(&root.path().join("x"), None, 0, ScoredSplit::None).contains("--data"));
        let unlisted = tree(&[
            "RSBlur/1/2/gt/gt_sharp.png".into(),
            "RSBlur/1/2/real_blur/real_blur.png".into(),
        ]);
        let complaint = refused(
            &unlisted.path().join("RSBlur"),
            Some(TrainingSet::Rsblur),
            0,
            ScoredSplit::None,
        );
        assert!(complaint.contains("RSBlur_real_train.txt"), "{complaint}");
        let alone = tree(&["train/input/1.png".into(), "train/target/2.png".into()]);
        assert!(refused(alone.path(), None, 0, ScoredSplit::None).contains("no pairs"));
    }
}
