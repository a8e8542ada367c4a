//! The member's side of its cell's talk: a process agent in its jail, or a person who joined.
//!
//! Needs no root, no registry and no rights on either: whoever is at the other end knows who this is from where the connection came.
//!
//! - [`Client`]: calls and their answers, one at a time;
//! - [`join`], [`resume`]: the way in for people, through the *door* of a cell; [`joined`] is what they keep.

mod client;
mod door;
pub mod joined;

pub use client::{Client, ClientError, SOCKET_VARIABLE};
pub use door::{DoorError, address, join, resume};
pub use joined::Joined;
