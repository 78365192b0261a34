//! Checkpoints, LoRAs, embeddings and tiny decoders: what the converter makes of any list of tensors.

use std::collections::BTreeSet;
use std::ops::Range;

use fraise_engine::Result;
use fraise_engine::convert::plan::{Content, Stored};
use fraise_engine::convert::{
    ByteSource, Plan, Prediction, SafetensorsFile, Vocabulary, add_lora, embedding, plan_checkpoint, preview, write,
};
use fraise_engine::pack::Quantization;
use fraise_engine::pack::writer::PackOptions;
use fraise_engine::weights::Scheme;
use pollster::block_on;
use serde_json::{Value, json};

use crate::checkpoints::{Family, Pieces, vocabulary};
use crate::common::Random;
use crate::harness::{accepted, fuzz, turn, within};
use crate::mutate::{mutated, one_in, pick};

const CODES: [&str; 5] = ["Manifest", "MissingTensor", "Request", "ShapeMismatch", "UnexpectedTensor"];
/// Lengths of dimensions that models have, or nearly.
const LENGTHS: [u64; 16] = [0, 1, 2, 3, 4, 5, 8, 9, 16, 32, 64, 77, 128, 129, 1024, 4097];
/// And those that nothing has.
const HUGE_LENGTHS: [u64; 4] = [65_537, 1 << 32, 1 << 53, u64::MAX];
const DTYPES: [&str; 8] = ["F32", "F32", "F16", "BF16", "F64", "U8", "I64", "F8_E4M3"];
/// Most bytes of numbers where they are read, not only listed.
const MAX_READ_BYTES: u64 = 1 << 20;

const PACK: PackOptions = PackOptions { quantization: Quantization::All(Scheme::Q8), piece_bytes: 4096 };

/// A tensor in a file's list.
#[derive(Debug, Clone)]
struct Listed {
    name: String,
    dtype: &'static str,
    shape: Vec<u64>,
}

/// A file of such tensors; its numbers are all zero.
#[derive(Debug, Clone)]
struct File {
    tensors: Vec<Listed>,
    metadata: Option<String>,
    /// How it is to be taken, among the ways of its kind.
    way: usize,
}

/// A [`File`] as bytes, those behind the header made when they are read.
#[derive(Clone)]
struct Zeros {
    header: Vec<u8>,
    len_bytes: u64,
}

impl ByteSource for Zeros {
    fn name(&self) -> &str {
        "folder/Word.safetensors"
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let given = self.header.iter().skip(range.start as usize);
        bytes.iter_mut().zip(given).for_each(|(byte, given)| *byte = *given);
        Ok(bytes)
    }
}

fn open(zeros: Zeros) -> Result<SafetensorsFile<Zeros>> {
    block_on(SafetensorsFile::open("file", zeros))
}

impl Listed {
    fn new(name: &str, shape: &[u64]) -> Self {
        Self { name: name.to_owned(), dtype: "F32", shape: shape.to_vec() }
    }

    /// Its length in bytes; what no file could have counts as the longest.
    fn bytes(&self) -> u64 {
        let bytes = match self.dtype {
            "U8" | "F8_E4M3" => 1,
            "F16" | "BF16" => 2,
            "F32" => 4,
            _ => 8,
        };
        self.shape.iter().try_fold(bytes, |product: u64, &length| product.checked_mul(length)).unwrap_or(u64::MAX)
    }
}

impl File {
    fn new(tensors: Vec<Listed>) -> Self {
        Self { tensors, metadata: None, way: 0 }
    }

