//! Several that compute one product or attention on the processor: the calling thread and the other members of a [`Crew`].
//!
//! Each member computes some rows of the weights, or some queries, by the same arithmetic as one thread computes all of
//! them, so that the results are the same to the bit.

mod message;

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use fraise_cpu::{Attention, FEWEST_ROWS, Image, Input, LANES, Output, ROWS, Rows};

pub use message::{BLOBS, Blob, SCALES, WEIGHTS, WORDS, decode, encode, weights_key};

/// Multiply-adds that are worth being shared: about a seventh of a millisecond of one thread. To tell the others and to hear of them takes
/// a few hundredths of one.
const WORTH: usize = 1 << 21;
/// Multiply-adds that this thread has more of than each other member: what it does until they have heard of theirs and copied them.
const HEAD_START: usize = 1 << 19;
/// Tiles that a member has at least, of rows of weights or of queries. Convolutions of fewer rows are computed in another way
/// than others, by which results would differ in their last bits.
const FEWEST_TILES: usize = FEWEST_ROWS.div_ceil(ROWS);

/// Work that can be done by itself, with all that it takes.
#[derive(Debug, Clone)]
pub enum Work<'a> {
    /// See there.
    Product(Product<'a>),
    /// See there.
    Attention(Heads<'a>),
}

/// A product's outputs `rows` for all positions; as [`fraise_cpu::product`].
#[derive(Debug, Clone)]
pub struct Product<'a> {
    /// These rows alone.
    pub weights: Rows<'a>,
    /// The [`crate::weights::WeightPart::id`] of which they are a part.
    pub id: u32,
    /// Which of all outputs they are.
    pub rows: Range<usize>,
    /// Weights of a row.
    pub depth: usize,
    /// What they are multiplied by, at all positions.
    pub input: Input<'a>,
    /// How many these are.
    pub positions: usize,
    /// Of all outputs.
    pub bias: Option<&'a [f32]>,
    /// As in [`Output`].
    pub out: Option<usize>,
}

/// The attention of one image's heads; as [`fraise_cpu::attention`] with a batch of one.
#[derive(Debug, Clone)]
pub struct Heads<'a> {
    /// [N, C].
    pub q: &'a [f32],
    /// [M, C].
    pub k: &'a [f32],
    /// [M, C].
    pub v: &'a [f32],
    /// The sizes.
    pub shape: Attention,
}

/// Those who compute together.
pub trait Crew {
    /// How many they are, the caller among them.
    fn members(&self) -> usize;

    /// Has each part computed by another member, and meanwhile does `own`; the parts' results, as [`Work::compute`] gives
    /// them. There are fewer parts than members.
    fn compute(&self, parts: &[Work], own: &mut dyn FnMut()) -> Vec<Vec<f32>>;
}

thread_local! {
    static CREW: RefCell<Option<Rc<dyn Crew>>> = const { RefCell::new(None) };
}

/// Has this thread share its work with a crew from now on, or with nobody.
pub fn employ(crew: Option<Rc<dyn Crew>>) {
    CREW.set(crew);
}

/// How many members compute what this thread is asked for; 1 without a crew.
pub fn members() -> usize {
    CREW.with_borrow(|crew| crew.as_ref().map_or(1, |crew| crew.members()))
}

impl Work<'_> {
    /// The results in order: of a product [positions, rows], or [images, rows, pixels] where it has `out`; of an attention
    /// [N, C].
    pub fn compute(&self) -> Vec<f32> {
        let mut y = vec![0.0; self.results()];
        match self {
            Self::Product(product) => {
                let (rows, bias) = (product.rows.len(), product.bias.map(|bias| &bias[product.rows.clone()]));
                let output = Output { y: &mut y, rows, out: product.out };
                let (input, weights) = ((product.input, product.positions), product.weights);
                fraise_cpu::product((weights, 0..rows, product.depth), input, bias, output);
            }
            Self::Attention(Heads { q, k, v, shape }) => fraise_cpu::attention(q, k, v, *shape, &mut y),
        }
        y
    }

    /// How many numbers it gives.
    pub fn results(&self) -> usize {
        match self {
            Self::Product(product) => product.rows.len() * product.positions,
            Self::Attention(heads) => heads.q.len(),
        }
    }
}

impl<'a> Product<'a> {
    /// Outputs `rows`, which are among these.
    fn part(&self, rows: Range<usize>) -> Self {
        let numbers = (rows.start - self.rows.start) * self.depth..(rows.end - self.rows.start) * self.depth;
        Self { weights: self.weights.part(numbers), rows, ..self.clone() }
    }

