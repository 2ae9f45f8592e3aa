//! One convolution, from the naive loop to the kernel that the network runs: 3×3, 32 to 32
//! channels, a map of 256×256 with a border of one zero, f32. The book explains each rung ("From
//! the naive loop to Winograd") and shows its output.
//!
//! `cargo bench -p benches --bench ladder`. Every rung is compared with the definition before it is
//! timed; without `--bench`, as `cargo test --benches` runs it, it is compared with it on a small
//! map and not timed.

use engine::{Conv2dOptions, DType, Error, Isa, Planner, Rng, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::array::from_fn;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A map of `side`×`side` pixels before and after the convolution, and its channels.
#[derive(Clone, Copy)]
struct Size {
    side: usize,
    channels: usize,
}

// ANCHOR: definition
/// The definition, on maps `[channel][row][column]`.
fn definition(Size { side, channels }: Size, x: &[f32], w: &[f32], y: &mut [f32]) {
    for o in 0..channels {
        for r in 0..side {
            for c in 0..side {
                let mut sum = 0.0;
                for i in 0..channels {
                    for k in 0..3 {
                        for l in 0..3 {
                            let (row, column) = ((r + k).wrapping_sub(1), (c + l).wrapping_sub(1));
                            if row < side && column < side {
                                sum += w[((o * channels + i) * 3 + k) * 3 + l]
                                    * x[(i * side + row) * side + column];
                            }
                        }
                    }
                }
                y[(o * side + r) * side + c] = sum;
            }
        }
    }
}
// ANCHOR_END: definition

// ANCHOR: bordered
/// The definition on a copy with a border of zeros: nothing is left to ask.
fn bordered(Size { side, channels }: Size, x: &[f32], w: &[f32], y: &mut [f32]) {
    let wide = side + 2;
    let mut bordered = vec![0.0; channels * wide * wide];
    for (i, row) in x.chunks_exact(side).enumerate() {
        bordered[(i / side * wide + i % side + 1) * wide + 1..][..side].copy_from_slice(row);
    }
    for o in 0..channels {
        for r in 0..side {
            for c in 0..side {
                let mut sum = 0.0;
                for i in 0..channels {
                    for k in 0..3 {
                        let x = &bordered[(i * wide + r + k) * wide + c..][..3];
                        let w = &w[((o * channels + i) * 3 + k) * 3..][..3];
                        for l in 0..3 {
                            sum += w[l] * x[l];
                        }
                    }
                }
                y[(o * side + r) * side + c] = sum;
            }
        }
    }
}
// ANCHOR_END: bordered

/// A map `[row][column][channel]` with a border of zeros.
fn with_border(Size { side, channels }: Size, x: &[f32]) -> Vec<f32> {
    let wide = side + 2;
    let mut bordered = vec![0.0; wide * wide * channels];
    for (r, row) in x.chunks_exact(side * channels).enumerate() {
        bordered[((r + 1) * wide + 1) * channels..][..side * channels].copy_from_slice(row);
    }
    bordered
}

// ANCHOR: channels_last
/// Maps `[row][column][channel]`, weights `[k][l][input][output]`: the inner loop runs over output
/// channels.
fn channels_last(size: Size, x: &[f32], w: &[f32], y: &mut [f32]) {
    let Size { side, channels } = size;
    let x = with_border(size, x);
    for (r, c) in (0..side).flat_map(|r| (0..side).map(move |c| (r, c))) {
        let sums = &mut y[(r * side + c) * channels..][..channels];
        sums.fill(0.0);
        for (k, l) in (0..3).flat_map(|k| (0..3).map(move |l| (k, l))) {
            let pixel = &x[((r + k) * (side + 2) + c + l) * channels..][..channels];
            let w = &w[(k * 3 + l) * channels * channels..][..channels * channels];
            for (x, w) in pixel.iter().zip(w.chunks_exact(channels)) {
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum += x * w;
                }
            }
        }
    }
}
// ANCHOR_END: channels_last

