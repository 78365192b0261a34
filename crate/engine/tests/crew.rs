//! Products and attentions of several members against those of one thread: the same to the bit, over random and odd shapes.

mod common;

use std::cell::Cell;
use std::rc::Rc;

use burn::tensor::{Device, Tensor};
use common::{Random, StoredWeight, read, tensor};
use fraise_engine::kernels::crew::{self, BLOBS, Crew, Threads, Work, decode, encode};
use fraise_engine::kernels::{AttentionShape, Conv2dShape, attention, conv2d_padded, conv2d_plus, linear};
use fraise_engine::weights::Scheme;

/// Members that hear of their work in words and bytes alone, and how many pieces they got.
struct Correspondents {
    members: usize,
    heard: Rc<Cell<usize>>,
}

impl Crew for Correspondents {
    fn members(&self) -> usize {
        self.members
    }

    fn compute(&self, parts: &[Work], own: &mut dyn FnMut()) -> Vec<Vec<f32>> {
        own();
        assert!(parts.len() < self.members);
        self.heard.set(self.heard.get() + parts.len());
        let answer = |part| {
            let (words, blobs) = encode(part);
            // Longer than it need be, as where whole words are copied.
            let blobs = blobs.map(|blob| {
                let mut blob = blob.to_vec();
                blob.resize(blob.len().next_multiple_of(4), 0);
                bytemuck::pod_collect_to_vec::<u8, u32>(&blob)
            });
            let work = decode(&words, std::array::from_fn::<_, BLOBS, _>(|blob| blobs[blob].as_slice()));
            work.map_or_else(Vec::new, |work| work.compute())
        };
        parts.iter().map(answer).collect()
    }
}

/// Compares `compute` by one thread, by threads and by correspondents; how many pieces those had.
fn compare<const D: usize>(what: &str, compute: impl Fn() -> Tensor<D>) -> usize {
    crew::employ(None);
    let alone = bits(compute());
    let heard = Rc::new(Cell::new(0));
    for members in [2, 3, 8] {
        crew::employ(Some(Rc::new(Threads(members))));
        assert!(bits(compute()) == alone, "{what}: {members} threads differ from one");
        crew::employ(Some(Rc::new(Correspondents { members, heard: heard.clone() })));
        assert!(bits(compute()) == alone, "{what}: {members} correspondents differ from one thread");
    }
    crew::employ(None);
    heard.get()
}

fn bits<const D: usize>(values: Tensor<D>) -> Vec<u32> {
    read(values).into_iter().map(f32::to_bits).collect()
}

fn random<const D: usize>(random: &mut Random, shape: [usize; D]) -> Tensor<D> {
    tensor(&random.values(shape.iter().product()), shape, &Device::flex())
}

#[test]
fn products_are_the_same_by_any_number() {
    let mut numbers = Random::new(41);
    for scheme in Scheme::ALL {
        for round in 0..3 {
            let (positions, outputs) = (numbers.between(200, 600), numbers.between(120, 250));
            let columns = 32 * numbers.between(6, 12);
            let stored = StoredWeight::random(scheme, &[outputs, columns], &mut numbers);
            let weight = match round {
                0 => stored.load_within(64 * columns as u64, &Device::flex()),
                _ => stored.load(&Device::flex()),
            };
            let (x, bias) = (random(&mut numbers, [positions, columns]), random(&mut numbers, [outputs]));
            let bias = (round != 1).then_some(&bias);
            let what =
                format!("linear {scheme:?} {positions} x {columns} -> {outputs} in {} parts", weight.parts.len());
            let heard = compare(&what, || linear(x.clone(), &weight, bias));
            assert!(heard > 0 || weight.parts.len() > 1, "{what} was not shared");
        }
    }
}

#[test]
fn convolutions_are_the_same_by_any_number() {
    let mut numbers = Random::new(42);
    let geometries = [Conv2dShape::SAME, Conv2dShape { stride: 2, ..Conv2dShape::SAME }, Conv2dShape::POINTWISE];
    for scheme in Scheme::ALL {
        for (round, shape) in geometries.into_iter().enumerate() {
            let (batch, channels, outputs) =
                (numbers.between(1, 3), 32 * numbers.between(2, 3), numbers.between(40, 99));
            let side = if shape == Conv2dShape::SAME { 16 } else { 48 };
            // Even, so that some are computed by Winograd's filtering.
            let (height, width) = (side + 2 * numbers.between(0, 6), side + 2 * numbers.between(0, 6));
            let stored = StoredWeight::random(scheme, &[outputs, channels, shape.kernel, shape.kernel], &mut numbers);
            let (x, bias) = (random(&mut numbers, [batch, channels, height, width]), random(&mut numbers, [outputs]));
            let (weight, bias) = (stored.load(&Device::flex()), (round != 1).then_some(&bias));
            let what = format!("conv2d {scheme:?} {shape:?} [{batch}, {channels}, {height}, {width}] -> {outputs}");
            assert!(compare(&what, || conv2d_padded(x.clone(), &weight, bias, shape)) > 0, "{what} was not shared");
            let added = random(&mut numbers, conv2d_padded(x.clone(), &weight, bias, shape).dims());
            let sum = || conv2d_plus(x.clone(), &weight, bias, shape, Some(added.clone()));
            assert!(compare(&what, sum) > 0, "{what} was not shared");
        }
    }
}

#[test]
fn attentions_are_the_same_by_any_number() {
    let mut numbers = Random::new(43);
    for round in 0..4 {
        let (batch, heads, size) = (numbers.between(1, 3), numbers.between(1, 4), numbers.between(20, 70));
        let (queries, keys) = (numbers.between(300, 500), numbers.between(400, 900));
        let keys = if round == 3 { queries } else { keys };
        let q = random(&mut numbers, [batch, queries, heads * size]);
        let [k, v] = [0; 2].map(|_| random(&mut numbers, [batch, keys, heads * size]));
        let shape = AttentionShape { heads, causal: round == 3 };
        let what = format!("attention [{batch}, {queries}, {keys}] {heads} heads of {size}");
        let heard = compare(&what, || attention(q.clone(), k.clone(), v.clone(), shape));
        assert_eq!(heard > 0, !shape.causal, "{what}");
    }
}

#[test]
fn what_is_small_is_not_shared() {
    let mut numbers = Random::new(44);
    let weight = StoredWeight::random(Scheme::F32, &[64, 64], &mut numbers).load(&Device::flex());
    let x = random(&mut numbers, [64, 64]);
    assert_eq!(compare("linear 64 x 64 -> 64", || linear(x.clone(), &weight, None)), 0);
}
