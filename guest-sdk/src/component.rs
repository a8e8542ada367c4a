//! The agent as a component: the export macro, and what it expands to.
//!
//! All `unsafe` of this crate is here, and none of it is written by hand but one attribute. The argument:
//!
//! - `generated` is what `wit-bindgen` makes of `wit/cell.wit`: the canonical ABI passes strings and lists as addresses in the component's own
//!   linear memory, which no safe code can read. It is compiled for WebAssembly alone; natively there is no `unsafe` code at all.
//! - [`export!`](crate::export) puts the SDK's version into a custom section. An attribute that names a section is `unsafe` because on other
//!   targets the linker would put the bytes where code or data of a form is expected. A custom section of WebAssembly has no effect on the
//!   program, and the attribute is left out everywhere else.

/// The version of `lazarus:cell` that this SDK was built against. Every component that it makes carries it in the custom section
/// `lazarus:sdk`, and a Lazarus that does not know that version refuses the component before it compiles it.
///
/// ```
/// assert_eq!(lazarus_guest::WIT_VERSION, "0.1.0");
/// ```
pub const WIT_VERSION: &str = "0.1.0";

/// Makes a type that implements [`Agent`](crate::Agent) the agent of this crate: once, at the top level of a crate whose type is `cdylib`.
///
/// Natively it only checks that the type is an agent, so that `cargo check` and `cargo test` say what is wrong, at this line.
///
/// ```
/// use lazarus_guest::Agent;
///
/// #[derive(Default)]
/// struct Keeper;
/// impl Agent for Keeper {}
/// lazarus_guest::export!(Keeper);
/// # fn main() {}
/// ```
///
/// A type that is no agent does not compile:
///
/// ```compile_fail
/// struct Stranger;
/// lazarus_guest::export!(Stranger);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($agent:ident $(,)?) => {
        const _: fn() = || {
            fn must_be_an_agent<A: $crate::Agent>() {}
            must_be_an_agent::<$agent>();
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::component::generated::exports::lazarus::cell::agent as wit;

            #[used]
            #[unsafe(link_section = "lazarus:sdk")]
            static VERSION: [u8; $crate::component::STAMP.len()] = $crate::component::STAMP;

            struct Component;

            impl wit::Guest for Component {
                fn start(beginning: wit::Beginning) -> ::core::result::Result<(), $crate::component::Text> {
                    $crate::component::life::start::<$agent>(beginning)
                }
                fn handle_message(message: wit::Message) -> ::core::result::Result<(), wit::Failure> {
                    $crate::component::life::message(message)
                }
                fn tick() -> ::core::result::Result<(), wit::Failure> {
                    $crate::component::life::tick()
                }
                fn close() {
                    $crate::component::life::close();
                }
            }

    $crate::__export_event_agent_impl!(Component with_types_in $crate::component::generated);
        };
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "`lazarus_guest::export!` takes the name of one type that implements `lazarus_guest::Agent`: `export!(Scribe);`"
        );
    };
}

/// What the section `lazarus:sdk` holds.
#[doc(hidden)]
pub const STAMP: [u8; WIT_VERSION.len()] = stamp();

#[doc(hidden)]
pub type Text = String;

const fn stamp() -> [u8; WIT_VERSION.len()] {
    let mut bytes = [0; WIT_VERSION.len()];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = WIT_VERSION.as_bytes()[at];
        at += 1;
    }
    bytes
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(unsafe_code, missing_docs, clippy::all)]
pub mod generated {
    wit_bindgen::generate!({ path: "wit/cell.wit", world: "event-agent", pub_export_macro: true });
}

#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod life;

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = include_str!("../wit/cell.wit");
    const FROZEN: &str = include_str!("../wit/since_v0.1.0/cell.wit");

    #[test]
    fn the_released_text_stands_unchanged() {
        assert_eq!(CURRENT, FROZEN, "cell.wit changed: give it a new version and its own folder, and leave the released text alone");
    }

    #[test]
    fn the_constants_are_those_of_the_text() {
        assert!(CURRENT.contains(&format!("\npackage lazarus:cell@{WIT_VERSION};\n")));
        assert_eq!(STAMP, WIT_VERSION.as_bytes());
        for (text, number) in [
            ("more than 32,768 bytes", crate::TEXT_MOST_BYTES as u64),
            ("At most 64 messages an event", crate::SENDS_MOST as u64),
            ("longer than 8,192 bytes", crate::LINE_MOST_BYTES as u64),
            ("At most 64 MiB each", crate::ARTIFACT_MOST_BYTES >> 20),
            ("64 of them an agent", crate::ARTIFACTS_MOST as u64),
            ("from the one after `after` on; at most 100", u64::from(crate::HISTORY_MOST)),
            ("one line each; at most 200", u64::from(crate::AUDIT_MOST)),
        ] {
            assert!(CURRENT.contains(text), "{text}");
            let digits: String = text.chars().filter(|c| c.is_ascii_digit()).collect();
            assert_eq!(digits.parse(), Ok(number), "{text}");
        }
        for role in crate::Role::ALL {
            assert!(CURRENT.contains(&format!("        {role},\n")), "{role}");
        }
    }
}
