//! Rules about the arguments of a system call, in words.

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{Call, Rules};
use crate::jail::error::SeccompError;

/// Namespaces that `clone` can make. `CLONE_NEWTIME` is not for `clone`, which reads its bit as part of a signal's number.
pub(super) const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// A condition on an `int` argument: the kernel, too, looks at its lower half only.
fn int(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, SeccompError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value).map_err(SeccompError::Build)
}

/// The bits of a C `int`, as a filter compares them.
fn bits(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

pub(super) fn equals(argument: u8, value: u32) -> Result<SeccompCondition, SeccompError> {
    int(argument, SeccompCmpOp::Eq, u64::from(value))
}

pub(super) fn differs(argument: u8, value: i32) -> Result<SeccompCondition, SeccompError> {
    int(argument, SeccompCmpOp::Ne, bits(value))
}

/// Whether, of the bits in `mask`, exactly those of `value` are set.
pub(super) fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, SeccompError> {
    int(argument, SeccompCmpOp::MaskedEq(bits(mask)), bits(value))
}

/// Whether a pointer is not null.
pub(super) fn pointer_given(argument: u8) -> Result<SeccompCondition, SeccompError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0).map_err(SeccompError::Build)
}

/// A rule that matches when all conditions do.
pub(super) fn all(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, SeccompError> {
    SeccompRule::new(conditions).map_err(SeccompError::Build)
}

/// Rules that match calls whatever their arguments.
pub(super) fn any_arguments(calls: &[Call]) -> Rules {
    calls.iter().map(|(_, number)| (*number, Vec::new())).collect()
}

/// Adds calls that match when `argument` is one of `values`.
pub(super) fn when_one_of(rules: &mut Rules, number: i64, argument: u8, values: &[u32]) -> Result<(), SeccompError> {
    let each = values.iter().map(|value| all(vec![equals(argument, *value)?])).collect::<Result<_, _>>()?;
    rules.insert(number, each);
    Ok(())
}

/// Adds `clone` for threads of this process alone: no new process, no new namespace.
pub(super) fn threads_only(rules: &mut Rules) -> Result<(), SeccompError> {
    let namespaces = NAMESPACE_FLAGS.iter().fold(0, |mask, flag| mask | flag);
    let thread = all(vec![masked(0, libc::CLONE_THREAD | namespaces, libc::CLONE_THREAD)?])?;
    rules.insert(libc::SYS_clone, vec![thread]);
    // clone3 has its flags in memory, where no filter can look: another filter says that it does not exist.
    rules.insert(libc::SYS_clone3, Vec::new());
    Ok(())
}

/// Adds `mmap` and `mprotect` of memory that is writable or executable, but never both.
pub(super) fn write_xor_execute(rules: &mut Rules) -> Result<(), SeccompError> {
    for number in [libc::SYS_mmap, libc::SYS_mprotect] {
        let not_executable = all(vec![masked(2, libc::PROT_EXEC, 0)?])?;
        let not_writable = all(vec![masked(2, libc::PROT_WRITE, 0)?])?;
        rules.insert(number, vec![not_executable, not_writable]);
    }
    Ok(())
}

/// Adds what a process does to itself, and must not do to others: signals, as `abort` sends them, and limits.
pub(super) fn to_self(rules: &mut Rules) -> Result<(), SeccompError> {
    let own = std::process::id();
    when_one_of(rules, libc::SYS_tgkill, 0, &[own])?;
    when_one_of(rules, libc::SYS_kill, 0, &[own])?;
    // And its own limits: those of another process of the same user can be changed by the same call.
    when_one_of(rules, libc::SYS_prlimit64, 0, &[0])
}
