//! [`Work`] in words and bytes, for members that share no memory with the caller but what is copied to them.

use fraise_cpu::{Attention, Image, Input, Rows};

use super::{Heads, Product, Work, input_of};

/// Words that say what is to be done.
pub const WORDS: usize = 12;
/// Runs of numbers that it takes besides, some of them empty.
pub const BLOBS: usize = 4;
/// Which of a product's are its weights, and their scales.
pub const WEIGHTS: usize = 2;
/// See [`WEIGHTS`].
pub const SCALES: usize = 3;

const ATTENTION: u32 = 1;
/// And one more for each scheme.
const PRODUCT: u32 = 2;

/// Numbers as bytes.
pub type Blob<'a> = &'a [u8];

/// The words and the numbers of `work`; the first word is never 0.
pub fn encode<'a>(work: &Work<'a>) -> ([u32; WORDS], [Blob<'a>; BLOBS]) {
    let mut words = [0; WORDS];
    let mut say = |values: &[usize]| words.iter_mut().zip(values).for_each(|(word, value)| *word = *value as u32);
    match work {
        Work::Attention(Heads { q, k, v, shape }) => {
            let Attention { queries, keys, heads, size, causal, .. } = *shape;
            say(&[ATTENTION as usize, queries, keys, heads, size, usize::from(causal)]);
            (words, [bytemuck::cast_slice(q), bytemuck::cast_slice(k), bytemuck::cast_slice(v), &[]])
        }
        Work::Product(product) => {
            let (scheme, weights, scales): (usize, Blob, &[u16]) = match product.weights {
                Rows::F32(values) => (0, bytemuck::cast_slice(values), &[]),
                Rows::F16(values) => (1, bytemuck::cast_slice(values), &[]),
                Rows::Q8(values, scales) => (2, bytemuck::cast_slice(values), scales),
                Rows::Q4(values, scales) => (3, values, scales),
            };
            let (x, image) = input_of(&product.input);
            let bias = product.bias.map_or(&[][..], |bias| &bias[product.rows.clone()]);
            let [height, width] = image.map_or([0, 0], |image| image.size);
            let of_image = |value: fn(Image) -> usize| image.map_or(0, value);
            say(&[
                PRODUCT as usize + scheme,
                product.id as usize,
                product.rows.start,
                product.rows.len(),
                product.depth,
                product.positions,
                product.out.unwrap_or(0),
                of_image(|image| image.channels),
                height,
                width,
                of_image(|image| image.kernel),
                of_image(|image| image.stride),
            ]);
            (words, [bytemuck::cast_slice(x), bytemuck::cast_slice(bias), weights, bytemuck::cast_slice(scales)])
        }
    }
}

/// What a product's weights may be kept by until they are dropped: their part's id, their first row and how many they are.
/// `None` for other work.
pub fn weights_key(words: &[u32; WORDS]) -> Option<[u32; 3]> {
    (words[0] >= PRODUCT).then_some([words[1], words[2], words[3]])
}

/// The work of which those are the words and the numbers, in whole words: beyond their end there may be more. A product has
/// its rows for all there are. `None` where it is none.
pub fn decode<'a>(words: &[u32; WORDS], blobs: [&'a [u32]; BLOBS]) -> Option<Work<'a>> {
    let said = words.map(|word| word as usize);
    let floats = |blob: usize| bytemuck::cast_slice::<u32, f32>(blobs[blob]);
    if words[0] == ATTENTION {
        let [_, queries, keys, heads, size, causal, ..] = said;
        let shape = Attention { batch: 1, queries, keys, heads, size, causal: causal != 0 };
        return Some(Work::Attention(Heads { q: floats(0), k: floats(1), v: floats(2), shape }));
    }
    let [_, id, _, rows, depth, positions, out, channels, height, width, kernel, stride] = said;
    let scales = bytemuck::cast_slice(blobs[SCALES]);
    let weights = match words[0].checked_sub(PRODUCT)? {
        0 => Rows::F32(floats(WEIGHTS)),
        1 => Rows::F16(bytemuck::cast_slice(blobs[WEIGHTS])),
        2 => Rows::Q8(bytemuck::cast_slice(blobs[WEIGHTS]), scales),
        3 => Rows::Q4(bytemuck::cast_slice(blobs[WEIGHTS]), scales),
        _ => return None,
    };
    let input = match kernel {
        0 => Input::Rows(floats(0)),
        _ => Input::Image(floats(0), Image { channels, size: [height, width], kernel, stride }),
    };
    let (bias, out) = ((!blobs[1].is_empty()).then(|| floats(1)), (out > 0).then_some(out));
    Some(Work::Product(Product { weights, id: id as u32, rows: 0..rows, depth, input, positions, bias, out }))
}
