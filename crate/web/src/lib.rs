//! Fraise
