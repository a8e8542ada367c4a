//! Directories of a double: the system's temporary place, removed with the double.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A directory that is removed when the last that uses it is gone.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes one that is empty.
    pub fn new(label: &str) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("lazarus-guest-{}-{number}-{label}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left by an earlier process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes away the right to write. Root writes all the same.
    pub fn read_only(&self, read_only: bool) {
        if let Ok(metadata) = fs::metadata(&self.0) {
            let mut permissions = metadata.permissions();
            set_mode(&mut permissions, read_only);
            // Where it cannot be done the double is as lenient as it is for root.
            let _ = fs::set_permissions(&self.0, permissions);
        }
    }
}

#[cfg(unix)]
fn set_mode(permissions: &mut fs::Permissions, read_only: bool) {
    use std::os::unix::fs::PermissionsExt;
    permissions.set_mode(if read_only { 0o555 } else { 0o755 });
}

#[cfg(not(unix))]
fn set_mode(permissions: &mut fs::Permissions, read_only: bool) {
    permissions.set_readonly(read_only);
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.read_only(false);
        // What is left of a test's files in the temporary place harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
