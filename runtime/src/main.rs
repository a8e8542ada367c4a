//! The `lazarus` program.

fn main() -> std::process::ExitCode {
    lazarus::cli::main()
}
