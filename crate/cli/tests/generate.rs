//! `fraise generate` on a tiny random-weight pipeline, against what diffusers computed (tests/parity/make_models.py).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{done, fraise, refused};
use fraise_engine::picture::Picture;
use fraise_engine::request::PromptSyntax;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with the pack `model`, and places for what is generated.
struct Workplace {
    folder: TempDir,
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/goldens")
}

impl Workplace {
    fn new(model: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (goldens().join(model), folder.path().join("model"));
        let output = fraise(&["pack", source.to_str().unwrap(), out.to_str().unwrap(), "--quant", "f16"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn generate(&self, arguments: &[&str]) -> Output {
        fraise(&[&["generate", "--device", "cpu", "--model", &self.path("model")], arguments].concat())
    }

    /// Generates and saves; what was saved.
    fn saved(&self, arguments: &[&str]) -> Vec<u8> {
        let save = self.path("saved.safetensors");
        let output = self.generate(&[arguments, &["--save", &save]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(save).unwrap()
    }
}

/// The arguments of a run of tests/parity/goldens/index.json, and its golden file.
fn golden_run(name: &str) -> (Vec<String>, PathBuf) {
    golden_run_of("index.json", name)
}

fn golden_run_of(index: &str, name: &str) -> (Vec<String>, PathBuf) {
    let index: Value = serde_json::from_slice(&fs::read(goldens().join(index)).unwrap()).unwrap();
    let run = index["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
    let argument = |(key, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        [format!("--{key}"), value]
    };
    let arguments = run["request"].as_object().unwrap().iter().flat_map(argument).collect();
    (arguments, goldens().join(run["golden"].as_str().unwrap()))
}

fn tensor(file: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(file).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (tensor.shape().to_vec(), values)
}

/// Same shape, and no number further off than `tolerance` times the golden's greatest.
fn assert_close(found: &[u8], golden: &[u8], name: &str, tolerance: f32) {
    let ((shape, found), (golden_shape, golden)) = (tensor(found, name), tensor(golden, name));
    assert_eq!(shape, golden_shape, "{name}");
    let scale = golden.iter().fold(0f32, |most, value| most.max(value.abs()));
    let worst = found.iter().zip(&golden).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= tolerance * scale, "{name} is off by {worst} at a scale of {scale}");
}

fn text(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_guided_ddim_run_is_diffusers_run_from_its_seed_and_from_its_latents() {
    let (arguments, golden) = golden_run("run_ddim");
    let workplace = Workplace::new("tiny_sd");
    let from_seed = workplace.saved(&text(&arguments));
    let from_latents =
        workplace.saved(&[&text(&arguments)[..], &["--init-latents", golden.to_str().unwrap()]].concat());
    let golden = fs::read(golden).unwrap();
    for found in [&from_seed, &from_latents] {
        for name in ["steps", "final_latents", "image"] {
            assert_close(found, &golden, name, 1e-4);
        }
    }
}

#[test]
fn a_stochastic_run_draws_the_same_noise_as_diffusers() {
    let (arguments, golden) = golden_run("run_lcm");
    let found = Workplace::new("tiny_lcm").saved(&text(&arguments));
    assert_close(&found, &fs::read(golden).unwrap(), "image", 1e-4);
}

#[test]
fn the_same_request_gives_the_same_file_and_another_seed_another() {
    let workplace = Workplace::new("tiny_sd");
    let paint = |seed: &str, name: &str| {
        let path = workplace.path(name);
        let output = workplace.generate(&["--prompt", "草莓", "--steps", "2", "--seed", seed, "-o", &path]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains(&path));
        fs::read(path).unwrap()
    };
    let first = paint("5", "first.png");
    assert_eq!(first, paint("5", "second.png"));
    assert_ne!(first, paint("6", "third.png"));
    let info = fraise_engine::picture::read_info(&first).unwrap();
    assert_eq!((info.request.prompt.as_str(), info.request.seed, info.request.steps), ("草莓", 5, 2));
    assert_eq!(info.model, "tiny_sd");
}

#[test]
fn what_found_no_room_is_noted_and_chunks_give_it_room() {
    let workplace = Workplace::new("tiny_sd");
    let prompt = format!("{}the red sea at night", "a photo, ".repeat(25));
    let paint = |name: &str, options: &[&str]| {
        let path = workplace.path(name);
        let arguments = [&["--prompt", &prompt, "--steps", "1", "-o", &path], options].concat();
        let output = workplace.generate(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (fs::read(path).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (plain, note) = paint("plain.png", &[]);
    assert_eq!(note, "note: the prompt is too long by 5 tokens; not painted: the red sea at night\n");
    let (chunked, note) = paint("chunked.png", &["--prompt-syntax", "a1111"]);
    assert_eq!(note, "");
    assert_ne!(plain, chunked);
    let [plain, chunked] = [plain, chunked].map(|png| fraise_engine::picture::read_info(&png).unwrap().request);
    assert_eq!((plain.prompt_syntax, plain.truncated.len()), (PromptSyntax::Plain, 1));
    assert_eq!((chunked.prompt_syntax, chunked.truncated.len()), (PromptSyntax::A1111, 0));
}

#[test]
fn what_is_to_be_left_out_is_said_in_the_prompt_where_the_pack_says_how() {
    let workplace = Workplace::new("tiny_sd");
    let path = workplace.path("model/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let out = workplace.path("out.png");
    let paint = |prompt: &str, negative: &[&str]| {
        let run = ["--prompt", prompt, "--steps", "1", "--guidance", "1", "-o", &out];
        let output = workplace.generate(&[&run, negative].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let png = fs::read(&out).unwrap();
        let request = fraise_engine::picture::read_info(&png).unwrap().request;
        (Picture::from_png(&png).unwrap().rgb, request, String::from_utf8(output.stderr).unwrap())
    };
    let (plain, ..) = paint("a red sea", &[]);
    assert_eq!(paint("a red sea", &["--negative", "grass"]).0, plain, "there is no guidance");

    manifest["negative_phrase"] = " without ".into();
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let (spoken, request, note) = paint("a red sea", &["--negative", "grass"]);
    assert!(spoken == paint("a red sea without grass", &[]).0 && spoken != plain);
    assert_eq!((request.prompt.as_str(), request.negative.as_deref(), note.as_str()), ("a red sea", Some("grass"), ""));
    let (_, request, note) = paint(&"a photo, ".repeat(25), &["--negative", "the sea"]);
    assert_eq!(note, "note: the negative is too long by 2 tokens; not left out: the sea\n");
    assert_eq!(request.truncated.len(), 1);
}

#[test]
fn a_picture_is_made_larger_while_painting_or_later() {
    let workplace = Workplace::new("tiny_flow");
    let [small, later, at_once] = ["small.png", "later.png", "at_once.png"].map(|name| workplace.path(name));
    let paint = |out: &str, options: &[&str]| {
        let run = ["--prompt", "strawberry", "--steps", "1", "--width", "48", "--height", "32", "-o", out];
        let output = workplace.generate(&[&run, options].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    paint(&small, &[]);
    assert!(paint(&at_once, &["--upscale"]).contains("at_once.png: 96x64, "));
    let model = workplace.path("model");
    let told = done(&["upscale", &small, &later, "--pack", &model, "--device", "cpu"]);
    assert!(told.contains("later.png: 96x64 from 48x32 in "), "{told}");
    let [small, later, at_once] = [small, later, at_once].map(|path| fs::read(path).unwrap());
    let infos = [&small, &later, &at_once].map(|png| fraise_engine::picture::read_info(png).unwrap());
    assert_eq!(infos.each_ref().map(|info| info.request.upscale), [false, true, true]);
    assert_eq!(infos[1], infos[2], "the settings went along");
    let [later, at_once] = [later, at_once].map(|png| Picture::from_png(&png).unwrap());
    let worst = later.rgb.iter().zip(&at_once.rgb).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(3), "8 bits between painting and upscaling cost {worst:?} levels");

    let saved = workplace.saved(&["--prompt", "p", "--steps", "1", "--width", "32", "--height", "32", "--upscale"]);
    assert_eq!(tensor(&saved, "image").0, [1, 3, 64, 64]);
}

/// The arguments of a run of start_index.json, its start picture and mask written as PNGs, and its golden file.
fn started_run(name: &str, workplace: &Workplace) -> (Vec<String>, Vec<u8>) {
    let (mut arguments, golden) = golden_run_of("start_index.json", name);
    let golden = fs::read(golden).unwrap();
    for (tensor_name, argument) in [("start_picture", "--image"), ("mask", "--mask")] {
        if SafeTensors::deserialize(&golden).unwrap().tensor(tensor_name).is_ok() {
            let path = workplace.path(&format!("{tensor_name}.png"));
            fs::write(&path, picture(&tensor(&golden, tensor_name)).to_png(None).unwrap()).unwrap();
            arguments.extend([argument.to_owned(), path]);
        }
    }
    (arguments, golden)
}

/// Planes in [0, 1], [1, 3, height, width], as a picture.
fn picture((shape, values): &(Vec<usize>, Vec<f32>)) -> Picture {
    let [height, width] = [shape[2], shape[3]];
    let plane = width * height;
    let rgb = (0..plane * 3).map(|i| (values[i % 3 * plane + i / 3] * 255.0).round() as u8).collect();
    Picture { width: width as u32, height: height as u32, rgb }
}

#[test]
fn a_run_from_a_picture_is_diffusers_run() {
    let workplace = Workplace::new("tiny_sd");
    for name in ["run_start_euler", "run_mask_ddim"] {
        let (arguments, golden) = started_run(name, &workplace);
        let found = workplace.saved(&text(&arguments));
        for name in ["steps", "final_latents", "image"] {
            assert_close(&found, &golden, name, 1e-4);
        }
    }
}

#[test]
fn tiling_and_variations_are_saved_with_the_picture() {
    let workplace = Workplace::new("tiny_sd");
    let path = workplace.path("out.png");
    let small = ["--prompt", "p", "--steps", "1", "--width", "32", "--height", "32", "-o", &path];
    let options = ["--tiling", "--variation-seed", "7", "--variation-strength", "0.25"];
    let output = workplace.generate(&[&small[..], &options[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let request = fraise_engine::picture::read_info(&fs::read(&path).unwrap()).unwrap().request;
    assert!(request.tiling);
    assert_eq!(request.variation.map(|variation| (variation.seed, variation.strength)), Some((7, 0.25)));
    let refusals: [(&[&str], &str); 5] = [
        (&["--strength", "0.5"], "arguments"),
        (&["--mask", &path], "arguments"),
        (&["--variation-seed", "1"], "arguments"),
        (&["--image", "/nowhere.png"], "--image"),
        (&["--image", &path, "--strength", "2"], "strength"),
    ];
    for (arguments, field) in refusals {
        let output = workplace.generate(&[&small[..], arguments].concat());
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(line.starts_with(&format!("error[Request]: request field `{field}`: ")), "{arguments:?}: {line}");
    }
}

#[test]
fn pictures_are_ranked_by_a_prompt() {
    let workplace = Workplace::new("tiny_flow");
    let model = workplace.path("model");
    let golden = fs::read(goldens().join("tiny_flow/golden/tiny_flow_scorer.safetensors")).unwrap();
    let (_, scores) = tensor(&golden, "scores");
    let pictures = [0, 1].map(|index| {
        let path = workplace.path(&format!("{index}.png"));
        let picture = picture(&tensor(&golden, &format!("picture_{index}")));
        fs::write(&path, picture.to_png(None).unwrap()).unwrap();
        path
    });
    let prompt = "a photo of the red strawberry";
    let score = ["score", "--pack", &model, "--device", "cpu", "--prompt", prompt];
    let told = done(&[&score[..], &[&pictures[0], &pictures[1]]].concat());
    let mut expected: Vec<_> = scores.iter().zip(&pictures).collect();
    expected.sort_by(|a, b| b.0.total_cmp(a.0));
    let lines: String = expected.iter().map(|(score, path)| format!("{score:7.4}  {path}\n")).collect();
    assert_eq!(told, lines, "best first, as transformers scores them");

    assert!(refused(&[&score[..], &["/nowhere.png"]].concat(), "Request").contains("/nowhere.png is not there"));
    let other = Workplace::new("tiny_sd");
    let line = refused(
        &["score", "--pack", &other.path("model"), "--device", "cpu", "--prompt", "p", &pictures[0]],
        "Request",
    );
    assert!(line.contains("the pack has no scorer"), "{line}");
}

#[test]
fn a_picture_that_cannot_be_made_larger_is_one_line() {
    let workplace = Workplace::new("tiny_sd");
    let (model, out) = (workplace.path("model"), workplace.path("out.png"));
    let png = workplace.path("in.png");
    let upscale = |picture: &str| refused(&["upscale", picture, &out, "--pack", &model, "--device", "cpu"], "Request");
    assert!(upscale(&png).contains("in.png is not there"));
    fs::write(&png, "no picture").unwrap();
    assert!(upscale(&png).contains("field `png`"));
    fs::write(&png, Picture { width: 1, height: 1, rgb: vec![7; 3] }.to_png(None).unwrap()).unwrap();
    assert!(upscale(&png).contains("the pack has no upscaler"));
    let line = refused(&["generate", "--device", "cpu", "--model", &model, "--prompt", "p", "--upscale"], "Request");
    assert!(line.contains("field `upscale`"), "{line}");
}

#[test]
fn what_cannot_be_painted_is_one_line() {
    let workplace = Workplace::new("tiny_sd");
    let wrong_latents = goldens().join("tiny_sd/vae/diffusion_pytorch_model.safetensors");
    let deep = "(".repeat(40);
    let cases: [(&[&str], &str); 10] = [
        (&["--sampler", "magic"], "`sampler`"),
        (&["--steps", "0"], "`steps`"),
        (&["--steps", "151"], "`steps`"),
        (&["--guidance", "31"], "`guidance`"),
        (&["--width", "63"], "`width`"),
        (&["--height", "4096"], "`height`"),
        (&["--prompt-syntax", "a1111", "--negative", &deep, "--guidance", "5"], "`negative`"),
        (&["--prompt-syntax", "a1111", "--negative", "(x:101)", "--guidance", "5"], "`negative`"),
        (&["--init-latents", wrong_latents.to_str().unwrap()], "`init-latents`"),
        (&["--init-latents", "/nowhere.safetensors"], "`init-latents`"),
    ];
    for (arguments, field) in cases {
        let output = workplace.generate(&[&["--prompt", "x", "-o", "/nowhere/x.png"], arguments].concat());
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let expected = format!("error[Request]: request field {field}: ");
        assert!(line.starts_with(&expected) && line.lines().count() == 1, "{arguments:?}: {line}");
    }
    let (_, other_size) = golden_run("run_euler");
    let output = workplace.generate(&["--prompt", "x", "--init-latents", other_size.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("init_latents"), "latents of another size");
}
