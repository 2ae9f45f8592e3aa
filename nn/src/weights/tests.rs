//! Weight files as PyTorch wrote them, as this crate writes them, damaged, and hostile.
//!
//! The files in `samples/` were written by PyTorch 2.15 from a handful of numbers: `archive` by
//! `torch.save`, `stream` in its older format with storages tagged `cuda:0`, each also with another
//! protocol.

use super::*;
use engine::Rng;
use engine::{DType, Tensor};

const SAMPLES: [(&str, &[u8]); 4] = [
    ("archive", include_bytes!("samples/archive.pkl")),
    ("archive, protocol 5", include_bytes!("samples/archive_protocol5.pkl")),
    ("stream", include_bytes!("samples/stream.pkl")),
    ("stream, protocol 1", include_bytes!("samples/stream_protocol1.pkl")),
];

/// How the older format begins.
const MAGIC: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fn sample() -> WeightFile {
    WeightFile {
        tensors: HashMap::from([
            (
                "map".into(),
                Tensor::from_slice(&(0..24).map(|i| i as f32).collect::<Vec<_>>(), &[1, 2, 3, 4])
                    .unwrap(),
            ),
            ("half".into(), Tensor::full(&[3], 0.1, DType::F16).unwrap()),
            ("count".into(), Tensor::full(&[], 7.0, DType::I64).unwrap()),
        ]),
        metadata: HashMap::from([("task".into(), "dehaze".into())]),
        ..WeightFile::default()
    }
}

#[test]
fn written_files_read_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["w.safetensors", "w.pkl", "w.pth", "w.pt"] {
        let path = folder.path().join(name);
        sample().write(&path).unwrap();
        let read = WeightFile::read(&path).unwrap();
        assert_eq!(read.metadata, sample().metadata);
        assert_eq!(read.verified, name == "w.safetensors");
        for (name, tensor) in sample().tensors {
            assert_eq!(read.tensors[&name].meta(), tensor.meta());
            assert_eq!(read.tensors[&name].to_f64_vec().unwrap(), tensor.to_f64_vec().unwrap());
        }
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        4,
        "a temporary file was left behind"
    );
    let message = sample().write(&folder.path().join("w.bin")).unwrap_err().to_string();
    assert!(message.contains("w.bin: weights are written as .safetensors"), "{message}");
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    let with_metadata = || {
        let mut file = sample();
        file.metadata.extend((0..9).map(|i| (format!("key {i}"), i.to_string())));
        file.to_bytes().unwrap()
    };
    assert!((0..5).all(|_| with_metadata() == with_metadata()));
    let read = WeightFile::from_bytes("memory", &with_metadata()).unwrap();
    assert!(read.to_bytes().unwrap() == with_metadata());
    assert!(read.to_torch_bytes().unwrap() == read.to_torch_bytes().unwrap());
}

#[test]
fn a_flipped_bit_is_noticed() {
    let bytes = sample().to_bytes().unwrap();
    let key = bytes.windows(7).position(|window| window == b"\"crc32\"").unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // Without its name the checksum is not known for one. All that it guarded is whole, and
            // nobody is told that it was.
            match WeightFile::from_bytes("w", &damaged) {
                Err(_) => {}
                Ok(file) => assert!(
                    (key..key + 7).contains(&at) && !file.verified,
                    "bit {bit} of byte {at}"
                ),
            }
        }
    }
    // The same contents, written by another program, fit as well.
    let (header, data) =
        bytes[8..].split_at(u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize);
    let spaced = String::from_utf8(header.to_vec()).unwrap().replace("\":", "\": ");
    let spaced = [&(spaced.len() as u64).to_le_bytes()[..], spaced.as_bytes(), data].concat();
    assert!(WeightFile::from_bytes("w", &spaced).unwrap().verified);
}

/// A file like PyTorch's, with this pickle and one storage `0`.
fn archive(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let mut archive = zip::Writer::default();
    archive.add("a/data.pkl", pickle);
    archive.add("a/data/0", storage);
    archive.finish().unwrap()
}

fn error(bytes: &[u8]) -> String {
    let message = WeightFile::from_bytes("w.pkl", bytes).unwrap_err().to_string();
    message.strip_prefix("w.pkl: ").expect("the file is named").to_string()
}

