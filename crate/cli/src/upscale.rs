//! `fraise upscale`: a picture in, a larger one out, by a pack's upscaler.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use fraise_engine::kernels::Border;
use fraise_engine::limits::DeviceLimits;
use fraise_engine::picture::{MAX_PNG_BYTES, Picture, PictureInfo, read_info};
use fraise_engine::request::EffectiveRequest;
use fraise_engine::requirements::ModelShape;
use fraise_engine::store::Sha2Digest;
use fraise_engine::upscaler::Upscaler;
use fraise_engine::{Error, Result};

use crate::device::DeviceKind;
use crate::folder::{FolderStore, read_bounded, write_whole};
use crate::output;

/// Arguments of `fraise upscale`.
#[derive(Debug, Args)]
pub struct UpscaleArguments {
    /// The picture
    #[arg(value_name = "IN.png")]
    picture: PathBuf,
    /// Where the larger one goes; settings that Fraise saved in the picture go with it
    #[arg(value_name = "OUT.png")]
    out: PathBuf,
    /// Folder of a pack with an upscaler, or its manifest.json
    #[arg(long, value_name = "PACK")]
    pack: PathBuf,
    /// What computes
    #[arg(long, value_enum, default_value_t = DeviceKind::Gpu)]
    device: DeviceKind,
}

/// Makes one picture larger.
///
/// # Errors
/// [`Error::Request`] for what is no picture, or a pack without an upscaler; [`Error::NoWebGpu`] where there is no GPU;
/// what loading reports.
pub async fn run(arguments: &UpscaleArguments) -> Result<()> {
    let started = Instant::now();
    let png = read_png("IN.png", &arguments.picture)?;
    let picture = Picture::from_png(&png)?;
    let store = FolderStore::new(&arguments.pack);
    let manifest = store.manifest()?;
    let device = arguments.device.open()?;
    let limits = DeviceLimits::of(&device);
    ModelShape::of(&manifest)?.requirements(picture.width, picture.height, &limits).check_upscaling()?;
    let (upscaler, _) = Upscaler::load(&manifest, &store, &Sha2Digest, &device).await?;
    let info = read_info(&png).ok();
    let border = info.as_ref().map_or(Border::Zeros, |info| info.request.border());
    let larger = Picture::read(upscaler.forward_beyond(picture.to_tensor(&device), border)).await?;
    let info = info.map(|info| PictureInfo { request: EffectiveRequest { upscale: true, ..info.request }, ..info });
    write_whole(&arguments.out, &larger.to_png(info.as_ref())?)?;
    output::print(&format!(
        "{}: {}x{} from {}x{} in {:.2} s\n",
        arguments.out.display(),
        larger.width,
        larger.height,
        picture.width,
        picture.height,
        started.elapsed().as_secs_f64()
    ))
}

/// A PNG file's bytes; `argument` names it in errors.
///
/// # Errors
/// [`Error::Request`] where it is not there.
pub fn read_png(argument: &str, path: &Path) -> Result<Vec<u8>> {
    let missing = || Error::request(argument, format!("{} is not there", path.display()));
    read_bounded(path, MAX_PNG_BYTES as u64)?.ok_or_else(missing)
}
