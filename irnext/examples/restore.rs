//! Restores a photograph through the library, as `irnext restore` does:
//!
//! ```text
//! cargo run -p irnext --example restore -- docs/samples/colosseum-in-haze.jpg clear.jpg
//! ```

use irnext::compute::Compute;
use irnext::image::Photo;
use irnext::restorer::{Outcome, Restorer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (paths.next(), paths.next()) else {
        return Err("give the photograph to restore, and the file to write".into());
    };
    // On the CPU. One restorer serves any number of photographs: it loads the built-in weights for
    // a degradation when it first meets it, and keeps them.
    let restorer = Restorer::detecting(Compute::default())?;
    let photo = Photo::read(&from)?;
    // Losses and damage: the other images of an animation, for instance.
    photo.notes.iter().for_each(|note| println!("{note}"));
    match restorer.restore(&photo)? {
        Outcome::Restored { photo, task, classification } => {
            // Transparency, bit depth and color profile are those of the original.
            photo.write(&to)?;
            println!("{task}: {}", classification.map_or("as asked".into(), |c| c.to_string()));
        }
        // A clear photograph, or one that no class is likely enough for.
        Outcome::LeftAlone { reason } => println!("{reason}"),
    }
    Ok(())
}