#[test]
fn files_of_pytorch_are_read() {
    use DType::*;
    let transposed = [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.];
    let count: Vec<f64> = (0..12).map(f64::from).collect();
    let expected: [(&str, DType, &[usize], &[f64]); 15] = [
        ("whole", F32, &[3, 4], &count),
        ("transposed", F32, &[4, 3], &transposed),
        ("part", F32, &[3], &[2., 5., 8.]),
        ("spread", F32, &[2, 3], &[1.5; 6]),
        ("half", F16, &[2], &[0.5, -2.]),
        ("brain", BF16, &[2], &[0.5, -2.]),
        ("double", F64, &[1], &[0.1]),
        ("int", I64, &[2], &[-3., 70000.]),
        ("short", I64, &[2], &[-3., 700.]),
        ("char", I64, &[2], &[-3., 7.]),
        ("byte", U8, &[2], &[3., 250.]),
        ("bool", U8, &[2], &[1., 0.]),
        ("parameter", F32, &[1], &[2.5]),
        ("empty", F32, &[0, 3], &[]),
        ("num_batches_tracked", I64, &[], &[7.]),
    ];
    for (sample, bytes) in SAMPLES {
        let read = WeightFile::from_bytes(sample, bytes).unwrap();
        assert_eq!(read.tensors.len(), expected.len(), "{sample}");
        for (name, dtype, shape, values) in expected {
            let tensor = &read.tensors[&format!("module.{name}")];
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype, shape), "{sample}: {name}");
            assert_eq!(tensor.to_f64_vec().unwrap(), values, "{sample}: {name}");
        }
        assert_eq!(read.metadata["epoch"], "7");
    }
}

#[test]
fn contents_list_tensors_and_metadata() {
    let contents = Contents::from_bytes("a", SAMPLES[0].1).unwrap();
    assert_eq!(
        (contents.format, contents.path),
        ("PyTorch zip archive", vec!["model".to_string()])
    );
    let said = |key: &str| {
        contents.beside.iter().find(|entry| entry.0 == key).map(|entry| entry.1.as_str()).unwrap()
    };
    assert_eq!((said("epoch"), said("psnr"), said("name")), ("7", "31.5", "tiny"));
    assert!(said("optimizer").starts_with(
        "state of an optimizer for 1 parameter (step, exp_avg, exp_avg_sq); lr 0.0001"
    ));
    let contents = Contents::from_bytes("a", SAMPLES[2].1).unwrap();
    let info = contents.tensors.iter().find(|info| info.name == "module.char").unwrap();
    assert_eq!(
        (info.dtype.as_str(), &info.shape[..], info.device.as_deref()),
        ("i8", &[2][..], Some("cuda:0"))
    );
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let bytes = sample().to_bytes().unwrap();
    for damaged in [&bytes[..bytes.len() - 3], b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"] {
        assert!(
            error(damaged).starts_with("not a complete safetensors file"),
            "{}",
            error(damaged)
        );
    }
    for shape in ["[0,1099511627776,1099511627776]", "[0,1,1,1,1,1,1,1,1]"] {
        let header =
            format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,0]}}}}");
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        assert_eq!(error(&file), "a: a shape beyond all bounds");
    }
    assert_eq!(error(b""), "the file is empty");
    assert_eq!(error(b"nonsense"), "neither a safetensors file nor one that torch.save wrote");
    let message = WeightFile::read(Path::new("/nowhere/w.safetensors")).unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/w.safetensors: "));
    assert!(WeightFile::read(Path::new("/")).unwrap_err().to_string().contains("not a file"));
}