    /// Computes all of them into `output`, which is that of the whole product, together with this thread's crew.
    pub fn compute_into(&self, mut output: Output) {
        let work = self.rows.len() * self.depth * self.positions;
        let own = |product: &Self, output: &mut Output| {
            let (weights, input) = ((product.weights, product.rows.clone(), self.depth), (self.input, self.positions));
            fraise_cpu::product(weights, input, self.bias, Output { y: &mut *output.y, ..*output });
        };
        let Some((crew, shares)) = shares(self.rows.clone(), ROWS, work) else { return own(self, &mut output) };
        let parts: Vec<_> = shares[1..].iter().map(|rows| Work::Product(self.part(rows.clone()))).collect();
        let first = self.part(shares[0].clone());
        let results = crew.compute(&parts, &mut || own(&first, &mut output));
        // Without pixels, each position is an image of one.
        let (pixels, all) = (output.out.unwrap_or(1), output.rows);
        for (rows, values) in shares[1..].iter().zip(results) {
            let images = output.y.chunks_exact_mut(all * pixels).zip(values.chunks_exact(rows.len() * pixels));
            images.for_each(|(y, values)| y[rows.start * pixels..rows.end * pixels].copy_from_slice(values));
        }
    }
}

impl Heads<'_> {
    /// Computes them into `y` [N, C], together with this thread's crew.
    pub fn compute_into(&self, y: &mut [f32]) {
        let Attention { queries, keys, heads, size, causal, .. } = self.shape;
        let channels = heads * size;
        // Causal ones, which a text encoder has, are small.
        let work = if causal { 0 } else { 2 * queries * keys * channels };
        let Some((crew, shares)) = shares(0..queries, LANES, work) else {
            return fraise_cpu::attention(self.q, self.k, self.v, self.shape, y);
        };
        let part = |queries: &Range<usize>| {
            let q = &self.q[queries.start * channels..queries.end * channels];
            Heads { q, shape: Attention { queries: queries.len(), ..self.shape }, ..self.clone() }
        };
        let parts: Vec<_> = shares[1..].iter().map(|queries| Work::Attention(part(queries))).collect();
        let (first, rest) = y.split_at_mut(shares[0].len() * channels);
        let own = part(&shares[0]);
        let results = crew.compute(&parts, &mut || fraise_cpu::attention(own.q, own.k, own.v, own.shape, first));
        rest.copy_from_slice(&results.concat());
    }
}

/// Who shares, and what each gets.
type Shared = (Rc<dyn Crew>, Vec<Range<usize>>);

/// This thread's crew and a part of `whole` for each of them, in whole tiles but for what is left at the end, this
/// thread's first; `None` where there is nobody to share with, or so many multiply-adds (`work`) are not worth it.
fn shares(whole: Range<usize>, tile: usize, work: usize) -> Option<Shared> {
    let crew = CREW.with_borrow(Clone::clone).filter(|_| work >= WORTH)?;
    let count = crew.members().min(whole.len() / (FEWEST_TILES * tile));
    if count < 2 {
        return None;
    }
    let tiles = whole.len() / tile;
    // What this thread is ahead by the others make up for, each by as much.
    let ahead = (HEAD_START * tiles / work).min(tiles - FEWEST_TILES * count);
    let others = (tiles - ahead) / count;
    let bound = |member: usize| match member {
        0 => whole.start,
        member if member == count => whole.end,
        member => whole.start + (tiles - (count - member) * others) * tile,
    };
    Some((crew, (0..count).map(|member| bound(member)..bound(member + 1)).collect()))
}

/// The image of an input, where it has one, and its numbers.
fn input_of<'a>(input: &Input<'a>) -> (&'a [f32], Option<Image>) {
    match *input {
        Input::Rows(x) => (x, None),
        Input::Image(x, image) => (x, Some(image)),
    }
}

/// Threads of this process.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, Copy)]
pub struct Threads(pub usize);

#[cfg(not(target_arch = "wasm32"))]
impl Threads {
    /// As many as the machine runs at once.
    pub fn available() -> Self {
        Self(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Crew for Threads {
    fn members(&self) -> usize {
        self.0
    }

    /// Threads live for one piece of work: to begin and end one takes a few hundredths of a millisecond.
    fn compute(&self, parts: &[Work], own: &mut dyn FnMut()) -> Vec<Vec<f32>> {
        std::thread::scope(|scope| {
            let begin = |part| std::thread::Builder::new().spawn_scoped(scope, move || Work::compute(part));
            let others: Vec<_> = parts.iter().map(begin).collect();
            own();
            let ended = |(other, part): (std::io::Result<std::thread::ScopedJoinHandle<_>>, &Work)| match other {
                Ok(other) => other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => part.compute(),
            };
            others.into_iter().zip(parts).map(ended).collect()
        })
    }
}
