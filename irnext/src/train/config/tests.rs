use super::*;

const MINIMAL: &str =
    "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = \"photos\"\n[optimizer]\nsteps = 10\n";

fn parse(text: &str, overrides: &[&str]) -> Result<TrainConfig> {
    let overrides: Vec<String> = overrides.iter().map(|change| change.to_string()).collect();
    TrainConfig::parse("c.toml", text, &overrides)
}

#[test]
fn overrides_win_and_everything_is_shown() {
    let overrides =
        ["optimizer.batch=8", "model.n=1", "data.clean=other/folder", "data.flip=false"];
    let config = parse(MINIMAL, &overrides).unwrap();
    assert_eq!((config.optimizer.batch, config.model.n, config.data.flip), (8, 1, false));
    assert_eq!(config.data.clean.as_deref(), Some(Path::new("other/folder")));
    let shown = config.to_toml().unwrap();
    for value in ["learning_rate", "branches", "lambda", "crop", "workers", "protocol"] {
        assert!(shown.contains(value), "{value} is not shown");
    }
    assert_eq!(parse(&shown, &[]).unwrap(), config);
}

#[test]
fn errors_name_the_wrong_setting() {
    let refuse = |change: &str| parse(MINIMAL, &[change]).unwrap_err().to_string();
    assert!(refuse("data.crop=100").contains("data.crop"));
    assert!(refuse("data.crop=[64, 100]").contains("64x100"));
    assert!(refuse("data.crop=big").contains("[height, width]"));
    assert!(refuse("optimizer.batch=1").contains("BatchNorm"));
    assert!(refuse("optimizer.speed=3").contains("speed"));
    assert!(refuse("data.hold_back=3").contains("data.folder"));
    assert!(refuse("data.linear_motion=[6, 16]").contains("deblur-motion"));
    let straight = |range| parse(MINIMAL, &["task=deblur-motion", range]);
    assert_eq!(
        straight("data.linear_motion=[6, 16]").unwrap().data.linear_motion,
        Some([6.0, 16.0])
    );
    assert!(straight("data.linear_motion=[6, 6]").unwrap_err().to_string().contains("6 to 6"));
    assert!(straight("data.linear_motion=[1, nan]").is_err());
    assert!(refuse("data.look=nice").contains("`wild`"));
    let wild = |change| parse(MINIMAL, &["task=deblur-motion", "data.look=wild", change]);
    assert_eq!(wild("seed=1").unwrap().data.look, Some(Look::Wild));
    assert!(wild("data.linear_motion=[6, 16]").unwrap_err().to_string().contains("exclude"));
    assert!(wild("data.folder=set").unwrap_err().to_string().contains("data.look needs"));
    assert!(refuse("data.set=gopro").contains("data.folder"));
    assert!(refuse("validation.protocol=best").contains("rain-y"));
    assert!(refuse("task.x=3").contains("not a section"));
    assert!(refuse("nonsense").contains("key=value"));
    assert!(parse("task = 3", &[]).unwrap_err().to_string().starts_with("c.toml: "));
    let both = format!("{MINIMAL}epochs = 3\n");
    assert!(parse(&both, &[]).unwrap_err().to_string().contains("either `steps` or `epochs`"));
    let folder = ["data.folder=set", "data.hold_back=3", "validation.split=test"];
    assert!(parse(MINIMAL, &folder).unwrap_err().to_string().contains("one of"));
}

#[test]
fn crops_are_written_as_they_are_read() {
    let config = parse(MINIMAL, &["data.crop=[64, 96]"]).unwrap();
    assert_eq!(config.data.crop, CropSize { height: 64, width: 96 });
    assert!(config.to_toml().unwrap().contains("crop = [64, 96]"));
    assert!(parse(MINIMAL, &["data.crop=96"]).unwrap().to_toml().unwrap().contains("crop = 96"));
}

#[test]
fn a_data_folder_replaces_the_one_the_run_has() {
    let config = parse(MINIMAL, &[]).unwrap().on_data("there".into()).unwrap();
    assert_eq!(config.data.clean.as_deref(), Some(Path::new("there")));
    let config = parse(MINIMAL, &["data.folder=here"]).unwrap().on_data("there".into()).unwrap();
    assert_eq!(
        (config.data.folder.as_deref(), config.data.clean),
        (Some(Path::new("there")), None)
    );
    let folders = parse(MINIMAL, &["data.input=a", "data.target=b"]).unwrap();
    assert!(folders.on_data("there".into()).is_err());
}

#[test]
fn a_scaled_run_keeps_its_proportions() {
    let long = ["optimizer.epochs=3000", "optimizer.warmup=300", "validation.every=50000"];
    let config = parse(MINIMAL, &long).unwrap();
    let scaled = |factor| {
        let TrainConfig { optimizer, validation, .. } = config.clone().scaled(factor).unwrap();
        (optimizer.epochs.unwrap(), optimizer.warmup, validation.every)
    };
    assert_eq!(scaled(0.01), (30, 3, 500));
    assert_eq!(scaled(1.0), (3000, 300, 50000));
    assert_eq!(scaled(0.0007), (2, 1, 35));
    assert_eq!(scaled(1e-9), (1, 0, 1));
    let steps = parse(MINIMAL, &["optimizer.steps=1000", "optimizer.warmup=0"])
        .unwrap()
        .scaled(0.01)
        .unwrap();
    assert_eq!((steps.optimizer.steps, steps.optimizer.warmup), (Some(10), 0));
    for factor in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(config.clone().scaled(factor).is_err());
    }
}

#[test]
fn earlier_names_of_settings_are_read() {
    let text = MINIMAL.replace("[optimizer]", "[optimiser]");
    assert_eq!(
        parse(&text, &["optimiser.batch=8"]).unwrap(),
        parse(MINIMAL, &["optimizer.batch=8"]).unwrap()
    );
    let motion = |key: &str| parse(&text, &["task=deblur-motion", &format!("data.{key}=[6, 16]")]);
    assert_eq!(motion("straight").unwrap(), motion("linear_motion").unwrap());
    // Also where no overrides are applied, as in a checkpoint.
    let read = |text: &str| toml::from_str::<TrainConfig>(text).unwrap();
    assert_eq!(read(&text), read(MINIMAL));
}
