//! Files by their names.

use std::{
    fs,
    io::{self, Read, Write},
};

/// Bytes of a file that are read: more than any secret of a drill.
const READ_MOST_BYTES: u64 = 1024;

/// `[path]`: reads a file.
pub(in crate::drill) fn read(arguments: &[String]) -> io::Result<String> {
    let mut content = Vec::new();
    fs::File::open(first(arguments)?)?.take(READ_MOST_BYTES).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// `[path]`: lists a directory.
pub(in crate::drill) fn list(arguments: &[String]) -> io::Result<String> {
    let names = fs::read_dir(first(arguments)?)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    Ok(names.collect::<io::Result<Vec<_>>>()?.join(" "))
}

/// `[path]`: makes a new file.
pub(in crate::drill) fn create(arguments: &[String]) -> io::Result<String> {
    fs::OpenOptions::new().write(true).create(true).truncate(false).open(first(arguments)?)?.write_all(b"attack")?;
    Ok(String::new())
}

/// `[path]`: writes behind the end of a file that is there.
pub(in crate::drill) fn append(arguments: &[String]) -> io::Result<String> {
    fs::OpenOptions::new().append(true).open(first(arguments)?)?.write_all(b"attack")?;
    Ok(String::new())
}

/// `[path]`: removes a file.
pub(in crate::drill) fn remove(arguments: &[String]) -> io::Result<String> {
    fs::remove_file(first(arguments)?)?;
    Ok(String::new())
}

/// An argument; its lack is a mistake in the catalogue, and is said as one.
pub(super) fn at(arguments: &[String], index: usize) -> io::Result<&str> {
    arguments.get(index).map(String::as_str).ok_or_else(|| io::Error::other("the catalogue gives this act too few arguments"))
}

fn first(arguments: &[String]) -> io::Result<&str> {
    at(arguments, 0)
}
