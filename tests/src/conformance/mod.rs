//! One set of lifecycle cases, three worlds: the process backend, the wasm backend, and a model of both in memory.
//!
//! [`each_case`](crate::each_case) is the only list of cases. Whatever is missing from it is dead code, which this module denies;
//! whatever is on it must exist as a function, and is run in every world, since [`Where`] and [`Behaviour`] are matched exhaustively.

#![deny(dead_code)]

mod cases;
mod fake;
mod real;
mod world;

use lazarus::cell::BackendKind;

pub use self::{
    real::Real,
    world::{Behaviour, World},
};

/// Hands the names of all cases, separated by commas, to a macro.
#[macro_export]
macro_rules! each_case {
    ($then:ident) => {
        $then! {
            summoning_makes_an_active_cell,
            an_agent_that_ends_well_closes_its_cell,
            an_agent_that_ends_badly_fails_its_cell,
            closing_tells_the_agent,
            closing_ends_who_does_not_listen,
            what_is_over_is_not_closed_again,
            every_state_can_be_destroyed,
            destroying_the_destroyed_is_success,
            what_is_not_over_is_listed,
            people_are_invited_once,
            nobody_is_invited_after_the_end,
            an_invited_agent_has_a_home_of_its_own,
            an_expired_cell_takes_no_invites,
            an_expired_cell_is_closed,
            extending_gives_time,
            what_is_over_is_not_extended,
            the_members_of_a_team_have_their_own_homes,
            one_agent_ending_leaves_the_others,
            a_read_only_mount_is_read_and_not_written,
            nothing_of_the_operators_environment_is_seen,
            logs_keep_what_was_written_and_make_it_harmless,
            an_unknown_cell_is_not_found,
        }
    };
}

/// A world in which every case must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// The real program, with process agents.
    Process,
    /// The real program, with wasm agents.
    Wasm,
    /// A model in memory, which decides by the same function.
    Fake,
}

impl Where {
    fn world(self) -> Box<dyn World> {
        match self {
            Self::Process => Box::new(Real::new(BackendKind::Process)),
            Self::Wasm => Box::new(Real::new(BackendKind::Wasm)),
            Self::Fake => Box::new(fake::Fake::default()),
        }
    }
}

macro_rules! runner {
    ($($case:ident,)*) => {
        /// A case, by the name of its function.
        #[allow(non_camel_case_types, missing_docs, reason = "each is documented where it is written")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Case {
            $($case,)*
        }

        impl Case {
            /// Runs the case in a fresh world.
            pub fn holds_in(self, place: Where) {
                let mut world = place.world();
                match self {
                    $(Self::$case => cases::$case(world.as_mut()),)*
                }
            }
        }
    };
}

each_case!(runner);
