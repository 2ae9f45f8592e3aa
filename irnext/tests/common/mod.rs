//! A small training run, for tests that make several of it.

use irnext::image::{Image, Photo};
use std::fs;

/// A temporary folder with training data, two validation pairs, and the settings `run.toml` of a
/// run of twelve steps. The paths there are relative to it: the files made in one such folder equal
/// those made in another.
pub fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, count) in [("clean", 4), ("hazy", 2), ("clear", 2)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for k in 0..count {
            let veil = if name == "hazy" { 0.5 } else { 0.0 };
            let image = Image::build(96, 80, |x, y| {
                let stripes = ((x / (3 + k) + y / 7) % 2) as f32;
                [stripes, y as f32 / 80.0, 0.3 * stripes + x as f32 / 200.0]
                    .map(|v| v * (1.0 - veil) + veil)
            })
            .unwrap();
            Photo::new(image).write(folder.path().join(name).join(format!("{k}.png"))).unwrap();
        }
    }
    let settings = "task = \"dehaze\"\nout = \"run\"\nseed = 3\n\
         [data]\nclean = \"clean\"\ncrop = 64\n\
         [validation]\ninput = \"hazy\"\ntarget = \"clear\"\nevery = 5\n\
         [optimizer]\nbatch = 2\nsteps = 12\nperiod = \"step\"\nlearning_rate = 2e-3\nwarmup = \
         2\nema = 0.9\nsave_every = 1\n\
         [model]\nwidth = 8\nn = 0\ngroups = 4\n";
    fs::write(folder.path().join("run.toml"), settings).unwrap();
    folder
}
