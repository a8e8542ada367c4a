//! The compiler: reads wasm from one descriptor and writes code to another. It opens no file, not even within its own rights.

use seccompiler::SeccompAction;

use super::{
    List, Rules, calls, errno,
    host::{HARMLESS_PRCTLS, RUNTIME, RUNTIME_HERE, broken_out, not_there},
    rule::{any_arguments, threads_only, to_self, when_one_of, write_xor_execute},
};
use crate::jail::error::SeccompError;

pub(super) fn lists() -> Result<Vec<List>, SeccompError> {
    let mut rules: Rules = [RUNTIME, RUNTIME_HERE].into_iter().flat_map(any_arguments).collect();
    // To write its result into a file that was opened for it.
    rules.extend(any_arguments(calls![SYS_pread64, SYS_pwrite64, SYS_ftruncate, SYS_fsync, SYS_fdatasync]));
    threads_only(&mut rules)?;
    write_xor_execute(&mut rules)?;
    to_self(&mut rules)?;
    when_one_of(&mut rules, libc::SYS_prctl, 0, &HARMLESS_PRCTLS)?;
    // Everything else, opening files among it, is refused and not deadly: the runtime looks into /proc and /sys for the number of
    // processors, and has a way without.
    Ok(vec![not_there(), broken_out(), List { rules, on: SeccompAction::Allow, off: errno(libc::EPERM) }])
}