#[test]
fn no_pickle_call_is_made() {
    let hostile: [(&[u8], &str); 12] = [
        // Names and calls in every way that a pickle has for them.
        (b"cposix\nsystem\n(S'echo pwned'\ntR.", "posix.system('echo pwned')"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.", "os.system('ls')"),
        (b"(S'1+1'\nibuiltins\neval\n.", "builtins.eval('1+1')"),
        (b"(cbuiltins\nexec\nS'x'\no.", "builtins.exec('x')"),
        (b"\x80\x02csubprocess\nPopen\nX\x02\0\0\0ls\x85\x81.", "subprocess.Popen('ls')"),
        (b"\x80\x04csubprocess\nPopen\n)}\x92.", "subprocess.Popen((), {})"),
        (b"\x80\x02\x82\x05.", "copyreg extension.5"),
        // Inside the allowed part, beside it, and thrown away again.
        (
            b"\x80\x02ccollections\nOrderedDict\n]]X\x01\0\0\0acnt\nsystem\n)Rea\x85R.",
            "nt.system()",
        ),
        (b"\x80\x02}X\x05\0\0\0modelcnt\nsystem\n)Rs.", "nt.system()"),
        (b"\x80\x02cnt\nsystem\n)R0}.", "nt.system()"),
        (
            b"\x80\x02cbuiltins\ngetattr\ncos\nx\nX\x06\0\0\0system\x86R)R.",
            "builtins.getattr(os.x, 'system')",
        ),
        // Before a file breaks off.
        (b"\x80\x02cnt\nsystem\n)R", "nt.system()"),
    ];
    for (pickle, call) in hostile {
        for file in [
            pickle.to_vec(),
            archive(pickle, b""),
            [MAGIC, pickle].concat(),
            [pickle, MAGIC].concat(),
        ] {
            let message = error(&file);
            assert!(message.starts_with("refused") && message.contains(call), "{call}: {message}");
            let contents = Contents::from_bytes("w.pkl", &file).unwrap();
            assert!(
                contents.refused.iter().any(|refused| refused.starts_with(call)),
                "{call}: {:?}",
                contents.refused
            );
        }
    }
}

/// Names that safetensors has for itself: a file with them would be refused as damaged.
#[test]
fn names_of_the_format_are_not_written() {
    let mut file = sample();
    file.metadata.insert("crc32".into(), "mine".into());
    let message = file.to_bytes().unwrap_err().to_string();
    assert!(message.ends_with("crc32 is the name of the checksum in the metadata"), "{message}");
    let other = WeightFile::from_bytes("w.pt", &file.to_torch_bytes().unwrap()).unwrap();
    assert_eq!(other.metadata["crc32"], "mine");
    let mut file = sample();
    file.tensors.insert("__metadata__".into(), Tensor::ones(&[2], DType::F32).unwrap());
    let message = file.to_bytes().unwrap_err().to_string();
    assert!(message.ends_with("__metadata__ is no name for a tensor in safetensors"), "{message}");
}

#[test]
fn extensions_in_capitals_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let w = Tensor::ones(&[2], DType::F32).unwrap();
    let file = WeightFile { tensors: [("w".to_string(), w)].into(), ..WeightFile::default() };
    for name in ["x.PT", "x.Safetensors"] {
        let path = folder.path().join(name);
        file.write(&path).unwrap();
        assert_eq!(WeightFile::read(&path).unwrap().tensors.len(), 1);
    }
    assert!(file.write(&folder.path().join("x.bin")).is_err());
}

#[test]
fn refused_calls_are_listed_beside_damage() {
    let whole = tensor(&[-1], &[1], 0);
    let file = archive(&[&whole[..whole.len() - 1], b"U\x01xcnt\nsystem\n)Rs."].concat(), &[0; 16]);
    assert!(error(&file).contains("nt.system()"));
    assert!(error(&file).ends_with("If this is a whole model, save its state_dict() instead"));
    let contents = Contents::from_bytes("w", &file).unwrap();
    assert_eq!(contents.refused, ["nt.system()"]);
    assert!(
        contents.beside.iter().any(|(key, value)| key == "w" && value.contains("cannot be read")),
        "{contents:?}"
    );
}

