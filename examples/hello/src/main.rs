//! The smallest agent.
//!
//! The one idea: a plain program is an agent. It knows nothing of Lazarus, uses no SDK, and runs unchanged.
//!
//! What it was granted: nothing. It greets on standard output, and with `--stay` lives until its standard input ends.

use std::io;

fn main() -> io::Result<()> {
    println!("hello from {}", std::env::var("LAZARUS_CELL").unwrap_or_else(|_| "outside".to_owned()));
    if std::env::args().any(|argument| argument == "--stay") {
        io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    }
    Ok(())
}