// ANCHOR: tiled
/// The same for `P` neighboring pixels and `B` output channels at a time, whose sums are kept in
/// registers.
fn tiled<const P: usize, const B: usize>(size: Size, x: &[f32], w: &[f32], y: &mut [f32]) {
    let Size { side, channels } = size;
    let x = with_border(size, x);
    for (r, block) in (0..side).flat_map(|r| (0..channels).step_by(B).map(move |block| (r, block)))
    {
        for c in (0..side).step_by(P) {
            let mut sums = [[0.0; B]; P];
            for (k, l) in (0..3).flat_map(|k| (0..3).map(move |l| (k, l))) {
                let first = (r + k) * (side + 2) + c + l;
                let pixels: [&[f32]; P] = from_fn(|p| &x[(first + p) * channels..][..channels]);
                let w = &w[(k * 3 + l) * channels * channels..][..channels * channels];
                for (i, w) in w.chunks_exact(channels).enumerate() {
                    let w: [f32; B] = *w[block..].first_chunk().expect("B divides the channels");
                    for p in 0..P {
                        let x = pixels[p][i];
                        sums[p] = from_fn(|b| sums[p][b] + x * w[b]);
                    }
                }
            }
            for (p, sums) in sums.iter().enumerate() {
                y[(r * side + c + p) * channels + block..][..B].copy_from_slice(sums);
            }
        }
    }
}
// ANCHOR_END: tiled

/// Something to time.
struct Rung<'a> {
    name: String,
    isa: Isa,
    /// On one thread, otherwise on all.
    single: bool,
    run: Box<dyn Fn() -> Tensor + Sync + 'a>,
}

/// Rungs that compute the same.
struct Ladder<'a> {
    title: String,
    /// The definition, as code.
    want: Vec<f32>,
    rungs: Vec<Rung<'a>>,
}

/// A rung in the best instruction set there is, on one thread.
fn rung<'a>(name: &str, run: impl Fn() -> Tensor + Sync + 'a) -> Rung<'a> {
    Rung { name: name.into(), isa: engine::isa(), single: true, run: Box::new(run) }
}

/// The input and weights.
struct Problem {
    size: Size,
    x: Tensor,
    weight: Tensor,
    /// The convolution alone, and with its neighbors in the network.
    plain: Planner,
    fused: Planner,
    /// Each pixel's channels twice.
    twice: Tensor,
    residual: Tensor,
}

const SAME: Conv2dOptions = Conv2dOptions { stride: 1, padding: 1, dilation: 1, groups: 1 };

impl Problem {
    fn new(size @ Size { side, channels }: Size) -> Self {
        let mut rng = Rng::new(1);
        let x = Tensor::randn(&[1, channels, side, side], DType::F32, &mut rng).unwrap();
        let weight = Tensor::randn(&[channels, channels, 3, 3], DType::F32, &mut rng).unwrap();
        let residual = Tensor::randn(&[1, channels, side, side], DType::F32, &mut rng).unwrap();
        let planner = || Planner::new(std::slice::from_ref(&weight));
        let (plain, fused) = (planner(), planner());
        let twice = Tensor::concat(&[&x, &x], 1).unwrap();
        Self { size, x, weight, plain, fused, twice, residual }
    }

    fn ladders(&self) -> [Ladder<'_>; 3] {
        [self.plain(), self.instruction_sets(), self.surrounded()]
    }

