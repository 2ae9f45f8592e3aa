//! The cost columns of the paper's Tables 6, 7, 8, 9, 11 and 13, and their networks.

use super::{Costs, CountRule, PAPER_SIZE, layers};
use crate::error::Result;
use crate::model::{Model, ModelConfig, Pooling};
use engine::DType;

/// A table of the paper.
pub struct Table {
    /// Its number in the paper.
    pub number: usize,
    /// Its subject.
    pub about: &'static str,
    /// How its FLOPs are counted.
    pub rule: CountRule,
    /// The rows for IRNeXt.
    pub rows: Vec<Row>,
}

/// A network, and the paper's figures for it.
pub struct Row {
    /// The difference from the other networks of the table.
    pub name: &'static str,
    /// The network: in every row the variant of the published code, since the equations alone have
    /// fewer parameters.
    pub config: ModelConfig,
    /// Parameters in millions, as printed.
    pub parameters: &'static str,
    /// FLOPs in units of 10⁹, as printed, where the table has them.
    pub flops: Option<&'static str>,
    /// Seconds on a Tesla V100, as printed, where the table has them. Measured, so nothing here can
    /// be counted beside them.
    pub seconds: Option<&'static str>,
}

impl Row {
    /// The costs of the network on a 256×256 image.
    pub fn count(&self, rule: CountRule) -> Result<Costs> {
        let model = Model::new(&self.config, 0, DType::F32)?;
        Ok(Costs::of(&layers(&model, PAPER_SIZE)?, rule))
    }

    fn flops(self, printed: &'static str) -> Self {
        Self { flops: Some(printed), ..self }
    }

    fn seconds(self, printed: &'static str) -> Self {
        Self { seconds: Some(printed), ..self }
    }
}

/// A number as the paper prints it: in units of 10⁶ or 10⁹, with two decimals.
pub fn printed(count: u64, unit: u64) -> String {
    format!("{:.2}", count as f64 / unit as f64)
}

/// The tables, in the paper's order.
pub fn tables() -> Vec<Table> {
    let row = |name, parameters, change: &dyn Fn(&mut ModelConfig)| {
        let mut config = ModelConfig { n: 7, ..ModelConfig::default() };
        change(&mut config);
        Row { name, config, parameters, flops: None, seconds: None }
    };
    let baseline = || row("baseline: no MSM", "6.90", &|c| c.msm = 0);
    let full = |name| row(name, "8.56", &|_| ());
    let branches =
        |name, parameters, rates: &[usize]| row(name, parameters, &|c| c.branches = rates.to_vec());
    let groups = |name, parameters, groups| row(name, parameters, &|c| c.groups = groups);
    let blocks = |name, parameters, n| row(name, parameters, &|c| c.n = n);
    vec![
        Table {
            number: 6,
            about: "motion deblurring, GoPro: n = 13",
            rule: CountRule::Main,
            rows: vec![blocks("IRNeXt", "13.21", 13).flops("114.79").seconds("0.255")],
        },
        Table {
            number: 7,
            about: "modules, n = 7",
            rule: CountRule::Ablations,
            rows: vec![
                baseline().flops("66.32").seconds("0.134"),
                row("MSM with 3×3 convolutions", "8.45", &|c| c.lam = false)
                    .flops("71.17")
                    .seconds("0.152"),
                row("MSM, LAM without FM", "8.55", &|c| c.modulation = false)
                    .flops("71.19")
                    .seconds("0.165"),
                full("full").flops("71.19").seconds("0.166"),
            ],
        },
        Table {
            number: 8,
            about: "branches of MSM, n = 7",
            rule: CountRule::Ablations,
            rows: vec![
                baseline().flops("66.32"),
                branches("2", "7.71", &[2]).flops("70.89"),
                branches("4, 2", "8.13", &[4, 2]).flops("71.12"),
                branches("8, 4", "8.13", &[8, 4]).flops("70.26"),
                full("8, 4, 2").flops("71.19"),
            ],
        },
        Table {
            number: 9,
            about: "pooling in MSM, n = 7",
            rule: CountRule::Ablations,
            rows: vec![
                row("convolution", "8.58", &|c| c.pooling = Pooling::Learned),
                row("maximum", "8.56", &|c| c.pooling = Pooling::Max),
                full("average"),
            ],
        },
        Table {
            number: 11,
            about: "groups of LAM, MSMs in a CNNBlock, n = 7",
            rule: CountRule::Ablations,
            rows: vec![
                baseline(),
                groups("2 groups", "8.48", 2),
                groups("4 groups", "8.51", 4),
                groups("8 groups, 1 MSM", "8.56", 8),
                groups("16 groups", "8.65", 16),
                row("2 MSMs", "10.21", &|c| c.msm = 2),
            ],
        },
        Table {
            number: 13,
            about: "residual blocks in a CNNBlock, the one with MSM included",
            rule: CountRule::Main,
            rows: vec![
                blocks("12 blocks: n = 11", "11.66", 11).flops("100.25"),
                blocks("14 blocks: n = 13", "13.21", 13).flops("114.79"),
                blocks("16 blocks: n = 15", "14.76", 15).flops("129.33"),
            ],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Variant;

    const MEGA: u64 = 1_000_000;
    const GIGA: u64 = 1_000_000_000;

    #[test]
    fn every_published_figure_comes_out_to_the_digit() {
        let mut figures = 0;
        for table in tables() {
            for row in &table.rows {
                let place = format!("Table {}, {}", table.number, row.name);
                let costs = row.count(table.rule).unwrap();
                assert_eq!(printed(costs.parameters, MEGA), row.parameters, "{place}");
                figures += 1;
                if let Some(flops) = row.flops {
                    assert_eq!(printed(costs.flops, GIGA), flops, "{place}");
                    figures += 1;
                }
            }
        }
        assert_eq!(figures, 22 + 13);
    }

    #[test]
    fn each_counting_rule_fails_in_the_other_tables() {
        // The reason for two rules: each fails in the other's tables.
        let by = |rule, table: &Table, row: usize| {
            printed(table.rows[row].count(rule).unwrap().flops, GIGA)
        };
        let tables = tables();
        assert_eq!(
            [1, 2, 4].map(|row| by(CountRule::Main, &tables[2], row)),
            ["70.87", "71.10", "71.17"]
        );
        assert_eq!(
            [0, 1, 2].map(|row| by(CountRule::Ablations, &tables[5], row)),
            ["100.27", "114.81", "129.35"]
        );
    }

    #[test]
    fn the_equations_alone_do_not_give_the_figures() {
        let with = |n: usize| {
            let row = Row {
                name: "",
                config: ModelConfig { variant: Variant::Paper, n, ..ModelConfig::default() },
                parameters: "",
                flops: None,
                seconds: None,
            };
            let costs = row.count(CountRule::Main).unwrap();
            [printed(costs.parameters, MEGA), printed(costs.flops, GIGA)]
        };
        assert_eq!(with(13), ["13.20", "114.78"]);
        assert_eq!(with(15), ["14.75", "129.32"]);
    }
}
