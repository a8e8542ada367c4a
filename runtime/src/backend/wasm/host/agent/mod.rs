//! Agents that live by events: what they are asked, what they can ask, and when their memory goes.

mod bindings;
mod calls;
mod convert;
mod desk;
mod life;
mod member;
mod pulse;

pub use self::{
    bindings::EventAgentIndices,
    calls::{link_agent, link_command},
    desk::{Desk, Nonsense},
    life::{Linked, run},
    member::Member,
    pulse::Pulse,
};
