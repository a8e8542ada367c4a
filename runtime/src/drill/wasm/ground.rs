//! What an attacker finds in the directory that it may write to: plain files, and what leads out of it.

use std::{
    io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use rustix::fs::{FileType, Mode};

use crate::{
    drill::{Ground, stage::write},
    home::{ambient, make_dir},
};

/// How the outside of an attack is reached from its inside: both are below the stage.
const UP: &str = "../../outside";
/// The same, from the directory above the inside.
const ABOVE: &str = "../outside";

/// Makes the inside of one attempt, and says what its names stand for: `inside`, and `up`, `above` for the way out of it.
///
/// # Errors
/// Whatever cannot be made.
pub fn plant(ground: &Ground, name: &str, slot: usize) -> io::Result<Ground> {
    let mut ground = ground.clone();
    let base = PathBuf::from(ground.get("rw").unwrap_or_default());
    let (rw, _) = ambient::open_named_dir(&base)?;
    let dir = make_dir(&rw, name)?;
    ground.set("up", format!("{UP}/a{slot}"));
    ground.set("above", format!("{ABOVE}/a{slot}"));
    ground.set("inside", base.join(name).to_string_lossy());
    furnish(&dir, &ground)?;
    Ok(ground)
}

fn furnish(dir: &Dir, ground: &Ground) -> io::Result<()> {
    let own = Mode::RUSR | Mode::WUSR;
    write(dir, "secret", b"granted", own)?;
    write(dir, "file", b"canary\n", own)?;
    write(&make_dir(dir, "dir")?, "file", b"canary\n", own)?;
    let links = [
        ("good", "file"),
        ("good-chain", "good"),
        ("here", "."),
        ("up", ".."),
        ("absolute", "{outside}/secret"),
        ("relative", "{up}/secret"),
        ("slash", "{outside}/"),
        ("chain", "chain-2"),
        ("chain-2", "chain-3"),
        ("chain-3", "absolute"),
        ("loop", "loop"),
        ("dangling", "{outside}/made"),
        ("to-file", "{outside}/file"),
        ("root", "/proc/self/root"),
    ];
    for (name, text) in links {
        rustix::fs::symlinkat(Path::new(&ground.fill(text)), dir, name)?;
    }
    rustix::fs::mknodat(dir, "pipe", FileType::Fifo, own, 0)?;
    Ok(())
}
