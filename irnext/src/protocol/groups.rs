//! The parts of a test set that its tables score separately: DPDD's indoor and outdoor scenes,
//! RSBlur's with and without saturated lights. Lists that are published with the sets assign the
//! pairs to the parts.

use super::Protocol;
use crate::data::{Pair, scene_of};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The part of each pair, if the set's lists are in `folder` or one of the two above it.
///
/// DPDD: `indoor_labels` and `outdoor_labels`, `.npy` or `.txt`, hold the pairs' positions, counted
/// from 1. RSBlur: `RSBlur_real_test_saturation.txt` and `…_non_saturation.txt` hold the names of
/// their files.
pub fn groups(
    protocol: Protocol,
    folder: &Path,
    pairs: &[Pair],
) -> Result<Vec<Option<&'static str>>> {
    let mut found = vec![None; pairs.len()];
    match protocol {
        Protocol::Dpdd => {
            for (group, name) in [("indoor", "indoor_labels"), ("outdoor", "outdoor_labels")] {
                let Some(list) = find(folder, &[&format!("{name}.txt"), &format!("{name}.npy")])
                else {
                    continue;
                };
                for position in positions(&list)? {
                    let place = position.checked_sub(1).and_then(|i| found.get_mut(i)).ok_or_else(
                        || {
                            Error::data(
                                &list,
                                format!(
                                    "lists position {position}, but there are {} pairs",
                                    pairs.len()
                                ),
                            )
                        },
                    )?;
                    *place = Some(group);
                }
            }
        }
        Protocol::Rsblur => {
            for (group, name) in [("saturated", "saturation"), ("not saturated", "non_saturation")]
            {
                let Some(list) = find(folder, &[&format!("RSBlur_real_test_{name}.txt")]) else {
                    continue;
                };
                let text = fs::read_to_string(&list).map_err(Error::io(&list))?;
                let scenes: HashSet<String> = text
                    .lines()
                    .filter_map(|line| scene_of(Path::new(line.split(' ').next()?)))
                    .collect();
                for (place, pair) in found.iter_mut().zip(pairs) {
                    if scene_of(&pair.target).is_some_and(|scene| scenes.contains(&scene)) {
                        *place = Some(group);
                    }
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

fn find(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let folders = folder.ancestors().take(3);
    folders
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|list| list.is_file())
}

/// Whole numbers, from a text file or numpy's.
fn positions(list: &Path) -> Result<Vec<usize>> {
    let bytes = fs::read(list).map_err(Error::io(list))?;
    let numbers = match list.extension().is_some_and(|e| e == "npy") {
        true => npy(&bytes),
        false => {
            let text = String::from_utf8_lossy(&bytes);
            let words =
                text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
            // numpy's savetxt writes 1.000000000000000000e+00.
            words
                .map(|word| {
                    word.parse::<f64>()
                        .ok()
                        .filter(|v| v.fract() == 0.0 && *v >= 0.0)
                        .map(|v| v as usize)
                })
                .collect()
        }
    };
    numbers.ok_or_else(|| Error::data(list, "is not a list of whole numbers"))
}

/// A numpy file of 64-bit integers: magic, version, the length of a header in Python's syntax, the
/// numbers.
fn npy(bytes: &[u8]) -> Option<Vec<usize>> {
    let rest = bytes.strip_prefix(b"\x93NUMPY\x01\x00")?;
    let (length, rest) = rest.split_at_checked(2)?;
    let (header, data) =
        rest.split_at_checked(usize::from(u16::from_le_bytes(length.try_into().ok()?)))?;
    let header = std::str::from_utf8(header).ok()?;
    if !header.contains("'<i8'") || !data.len().is_multiple_of(8) {
        return None;
    }
    data.as_chunks::<8>()
        .0
        .iter()
        .map(|number| usize::try_from(i64::from_le_bytes(*number)).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(targets: &[&str]) -> Vec<Pair> {
        targets
            .iter()
            .map(|t| Pair { name: t.to_string(), input: t.into(), target: t.into() })
            .collect()
    }

    fn numpy(numbers: &[i64]) -> Vec<u8> {
        let header =
            format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", numbers.len());
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes
    }

    #[test]
    fn dpdd_by_position() {
        let folder = tempfile::tempdir().unwrap();
        let test = folder.path().join("test_c");
        fs::create_dir(&test).unwrap();
        fs::write(folder.path().join("indoor_labels.npy"), numpy(&[2])).unwrap();
        fs::write(folder.path().join("outdoor_labels.txt"), "1\n3.000e+00\n").unwrap();
        let all = pairs(&["a", "b", "c", "d"]);
        let found = groups(Protocol::Dpdd, &test, &all).unwrap();
        assert_eq!(found, [Some("outdoor"), Some("indoor"), Some("outdoor"), None]);
        assert_eq!(groups(Protocol::Gopro, &test, &all).unwrap(), [None; 4]);
        for bad in ["9", "0", "x", "1.5", "-1"] {
            fs::write(folder.path().join("outdoor_labels.txt"), bad).unwrap();
            let message = groups(Protocol::Dpdd, &test, &all).unwrap_err().to_string();
            assert!(message.contains("outdoor_labels.txt"), "{message}");
        }
    }

    #[test]
    fn damaged_numpy_files_are_no_lists() {
        let whole = numpy(&[1, 2]);
        assert_eq!(npy(&whole), Some(vec![1, 2]));
        assert!(
            (0..whole.len()).all(|end| npy(&whole[..end]).is_none_or(|numbers| numbers.len() < 2))
        );
        assert_eq!(npy(&numpy(&[-1])), None);
    }

    #[test]
    fn rsblur_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let line =
            "RSBlur/0001/000022/gt/gt_sharp.png RSBlur/0001/000022/real_blur/real_blur.png\n";
        fs::write(folder.path().join("RSBlur_real_test_saturation.txt"), line).unwrap();
        let all = pairs(&[
            "/d/RSBlur/0001/000022/gt/gt_sharp.png",
            "/d/RSBlur/0001/000023/gt/gt_sharp.png",
        ]);
        assert_eq!(
            groups(Protocol::Rsblur, folder.path(), &all).unwrap(),
            [Some("saturated"), None]
        );
    }
}