/// A state dict with one f32 tensor `w` of storage 0, which is said to have 4 elements.
fn tensor(shape: &[i32], strides: &[i32], offset: i32) -> Vec<u8> {
    let int = |value: i32| [&b"J"[..], &value.to_le_bytes()].concat();
    let tuple = |sizes: &[i32]| {
        [&b"("[..], &sizes.iter().flat_map(|&size| int(size)).collect::<Vec<u8>>(), b"t"].concat()
    };
    let head = b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n\
          ((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ";
    [&head[..], &int(offset), &tuple(shape), &tuple(strides), b"\x89}tRs."].concat()
}

#[test]
fn tensors_stay_inside_their_storages() {
    let storage: Vec<u8> = [1f32, 2., 3., 4.].into_iter().flat_map(f32::to_le_bytes).collect();
    let read = |shape: &[i32], strides: &[i32], offset| {
        WeightFile::from_bytes("w.pkl", &archive(&tensor(shape, strides, offset), &storage))
            .map(|file| file.tensors["w"].to_f64_vec().unwrap())
            .map_err(|error| error.to_string())
    };
    assert_eq!(read(&[2, 2], &[2, 1], 0).unwrap(), [1., 2., 3., 4.]);
    assert_eq!(read(&[2], &[2], 1).unwrap(), [2., 4.]);
    assert_eq!(read(&[1], &[i32::MAX], 3).unwrap(), [4.]);
    for (shape, strides, offset, reason) in [
        (&[2, 2][..], &[2, 1][..], 1, "beyond its storage"),
        (&[2], &[4], 0, "beyond its storage"),
        (&[2, 2], &[1], 0, "differ in length"),
        (&[-1], &[1], 0, "is not a shape"),
        (&[2], &[-1], 1, "is not a shape"),
        (&[2], &[1], -1, "offset"),
        (&[i32::MAX; 4], &[0; 4], 0, "beyond all bounds"),
        (&[0, i32::MAX, i32::MAX, i32::MAX], &[0; 4], 0, "beyond all bounds"),
        (&[i32::MAX], &[0], 0, "far larger than the file"),
        (&[1; 9], &[1; 9], 0, "is not a shape"),
    ] {
        let message = read(shape, strides, offset).unwrap_err();
        assert!(message.contains("w: ") && message.contains(reason), "{shape:?}: {message}");
    }
    assert!(
        error(&archive(&tensor(&[4], &[1], 0), &storage[..12]))
            .contains("storage 0 should have 4 × 4 bytes, but has 12")
    );
    let mut missing = zip::Writer::default();
    missing.add("a/data.pkl", &tensor(&[4], &[1], 0));
    assert!(error(&missing.finish().unwrap()).contains("storage 0 is missing"));
    let mut big = zip::Writer::default();
    big.add("a/data.pkl", &tensor(&[4], &[1], 0));
    big.add("a/byteorder", b"big");
    big.add(
        "a/data/0",
        &[1f32, 2., 3., 4.].into_iter().flat_map(f32::to_be_bytes).collect::<Vec<u8>>(),
    );
    let big = WeightFile::from_bytes("w.pkl", &big.finish().unwrap()).unwrap();
    assert_eq!(big.tensors["w"].to_f64_vec().unwrap(), [1., 2., 3., 4.]);
}

#[test]
fn the_state_dict_is_found() {
    let whole = tensor(&[4], &[1], 0);
    let inner = &whole[2..whole.len() - 1];
    let found = |pickle: &[u8]| {
        Contents::from_bytes("w", &archive(&[b"\x80\x02", pickle, b"."].concat(), &[0; 16]))
            .map(|contents| contents.path.join("/"))
    };
    let under = |key: &str, value: &[u8]| {
        [b"}U", &[key.len() as u8][..], key.as_bytes(), value, b"s"].concat()
    };
    let two = |a: &str, b: &str| {
        let (a, b) = (under(a, inner), under(b, inner));
        [&a[..a.len()], &b[1..]].concat()
    };
    assert_eq!(found(inner).unwrap(), "");
    for key in [
        "model",
        "state_dict",
        "params",
        "params_ema",
        "net",
        "model_state_dict",
        "params-ema",
        "my_own",
    ] {
        assert_eq!(found(&under(key, inner)).unwrap(), key);
        assert_eq!(found(&under("outer", &under(key, inner))).unwrap(), format!("outer/{key}"));
    }
    assert_eq!(found(&two("params", "params_ema")).unwrap(), "params_ema");
    assert_eq!(found(&two("zoo", "netG")).unwrap(), "netG");
    let message = found(&two("zoo", "farm")).unwrap_err().to_string();
    assert!(
        message.contains("several state dicts")
            && message.contains("zoo")
            && message.contains("farm"),
        "{message}"
    );
    let message = error(&archive(b"\x80\x02}U\x05epochK\x01s.", b""));
    assert!(message.contains("no state dict") && message.contains("epoch"), "{message}");
    assert!(error(&archive(b"\x80\x02K\x01.", b"")).contains("no dictionary"));
}

#[test]
fn small_files_stay_small() {
    let wide: Vec<u8> = (0..=255u8).flat_map(|i| [b'h', 0, b'q', i]).collect();
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        // Each list holds the one before it ten times: 10^100 elements, counted one by one.
        ("laughs", {
            let level = |i: u8| [&b"("[..], &[b'h', i].repeat(10), b"l", &[b'q', i + 1]].concat();
            [b"]q\0".to_vec(), (0..100).flat_map(level).collect(), b".".to_vec()].concat()
        }),
        ("itself", b"]q\0h\0a.".to_vec()),
        ("itself as an entry", b"}q\0U\x05modelh\0s.".to_vec()),
        ("deep", [vec![b']'; 1_000_000], vec![b'a'; 999_999], vec![b'.']].concat()),
        (
            "deep calls",
            [b"ccollections\nOrderedDict\n".to_vec(), b")R".repeat(500_000), vec![b'.']].concat(),
        ),
        ("marks", vec![b'('; 5_000_000]),
        ("copies", [vec![b'N'], vec![b'2'; 5_000_000]].concat()),
        ("objects", vec![b'N'; 5_000_000]),
        ("memo", [vec![b'N'], vec![0x94; 5_000_000]].concat()),
        ("far memo", b"Nr\xff\xff\xff\xffp99999999999999999999\n.".to_vec()),
        ("negative count", b"\x8b\xff\xff\xff\xff.".to_vec()),
        ("vast text", b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec()),
        ("vast bytes", b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec()),
        ("wide", [b"]q\0".to_vec(), wide, b".".to_vec()].concat()),
        (
            "one long key",
            [
                b"}X\0\0\x10\0".to_vec(),
                vec![b'k'; 1 << 20],
                b"q\0N".to_vec(),
                b"sh\0N".repeat(9),
                b".".to_vec(),
            ]
            .concat(),
        ),
    ];
    for (name, pickle) in bombs {
        for file in [pickle.clone(), archive(&pickle, b""), [MAGIC, &pickle].concat()] {
            let message = error(&file);
            assert!(message.len() < 1000, "{name}: {message:.200}");
            if let Ok(contents) = Contents::from_bytes("w", &file) {
                assert!(
                    contents.beside.iter().all(|(key, value)| key.len() + value.len() < 2000),
                    "{name}"
                );
            }
        }
    }
}

/// Reads damaged bytes in every way; only that this comes back matters.
fn read_all(bytes: &[u8]) {
    let _ = (WeightFile::from_bytes("w", bytes), Contents::from_bytes("w", bytes));
}

#[test]
fn damaged_files_are_errors_not_panics() {
    let written = [sample().to_bytes().unwrap(), sample().to_torch_bytes().unwrap()];
    let files = SAMPLES.iter().map(|(_, bytes)| bytes.to_vec()).chain(written);
    let mut rng = Rng::new(1);
    for mut whole in files {
        (0..whole.len()).for_each(|end| read_all(&whole[..end]));
        // Without checksums damage gets past the archive: in the local headers and the directory, 0
        // says that there are none.
        for (signature, at) in [(b"PK\x03\x04", 14), (b"PK\x01\x02", 16)] {
            let found: Vec<usize> =
                (0..whole.len() - 4).filter(|&i| whole[i..].starts_with(signature)).collect();
            found.into_iter().for_each(|i| whole[i + at..][..4].fill(0));
        }
        for _ in 0..3000 {
            let mut damaged = whole.clone();
            for _ in 0..1 + rng.range(0.0..4.0) as usize {
                let at = rng.range(0.0..damaged.len() as f64) as usize;
                damaged[at] = rng.range(0.0..256.0) as u8;
            }
            read_all(&damaged);
        }
    }
}

#[test]
fn nonsense_programs_are_survived() {
    const WORDS: [&[u8]; 62] = [
        b"(",
        b".",
        b"0",
        b"1",
        b"2",
        b"N",
        b"\x88",
        b")",
        b"]",
        b"}",
        b"\x8f",
        b"I7\n",
        b"L9L\n",
        b"F1.5\n",
        b"J\xff\xff\xff\xff",
        b"K\x02",
        b"M\x04\x01",
        b"\x8a\x01\x05",
        b"\x8b\x02\0\0\0\x05\x05",
        b"G\0\0\0\0\0\0\0\0",
        b"S'a'\n",
        b"Va\n",
        b"U\x01w",
        b"U\x05model",
        b"U\x07storage",
        b"C\x02ab",
        b"p0\n",
        b"q\x01",
        b"r\x02\0\0\0",
        b"\x94",
        b"g0\n",
        b"h\x01",
        b"j\x02\0\0\0",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"l",
        b"d",
        b"\x91",
        b"a",
        b"e",
        b"\x90",
        b"s",
        b"u",
        b"R",
        b"o",
        b"\x81",
        b"\x92",
        b"b",
        b"Q",
        b"P0\n",
        b"\x93",
        b"ctorch\nFloatStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nSize\n",
        b"cnumpy\ndtype\n",
        b"cnumpy.core.multiarray\nscalar\n",
        b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ",
        b"(K\x02K\x02t",
        b"icollections\nOrderedDict\n",
    ];
    let mut rng = Rng::new(2);
    let mut whole = 0;
    for _ in 0..20_000 {
        let mut program = b"\x80\x02}".to_vec();
        for _ in 0..rng.range(1.0..40.0) as usize {
            program.extend(WORDS[rng.range(0.0..WORDS.len() as f64) as usize]);
        }
        program.push(b'.');
        whole += usize::from(Contents::from_bytes("w", &archive(&program, &[0; 16])).is_ok());
        read_all(&archive(&program, &[0; 16]));
        read_all(&[MAGIC, &program].concat());
    }
    assert!(whole > 100, "only {whole} programs made sense, which tests little");
}
