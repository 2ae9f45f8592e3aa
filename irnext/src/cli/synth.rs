//! `irnext synth`: makes pairs from clean photographs, or one sheet that shows every degradation.

use super::arguments::one_of;
use super::output::{check_not_replaced, check_overwrite, complain, say};
use super::tasks::task_parser;
use crate::data::image_files;
use crate::degrade::{Look, Task, pair};
use crate::error::{Error, Result};
use crate::image::{Image, Photo};
use engine::Rng;
use nn::shown;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext synth --task dehaze photos/ pairs/
      Write hazy images to pairs/input, clean ones to pairs/target
  irnext synth --task dehaze --look wild photos/ pairs/
      The same, with haze as in real photographs, which thickens with distance
  irnext synth --sheet sheet.jpg photos/
      Show all five degradations of each photograph
  irnext synth --sheet sheet.jpg --task dehaze --look wild photos/
      Show five draws of one degradation for each photograph")]
pub(super) struct Arguments {
    /// Degradation to add, by its own name or that of the task that removes it: rain or derain
    #[arg(
        long,
        value_name = "TASK",
        required_unless_present = "sheet",
        value_parser = task_parser(),
        ignore_case = true
    )]
    task: Option<Task>,
    /// Look of the pictures: `benchmark`, as in public test sets, or `wild`, as people take them.
    /// `wild` adds noise and compression, leaves some pictures clear, and may alter a clean sky
    /// [default: benchmark]
    #[arg(
        long,
        value_name = "LOOK",
        default_value = "benchmark",
        hide_default_value = true,
        value_parser = one_of(&Look::ALL, Look::name),
        hide_possible_values = true
    )]
    look: Look,
    /// Folder of clean photographs, or one of them
    clean: PathBuf,
    /// Output folder; gets input/, target/, and pairs.jsonl with the origin of each pair
    #[arg(required_unless_present = "sheet")]
    output: Option<PathBuf>,
    /// Write one picture, not pairs. Each row shows a photograph clean and with all five
    /// degradations or, with --task, that degradation five times, with consecutive seeds
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    sheet: Option<PathBuf>,
    /// Random seed of the degradations [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    seed: u64,
    /// Use only the first N photographs
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    /// Overwrite existing files
    #[arg(long)]
    overwrite: bool,
}

/// Makes the pairs or the sheet; true if all photographs could be used.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let mut files = match arguments.clean.is_file() {
        true => vec![arguments.clean.clone()],
        false => image_files(&arguments.clean)?,
    };
    if files.is_empty() {
        return Err(Error::data(&arguments.clean, "contains no images"));
    }
    files.truncate(arguments.limit);
    match (&arguments.sheet, arguments.task, &arguments.output) {
        (Some(path), _, _) => write_sheet(path, &files, arguments),
        (None, Some(task), Some(output)) => write_pairs(task, output, &files, arguments),
        _ => Err(Error::Config {
            reason: "give either --task and an output folder, or --sheet".into(),
        }),
    }
}

