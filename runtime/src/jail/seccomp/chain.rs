//! Several filters as one: what the first does not refuse, the next is asked. And as short as it can be: the kernel translates each
//! instruction, for every agent anew.

use seccompiler::{BpfProgram, SeccompAction, sock_filter};

/// Ends a program with an answer: `BPF_RET | BPF_K`, from linux/bpf_common.h.
pub(super) const RETURN: u16 = 0x06;
/// Goes on so many instructions further: `BPF_JMP | BPF_JA`.
const GO_ON: u16 = 0x05;

/// Makes one program of several. Wherever one of them would allow, the next begins; only the last allows.
///
/// Each begins with loading what it looks at, so that nothing of the one before it matters to it. No instruction is added: all jumps stay.
pub(super) fn chain(programs: Vec<BpfProgram>) -> BpfProgram {
    let allow = u32::from(SeccompAction::Allow);
    let last = programs.len().saturating_sub(1);
    let mut whole = Vec::new();
    for (number, program) in programs.into_iter().enumerate() {
        let length = program.len();
        for (at, instruction) in program.into_iter().enumerate() {
            let allows = instruction.code == RETURN && instruction.k == allow;
            // A program has 4,096 instructions at the most: the kernel refuses a longer one.
            let rest = u32::try_from(length - at - 1).unwrap_or(u32::MAX);
            whole.push(if allows && number < last { sock_filter { code: GO_ON, jt: 0, jf: 0, k: rest } } else { instruction });
        }
    }
    whole
}

/// What an instruction does: the class of its code, from linux/bpf_common.h.
const CLASS: u16 = 0x07;
/// The class of jumps: all but [`GO_ON`] have a condition.
const JUMP: u16 = 0x05;
/// How far a jump with a condition reaches.
const REACH_MOST: usize = u8::MAX as usize;

