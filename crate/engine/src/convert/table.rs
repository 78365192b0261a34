//! What a family's checkpoint consists of: every tensor's original name, its name in diffusers, and its shape.
//!
//! One list serves for the mapping of names, for finding missing, unexpected and misshapen tensors, and for reading
//! LoRAs that use the original names.

/// How a tensor is made from its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is, possibly without trailing dimensions of 1 (a 1x1 convolution that became a matrix).
    Whole,
    /// The given third of its rows: OpenCLIP keeps query, key and value in one matrix.
    Third(usize),
    /// Rows and columns exchanged.
    Transposed,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name in the original layout, below the model's prefix.
    pub source: String,
    /// Name in diffusers' layout.
    pub name: String,
    /// Shape in diffusers' layout.
    pub shape: Vec<usize>,
    /// What lies between the two.
    pub form: Form,
}

/// Collects rows; `source` and `name` of its methods are names below which `weight` and `bias` lie.
#[derive(Debug, Default)]
pub struct Table {
    /// The rows so far.
    pub rows: Vec<Row>,
}

impl Table {
    /// One tensor, under full names.
    pub fn tensor(&mut self, source: impl Into<String>, name: impl Into<String>, shape: &[usize], form: Form) {
        self.rows.push(Row { source: source.into(), name: name.into(), shape: shape.to_vec(), form });
    }

    /// A weight alone.
    pub fn weight(&mut self, source: &str, name: &str, shape: &[usize]) {
        self.tensor(format!("{source}.weight"), format!("{name}.weight"), shape, Form::Whole);
    }

    /// A weight, and a bias as long as its first dimension.
    pub fn layer(&mut self, source: &str, name: &str, shape: &[usize]) {
        self.weight(source, name, shape);
        self.tensor(format!("{source}.bias"), format!("{name}.bias"), &shape[..1], Form::Whole);
    }

    /// A convolution with a square kernel.
    pub fn conv(&mut self, source: &str, name: &str, [out, input, kernel]: [usize; 3]) {
        self.layer(source, name, &[out, input, kernel, kernel]);
    }
}
