//! Several filters as one: what the first does not refuse, the next is asked.

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
            assert!(whole.len() < 4096, "{}", whole.len());
            let numbers = (0..700).chain([0x4000_0000, 0x4000_0027, u32::MAX]);
            for number in numbers {
                for arguments in arguments {
                    for processor in [processor(), 0x4000_0003] {
                        let call = Call { number, processor, arguments };
                        assert_eq!(run(&whole, &call), stacked(&programs, &call), "{number:#x} {arguments:x?} {processor:#x}");
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
}
