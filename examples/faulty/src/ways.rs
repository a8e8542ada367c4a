//! The ways in which an event goes wrong.

use std::{hint, process, thread, time::Duration};

use lazarus_guest::Failure;

/// Goes the way that a text names, if it names one; all but the last three never return.
///
/// | text | what happens |
/// |---|---|
/// | `panic`, `trap`, `exit CODE` | the instance ends |
/// | `spin` | it uses CPU for ever |
/// | `sleep SECONDS` | it waits, using none; then it goes on |
/// | `grow MIB` | it takes memory; then it goes on |
/// | `deep` | it uses up its stack |
/// | `retry WHY`, `park WHY` | it fails as an agent should |
pub fn go(text: &str) -> Result<(), Failure> {
    let (word, rest) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
    match word {
        "panic" => panic!("told to panic {rest}"),
        "trap" => process::abort(),
        "exit" => process::exit(rest.parse().unwrap_or(1)),
        "spin" => loop {
            hint::spin_loop();
        },
        "sleep" => thread::sleep(Duration::from_secs_f64(rest.parse().map_err(Failure::park)?)),
        "grow" => {
            let mib: usize = rest.parse().map_err(Failure::park)?;
            hint::black_box(vec![1_u8; mib << 20]);
        }
        "deep" => {
            hint::black_box(deeper(1));
        }
        "retry" => return Err(Failure::retry(rest)),
        "park" => return Err(Failure::park(rest)),
        _ => {}
    }
    Ok(())
}

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let frame = hint::black_box([depth; 64]);
    deeper(depth + 1) + frame[0]
}
