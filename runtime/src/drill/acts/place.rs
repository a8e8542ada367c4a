//! What an attack has of its own in the cell: the same as its plot outside, so that the twin differs in the place alone.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

/// Makes the place of an attack, if it is not there yet: `secret`, `file`, `program`, `dir/file`.
pub(in crate::drill) fn make_place(inside: &Path) -> io::Result<()> {
    if inside.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(inside.join("dir"))?;
    for (name, content) in [("secret", "granted"), ("file", "canary\n"), ("program", "#!/bin/sh\necho ran\n"), ("dir/file", "canary\n")] {
        fs::write(inside.join(name), content)?;
    }
    fs::set_permissions(inside.join("program"), fs::Permissions::from_mode(0o700))
}