fn write_pairs(
    task: Task,
    output: &Path,
    files: &[PathBuf],
    arguments: &Arguments,
) -> Result<bool> {
    let [input, target] = ["input", "target"].map(|name| output.join(name));
    for folder in [&input, &target] {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    // Lines are appended, since the folder may hold pairs of an earlier run. If a picture is made
    // twice, its last line counts.
    let record = output.join("pairs.jsonl");
    let mut lines =
        File::options().append(true).create(true).open(&record).map_err(Error::io(&record))?;
    let mut made: HashMap<OsString, &Path> = HashMap::new();
    for (index, file) in files.iter().enumerate() {
        let mut name = file.file_stem().unwrap_or_default().to_owned();
        name.push(".png");
        if let Some(other) = made.get(&name) {
            complain!("{}: left out, as {} has the same name", shown(&file), shown(&other));
            continue;
        }
        // All parameters are drawn from the generator at this seed and index.
        let mut rng = Rng::at(arguments.seed, 0, index as u64);
        let sides = [input.join(&name), target.join(&name)];
        for side in &sides {
            files.iter().try_for_each(|file| check_not_replaced(file, side))?;
        }
        if let Err(error) = write_pair(task, file, &sides, arguments, &mut rng) {
            complain!("{error}");
            continue;
        }
        let line = serde_json::json!({
            "name": name.to_string_lossy(),
            "source": file.to_string_lossy(),
            "task": task.name(),
            "look": arguments.look,
            "seed": arguments.seed,
            "index": index,
            "version": env!("CARGO_PKG_VERSION"),
        });
        writeln!(lines, "{line}").map_err(Error::io(&record))?;
        made.insert(name, file);
    }
    let (count, pairs) = (made.len(), if made.len() == 1 { "pair" } else { "pairs" });
    say!("{count} {pairs} in {}, {task}, seed {}", shown(&output), arguments.seed);
    Ok(count == files.len())
}

/// Makes a pair of the photograph `file`: the degraded side, and the clean one.
fn write_pair(
    task: Task,
    file: &Path,
    [input, target]: &[PathBuf; 2],
    arguments: &Arguments,
    rng: &mut Rng,
) -> Result<()> {
    let (degraded, clean) = pair(task, &Photo::read(file)?.image(), arguments.look, rng);
    write(degraded, input, arguments.overwrite)?;
    write(clean, target, arguments.overwrite)
}

/// The width and height of a picture in a sheet, in pixels. It is degraded at twice the size, so
/// that a row fits on a page.
const TILE: [usize; 2] = [192, 144];

fn write_sheet(path: &Path, files: &[PathBuf], arguments: &Arguments) -> Result<bool> {
    Photo::check_writable(path)?;
    check_overwrite(path, arguments.overwrite)?;
    files.iter().try_for_each(|file| check_not_replaced(file, path))?;
    let [width, height] = TILE;
    let draws: Vec<(Task, u64)> = match arguments.task {
        Some(task) => (0..5).map(|more| (task, arguments.seed.wrapping_add(more))).collect(),
        None => Task::ALL.map(|task| (task, arguments.seed)).into(),
    };
    let columns = 1 + draws.len();
    let mut data = Vec::with_capacity(columns * width * files.len() * height * 3);
    let mut rows = 0;
    for (index, file) in files.iter().enumerate() {
        let photo = match Photo::read(file) {
            Ok(photo) => photo.image(),
            Err(error) => {
                complain!("{error}");
                continue;
            }
        };
        rows += 1;
        let clean = middle(&photo).resampled(2 * width, 2 * height);
        let draw = |&(task, seed): &(Task, u64)| {
            pair(task, &clean, arguments.look, &mut Rng::at(seed, 0, index as u64)).0
        };
        let pictures = [clean.clone()].into_iter().chain(draws.iter().map(draw));
        let tiles: Vec<Image> = pictures.map(|picture| picture.shrink(2)).collect();
        for y in 0..height {
            tiles.iter().for_each(|tile| data.extend_from_slice(tile.row(y)));
        }
    }
    if rows == 0 {
        return Err(Error::data(&arguments.clean, "contains no images that can be read"));
    }
    write(
        Image { width: columns * width, height: rows * height, data },
        path,
        arguments.overwrite,
    )?;
    let names: Vec<_> = draws.iter().map(|(task, _)| task.name()).collect();
    say!("{}: clean, {}; seed {}", shown(&path), names.join(", "), arguments.seed);
    Ok(rows == files.len())
}

/// The largest central part of `image` that has the shape of a tile.
fn middle(image: &Image) -> Image {
    let [across, down] = TILE;
    let width = image.width.min(image.height * across / down).max(1);
    let height = image.height.min(image.width * down / across).max(1);
    image.part((image.width - width) / 2, (image.height - height) / 2, width, height)
}

fn write(image: Image, path: &Path, overwrite: bool) -> Result<()> {
    check_overwrite(path, overwrite)?;
    Photo::new(image).write(path).map(|_| ())
}