    fn plain(&self) -> Ladder<'_> {
        let (x, w) = (numbers(&self.x), numbers(&self.weight));
        let (x_last, w_last) =
            (permuted(&self.x, [0, 2, 3, 1]), permuted(&self.weight, [2, 3, 1, 0]));
        let all = format!("… on {} threads", rayon::current_num_threads());
        let rungs = vec![
            rung("the definition", self.loops(definition, &x, &w, false)),
            rung("… on a map with a border of zeros", self.loops(bordered, &x, &w, false)),
            rung(
                "channels last, output channels innermost",
                self.loops(channels_last, &x_last, &w_last, true),
            ),
            rung(
                "tiles of 4 pixels × 8 channels in registers",
                self.loops(tiled::<4, 8>, &x_last, &w_last, true),
            ),
            Rung { isa: Isa::Avx2, ..rung("the engine's tiles, 6 × 16, AVX2", || self.direct()) },
            Rung { isa: Isa::Avx512, ..rung("… 16 × 16, AVX-512", || self.direct()) },
            rung("Winograd, F(4×4, 3×3)", || self.x.conv2d(&self.weight, None, SAME).unwrap()),
            rung("… with weights transformed beforehand", || self.winograd(&self.x)),
            Rung { single: false, ..rung(&all, || self.winograd(&self.x)) },
        ];
        Ladder { title: "a convolution".into(), want: self.defined(&self.x), rungs }
    }

    fn instruction_sets(&self) -> Ladder<'_> {
        let names = [(Isa::Portable, "portable"), (Isa::Avx2, "AVX2"), (Isa::Avx512, "AVX-512")];
        let rungs = names.map(|(isa, name)| Rung { isa, ..rung(name, || self.direct()) }).into();
        Ladder {
            title: "the engine's tiles, the same bits".into(),
            want: self.defined(&self.x),
            rungs,
        }
    }

    fn surrounded(&self) -> Ladder<'_> {
        let sums = self.defined(&self.x).into_iter().zip(numbers(&self.residual));
        let sums: Vec<f32> = sums.map(|(y, r)| y + r).collect();
        let want = numbers(&Tensor::from_slice(&sums, &[sums.len()]).unwrap().gelu().unwrap());
        let separate = || self.winograd(&self.x).add(&self.residual).unwrap().gelu().unwrap();
        let fused = || {
            let inputs = vec![self.x.clone(), self.residual.clone()];
            let run = |x: &[Tensor]| {
                let y = x[0].conv2d(&self.weight, None, SAME)?.add(&x[1])?.gelu()?;
                Ok::<_, Error>(vec![y])
            };
            self.fused.run(inputs, run).unwrap().swap_remove(0)
        };
        let both = vec![
            rung("convolution, addition, GELU", separate),
            rung("… in one", fused),
            Rung { single: false, ..rung("the three, on all threads", separate) },
            Rung { single: false, ..rung("… in one", fused) },
        ];
        Ladder { title: "what surrounds it".into(), want, rungs: both }
    }

    fn defined(&self, x: &Tensor) -> Vec<f32> {
        let mut y = vec![0.0; x.numel()];
        definition(self.size, &numbers(x), &numbers(&self.weight), &mut y);
        y
    }

    /// One of the loops above. A tensor of three dimensions is channels-first, one of four
    /// channels-last.
    fn loops(
        &self,
        loops: fn(Size, &[f32], &[f32], &mut [f32]),
        x: &[f32],
        w: &[f32],
        channels_last: bool,
    ) -> impl Fn() -> Tensor + Sync + use<> {
        let (size, x, w) = (self.size, x.to_vec(), w.to_vec());
        let shape = [1, size.channels, size.side, size.side];
        // The black box keeps the compiler from a version for just this size.
        move || {
            Tensor::build(&shape[usize::from(!channels_last)..], |y| {
                loops(black_box(size), &x, &w, y)
            })
            .unwrap()
        }
    }

    /// The engine's direct kernel. A plain convolution of this size would be Winograd's; in two
    /// groups, each with a copy of the whole input, it is not, and has the same products and sums.
    fn direct(&self) -> Tensor {
        self.twice.conv2d(&self.weight, None, Conv2dOptions { groups: 2, ..SAME }).unwrap()
    }

    fn winograd(&self, x: &Tensor) -> Tensor {
        let run = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].conv2d(&self.weight, None, SAME)?]);
        self.plain.run(vec![x.clone()], run).unwrap().swap_remove(0)
    }
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.to_vec().unwrap()
}

fn permuted(x: &Tensor, dims: [usize; 4]) -> Vec<f32> {
    numbers(&x.permute(&dims).unwrap())
}

/// Set for a process that is to take one rung alone: "ladder rung", counted from 0. An instruction
/// set is chosen once in a process, so the others are measured in processes of their own.
const ONLY: &str = "LADDER_ONLY";
const ROUNDS: usize = 5;

