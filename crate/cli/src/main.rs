//! Fraise
fn main() {}