/// Takes out of a program what is never run: jumps that lead to jumps, and what only they would lead to. What it says stays the same.
pub(super) fn straighten(program: BpfProgram) -> BpfProgram {
    // Where an instruction really leads; jumps go forward only, so that this ends.
    let leads_to = |mut at: usize| {
        while let Some(sock_filter { code: GO_ON, k, .. }) = program.get(at) {
            at += 1 + *k as usize;
        }
        at
    };
    // Where each goes next, where its condition holds and where it does not. What would be too far by one jump stays two.
    let next = |at: usize, instruction: &sock_filter| {
        let branch = |by: u8| {
            let (near, far) = (at + 1 + usize::from(by), leads_to(at + 1 + usize::from(by)));
            if far - at - 1 <= REACH_MOST { far } else { near }
        };
        match instruction.code {
            RETURN => None,
            GO_ON => Some((leads_to(at), leads_to(at))),
            code if code & CLASS == JUMP => Some((branch(instruction.jt), branch(instruction.jf))),
            _ => Some((at + 1, at + 1)),
        }
    };
    let mut is_run = vec![false; program.len()];
    let mut place = vec![0; program.len() + 1];
    let mut kept = 0;
    for (at, instruction) in program.iter().enumerate() {
        place[at] = kept;
        if at > 0 && !is_run[at] {
            continue;
        }
        kept += 1;
        if let Some((holds, not)) = next(at, instruction) {
            for to in [holds, not] {
                if let Some(run) = is_run.get_mut(to) {
                    *run = true;
                }
            }
        }
    }
    place[program.len()] = kept;
    let by = |at: usize, to: usize| place[to.min(program.len())] - place[at] - 1;
    let mut short = Vec::with_capacity(kept);
    for (at, instruction) in program.iter().enumerate().filter(|(at, _)| *at == 0 || is_run[*at]) {
        let sock_filter { code, jt, jf, k } = instruction.clone();
        short.push(match next(at, instruction) {
            // No distance has grown: what is between is the same or less.
            Some((to, _)) if code == GO_ON => sock_filter { code, jt, jf, k: u32::try_from(by(at, to)).unwrap_or(k) },
            Some((holds, not)) if code & CLASS == JUMP => {
                let reach = |to: usize, was: u8| u8::try_from(by(at, to)).unwrap_or(was);
                sock_filter { code, jt: reach(holds, jt), jf: reach(not, jf), k }
            }
            Some(_) | None => sock_filter { code, jt, jf, k },
        });
    }
    short
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    /// A call, as the kernel shows it to a filter: number, processor, and six arguments.
    struct Call {
        number: u32,
        processor: u32,
        arguments: [u64; 6],
    }

    impl Call {
        fn word(&self, offset: u32) -> u32 {
            let argument = |at: u32| self.arguments[(at / 8) as usize];
            match offset {
                0 => self.number,
                4 => self.processor,
                16.. if (offset - 16).is_multiple_of(8) => argument(offset - 16) as u32,
                16.. => (argument(offset - 20) >> 32) as u32,
                _ => 0,
            }
        }
    }

    /// What a program says to a call: classic BPF, as far as filters use it (Documentation/networking/filter.rst).
    fn run(program: &BpfProgram, call: &Call) -> u32 {
        let (mut at, mut value) = (0, 0_u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            at += 1;
            let branch = |holds: bool| usize::from(if holds { jt } else { jf });
            match code {
                0x20 => value = call.word(k),
                0x54 => value &= k,
                0x05 => at += k as usize,
                0x15 => at += branch(value == k),
                0x25 => at += branch(value > k),
                0x35 => at += branch(value >= k),
                0x45 => at += branch(value & k != 0),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// What the kernel makes of several filters: the strictest answer, and of equals the newest filter's (seccomp(2)).
    fn stacked(programs: &[BpfProgram], call: &Call) -> u32 {
        let action = |answer: u32| (answer & 0xffff_0000).cast_signed();
        let answers = programs.iter().rev().map(|program| run(program, call));
        answers.reduce(|newest, older| if action(older) < action(newest) { older } else { newest }).expect("a filter")
    }

    fn processor() -> u32 {
        match std::env::consts::ARCH {
            "x86_64" => 0xc000_003e,
            "aarch64" => 0xc000_00b7,
            "riscv64" => 0xc000_00f3,
            other => panic!("no number of {other} is known here"),
        }
    }

    #[test]
    fn one_filter_says_what_the_stack_of_them_said() {
        let profiles =
            [process::lists(true, true), process::lists(true, false), process::lists(false, true), host::lists(), compiler::lists()];
        let arguments = [
            [0; 6],
            [1; 6],
            [u64::MAX; 6],
            [2, 0x8_0001, 0o644, 0o4755, 1, 0],
            [0x1000_0011, 0x5412, 4, 1, 0, 0],
            [0x3d_0f00, 0x5401, 3, 0o2755, 0, 0],
        ];
        for lists in profiles {
            let mut programs = vec![guard()];
            programs.extend(lists.expect("lists").into_iter().map(|list| compile(list).expect("a program")));
            let whole = chain(programs.clone());
            assert_eq!(whole.len(), programs.iter().map(Vec::len).sum::<usize>());
            let short = straighten(whole.clone());
            assert!(short.len() * 2 < whole.len() + 100 && short.len() < 4096, "{} of {}", short.len(), whole.len());
            let numbers = (0..700).chain([0x4000_0000, 0x4000_0027, u32::MAX]);
            for number in numbers {
                for arguments in arguments {
                    for processor in [processor(), 0x4000_0003] {
                        let call = Call { number, processor, arguments };
                        let said = stacked(&programs, &call);
                        assert_eq!(run(&whole, &call), said, "{number:#x} {arguments:x?} {processor:#x}");
                        assert_eq!(run(&short, &call), said, "{number:#x} {arguments:x?} {processor:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_program_alone_allows() {
        let allow = || vec![sock_filter { code: RETURN, jt: 0, jf: 0, k: SeccompAction::Allow.into() }];
        let refuse = vec![sock_filter { code: RETURN, jt: 0, jf: 0, k: SeccompAction::KillProcess.into() }];
        let call = Call { number: 0, processor: processor(), arguments: [0; 6] };
        assert_eq!(run(&chain(vec![allow(), allow()]), &call), u32::from(SeccompAction::Allow));
        assert_eq!(run(&chain(vec![allow(), refuse]), &call), u32::from(SeccompAction::KillProcess));
    }

    #[test]
    fn who_speaks_makes_unix_streams_and_no_other_socket() {
        let lists = process::lists(true, true).expect("lists");
        let program = straighten(chain(lists.into_iter().map(|list| compile(list).expect("a program")).collect()));
        let number = u32::try_from(libc::SYS_socket).expect("small");
        let flags: [u64; 3] = [0, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC].map(|flags| flags.cast_unsigned().into());
        for family in 0..50 {
            for kind in 0..16 {
                for flags in flags {
                    let arguments = [family, kind | flags, 0, 0, 0, 0];
                    let allowed = run(&program, &Call { number, processor: processor(), arguments }) == u32::from(SeccompAction::Allow);
                    assert_eq!(allowed, (family, kind) == (1, 1), "{arguments:?}");
                }
            }
        }
    }

    #[test]
    fn no_thread_has_a_table_of_descriptors_of_its_own() {
        let says = |call: libc::c_long, arguments: [u64; 6]| {
            let program = straighten(chain(
                process::lists(true, false).expect("lists").into_iter().map(|list| compile(list).expect("a program")).collect(),
            ));
            run(&program, &Call { number: u32::try_from(call).expect("small"), processor: processor(), arguments })
        };
        let allow = u32::from(SeccompAction::Allow);
        let fails = |errno: i32| u32::from(SeccompAction::Errno(errno.cast_unsigned()));
        let thread: u64 = (libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM).cast_unsigned().into();
        let files: u64 = libc::CLONE_FILES.cast_unsigned().into();
        assert_eq!(says(libc::SYS_clone, [thread, 0, 0, 0, 0, 0]), fails(libc::EPERM));
        assert_eq!(says(libc::SYS_clone, [thread | files, 0, 0, 0, 0, 0]), allow, "as every library makes them");
        assert_eq!(says(libc::SYS_clone, [libc::SIGCHLD.cast_unsigned().into(), 0, 0, 0, 0, 0]), allow, "a process is counted for itself");
        assert_eq!(says(libc::SYS_close_range, [3, 9, 2, 0, 0, 0]), fails(libc::ENOSYS));
        assert_eq!(says(libc::SYS_close_range, [3, 9, 4, 0, 0, 0]), allow);
    }

    fn jump(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
        sock_filter { code, jt, jf, k }
    }

    fn says(k: u32) -> sock_filter {
        jump(RETURN, 0, 0, k)
    }

    #[test]
    fn jumps_to_jumps_are_one_and_what_nothing_leads_to_is_gone() {
        // What seccompiler makes of one call without conditions.
        let one = |number, action| vec![jump(0x15, 0, 1, number), jump(GO_ON, 0, 0, 1), jump(GO_ON, 0, 0, 2), says(action), says(9)];
        let program = [vec![jump(0x20, 0, 0, 0)], one(7, 1), one(8, 2), vec![says(3)]].concat();
        let short = straighten(program.clone());
        assert_eq!(short.len(), 6);
        for number in 6..10 {
            let call = Call { number, processor: processor(), arguments: [0; 6] };
            assert_eq!(run(&short, &call), run(&program, &call));
        }
    }

    #[test]
    fn what_is_too_far_for_one_jump_stays_two() {
        // Each distance around the longest that a jump with a condition has.
        for between in 250..262 {
            let mut program = vec![jump(0x20, 0, 0, 0), jump(0x15, 0, 1, 7), jump(GO_ON, 0, 0, between)];
            program.extend((0..between).map(|at| if at + 1 == between { says(1) } else { jump(0x54, 0, 0, u32::MAX) }));
            program.push(says(2));
            let short = straighten(program.clone());
            for number in [7, 8] {
                let call = Call { number, processor: processor(), arguments: [0; 6] };
                assert_eq!(run(&short, &call), run(&program, &call), "{between}");
            }
        }
    }
}
