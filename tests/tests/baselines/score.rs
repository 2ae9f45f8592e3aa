//! Degraded, best without a network, and by the built-in weights.

use crate::methods;
use irnext::data::Source;
use irnext::degrade::Task;
use irnext::evaluate::{RestoreFn, score};
use irnext::image::Image;
use irnext::metrics::Scorer;
use irnext::protocol::Protocol;
use irnext::restore::restore;
use irnext::shipped;

/// Mean PSNR over a set, dB, by the set's protocol.
pub struct Row {
    set: String,
    pairs: usize,
    degraded: f64,
    /// Every method's.
    methods: Vec<(&'static str, f64)>,
    /// That of the built-in weights.
    shipped: f64,
}

impl Row {
    pub fn of(task: Task, set: &str, pairs: &dyn Source, protocol: Protocol) -> Self {
        let scorer = Scorer::new(&protocol.headline()[..1]);
        // Of the degraded image and of what `restorer` makes of it.
        let mean = |restorer: &RestoreFn<'_>| {
            let scores = (0..pairs.len())
                .map(|index| score(pairs, index, &scorer, Some(restorer), None).unwrap());
            let [mut before, mut after] = [0.0; 2];
            for scored in scores {
                before += scored.input[0] / pairs.len() as f64;
                after += scored.restored.unwrap()[0] / pairs.len() as f64;
            }
            [before, after]
        };
        let by_method: Vec<_> = methods(task)
            .map(|method| {
                (method.name, mean(&|image: &Image| Ok((method.apply)(image, method.chosen))))
            })
            .collect();
        let model = shipped::load(task).unwrap().0;
        let model = model.freeze();
        let [_, shipped] = mean(&|image: &Image| restore(&model, image));
        Self {
            set: set.into(),
            pairs: pairs.len(),
            degraded: by_method[0].1[0],
            methods: by_method.into_iter().map(|(name, [_, after])| (name, after)).collect(),
            shipped,
        }
    }

    pub fn print(self) -> Self {
        let methods = self.methods.iter().map(|(name, psnr)| format!("{name} {psnr:.2}"));
        println!(
            "{}, {} pairs: degraded {:.2}, {}, weights {:.2}",
            self.set,
            self.pairs,
            self.degraded,
            methods.collect::<Vec<_>>().join(", "),
            self.shipped
        );
        self
    }

    /// Weights that do not beat the degraded picture and every method do not ship.
    pub fn must_be_earned(self) {
        let shipped = self.shipped;
        for (name, psnr) in self.methods.iter().chain([&("nothing at all", self.degraded)]) {
            assert!(
                shipped > *psnr,
                "{}: the weights reach {shipped:.2} dB, {name} {psnr:.2}",
                self.set
            );
        }
    }
}

/// Of what `restore` makes of the pairs.
pub fn mean_psnr(pairs: &dyn Source, restore: impl Fn(&Image) -> Image) -> f64 {
    let scorer = Scorer::new(&Protocol::Plain.headline()[..1]);
    let restorer = |image: &Image| Ok(restore(image));
    let of =
        |index| score(pairs, index, &scorer, Some(&restorer), None).unwrap().restored.unwrap()[0];
    (0..pairs.len()).map(of).sum::<f64>() / pairs.len() as f64
}
