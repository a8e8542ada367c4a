//! The harness: the real `lazarus`, in a root of its own, with a cleared environment.

pub mod built;
pub mod conformance;
pub mod guests;
pub mod lab;
pub mod planted;
pub mod processes;

pub use lab::{Lab, Outcome};
