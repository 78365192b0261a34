//! Storing what a tile's invocations have summed up.

use super::{Reads, Tile};
use crate::kernels::launch::AXES;

/// How results lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Results {
    /// In any way: number by number.
    Numbers,
    /// Rows of whole vectors, [.., N], or one such result after the other.
    Rows,
    /// Maps of whole vectors, [B, N, ..].
    Maps,
}

/// Where output `n` of the row `p` is.
const ROW: &str = "(n / info.part * info.p + p) * info.part + n % info.part";

impl Results {
    const ALL: [Self; 3] = [Self::Numbers, Self::Rows, Self::Maps];

    /// Those of `n` outputs in each result; `pixels` of one image where they are maps.
    pub fn of(n: usize, pixels: Option<usize>) -> Self {
        match pixels {
            None if n.is_multiple_of(4) => Self::Rows,
            Some(pixels) if pixels.is_multiple_of(4) => Self::Maps,
            _ => Self::Numbers,
        }
    }

    /// As `self as u32` gave it.
    pub fn from_key(key: u32) -> Self {
        Self::ALL[key as usize]
    }

    /// Element of the results' buffer.
    pub fn element(self) -> &'static str {
        if self == Self::Numbers { "f32" } else { "vec4<f32>" }
    }

    /// Stores the sums `a{p}_{h}` of an invocation.
    pub fn text(self, tile: &Tile, reads: &Reads) -> String {
        let mut text = "let n0 = tile_n + n_ * 4u; let p0 = tile_p + p_ * 4u;\n".to_owned();
        for p in 0..tile.each_p {
            let step = p / 4 * (tile.p * 4 / tile.each_p) + p % 4;
            match self {
                Self::Numbers => {
                    let mut values = Vec::new();
                    for h in 0..tile.each_n / 4 {
                        let first = h * tile.n * 4 / tile.each_n;
                        values.extend((0..4).map(|c| (first + c, format!("a{p}_{h}.{}", AXES[c as usize]))));
                    }
                    text += &reads.stores(&format!("(p0 + {step}u)"), Some("split"), &values);
                }
                Self::Rows => {
                    text += &format!("{{ let p = p0 + {step}u;\n");
                    for h in 0..tile.each_n / 4 {
                        text += &format!("{{ let n = n0 + {}u;\n", h * tile.n * 4 / tile.each_n);
                        text += &vector(reads, ROW, &format!("a{p}_{h}"));
                    }
                    text += "}\n";
                }
                // Four positions at once.
                Self::Maps if p % 4 == 0 => {
                    text +=
                        &format!("{{ let p = p0 + {step}u; let map = p / info.to * info.n; let pixel = p % info.to;\n");
                    for n in 0..tile.each_n {
                        let (h, axis) = (n / 4, AXES[n as usize % 4]);
                        let values: Vec<_> = (p..p + 4).map(|p| format!("a{p}_{h}.{axis}")).collect();
                        text += &format!("{{ let n = n0 + {}u;\n", h * tile.n * 4 / tile.each_n + n % 4);
                        text +=
                            &vector(reads, "(map + n) * info.to + pixel", &format!("vec4<f32>({})", values.join(", ")));
                    }
                    text += "}\n";
                }
                Self::Maps => {}
            }
        }
        text
    }
}

/// Closes a block in which `n` and `p` are a result's output and position: stores the vector `value` from `place` on. Where the
/// sum is cut into spans, each has a result of its own, and the first one has what is added.
fn vector(reads: &Reads, place: &str, value: &str) -> String {
    let added = if reads.has_plus() { " + plus[place] * f32(split == 0u)" } else { "" };
    format!(
        "if (n < info.n && p < info.p) {{ let place = ({place}) / 4u; \
         y[split * (info.n * info.p / 4u) + place] = {value}{added}; }}\n}}\n"
    )
}
