//! The `lazarus-jail` program: the reaper of a process agent, and nothing else of Lazarus. Small, since it is started with every agent.

fn main() -> std::process::ExitCode {
    lazarus::backend::process::main_reaper()
}