    fn zeros(&self) -> Zeros {
        let mut fields = Vec::new();
        if let Some(metadata) = &self.metadata {
            fields.push(format!("\"__metadata__\":{}", json!({ "lora_adapter_metadata": metadata })));
        }
        let mut start = 0u64;
        for tensor in &self.tensors {
            let end = start.saturating_add(tensor.bytes());
            let (name, dtype, shape) = (json!(tensor.name), tensor.dtype, json!(tensor.shape));
            fields.push(format!(r#"{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#));
            start = end;
        }
        let json = format!("{{{}}}", fields.join(","));
        let header = [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        Zeros { len_bytes: start.saturating_add(header.len() as u64), header }
    }

    /// Changes a few tensors, or many that have something in common.
    fn mutate(&mut self, random: &mut Random, words: &[&str]) {
        for _ in 0..random.between(0, 3) {
            if self.tensors.is_empty() {
                return;
            }
            let at = random.between(0, self.tensors.len() - 1);
            match random.between(0, 5) {
                0 => drop(self.tensors.remove(at)),
                1 => self.tensors.insert(at, self.tensors[at].clone()),
                2 => self.change_all(random, at),
                _ => (),
            }
            if let Some(tensor) = self.tensors.get_mut(at) {
                change(random, tensor, words);
            }
        }
    }

    /// Changes whatever has a length, or the beginning of the name, of the tensor at `at`.
    fn change_all(&mut self, random: &mut Random, at: usize) {
        let Listed { name, shape, .. } = self.tensors[at].clone();
        if one_in(random, 2) && !shape.is_empty() {
            let (old, new) = (*pick(random, &shape), *pick(random, &LENGTHS));
            let lengths = self.tensors.iter_mut().flat_map(|tensor| &mut tensor.shape);
            return lengths.filter(|length| **length == old).for_each(|length| *length = new);
        }
        let dots: Vec<usize> = name.match_indices('.').map(|(dot, _)| dot).collect();
        if !dots.is_empty() {
            let prefix = &name[..*pick(random, &dots)];
            self.tensors.retain(|tensor| !tensor.name.starts_with(prefix));
        }
    }
}

fn change(random: &mut Random, tensor: &mut Listed, words: &[&str]) {
    let lengths: &[u64] = if one_in(random, 8) { &HUGE_LENGTHS } else { &LENGTHS };
    match random.between(0, 7) {
        0 => tensor.name = (*pick(random, words)).to_owned(),
        1 => {
            let name = mutated(random, &[tensor.name.clone().into_bytes()], words);
            tensor.name = String::from_utf8_lossy(&name).chars().take(600).collect();
        }
        2 => tensor.dtype = *pick(random, &DTYPES),
        3 => tensor.shape.push(*pick(random, lengths)),
        4 => drop(tensor.shape.pop()),
        5 => tensor.shape.reverse(),
        _ if !tensor.shape.is_empty() => {
            let at = random.between(0, tensor.shape.len() - 1);
            tensor.shape[at] = *pick(random, lengths);
        }
        _ => (),
    }
}

#[test]
fn checkpoints() {
    let _turn = turn();
    let files: Vec<File> = ["sd1", "sd2", "sdxl"].into_iter().map(listed).collect();
    let words =
        ["edm_mean", "v_pred", "ztsnr", "vae.", "cond_stage_model.", "conditioner.embedders.0.model.", "0", "."];
    let next = |random: &mut Random| {
        let mut file = pick(random, &files).clone();
        file.mutate(random, &words);
        File { way: random.between(0, 2), ..file }
    };
    let vocabulary = vocabulary();
    fuzz("checkpoint", files.clone(), next, |file| check_checkpoint(file, &vocabulary));
}

/// The tensors of a family's tiny checkpoint.
fn listed(family: &str) -> File {
    let family = Family::load(family);
    let lines = family.lines.iter().map(|line| (&line.source, &line.shape)).chain(&family.left_out);
    let mut names = BTreeSet::new();
    let lengths = |shape: &[usize]| shape.iter().map(|&length| length as u64).collect::<Vec<_>>();
    // A tensor that becomes three is listed three times.
    let lines = lines.filter(|(name, _)| names.insert((*name).clone()));
    File::new(lines.map(|(name, shape)| Listed::new(name, &lengths(shape))).collect())
}

fn check_checkpoint(file: &File, vocabulary: &Vocabulary) -> bool {
    let zeros = file.zeros();
    let len_bytes = zeros.len_bytes;
    let Some(opened) = accepted(open(zeros), &["Manifest"]) else { return false };
    let prediction = [None, Some(Prediction::Epsilon), Some(Prediction::VPrediction)][file.way];
    let header_bytes = opened.header().data_start;
    let limit = (1 << 20) + 64 * header_bytes as usize;
    let planned = within(limit, || plan_checkpoint(&opened, vocabulary, prediction));
    let Some(checkpoint) = accepted(planned, &CODES) else { return false };
    assert!(prediction.is_none_or(|given| given == checkpoint.prediction));
    keeps_the_rules(&checkpoint.plan, std::slice::from_ref(&(header_bytes..len_bytes)));
    true
}

/// Each tensor once, as long as its shape says, and from within the numbers of one of the files.
fn keeps_the_rules(plan: &Plan, files: &[Range<u64>]) {
    let components: BTreeSet<&str> = plan.components.iter().map(|component| component.name.as_str()).collect();
    assert_eq!(components.len(), plan.components.len());
    for component in &plan.components {
        let names: BTreeSet<&str> = component.tensors.iter().map(|tensor| tensor.info.name.as_str()).collect();
        assert_eq!(names.len(), component.tensors.len(), "{}", component.name);
        for tensor in &component.tensors {
            let info = &tensor.info;
            assert_eq!(info.shape.iter().product::<usize>() * info.dtype.bitsize() / 8, info.bytes, "{}", info.name);
            let (Content::Stored(stored) | Content::Transposed(stored, _) | Content::Extended(stored, _)) =
                &tensor.content
            else {
                continue;
            };
            let Stored { file, start, bytes, .. } = *stored;
            assert!(files[file].start <= start && start + bytes as u64 <= files[file].end, "{}", info.name);
        }
        accepted(component.pack_bytes(PACK), &CODES);
    }
}

/// What may be added to a model.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Lora,
    Embedding,
    Preview,
}

/// Names, and parts of names, that mean something in what is added.
const WORDS: &str = "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight lora_te_ lora_te2_ .alpha .dora_scale \
                     unet.mid_block.attentions.0.proj_in.lora_A.weight .lora_mid.weight .processor. _to_q \
                     base_model.model. clip_l clip_g emb_params <a> decoder.layers.0.weight 1.weight";

#[test]
fn additions() {
    let _turn = turn();
    let models = [false, true].map(Model::new);
    let seeds = additions_corpus();
    let words: Vec<&str> = WORDS.split(' ').collect();
    let metadata = [json!({}), json!({ "unet.lora_alpha": 1e308 }), json!({ "unet.use_dora": true }), json!([0])];
    let next = |random: &mut Random| {
        let (kind, mut file) = pick(random, &seeds).clone();
        file.mutate(random, &words);
        for tensor in &mut file.tensors {
            if tensor.bytes() > MAX_READ_BYTES {
                tensor.shape = vec![*pick(random, &LENGTHS)];
            }
        }
        file.metadata = one_in(random, 6).then(|| pick(random, &metadata).to_string());
        (kind, File { way: random.between(0, 5), ..file })
    };
    // Empty, and wider than any number.
    let wide = File::new(vec![Listed::new("1.weight", &[0, 4, 3, u64::MAX, 4097])]);
    let corpus = [seeds.clone(), vec![(Kind::Preview, wide)]].concat();
    fuzz("additions", corpus, next, |(kind, file)| check_addition(*kind, file, &models[file.way % 2]));
}

fn additions_corpus() -> Vec<(Kind, File)> {
    let file = |kind, tensors: &[(&str, &[u64])], way| {
        let tensors = tensors.iter().map(|(name, shape)| Listed::new(name, shape)).collect();
        (kind, File { way, ..File::new(tensors) })
    };
    let kohya: [(&str, &[u64]); 3] = [
        ("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", &[8, 4]),
        ("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", &[4, 8]),
        ("lora_unet_mid_block_attentions_0_proj_in.alpha", &[]),
    ];
    let peft: [(&str, &[u64]); 2] = [
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", &[4, 8]),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight", &[8, 4]),
    ];
    let kernel: [(&str, &[u64]); 3] = [
        ("unet.mid_block.resnets.0.conv1.lora_down.weight", &[2, 8, 1, 1]),
        ("unet.mid_block.resnets.0.conv1.lora_mid.weight", &[2, 2, 3, 3]),
        ("unet.mid_block.resnets.0.conv1.lora_up.weight", &[8, 2, 1, 1]),
    ];
    let decoder: [(&str, &[u64]); 2] = [("decoder.layers.0.weight", &[8, 4, 3, 3]), ("decoder.layers.0.bias", &[8])];
    vec![
        file(Kind::Lora, &kohya, 0),
        file(Kind::Lora, &peft, 0),
        file(Kind::Lora, &kernel, 1),
        file(Kind::Embedding, &[("emb_params", &[3, 8])], 0),
        file(Kind::Embedding, &[("clip_l", &[2, 8]), ("clip_g", &[2, 8])], 1),
        file(Kind::Preview, &decoder, 0),
        file(Kind::Preview, &[("1.weight", &[8, 4, 3, 3])], 0),
    ]
}

/// A model of a few small weights, with one text encoder or two.
struct Model {
    plan: Plan,
    files: Vec<File>,
}

impl Model {
    fn new(has_second: bool) -> Self {
        let text = File::new(vec![
            Listed::new("text_model.embeddings.token_embedding.weight", &[8, 8]),
            Listed::new("text_model.encoder.layers.0.self_attn.q_proj.weight", &[8, 8]),
        ]);
        let unet = File::new(vec![
            Listed::new("mid_block.attentions.0.proj_in.weight", &[8, 8]),
            Listed::new("mid_block.resnets.0.conv1.weight", &[8, 8, 3, 3]),
            Listed::new("conv_in.bias", &[8]),
        ]);
        let unet_config: Value = Family::load(if has_second { "sdxl" } else { "sd1" }).configs["unet"].clone();
        let mut parts = vec![("unet", unet_config, unet), ("text_encoder", json!({}), text.clone())];
        if has_second {
            parts.push(("text_encoder_2", json!({}), text));
        }
        let mut plan = Plan { pipeline: "p".into(), scheduler: Value::Null, components: Vec::new() };
        let files: Vec<File> = parts.iter().map(|(.., file)| file.clone()).collect();
        for (index, (part, config, _)) in parts.iter().enumerate() {
            let opened: Vec<_> = files[..=index].iter().map(|file| open(file.zeros()).unwrap()).collect();
            plan.add_part(part, config, index, &opened).unwrap();
        }
        for name in ["tokenizer", "tokenizer_2"].into_iter().take(parts.len() - 1) {
            plan.add_tokenizer(name, json!({}), b"a b\n".to_vec(), br#"{"a":0,"b":1,"ab":2}"#.to_vec());
        }
        Self { plan, files }
    }
}

/// Adds the file to the model, and writes what comes of it.
fn check_addition(kind: Kind, file: &File, model: &Model) -> bool {
    let zeros = file.zeros();
    let numbers = 8..zeros.len_bytes;
    let limit = (1 << 20) + 64 * zeros.len_bytes as usize;
    let Some(mut opened) = accepted(open(zeros), &["Manifest"]) else { return false };
    let mut files: Vec<_> = model.files.iter().map(|file| open(file.zeros()).unwrap()).collect();
    let mut plan = model.plan.clone();
    let added = within(limit, || match kind {
        Kind::Embedding => {
            let token = [None, Some("<x>"), Some("ab")][file.way / 2];
            block_on(embedding::add(&mut plan, &mut opened, token))
        }
        Kind::Lora => {
            files.push(opened);
            block_on(add_lora(&mut plan, &mut files, [1.0, -0.5, f32::MAX][file.way / 2]))
        }
        Kind::Preview => {
            files.push(opened);
            preview::add(&mut plan, &files, None)
        }
    });
    if accepted(added, &CODES).is_none() {
        return false;
    }
    let own = model.files.iter().map(|file| 8..file.zeros().len_bytes);
    keeps_the_rules(&plan, &own.chain([numbers]).collect::<Vec<_>>());
    let mut pieces = Pieces::default();
    let written = block_on(write(&plan, &mut files, PACK, &mut pieces, &mut |_| ()));
    accepted(written, &CODES).is_some()
}