fn main() {
    let timed = std::env::args().any(|arg| arg == "--bench");
    let problem = Problem::new(Size { side: if timed { 256 } else { 32 }, channels: 32 });
    let ladders = problem.ladders();
    let one = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    if let Ok(only) = std::env::var(ONLY) {
        let (ladder, rung) = only.split_once(' ').unwrap();
        let ladder = &ladders[ladder.parse::<usize>().unwrap()];
        let rung = &ladder.rungs[rung.parse::<usize>().unwrap()];
        check(ladder, rung);
        if timed {
            visit(rung, &one).iter().for_each(|seconds| println!("{seconds}"));
        }
        return;
    }
    for (l, ladder) in ladders.iter().enumerate() {
        let rungs: Vec<_> =
            ladder.rungs.iter().enumerate().filter(|(_, rung)| rung.isa <= engine::isa()).collect();
        let mut times = vec![Vec::new(); rungs.len()];
        for round in 0..if timed { ROUNDS } else { 1 } {
            for (times, &(r, rung)) in times.iter_mut().zip(&rungs) {
                if rung.isa != engine::isa() {
                    times.extend(elsewhere(rung.isa, l, r));
                    continue;
                }
                if round == 0 {
                    check(ladder, rung);
                }
                if timed {
                    times.extend(visit(rung, &one));
                }
            }
        }
        if timed {
            let products = (9 * problem.size.channels.pow(2) * problem.size.side.pow(2)) as f64;
            print(
                &ladder.title,
                products,
                rungs.iter().map(|(_, rung)| rung.name.as_str()).zip(times),
            );
        }
    }
    if timed {
        println!(
            "One thread where nothing else is said, {:?}, {:.2} GHz.",
            engine::isa(),
            clock() / 1e9
        );
    }
}

/// Panics where a rung is wrong: by more than rounding, of which Winograd's algorithm has the most.
fn check(ladder: &Ladder<'_>, rung: &Rung<'_>) {
    let (found, want) = (numbers(&(rung.run)()), &ladder.want);
    let rms = (want.iter().map(|y| y * y).sum::<f32>() / want.len() as f32).sqrt();
    let off =
        found.iter().zip(want).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap_or(0.0)
            / rms;
    assert!(
        found.len() == want.len() && off < 2e-5,
        "{}, {}: off by {off:e} of the RMS",
        ladder.title,
        rung.name
    );
}

/// Some runs, in seconds each, after one to warm up.
fn visit(rung: &Rung<'_>, one: &ThreadPool) -> Vec<f64> {
    let run = || {
        let start = Instant::now();
        black_box(if rung.single { one.install(&rung.run) } else { (rung.run)() });
        start.elapsed().as_secs_f64()
    };
    let first = run();
    (0..(0.1 / first).clamp(1.0, 10.0) as usize).map(|_| run()).collect()
}

/// [`visit`] in a process of its own, whose kernels are those of `isa`.
fn elsewhere(isa: Isa, ladder: usize, rung: usize) -> Vec<f64> {
    let name = match isa {
        Isa::Portable => "portable",
        Isa::Avx2 => "avx2",
        Isa::Avx512 => "avx512",
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(std::env::args().skip(1))
        .env("ENGINE_SIMD", name)
        .env(ONLY, format!("{ladder} {rung}"));
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the process for {name} failed");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// A Markdown table of medians.
fn print<'a>(title: &str, products: f64, rungs: impl Iterator<Item = (&'a str, Vec<f64>)>) {
    println!(
        "| {title} | ms | GMAC/s | × the one before | × the first |\n|---|---:|---:|---:|---:|"
    );
    let (mut first, mut before) = (None, None);
    for (name, mut times) in rungs {
        times.sort_by(f64::total_cmp);
        let time = times[times.len() / 2];
        let faster =
            |than: Option<f64>| than.map_or(String::new(), |than| format!("{:.1}", than / time));
        let (ms, speed) = (time * 1e3, products / time / 1e9);
        println!("| {name} | {ms:.1} | {speed:.1} | {} | {} |", faster(before), faster(first));
        (first, before) = (first.or(Some(time)), Some(time));
    }
    println!();
}

/// Cycles per second: every instruction of the chain takes one, and waits for the one before.
fn clock() -> f64 {
    const STEPS: u64 = 100_000_000;
    let (odd, mut x) = (black_box(0x9e37_79b9_7f4a_7c15_u64), 1_u64);
    let start = Instant::now();
    for _ in 0..STEPS {
        x = (x ^ odd).wrapping_add(odd);
    }
    black_box(x);
    2.0 * STEPS as f64 / start.elapsed().as_secs_f64()
}
