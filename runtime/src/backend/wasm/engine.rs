//! The engine's settings: one place for the compiling process and the host.
//!
//! A compiled artefact only loads into an engine with the same compile-time settings, so these are the same for every
//! agent. What differs from agent to agent (its stack) is a run-time setting; everything else per agent lives in its store.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, Strategy, WasmFeatures};

use super::text::hex;
use crate::policy::ByteSize;

/// Raised when a change here, or in what a compiled artefact means to the host, makes older cache files unusable.
const SETTINGS_VERSION: u32 = 2;

/// Stack beyond the guest's own that its fiber has for host functions. wasmtime leaves 1.5 MiB by default; unoptimised builds of
/// the path-resolving code need more than release builds do. It is address space until it is touched.
const HOST_STACK_BYTES: usize = 1536 * 1024;

/// Frames that wasmtime collects for a trap; the report names the innermost few.
const BACKTRACE_FRAMES: usize = 8;

/// What an engine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To compile, and to name what was compiled (its cache key).
    Compile,
    /// To run one agent, with this much stack. There is no compiler in such an engine.
    Run {
        /// The guest's stack.
        stack: ByteSize,
    },
}

/// Builds the engine's settings.
pub fn config(purpose: Purpose) -> Config {
    let mut config = Config::new();
    match purpose {
        Purpose::Compile => {
            // Never Winch: CVE-2026-34987.
            config.strategy(Strategy::Cranelift);
            config.cranelift_opt_level(OptLevel::Speed);
            config.cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
            // Threads of the compiling process, which has a jail and a deadline of its own.
            config.parallel_compilation(true);
        }
        Purpose::Run { stack } => {
            config.enable_compiler(false);
            config.max_wasm_stack(stack.as_usize());
            config.async_stack_size(stack.as_usize().saturating_add(HOST_STACK_BYTES));
        }
    }
    // CPU time is limited through epochs, which cost a tenth of a tight loop; fuel would cost more and count no host calls.
    config.epoch_interruption(true);
    config.consume_fuel(false);
    proposals(&mut config);
    // Function names suffice to describe a trap; the map from machine code to byte offsets would add a third to every artefact.
    config.generate_address_map(false);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES));
    // Native debuggers and unwinders have no business in a guest; wasmtime walks its frames itself.
    config.native_unwind_info(false);
    config.debug_info(false);
    config
}

/// Turns WebAssembly proposals on and off. Off: what few programs need and what is young in the engine, since each is surface.
fn proposals(config: &mut Config) {
    // Threads, GC, exceptions, preview 3 and component-model async (CVE-2026-115384) are not even built in: see the features of the
    // `wasmtime` dependency. Shared memory would escape the limiter, and a guest's threads the CPU budget. 64-bit memories lose their
    // guard pages, and make single bulk operations unbounded.
    config.shared_memory(false);
    let off = WasmFeatures::THREADS
        | WasmFeatures::SHARED_EVERYTHING_THREADS
        | WasmFeatures::MEMORY64
        | WasmFeatures::GC
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::STACK_SWITCHING
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::WIDE_ARITHMETIC;
    config.wasm_features(off, false);
    // Several memories are common in components, and counted together by our limiter.
    config.wasm_multi_memory(true);
    config.wasm_component_model(true);
    // Vector instructions whose results may differ between processors: fixed to one result.
    config.wasm_relaxed_simd(true);
    config.relaxed_simd_deterministic(true);
    // Old, and used by compilers of functional languages.
    config.wasm_tail_call(true);
}

/// Makes an engine.
///
/// # Errors
/// What wasmtime refuses; with these settings, only an unsupported processor or no memory.
pub fn engine(purpose: Purpose) -> wasmtime::Result<Engine> {
    Engine::new(&config(purpose))
}

/// Feeds what a value hashes into SHA-256: the compatibility hash of wasmtime is only offered as a [`Hash`].
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Never asked for: the digest is taken from the field.
        0
    }
}

/// Names the artefact of a source under an engine: the same source, wasmtime, settings and processor features, the same name.
///
/// `engine` must be one for [`Purpose::Compile`].
pub fn cache_key(source_digest: &[u8; 32], engine: &Engine) -> String {
    let mut feed = Feed(Sha256::new_with_prefix(b"lazarus compiled wasm\0"));
    feed.write_u32(SETTINGS_VERSION);
    feed.write(source_digest);
    engine.precompile_compatibility_hash().hash(&mut feed);
    hex(&feed.0.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_source_and_nothing_that_changes_between_calls() {
        let one = engine(Purpose::Compile).expect("an engine");
        let two = engine(Purpose::Compile).expect("an engine");
        let key = cache_key(&[7; 32], &one);
        assert_eq!(key.len(), 64);
        assert!(key.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(key, cache_key(&[7; 32], &two));
        assert_ne!(key, cache_key(&[8; 32], &one));
    }

    #[test]
    fn a_key_depends_on_compile_time_settings() {
        let one = engine(Purpose::Compile).expect("an engine");
        let other = Engine::new(config(Purpose::Compile).epoch_interruption(false)).expect("an engine");
        assert_ne!(cache_key(&[7; 32], &one), cache_key(&[7; 32], &other));
    }

    #[test]
    fn young_proposals_are_refused_when_compiling() {
        let engine = engine(Purpose::Compile).expect("an engine");
        for (what, text) in [
            ("shared memory", "(module (memory 1 1 shared))"),
            ("memory64", "(module (memory i64 1))"),
            ("gc", "(module (type (struct (field i32))))"),
            ("exceptions", "(module (tag))"),
            ("typed function references", "(module (type $t (func)) (func (param (ref $t))))"),
            ("page sizes", "(module (memory 1 (pagesize 1)))"),
        ] {
            assert!(engine.precompile_module(text.as_bytes()).is_err(), "{what}");
        }
        assert!(engine.precompile_module(b"(module (memory 1) (memory 1))").is_ok(), "several memories");
    }

    #[test]
    fn every_stack_size_gives_an_engine() {
        for stack in [ByteSize::kib(16), ByteSize::kib(512), ByteSize::mib(16)] {
            assert!(engine(Purpose::Run { stack }).is_ok(), "{stack}");
        }
    }
}
